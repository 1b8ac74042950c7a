//! What routes are called, and those to which no request comes.

use super::*;

fn name(written: &str) -> String {
    route(&format!("{{ {written}, service: goods }}")).name
}

#[test]
fn a_route_is_called_what_it_takes_unless_it_has_a_name() {
    for (written, expected) in [
        ("path: /goods", "/goods"),
        ("path: /goods, name: the goods", "the goods"),
        ("path: { exact: /goods }", "=/goods"),
        ("path: { regex: \"/v[0-9]+\" }", "~\"/v[0-9]+\""),
        ("match: { host: a.b }", "a.b"),
        ("path: /goods, match: { host: [a.b, \"*.a.b\"] }", "a.b,*.a.b/goods"),
        (
            "path: /, match: { methods: [GET, PUT], scheme: https, client: [10.0.0.0/8] }",
            "/ method=GET,PUT client=10.0.0.0/8 scheme=https",
        ),
        (
            "path: /, match: { headers: { x-a: b, x-c: { present: false }, x-d: { present: true } } }",
            "/ header:x-a=b header:x-c! header:x-d",
        ),
        (
            "path: /, match: { query: { a b: { prefix: \"c d\" } }, cookies: { e: { regex: f+ } } }",
            "/ query:\"a b\"^\"c d\" cookie:e~\"f+\"",
        ),
        ("path: /, match: { query: { ü: \"\\\"\" } }", "/ query:\"\\u{fc}\"=\"\\\"\""),
    ] {
        assert_eq!(name(written), expected, "{written}");
    }
    let allowed = route("{ path: \"/shop/{service}\", services_allowed: [a] }");
    assert_eq!(allowed.name, "/shop/{service}");
}

/// It is a label of metrics, and part of each request's line in the log.
#[test]
fn a_name_is_bounded_and_its_end_still_counts() {
    let long = |last: &str| name(&format!("path: /, match: {{ query: {{ a: {}{last} }} }}", "x".repeat(300)));
    assert_eq!(long("a").len(), 200);
    assert_ne!(long("a"), long("b"));
    assert_eq!(long("a"), long("a"));
    for given in ["ä".to_owned(), " a".into(), "a ".into(), "".into()] {
        assert_refused(
            &format!("{{ path: /goods, name: \"{given}\", service: goods }}"),
            &format!(
                ".name: \"{given}\" is no name: expected letters of ASCII, without a space at its begin or its end"
            ),
        );
    }
    let told =
        problems(&with_route(&format!("{{ path: /goods, name: {}, service: goods }}", "x".repeat(201))));
    assert!(told[0].ends_with("is longer than 200 bytes"), "{told:?}");
}

fn with_two(first: &str, second: &str) -> String {
    with_route(&format!("{first}\n    - {second}"))
}

#[test]
fn two_routes_of_one_name_are_a_mistake() {
    assert_problem(
        &with_two("{ path: /a, name: a, service: goods }", "{ path: /b, name: a, service: goods }"),
        "8: gateway.routes[1]: has the name \"a\" of gateway.routes[0] in line 7",
    );
    assert_problem(
        &with_two("{ path: /a, service: goods }", "{ path: /b, name: /a, service: goods }"),
        "8: gateway.routes[1]: has the name \"/a\" of gateway.routes[0] in line 7",
    );
    // Also beside other mistakes, which may be in what tells them apart if they have no names.
    let told = problems(&with_two(
        "{ path: /a, name: a, service: goods }",
        "{ path: /b, name: a, match: { scheme: ftp }, service: goods }",
    ));
    assert_eq!(told.len(), 2, "{told:?}");
    let told = problems(&with_two(
        "{ path: /a, service: goods }",
        "{ path: /a, match: { scheme: ftp }, service: goods }",
    ));
    assert_eq!(told, ["8: gateway.routes[1].match.scheme: found ftp, expected http or https"]);
}

#[test]
fn a_route_that_another_hides_is_a_mistake() {
    let hidden = "8: gateway.routes[1]: takes nothing: gateway.routes[0] in line 7 takes all of it before";
    for (first, second) in [
        ("path: /a", "path: /a"),
        ("path: /a", "path: { prefix: /a }"),
        ("path: /a, match: { host: a.b }", "match: { host: A.B., path: /a }"),
        ("path: { regex: /a+ }", "path: { regex: /a+ }"),
    ] {
        assert_problem(
            &with_two(&format!("{{ {first}, service: a }}"), &format!("{{ {second}, service: b }}")),
            hidden,
        );
    }
    for (first, second) in [
        ("path: /a", "path: { exact: /a }"),
        ("path: /a", "path: /a, match: { host: a.b }"),
        ("path: /a, match: { methods: [GET] }", "path: /a"),
        ("path: { regex: /a+ }", "path: { regex: /aa* }"),
    ] {
        valid(&with_two(&format!("{{ {first}, service: a }}"), &format!("{{ {second}, service: b }}")));
    }
}
