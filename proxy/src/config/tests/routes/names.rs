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
            "/ header:x-a header:x-c! header:x-d",
        ),
        (
            "path: /, match: { query: { a b: { prefix: \"c d\" } }, cookies: { e: { regex: f+ } } }",
            "/ query:\"a b\" cookie:e",
        ),
        ("path: /, match: { query: { ü\\\": a } }", "/ query:\"\\u{fc}\\\\\\\"\""),
        ("match: { methods: [GET] }", "method=GET"),
        ("match: {}", "*"),
    ] {
        assert_eq!(name(written), expected, "{written}");
    }
    let allowed = route("{ path: \"/shop/{service}\", services_allowed: [a, \"b-*\", \"*\"] }");
    assert_eq!(allowed.name, "/shop/{service} allowed=a,b-*,*");
}

/// What only a delivery network knows, say.
#[test]
fn no_name_tells_a_secret_and_those_that_differ_in_nothing_else_are_numbered() {
    let route = |secret: &str| {
        format!("{{ path: /a, match: {{ headers: {{ x-secret: {secret} }} }}, service: goods }}\n    - ")
    };
    let text = with_route(&format!(
        "{}{}{}{{ path: /b, service: goods }}",
        route("hunter1"),
        route("{ prefix: hunter2 }"),
        route("{ regex: hunter3 }")
    ));
    let names: Vec<_> = routes(&text).into_iter().map(|route| route.name).collect();
    assert_eq!(names, ["/a header:x-secret", "/a header:x-secret #2", "/a header:x-secret #3", "/b"]);
    let services = |name: &str| format!("{{ path: \"/{{service}}\", services_allowed: [{name}] }}");
    let names: Vec<_> =
        routes(&with_two(&services("a"), &services("b"))).into_iter().map(|route| route.name).collect();
    assert_eq!(names, ["/{service} allowed=a", "/{service} allowed=b"]);
}

/// It is a label of metrics, and part of each request's line in the log.
#[test]
fn a_name_is_bounded_and_its_end_still_counts() {
    let path = |last: &str| format!("path: /{}{last}", "x".repeat(300));
    let long = |last: &str| name(&path(last));
    assert_eq!(long("a").len(), 200);
    assert_ne!(long("a"), long("b"));
    assert_eq!(long("a"), long("a"));
    let secret =
        |value: &str| format!("{{ {}, match: {{ cookies: {{ a: {value} }} }}, service: goods }}", path("a"));
    let second = &routes(&with_two(&secret("a"), &secret("b")))[1].name;
    assert!(second.len() == 200 && second.ends_with(" #2"), "{second}");
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
    let with_secret = |name: &str| {
        format!("{{ path: /a, {name}match: {{ headers: {{ x-a: {} }} }}, service: goods }}", name.len())
    };
    assert_problem(
        &with_route(&format!(
            "{}\n    - {}\n    - {{ path: /b, name: \"/a header:x-a #2\", service: goods }}",
            with_secret(""),
            with_secret(" ")
        )),
        "9: gateway.routes[2]: has the name \"/a header:x-a #2\" of gateway.routes[1] in line 8",
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
    assert_problem(
        &with_two("{ path: /, service: a }", "{ path: { regex: /a+ }, service: b }"),
        &format!(
            "{hidden}; `path: /` goes before expressions: leave the path out there (`match: {{}}` takes everything), and it goes behind them"
        ),
    );
    valid(&with_two("{ match: {}, service: a }", "{ path: { regex: /a+ }, service: b }"));
    assert_problem(&with_two("{ match: {}, service: a }", "{ match: {}, service: b }"), hidden);
    for (first, second) in [
        ("path: /a", "path: { exact: /a }"),
        ("path: /a", "path: /a, match: { host: a.b }"),
        ("path: /a, match: { methods: [GET] }", "path: /a"),
        ("path: { regex: /a+ }", "path: { regex: /aa* }"),
    ] {
        valid(&with_two(&format!("{{ {first}, service: a }}"), &format!("{{ {second}, service: b }}")));
    }
}
