//! What happens to the requests that a route takes.

use super::*;

fn share(service: &str, weight: u16) -> Share {
    Share { service: service.to_owned(), weight }
}

#[test]
fn a_route_leads_to_one_service_or_to_several() {
    assert_eq!(route("{ path: /a, service: goods }").action, Action::Forward(vec![share("goods", 1)]));
    assert_eq!(
        route(
            "{ path: /a, services: [{ service: a, weight: 90 }, { service: b, weight: 0 }, { service: c }] }"
        )
        .action,
        Action::Forward(vec![share("a", 90), share("b", 0), share("c", 1)])
    );
}

#[test]
fn shares_are_of_different_services_and_somebody_has_one() {
    for (services, expected) in [
        ("[]", ": is empty: expected at least one service"),
        (
            "[{ service: a, weight: 0 }, { service: b, weight: 0 }]",
            ": has weights that sum to 0: no service would get a request",
        ),
        (
            "[{ service: a }, { service: b }, { service: a }]",
            "[2].service: has a share already: write one for each service",
        ),
        (
            "[{ service: a, weight: 65536 }]",
            "[0].weight: found 65536, expected a whole number from 0 to 65535",
        ),
        ("[{ weight: 1 }]", "[0].service: is missing: expected the name of a service, such as goods"),
        ("[a]", "[0]: found a, expected a section: keys and values, indented by two spaces"),
        ("goods", ": found goods, expected a list: write [goods]"),
    ] {
        assert_refused(&format!("{{ path: /a, services: {services} }}"), &format!(".services{expected}"));
    }
}

#[test]
fn a_path_may_name_a_service_that_is_allowed() {
    let allowed = |most| {
        let patterns = vec![ServicePattern::Prefix("shop-".into()), ServicePattern::Exact("goods".into())];
        Action::ForwardByPath(ServicesAllowed { patterns, most })
    };
    let plain = route("{ path: \"/{service}\", services_allowed: [\"shop-*\", goods] }");
    assert_eq!(plain.takes.path, PathPattern::Service(String::new()));
    assert_eq!(plain.action, allowed(100));
    let below = route(
        "{ match: { path: \"/a/b/{service}\" }, services_allowed: [\"shop-*\", goods], max_services: 7 }",
    );
    assert_eq!(below.takes.path, PathPattern::Service("/a/b".into()));
    assert_eq!(below.action, allowed(7));
    for (written, expected) in [
        (
            "path: \"/{service}\", services_allowed: [\"*-shop\"]",
            ".services_allowed[0]: \"*-shop\" has a \"*\" that is not at its end: a pattern is the begin of names, such as shop-*",
        ),
        (
            "path: \"/{service}\", services_allowed: [a/b]",
            ".services_allowed[0]: \"a/b\" is no name of a service: it has no \"/\" in it",
        ),
        (
            "path: \"/{service}\", services_allowed: [a, \"a*\", a]",
            ".services_allowed[2]: is there already, in line 7: remove one of them",
        ),
        (
            "path: \"/{service}\", services_allowed: []",
            ".services_allowed: is empty: expected at least one name, such as goods or shop-*",
        ),
        (
            "path: \"/{service}\", services_allowed: goods",
            ".services_allowed: found goods, expected a list: write [goods]",
        ),
        (
            "path: /shop, services_allowed: [goods]",
            ".services_allowed: means nothing without a path that ends with /{service}",
        ),
        (
            "path: \"/{service}\", service: goods",
            ".path: ends with /{service}, for which only services_allowed says which services those may be",
        ),
        (
            "match: { path: \"/{service}\" }, service: goods",
            ".match.path: ends with /{service}, for which only services_allowed says which services those may be",
        ),
        (
            "path: /shop, service: goods, max_services: 7",
            ".max_services: means nothing without services_allowed",
        ),
        (
            "path: \"/{service}\", services_allowed: [a], max_services: 0",
            ".max_services: found 0, expected a whole number from 1 to 10000",
        ),
    ] {
        assert_refused(&format!("{{ {written} }}"), expected);
    }
}

#[test]
fn clients_may_be_sent_elsewhere() {
    let redirect = |written: &str| match route(&format!("{{ path: /a, redirect: {written} }}")).action {
        Action::Redirect(redirect) => redirect,
        other => panic!("{other:?}"),
    };
    let all = redirect("{ scheme: https, host: \"Shop.example.com:8443\", path: /new/, status: 308 }");
    let expected = Redirect {
        scheme: Some(Scheme::Https),
        host: Some("shop.example.com:8443".into()),
        path: Some("/new/".into()),
        status: 308,
        is_by_client: false,
    };
    assert_eq!(all, expected);
    assert_eq!(redirect("{ host: \"[::1]\" }").status, 302);
}

#[test]
fn every_other_redirect_is_named() {
    let back = ": leads back to where the request came from: set another scheme, host or path";
    let at_home = ": leads clients that speak https already back to where they are: say which it is for, with `match: {scheme: http}`";
    let from_http = ": leads clients that speak http already back to where they are: say which it is for, with `match: {scheme: https}`";
    let same_host =
        ": leads clients that are at this host already back to where they are: take the host out of `match`";
    let groups = "has no groups or variables: what keeps part of the path is the route's own key `rewrite`, in its place";
    for (written, expected) in [
        ("path: /a, redirect: {}", back),
        ("path: /a, redirect: { status: 301 }", back),
        ("match: { host: a.b }, redirect: { host: A.b }", same_host),
        ("match: { host: [www.a.b, a.b] }, redirect: { host: a.b }", same_host),
        ("match: { scheme: http, path: /a }, redirect: { status: 303 }", back),
        ("match: { host: a.b, scheme: http }, redirect: { scheme: http }", from_http),
        ("path: /a, redirect: { path: /b/$1 }", &format!(".path: \"/b/$1\" {groups}")),
        (
            "path: /a, redirect: { path: \"/b/${rest}\" }",
            &format!(
                ".path: \"/b/${{rest}}\" {groups}. This file knows no variables: write the value itself, or have the file made from a template"
            ),
        ),
        ("path: /a, redirect: { path: \"/{service}\" }", &format!(".path: \"/{{service}}\" {groups}")),
        ("path: /a, redirect: { scheme: https }", at_home),
        ("match: { scheme: https }, redirect: { scheme: https }", at_home),
        ("path: /a, redirect: { scheme: http }", from_http),
        (
            "path: /a, redirect: { host: a.b, status: 300 }",
            ".status: found 300, expected 301, 302, 303, 307 or 308",
        ),
        (
            "path: /a, redirect: { host: a/b }",
            ".host: \"a/b\" is a URL: write the host alone, and what else is to be so as `scheme` or `path`",
        ),
        (
            "path: /a, redirect: { host: \"a:0\" }",
            ".host: \"a:0\" is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address",
        ),
        (
            "path: /a, redirect: { path: //evil.example }",
            ".path: \"//evil.example\" has an empty segment: write \"/\" for \"//\"",
        ),
        (
            "path: /a, redirect: { path: \"/a?b\" }",
            ".path: \"/a?b\" has '?' in it: a route takes a path alone, and what URLs do not allow is written as %XX",
        ),
        ("path: /a, redirect: https", ": found https, expected a section such as {scheme: https}"),
    ] {
        assert_refused(&format!("{{ {written} }}"), &format!(".redirect{expected}"));
    }
    for written in [
        "match: { scheme: http }, redirect: { scheme: https }",
        "match: { host: [a.b, www.a.b], scheme: http }, redirect: { host: a.b, scheme: https }",
        "match: { path: /a, methods: [POST] }, redirect: { status: 303 }",
        "match: { path: /a, cookies: { old: { present: true } } }, redirect: {}",
        "path: /a, redirect: { path: /b$ }",
        "path: /a, redirect: {}, strip_prefix: /a",
    ] {
        route(&format!("{{ {written} }}"));
    }
}

#[test]
fn the_gateway_may_answer_by_itself() {
    let answer = |written: &str| match route(&format!("{{ path: /a, answer: {written} }}")).action {
        Action::Answer(answer) => answer,
        other => panic!("{other:?}"),
    };
    assert_eq!(answer("{}"), FixedAnswer { status: 200, ..FixedAnswer::default() });
    let all = answer(
        "{ status: 404, headers: { Content-Type: text/plain, x-empty: \"\" }, body: \"a\\n\\tb\\n\" }",
    );
    assert_eq!((all.status, &all.body[..]), (404, &b"a\n\tb\n"[..]));
    let names: Vec<_> = all.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(names, [("content-type", &b"text/plain"[..]), ("x-empty", b"")]);
    assert!(answer("{ body: \"\" }").body.is_empty());
}

#[test]
fn every_other_answer_is_named() {
    for (answer, expected) in [
        ("{ status: 199 }", ".status: found 199, expected a whole number from 200 to 599"),
        ("{ status: 204, body: ok }", ".body: means nothing with status 204, which has no body"),
        ("{ status: 304, body: ok }", ".body: means nothing with status 304, which has no body"),
        ("{ body: \"a\\0\" }", ".body: \"a\\0\" has a control character in it"),
        ("{ body: [a] }", ".body: found a list, expected a single value"),
        (
            "{ headers: { Content-Length: 7 } }",
            ".headers.Content-Length: says where a body ends, which the gateway sees to",
        ),
        ("{ headers: { x-a: ü } }", ".headers.x-a: \"ü\" has 'ü' in it: a header takes ASCII alone"),
    ] {
        assert_refused(&format!("{{ path: /a, answer: {answer} }}"), &format!(".answer{expected}"));
    }
    let large = |size| with_route(&format!("{{ path: /a, answer: {{ body: {} }} }}", "x".repeat(size)));
    valid(&large(16 * 1024));
    assert_problem(
        &large(16 * 1024 + 1),
        "7: gateway.routes[0].answer.body: has 16385 bytes: expected at most 16384",
    );
}

#[test]
fn variables_that_an_answer_does_not_know_are_told() {
    let told = |answer: &str| remarks(&with_route(&format!("{{ path: /a, answer: {answer} }}")));
    assert_eq!(
        told("{ headers: { x-a: \"of {route}\" }, body: '{\"trace\": \"{trace_id}\"}' }"),
        [
            "7: gateway.routes[0].answer.headers: has {route} in it, which is sent as it is: `response_headers` of the route know variables",
            "7: gateway.routes[0].answer.body: has {trace_id} in it, which is sent as it is: a body has no variables",
        ]
    );
    assert!(told("{ headers: { x-a: \"{other}\" }, body: '{\"a\": {}}' }").is_empty());
}

#[test]
fn an_answer_names_a_protocol_if_it_wants_one_and_only_then() {
    let written = |answer: &str| with_route(&format!("{{ path: /a, answer: {answer} }}"));
    assert_eq!(remarks(&written("{ status: 426, headers: { Upgrade: websocket } }")), [""; 0]);
    let untold = "7: gateway.routes[0].answer.status: has to say to which protocol: add `headers: {upgrade: websocket}`, or another";
    assert_eq!(remarks(&written("{ status: 426 }")), [untold]);
    let odd = "7: gateway.routes[0].answer.headers: has upgrade in it, which only status 426 has";
    assert_problem(&written("{ status: 403, headers: { upgrade: websocket } }"), odd);
}

#[test]
fn a_route_does_one_thing() {
    for (written, expected) in [
        ("service: a, redirect: { host: b.c }", ".redirect: stands beside service: a route does one of them"),
        ("answer: {}, service: a", ".answer: stands beside service: a route does one of them"),
        (
            "services: [{ service: a }], service: b",
            ".services: stands beside service: a route does one of them",
        ),
        ("answer: {}, redirect: { host: b.c }", ".answer: stands beside redirect: a route does one of them"),
    ] {
        assert_refused(&format!("{{ path: /a, {written} }}"), expected);
    }
    assert_refused(
        "{ path: /a }",
        ".service: is missing: expected the name of a service, such as goods; or services, services_allowed, redirect or answer in its place",
    );
}

#[test]
fn what_a_route_does_not_do_has_no_keys() {
    for key in [
        "sticky: { cookie: lw }",
        "host: a.b",
        "request_headers: { remove: [x-a] }",
        "timeouts: { total: 5s }",
        "retry: { attempts: 1 }",
    ] {
        let name = key.split(':').next().unwrap();
        assert_refused(
            &format!("{{ path: /a, redirect: {{ host: b.c }}, {key} }}"),
            &format!(".{name}: means nothing on a redirect: no instance gets the request"),
        );
        assert_refused(
            &format!("{{ path: /a, answer: {{}}, {key} }}"),
            &format!(".{name}: means nothing on an answer: no instance gets the request"),
        );
    }
    for key in ["strip_prefix: /a", "rewrite: { regex: /a, to: /b }"] {
        let name = key.split(':').next().unwrap();
        assert_refused(
            &format!("{{ path: /a, answer: {{}}, {key} }}"),
            &format!(".{name}: means nothing on an answer: nobody gets the path"),
        );
        assert_refused(
            &format!("{{ path: /a, redirect: {{ path: /b }}, {key} }}"),
            &format!(".{name}: means nothing beside redirect.path, which is the whole path"),
        );
        route(&format!(
            "{{ path: /a, redirect: {{ host: b.c }}, response_headers: {{ set: {{ x-a: b }} }}, {key} }}"
        ));
    }
}

#[test]
fn cookies_of_one_name_that_would_replace_each_other_are_remarked_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sticky.key");
    fs::write(&file, "a key of sixteen\n").unwrap();
    let told = |host: &str, services: &str, cookie: &str| {
        let sticky = |cookie: &str| format!("sticky: {{ cookie: {cookie}, key_file: {} }}", file.display());
        let one = format!("{{ match: {{ path: /a, host: [a.b, c.d] }}, service: a, {} }}", sticky("lw"));
        let other = format!("{{ match: {{ path: /b{host} }}, {services}, {} }}", sticky(cookie));
        remarks(&with_route(&format!("{one}\n    - {other}")))
    };
    let clash = told(", host: c.d", "service: b", "lw");
    let expected = "8: gateway.routes[1].sticky: has the cookie of gateway.routes[0] in line 7, and no service in \
                    common with it: each would replace the other's. Give it another name";
    assert_eq!(clash, [expected]);
    let common = "services: [{ service: b, weight: 1 }, { service: a, weight: 1 }]";
    for (host, services, cookie) in [
        (", host: c.d", "service: b", "other"),
        (", host: e.f", "service: b", "lw"),
        (", host: c.d", common, "lw"),
    ] {
        assert_eq!(told(host, services, cookie), [""; 0], "{host} {services} {cookie}");
    }
}

#[test]
fn clients_come_back_by_a_cookie_that_a_key_signs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sticky.key");
    let written = |key_file: &str| format!("{{ path: /a, service: a, sticky: {{ cookie: lw{key_file} }} }}");
    let with_file = written(&format!(", key_file: {}", file.display()));
    assert_eq!(route(&written("")).sticky, Some(Sticky { cookie: "lw".into(), key: None }));
    assert_refused(
        &with_file,
        &format!(".sticky.key_file: cannot read {}: No such file or directory (os error 2)", file.display()),
    );
    fs::write(&file, "a key of 15 bytes"[..15].to_owned() + "\n").unwrap();
    assert_refused(
        &with_file,
        ".sticky.key_file: has a key of 15 bytes: expected 16 or more, as `head -c 32 /dev/urandom | base64` writes them",
    );
    fs::write(&file, "a key of sixteen\n").unwrap();
    let key = route(&with_file).sticky.unwrap().key.unwrap();
    assert_eq!(&*key.0, b"a key of sixteen");
    assert_eq!(format!("{key:?}"), "***");
    fs::write(&file, "a".repeat(4097)).unwrap();
    assert_refused(&with_file, &format!(".sticky.key_file: {} is larger than 4096 bytes", file.display()));
    assert_refused(
        &written(&format!(", key_file: {}", directory.path().display())),
        &format!(".sticky.key_file: {} is not a file", directory.path().display()),
    );
    assert_refused(
        &written(", key_file: sticky.key"),
        ".sticky.key_file: found sticky.key, expected an absolute path",
    );
    assert_refused(
        "{ path: /a, service: a, sticky: { cookie: \"a b\" } }",
        ".sticky.cookie: \"a b\" is not a cookie name: expected letters, digits, \"-\" and \"_\"",
    );
    assert_refused(
        "{ path: /a, service: a, sticky: {} }",
        ".sticky.cookie: is missing: expected the name of a cookie, such as lw",
    );
    assert_refused(
        "{ path: /a, service: a, sticky: lw }",
        ".sticky: found lw, expected a section such as {cookie: lw}",
    );
}

#[test]
fn of_sticky_routes_without_a_key_the_first_is_told() {
    let sticky = "service: a, sticky: { cookie: lw }";
    let text = with_route(&format!(
        "{{ path: /a, service: a }}\n    - {{ path: /b, {sticky} }}\n    - {{ path: /c, {sticky} }}"
    ));
    assert_eq!(
        remarks(&text),
        [
            "8: gateway.routes[1].sticky: has no key_file: its cookies are signed with a key of this process, which another gateway does not take, nor this one after a restart"
        ]
    );
}
