//! Which requests a route takes.

use super::*;
use http::{HeaderName, Method};

fn takes(written: &str) -> Match {
    route(&format!("{{ {written}, service: goods }}")).takes
}

fn regex(text: &str) -> Expression {
    Expression::parse(text).unwrap()
}

#[test]
fn a_route_says_which_requests_it_takes() {
    let text = with_route(
        "match:
        host: [Shop.Example.com., \"*.shop.example.com\", 10.0.0.1, \"[2001:DB8::0:1]\"]
        path: { regex: \"/api/v[0-9]+(/.*)?\" }
        methods: [GET, PURGE]
        headers: { X-Canary: \"1\", x-tenant: { regex: \"[a-z]+\" }, x-debug: { present: false }, x-empty: \"\" }
        query: { beta: { present: true }, \"a b\": { prefix: c } }
        cookies: { Group: { exact: a } }
        client: [10.0.0.0/8, \"::1\"]
        scheme: https
        client_cert: { san: [Shop.Example.com, \"*.example.com\", \"spiffe://a/ns/*\", \"urn:b\", a@b.c] }
      service: goods",
    );
    let exact = |name: &str| HostPattern::Exact(name.to_owned());
    let header = HeaderName::from_static;
    let expected = Match {
        hosts: vec![
            exact("shop.example.com"),
            HostPattern::Below("shop.example.com".into()),
            exact("10.0.0.1"),
            exact("[2001:db8::1]"),
        ],
        path: PathPattern::Regex(regex("/api/v[0-9]+(/.*)?")),
        methods: vec![Method::GET, Method::from_bytes(b"PURGE").unwrap()],
        headers: vec![
            (header("x-canary"), Condition::Exact("1".into())),
            (header("x-tenant"), Condition::Regex(regex("[a-z]+"))),
            (header("x-debug"), Condition::Absent),
            (header("x-empty"), Condition::Exact(String::new())),
        ],
        query: vec![("beta".into(), Condition::Present), ("a b".into(), Condition::Prefix("c".into()))],
        cookies: vec![("Group".into(), Condition::Exact("a".into()))],
        clients: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        scheme: Some(Scheme::Https),
        client_cert: Some(CertificateMatch {
            san: vec![
                SanPattern::Dns("shop.example.com".into()),
                SanPattern::DnsBelow("example.com".into()),
                SanPattern::UriPrefix("spiffe://a/ns/".into()),
                SanPattern::Uri("urn:b".into()),
                SanPattern::Email("a@b.c".into()),
            ],
        }),
    };
    assert_eq!(routes(&text)[0].takes, expected);
}

#[test]
fn a_path_is_written_beside_the_rest_or_within_it() {
    for (written, expected) in [
        ("/goods", PathPattern::Prefix("/goods".into())),
        ("{ prefix: /goods }", PathPattern::Prefix("/goods".into())),
        ("{ exact: /goods }", PathPattern::Exact("/goods".into())),
        ("{ exact: /goods/ }", PathPattern::Exact("/goods/".into())),
        ("{ exact: / }", PathPattern::Exact("/".into())),
        ("{ regex: /goods|/books }", PathPattern::Regex(regex("/goods|/books"))),
    ] {
        assert_eq!(takes(&format!("path: {written}")).path, expected, "{written}");
        assert_eq!(takes(&format!("match: {{ path: {written} }}")).path, expected, "{written}");
    }
    let both = takes("path: /goods, match: { host: a.b }");
    assert_eq!(both.path, PathPattern::Prefix("/goods".into()));
    assert_eq!(both.hosts, [HostPattern::Exact("a.b".into())]);
    assert_eq!(takes("match: { scheme: http }").path, PathPattern::Any);
    assert_refused(
        "{ path: /goods, match: { path: /books }, service: goods }",
        ".path: stands beside match.path: write one of them",
    );
    assert_refused(
        "{ service: goods }",
        ".path: is missing: expected a path, such as /goods, or a section match",
    );
    assert_eq!(takes("match: {}"), Match::default());
}

#[test]
fn every_other_path_is_named() {
    for (path, expected) in [
        ("{ exact: goods }", ".exact: \"goods\" must start with \"/\""),
        (
            "{ prefix: /goods/ }",
            ".prefix: \"/goods/\" must not end with \"/\": /goods takes everything below it too",
        ),
        (
            "{ exact: /a/../b }",
            ".exact: \"/a/../b\" has the segment \"..\": requests are matched after such segments are resolved",
        ),
        ("{ regex: goods }", ".regex: \"goods\" takes no path: each starts with \"/\""),
        ("{ regex: \"\" }", ".regex: \"\" takes no path: each starts with \"/\""),
        ("{ regex: \"-/a\" }", ".regex: \"-/a\" takes no path: each starts with \"/\""),
        ("{ regex: \"/a(\" }", ".regex: \"/a(\" is no regular expression: unclosed group"),
        ("{ regex: \"/a)(b\" }", ".regex: \"/a)(b\" is no regular expression: unopened group"),
        ("{ exact: /a, regex: /b }", ".regex: stands beside exact: write one of them"),
        ("{}", ": is empty: expected one of exact, prefix, regex"),
        ("{ exakt: /a }", ".exakt: is an unknown key: did you mean exact?"),
        ("[/a]", ": found a list, expected a single value"),
        (
            "\"/{service}/x\"",
            ": \"/{service}/x\" has more after {service}: the name of a service is the last segment, and all below it is taken, too",
        ),
        ("\"//{service}\"", ": \"//{service}\" has an empty segment: write \"/\" for \"//\""),
    ] {
        assert_refused(&format!("{{ path: {path}, service: goods }}"), &format!(".path{expected}"));
    }
}

#[test]
fn an_expression_takes_a_path_from_its_first_letter_to_its_last_whatever_is_written_in_it() {
    for text in ["(?x)/a # c", "(?x) /a #", "^/a$", ".a", "[/]a", "(/a|/b)", "\\x2Fa", "|/a"] {
        let written = format!("path: {{ regex: '{text}' }}");
        let path = takes(&written).path;
        assert!(path.takes("/a") && !path.takes("/ab") && !path.takes("b/a"), "{text}");
    }
}

/// It would never hold.
#[test]
fn a_value_that_http_does_not_have_is_a_mistake() {
    let long = "x".repeat(1025);
    let too_long = format!("\"{}...\" is longer than 1024 bytes", "x".repeat(60));
    for (of, value, expected) in [
        ("headers: { x-a", "\"a \"", ": \"a \" ends with a space, which HTTP takes away"),
        ("headers: { x-a", "\" a\"", ": \" a\" begins with a space, which HTTP takes away"),
        ("headers: { x-a", "{ exact: \" \" }", ".exact: \" \" begins with a space, which HTTP takes away"),
        (
            "headers: { x-a",
            "{ prefix: \" a\" }",
            ".prefix: \" a\" begins with a space, which HTTP takes away",
        ),
        ("cookies: { x-a", "a;b", ": \"a;b\" has \";\" in it, which ends a cookie"),
        ("cookies: { x-a", "{ prefix: \"a;\" }", ".prefix: \"a;\" has \";\" in it, which ends a cookie"),
        ("cookies: { x-a", "\"a \"", ": \"a \" ends with a space, which HTTP takes away"),
        ("query: { x-a", &long, &format!(": {too_long}")),
        ("headers: { x-a", &format!("{{ prefix: {long} }}"), &format!(".prefix: {too_long}")),
    ] {
        let key = of.replace(": { ", ".");
        assert_refused(
            &format!("{{ match: {{ {of}: {value} }} }}, service: goods }}"),
            &format!(".match.{key}{expected}"),
        );
    }
    for valid in [
        "headers: { x-a: { prefix: \"Bearer \" } }",
        "headers: { x-a: \"a;b\" }",
        "cookies: { a: { prefix: \"b \" } }",
        "query: { a: \" b;c \" }",
        &format!("query: {{ a: {} }}", &long[1..]),
    ] {
        takes(&format!("match: {{ {valid} }}"));
    }
}

/// With its own line, not that of its route.
#[test]
fn a_mistake_is_named_with_its_line() {
    let text = |value: &str, is_in: &str| {
        let block = "match:
        path: /a
        host:
          - a.b
          - c.d
        headers:
          x-a: \"1\"
          x-b:
            prefix: b
        client:
          - 10.0.0.0/8
      services:
        - service: a
          weight: 1
        - service: b
          weight: 2
      response_headers:
        set:
          x-c: c";
        assert_eq!(block.matches(is_in).count(), 1, "{is_in}");
        with_route(&block.replace(is_in, value))
    };
    valid(&text("c.d", "c.d"));
    for (is_in, value, line, key) in [
        ("path: /a", "path: a", 8, "match.path"),
        ("- c.d", "- a.b", 11, "match.host[1]"),
        ("x-a: \"1\"", "x-a: \"1 \"", 13, "match.headers.x-a"),
        ("prefix: b", "regex: (", 15, "match.headers.x-b.regex"),
        ("10.0.0.0/8", "10.0.0.1/8", 17, "match.client[0]"),
        ("- service: b", "- service: a", 21, "services[1].service"),
        ("weight: 2", "weight: -2", 22, "services[1].weight"),
        ("x-c: c", "x-c: \"{d}\"", 25, "response_headers.set.x-c"),
    ] {
        let told = problems(&text(value, is_in));
        assert!(
            told.len() == 1 && told[0].starts_with(&format!("{line}: gateway.routes[0].{key}: ")),
            "{told:?}"
        );
    }
}

/// A file must not take the memory or the time of its reader, nor an expression those of each request.
#[test]
fn an_expression_that_explodes_is_refused_with_the_reason() {
    for text in ["/(a{1,1000}){1,1000}", "/((a{0,99}){0,99}){0,99}", "/[^x]{4000}", "/.*[ab]{1,900}c"] {
        assert_refused(
            &format!("{{ path: {{ regex: \"{text}\" }}, service: goods }}"),
            &format!(
                ".path.regex: \"{text}\" is a regular expression that would take more than 16 KiB: shorten it, or bound its repetitions, such as {{1,20}}"
            ),
        );
    }
    let told =
        problems(&with_route(&format!("{{ path: {{ regex: \"/{}\" }}, service: goods }}", "a".repeat(1024))));
    assert!(told[0].ends_with("...\" is longer than 1024 bytes"), "{told:?}");
    let deep = format!("/{}a{}", "(".repeat(60), ")".repeat(60));
    let told = problems(&with_route(&format!("{{ path: {{ regex: \"{deep}\" }}, service: goods }}")));
    assert!(told[0].contains("is no regular expression: exceed the maximum number of nested"), "{told:?}");
}

#[test]
fn every_other_host_is_named() {
    let long = format!("{}.com", "a".repeat(64));
    for (host, expected) in [
        ("shop.example.com:8080", "has a port: write shop.example.com, requests are matched without theirs"),
        ("*.example.com:8080", "has a port: write *.example.com, requests are matched without theirs"),
        ("[::1]:80", "has a port: write [::1], requests are matched without theirs"),
        ("::1", "is an address without brackets: write [::1]"),
        ("https://a.b", "is a URL: write the host alone, and what else is to be so as `scheme` or `path`"),
        ("a.b/c", "is a URL: write the host alone, and what else is to be so as `scheme` or `path`"),
        ("*", "takes every host, as does a route without one: remove it"),
        (
            "shop.*.com",
            "has a \"*\" that is not its first label: a wildcard is *.NAME, which takes one label or more before NAME",
        ),
        (
            "*shop.com",
            "has a \"*\" that is not its first label: a wildcard is *.NAME, which takes one label or more before NAME",
        ),
        (
            "*.10.0.0.1",
            "is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address",
        ),
        (
            "a..b",
            "is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address",
        ),
        ("", "is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address"),
        (
            "a b",
            "is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address",
        ),
        (
            "[::1",
            "is no host: expected a name such as shop.example.com or *.shop.example.com, or an IP address",
        ),
        (
            "käse.example",
            "has 'ä' in it: write a name of other letters in its form for DNS, which begins with xn--",
        ),
    ] {
        assert_refused(
            &format!("{{ match: {{ host: \"{host}\" }}, service: goods }}"),
            &format!(".match.host: \"{host}\" {expected}"),
        );
    }
    let told = problems(&with_route(&format!("{{ match: {{ host: [a.b, {long}] }}, service: goods }}")));
    assert!(
        told[0].starts_with("7: gateway.routes[0].match.host[1]: ") && told[0].contains("is longer than"),
        "{told:?}"
    );
    assert_refused(
        "{ match: { host: [] }, service: goods }",
        ".match.host: is empty: expected at least one host, such as shop.example.com",
    );
}

#[test]
fn what_proxies_tell_is_no_condition_since_clients_write_it() {
    for name in [
        "x-real-ip",
        "X_Real_IP",
        "forwarded",
        "x-forwarded-for",
        "x.forwarded.host",
        "x-forwarded-ssl",
        "via",
        "CDN-Loop",
        "cdn_loop",
        "true-client-ip",
    ] {
        let told = problems(&with_route(&format!(
            "{{ match: {{ headers: {{ {name}: {{ present: true }} }} }}, service: goods }}"
        )));
        let expected = format!("7: gateway.routes[0].match.headers.{name}: is what proxies say");
        assert!(told.len() == 1 && told[0].replace('"', "").starts_with(&expected), "{told:?}");
    }
    route(
        "{ match: { headers: { x-request-id: a, user-agent: b, origin: c, trace-id: d } }, service: goods }",
    );
}

#[test]
fn every_other_condition_is_named() {
    for (written, expected) in [
        (
            "methods: [get]",
            "methods[0]: \"get\" is in small letters: write GET, a method's letters are not compared without regard to case",
        ),
        ("methods: [\"A B\"]", "methods[0]: \"A B\" is no method such as GET"),
        ("methods: []", "methods: is empty: expected at least one method, such as GET"),
        (
            "headers: { a b: 1 }",
            "headers.\"a b\": is not a header name: expected letters, digits, \"-\" and \"_\"",
        ),
        ("headers: { Host: a.b }", "headers.Host: is matched by `host`, which knows HTTP/2's hosts, too"),
        ("headers: { Cookie: a }", "headers.Cookie: is matched by `cookies`, one by one"),
        (
            "headers: { X-Forwarded-Proto: https }",
            "headers.X-Forwarded-Proto: is what proxies say, and any client can write it: match by `client`, `scheme` or `host`, which know whom to believe",
        ),
        ("headers: { x-a: 1, X-A: 2 }", "headers.X-A: is the same as x-a in line 7"),
        ("headers: { x-a: }", "headers.x-a: has no value: give it one, or remove the key"),
        (
            "headers: { x-a: { regex: \"(\" } }",
            "headers.x-a.regex: \"(\" is no regular expression: unclosed group",
        ),
        (
            "headers: { x-a: { prefix: \"\" } }",
            "headers.x-a.prefix: is empty, which every value begins with: write {present: true}",
        ),
        ("headers: { x-a: { present: maybe } }", "headers.x-a.present: found maybe, expected true or false"),
        ("headers: { x-a: {} }", "headers.x-a: is empty: expected one of exact, prefix, regex, present"),
        (
            "headers: { x-a: { exact: a, present: true } }",
            "headers.x-a.present: stands beside exact: write one of them",
        ),
        (
            "headers: [x-a]",
            "headers: found a list, expected a section: keys and values, indented by two spaces",
        ),
        (
            "cookies: { \"a=b\": c }",
            "cookies.\"a=b\": is not a cookie name: expected letters, digits, \"-\" and \"_\"",
        ),
        ("query: { \"\": c }", "query.\"\": is empty"),
        ("client: [10.0.0.1/8]", "client[0]: \"10.0.0.1/8\" has bits set after its length: write 10.0.0.0/8"),
        ("client: []", "client: is empty: expected at least one network, such as 10.0.0.0/8"),
        ("scheme: ftp", "scheme: found ftp, expected http or https"),
        ("host: [a.b, \"*.a.b\", A.B.]", "host[2]: is there already, in line 7: remove one of them"),
        ("methods: [GET, PUT, GET]", "methods[2]: is there already, in line 7: remove one of them"),
        ("client: [10.0.0.1, 10.0.0.1/32]", "client[1]: is there already, in line 7: remove one of them"),
        ("hosts: a.b", "hosts: is an unknown key: did you mean host?"),
    ] {
        assert_refused(
            &format!("{{ match: {{ {written} }}, service: goods }}"),
            &format!(".match.{expected}"),
        );
    }
    assert_refused(
        "{ match: shop.example.com, service: goods }",
        ".match: found shop.example.com, expected a section: keys and values, indented by two spaces",
    );
}

#[test]
fn a_route_asks_for_a_certificate_of_one_name_or_of_one_of_several() {
    let names = |written: &str| {
        let found = takes(&format!("match: {{ client_cert: {{ san: {written} }} }}"));
        found.client_cert.unwrap().san
    };
    assert_eq!(names("a.b"), [SanPattern::Dns("a.b".into())]);
    assert_eq!(names("[a.b, urn:c]"), [SanPattern::Dns("a.b".into()), SanPattern::Uri("urn:c".into())]);
    for (written, expected) in [
        (
            "{}",
            ".san: is missing: expected a name such as shop.example.com, a URI such as spiffe://cluster.local/ns/shop/*, or a list of such",
        ),
        ("a.b", ": found a.b, expected a section such as {san: shop.example.com}"),
        ("{ san: [] }", ".san: is empty: expected at least one name, such as shop.example.com"),
        ("{ san: [a.b, A.b] }", ".san[1]: is there already, in line 7: remove one of them"),
        (
            "{ san: 10.0.0.1 }",
            ".san: \"10.0.0.1\" is an IP address: matched are DNS names, URIs and addresses of mail",
        ),
        ("{ subject: a }", ".subject: is an unknown key: expected one of san"),
    ] {
        let told =
            problems(&with_route(&format!("{{ match: {{ client_cert: {written} }}, service: goods }}")));
        let expected = format!("7: gateway.routes[0].match.client_cert{expected}");
        assert!(told.contains(&expected), "{told:?}");
    }
}
