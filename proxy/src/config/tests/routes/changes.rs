//! What a route changes of requests and answers, and what its error answers look like.

use super::*;
use http::{HeaderName, HeaderValue};

fn changes(written: &str) -> Changes {
    route(&format!("{{ path: /a, service: a, {written} }}")).changes
}

#[track_caller]
fn assert_change_refused(written: &str, expected: &str) {
    assert_refused(&format!("{{ path: /a, service: a, {written} }}"), &format!(".{expected}"));
}

#[test]
fn a_path_is_stripped_or_rewritten() {
    assert_eq!(changes("retry: {}").path, PathChange::None);
    assert_eq!(changes("strip_prefix: /a").path, PathChange::Strip("/a".into()));
    let rewrite = changes("rewrite: { regex: \"/a/(?P<rest>.*)\", to: \"/b/$1/${rest}\" }").path;
    assert_eq!(rewrite.apply("/a/x").unwrap().as_deref(), Some("/b/x/x"));
    let named =
        route("{ path: \"/shop/{service}\", services_allowed: [a], strip_prefix: \"/shop/{service}\" }");
    assert_eq!(named.changes.path, PathChange::StripService("/shop".into()));
    for (path, prefix) in
        [("/a/b", "/a"), ("/a", "/a/b"), ("/", "/a"), ("{ exact: /a/b }", "/a"), ("{ regex: /.* }", "/a")]
    {
        route(&format!("{{ path: {path}, service: a, strip_prefix: {prefix} }}"));
    }
    route("{ match: { host: a.b }, service: a, strip_prefix: /a }");
}

#[test]
fn a_path_that_would_become_none_is_refused() {
    for (written, expected) in [
        ("strip_prefix: a", "strip_prefix: \"a\" must start with \"/\""),
        (
            "strip_prefix: /a/",
            "strip_prefix: \"/a/\" must not end with \"/\": /a takes everything below it too",
        ),
        ("strip_prefix: /", "strip_prefix: is \"/\", of which nothing can be taken away"),
        ("strip_prefix: /b", "strip_prefix: means nothing: no path that the route takes is below /b"),
        ("strip_prefix: /aa", "strip_prefix: means nothing: no path that the route takes is below /aa"),
        (
            "strip_prefix: \"/{service}\"",
            "strip_prefix: means nothing: the route's path ends with no such name of a service",
        ),
        (
            "strip_prefix: /a, rewrite: { regex: /a, to: /b }",
            "rewrite: stands beside strip_prefix: a path is changed by one of them",
        ),
        ("rewrite: { regex: /a }", "rewrite.to: is missing: expected a path, such as \"/new/$1\""),
        (
            "rewrite: { to: /a }",
            "rewrite.regex: is missing: expected a regular expression, such as \"/old/(.*)\"",
        ),
        (
            "rewrite: { regex: \"(\", to: /a }",
            "rewrite.regex: \"(\" is no regular expression: unclosed group",
        ),
        (
            "rewrite: { regex: \"/a{9999}\", to: /a }",
            "rewrite.regex: \"/a{9999}\" is a regular expression that would take more than 16 KiB: shorten it, or bound its repetitions, such as {1,20}",
        ),
    ] {
        assert_change_refused(written, expected);
    }
}

#[test]
fn a_rewrite_that_leaves_the_root_or_names_no_group_is_refused() {
    for (written, expected) in [
        (
            "rewrite: { regex: /a, to: b }",
            "rewrite.to: \"b\" must start with \"/\", or with a group that does",
        ),
        (
            "rewrite: { regex: \"/a(.*)\", to: \"/$2\" }",
            "rewrite.to: \"/$2\" names the group \"2\", which the expression does not have",
        ),
        (
            "rewrite: { regex: \"/a(.*)\", to: \"/${rest}\" }",
            "rewrite.to: \"/${rest}\" names the group \"rest\", which the expression does not have",
        ),
        (
            "rewrite: { regex: /a, to: \"/b$\" }",
            "rewrite.to: \"/b$\" has a \"$\" that names no group: write $1 or ${name}, or $$ for the sign itself",
        ),
        ("rewrite: { regex: /a, to: \"/../b\" }", "rewrite.to: \"/../b\" climbs above the root"),
        (
            "rewrite: { regex: \"/(a)\", to: \"/b/%2e./../$1\" }",
            "rewrite.to: \"/b/%2e./../$1\" has %2e: write .",
        ),
        (
            "rewrite: { regex: \"/(a)\", to: \"/b/../../$1\" }",
            "rewrite.to: \"/b/../../$1\" climbs above the root",
        ),
        (
            "rewrite: { regex: /a, to: \"/b?c\" }",
            "rewrite.to: \"/b?c\" has '?' in it: a route takes a path alone, and what URLs do not allow is written as %XX",
        ),
        (
            "rewrite: /b",
            "rewrite: found /b, expected a section such as {regex: \"/old/(.*)\", to: \"/new/$1\"}",
        ),
    ] {
        assert_change_refused(written, expected);
    }
}

#[test]
fn instances_may_get_another_host() {
    for (written, expected) in
        [("Goods.internal", "goods.internal"), ("\"a.b:8080\"", "a.b:8080"), ("\"[::1]:80\"", "[::1]:80")]
    {
        assert_eq!(changes(&format!("host: {written}")).host, Some(HeaderValue::try_from(expected).unwrap()));
    }
    assert_change_refused(
        "host: \"a:b\"",
        "host: \"a:b\" is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address",
    );
}

#[test]
fn fields_are_set_added_and_removed() {
    let found = changes(
        "request_headers: { set: { X-Route: \"{route}-{{x}}\", x-id: \"{trace_id}{client}\" }, add: { x-via: a }, remove: [X-Internal, cookie] }, \
         response_headers: { set: { strict-transport-security: max-age=1 } }",
    );
    let header = HeaderName::from_static;
    let text = |text: &str| Piece::Text(text.to_owned());
    let request = FieldChanges {
        set: vec![
            (header("x-route"), Template { pieces: vec![Piece::Variable(Variable::Route), text("-{x}")] }),
            (
                header("x-id"),
                Template {
                    pieces: vec![Piece::Variable(Variable::TraceId), Piece::Variable(Variable::Client)],
                },
            ),
        ],
        add: vec![(header("x-via"), Template { pieces: vec![text("a")] })],
        remove: vec![header("x-internal"), header("cookie")],
    };
    assert_eq!(found.request, request);
    assert_eq!(
        found.response.set,
        [(header("strict-transport-security"), Template { pieces: vec![text("max-age=1")] })]
    );
    let all: Vec<_> = Variable::ALL.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    route(&format!(
        "{{ path: /a, service: a, request_headers: {{ set: {{ x-a: \"{}\" }} }} }}",
        all[..9].concat()
    ));
}

#[test]
fn fields_that_are_not_a_routes_to_change_are_refused() {
    for (name, expected) in [
        ("a b", "is not a header name: expected letters, digits, \"-\" and \"_\""),
        ("Connection", "is of one connection alone: the gateway sees to it on each of its own"),
        ("Transfer_Encoding", "is of one connection alone: the gateway sees to it on each of its own"),
        ("content.length", "says where a body ends, which the gateway sees to"),
        ("content-length", "says where a body ends, which the gateway sees to"),
        ("Host", "is what the route's own key `host` sets"),
        ("trace_id", "carries the trace id, which the gateway sets"),
    ] {
        for side in ["request_headers", "response_headers"] {
            let told = problems(&with_route(&format!(
                "{{ path: /a, service: a, {side}: {{ remove: [\"{name}\"] }} }}"
            )));
            assert_eq!(told, [format!("7: gateway.routes[0].{side}.remove[0]: \"{name}\" {expected}")]);
            for change in ["set", "add"] {
                let told = problems(&with_route(&format!(
                    "{{ path: /a, service: a, {side}: {{ {change}: {{ \"{name}\": b }} }} }}"
                )));
                assert!(told.len() == 1 && told[0].ends_with(expected), "{told:?}");
            }
        }
    }
    for name in [
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X_Forwarded_Host",
        "x.forwarded.for",
        "forwarded",
        "via",
        "cdn-loop",
        "cdn!loop",
    ] {
        let told = problems(&with_route(&format!(
            "{{ path: /a, service: a, request_headers: {{ set: {{ {name}: b }} }} }}"
        )));
        assert!(
            told[0].ends_with(
                "is the gateway's own: it says by it who asks, and that a request came through here"
            ),
            "{told:?}"
        );
        changes(&format!("response_headers: {{ remove: [{name}] }}"));
    }
    for name in ["X-Trace", "x_trace", "x.trace"] {
        let traced =
            with_route(&format!("{{ path: /a, service: a, request_headers: {{ set: {{ {name}: b }} }} }}"))
                + "  trace_header: x-trace\n";
        assert!(problems(&traced)[0].contains("carries the trace id"), "{traced}");
    }
    changes("response_headers: { remove: [trace-id] }");
    changes("request_headers: { set: { x-forwarded-prefix: /a } }");
}

#[test]
fn a_cookie_has_no_text_of_the_clients_own_in_it() {
    for name in ["path", "host", "method"] {
        for change in ["set", "add"] {
            let text = with_route("{ path: /a, service: a, response_headers: &h }").replace(
                "{ path: /a, service: a, response_headers: &h }",
                &format!(
                    "path: /a\n      service: a\n      response_headers:\n        {change}:\n          x-at: \"{{{name}}}\"\n          \
                     Set-Cookie: \"a={{route}}{{{name}}}; Path=/\""
                ),
            );
            assert_problem(
                &text,
                &format!(
                    "12: gateway.routes[0].response_headers.{change}.Set-Cookie: has the variable {{{name}}}, which is the \
                     client's own text: it could write attributes of the cookie"
                ),
            );
        }
    }
    changes(
        "response_headers: { add: { set-cookie: \"a={route}-{instance}-{trace_id}\", x-at: \"{path}\" } }",
    );
}

#[test]
fn values_of_fields_are_ascii_with_known_variables() {
    for (value, expected) in [
        ("ü", "\"ü\" has 'ü' in it: a header takes ASCII alone"),
        (" a", "\" a\" begins or ends with a space, which HTTP takes away"),
        ("a\\r\\nb: c", "\"a\\r\\nb: c\" has a control character in it"),
        ("{tarce_id}", "\"{tarce_id}\" has the unknown variable {tarce_id}: did you mean {trace_id}?"),
        (
            "${USER}",
            "\"${USER}\" has the unknown variable {USER}: expected one of trace_id, client, route, service, instance, host, scheme, method, path",
        ),
        (
            "{}",
            "\"{}\" has the unknown variable {}: expected one of trace_id, client, route, service, instance, host, scheme, method, path",
        ),
        ("{status}", "\"{status}\" has the variable {status}, which only the gateway's error answers know"),
        (
            "a{route",
            "\"a{route\" has a \"{\" that is not closed: a brace that is meant itself is written twice",
        ),
        (
            "route}",
            "\"route}\" has a \"}\" that closes nothing: a brace that is meant itself is written twice",
        ),
    ] {
        assert_change_refused(
            &format!("request_headers: {{ set: {{ x-a: \"{value}\" }} }}"),
            &format!("request_headers.set.x-a: {expected}"),
        );
    }
    assert_change_refused(
        "request_headers: { set: { x-a: b, X-A: c } }",
        "request_headers.set.X-A: is the same as x-a in line 7",
    );
    assert_change_refused(
        "request_headers: { remove: x-a }",
        "request_headers.remove: found x-a, expected a list: write [x-a]",
    );
}

#[test]
fn error_answers_are_json_or_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("503.html");
    fs::write(&page, "<p>gone").unwrap();
    let page = page.display();
    let written = format!(
        "errors: {{ 4xx: {{ json: {{ status: \"{{status}}\", error: \"{{message}}\" }} }}, 503: {{ file: {page} }}, \
         504: {{ file: {page}, content_type: text/plain }} }}"
    );
    let of_route = route(&format!("{{ path: /a, service: a, {written} }}")).errors;
    assert_eq!(of_route, valid(&with_gateway(&written)).gateway.errors);
    let variable = |variable| Template { pieces: vec![Piece::Variable(variable)] };
    let json =
        vec![("status".into(), variable(Variable::Status)), ("error".into(), variable(Variable::Message))];
    assert_eq!(of_route.get(404).as_deref(), Some(&ErrorAnswer::Json(json)));
    let file = |content_type| ErrorAnswer::File {
        content_type: HeaderValue::from_static(content_type),
        body: "<p>gone".into(),
    };
    assert_eq!(of_route.get(503).as_deref(), Some(&file("text/html; charset=utf-8")));
    assert_eq!(of_route.get(504).as_deref(), Some(&file("text/plain")));
    assert_eq!(of_route.get(502), None);
}

#[test]
fn every_other_error_answer_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large");
    fs::write(&large, "x".repeat(64 * 1024 + 1)).unwrap();
    let status = "is no status of an error: expected 400 to 599, 4xx or 5xx";
    for (errors, expected) in [
        ("{ 200: { json: {} } }", format!(".200: {status}")),
        ("{ 3xx: { json: {} } }", format!(".3xx: {status}")),
        ("{ 0404: { json: {} } }", format!(".0404: {status}")),
        ("{ 404: {} }", ".404: found a section, expected json or file below it".into()),
        (
            "{ 404: text }",
            ".404: found text, expected a section: keys and values, indented by two spaces".into(),
        ),
        (
            "{ 404: { json: {}, file: /a } }",
            ".404.file: cannot read /a: No such file or directory (os error 2)".into(),
        ),
        (
            "{ 404: { json: { a: \"{statsu}\" } } }",
            ".404.json.a: \"{statsu}\" has the unknown variable {statsu}: did you mean {status}?".into(),
        ),
        (
            "{ 404: { json: {}, content_type: a } }",
            ".404.content_type: means nothing beside json, which is application/json".into(),
        ),
        ("{ 404: { file: a.html } }", ".404.file: found a.html, expected an absolute path".into()),
        (
            &format!("{{ 404: {{ file: {} }} }}", large.display()),
            format!(".404.file: {} is larger than 65536 bytes", large.display()),
        ),
    ] {
        let told = problems(&with_route(&format!("{{ path: /a, service: a, errors: {errors} }}")));
        assert_eq!(told[0], format!("7: gateway.routes[0].errors{expected}"), "{told:?}");
        assert_eq!(
            problems(&with_gateway(&format!("errors: {errors}")))[0],
            format!("9: gateway.errors{expected}")
        );
    }
}
