//! Texts of all kinds.

use super::*;

const PIECES: [&str; 22] = [
    ":", "- ", "\n", "  ", "[", "]", "{", "}", "\"", "'", "#", "&a", "*a", "!!b", "|", ">", "---", "?", "%",
    "\t", "\u{feff}", "\0",
];

const ROUTES: &str = r#"version: 1
gateway:
  listen: ["0.0.0.0:8080"]
  registry:
    endpoints: ["http://127.0.0.1:2379"]
  routes:
    - { path: "/{service}", services_allowed: [goods, "shop-*"], strip_prefix: "/{service}" }
    - match: { host: ["*.a.b", "[::1]"], path: { regex: "/v[0-9]+(/.*)?" }, headers: { x-a: { present: true } } }
      services: [{ service: a, weight: 9 }, { service: b }]
      rewrite: { regex: "/v(?P<a>.*)", to: "/${a}/$1" }
      request_headers: { set: { x-route: "{route}" }, remove: [x-b] }
    - { match: { query: { a: b } }, redirect: { scheme: https, host: "a.b:80" } }
    - { path: { exact: /healthz }, answer: { status: 200, body: ok }, errors: { 4xx: { json: { a: "{status}" } } } }
"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(
        text in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)
    ) {
        let _ = parse(&text.concat());
    }

    #[test]
    fn no_change_of_a_valid_text_makes_it_panic(
        at in any::<prop::sample::Index>(),
        length in 0..20_usize,
        piece in prop::sample::select(&PIECES[..]),
        file in prop::sample::select(&[
            VALID,
            include_str!("../../../../conf/reference.yaml"),
            include_str!("../../../../conf/etcd-cluster.yaml"),
            include_str!("../../../../conf/services.yaml"),
            ROUTES,
        ][..]),
    ) {
        let mut characters: Vec<char> = file.chars().collect();
        let from = at.index(characters.len());
        let to = (from + length).min(characters.len());
        characters.splice(from..to, piece.chars());
        let _ = parse(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn a_mistake_has_a_line_of_the_file(lines in 0..40_usize) {
        let text = format!("{}{}", "\n".repeat(lines), with("path: /goods", "path: goods"));
        match parse(&text) {
            Err(ConfigError::Invalid(problems)) => prop_assert_eq!(problems[0].line, lines + 7),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
