//! `conf/schema.json`, by which editors check a file: it takes what the reader takes, as far as a key by itself goes.

use super::routes::with_route;
use super::*;
use jsonschema::Validator;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn schema() -> Validator {
    let text = fs::read_to_string(root().join("conf/schema.json")).unwrap();
    jsonschema::draft7::new(&serde_json::from_str(&text).unwrap()).unwrap()
}

/// What the schema has against a text.
fn complaints(schema: &Validator, text: &str) -> Vec<String> {
    let node = config_reader::parse(text).unwrap().unwrap();
    let json = config_reader::to_json(&node);
    schema.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn it_takes_every_configuration_of_the_repository() {
    let schema = schema();
    let names = [
        "conf/pingora.yaml",
        "conf/services.yaml",
        "conf/etcd-cluster.yaml",
        "conf/reference.yaml",
        "deploy/compose/pingora.yaml",
        "deploy/kubernetes/base/pingora.yaml",
        "deploy/kubernetes/tls/pingora.yaml",
        "deploy/systemd/pingora.yaml",
    ];
    for name in names {
        let text = fs::read_to_string(root().join(name)).unwrap();
        assert_eq!(complaints(&schema, &text), [""; 0], "{name}");
    }
}

#[test]
fn it_takes_what_the_reader_takes() {
    let schema = schema();
    for text in [
        VALID.to_owned(),
        with_embedded(""),
        with_embedded("listen: \"[::1]:7\", hosts: [a.b]"),
        with_gateway("admin: off"),
        with(
            "[\"0.0.0.0:8080\"]",
            "[\"0.0.0.0:80\", { address: \"[::]:443\", tls: { certificates: [{ cert: /a, key: /b }], client: { ca: /a, mode: \
             optional } }, http2: true, proxy_protocol: { from: [10.0.0.0/8] }, deny: [10.0.0.1] }]",
        ),
        with_gateway("connections: { max: 7, requests: off }"),
        with_gateway("http2: pingora\n  connections: { max_age: 5m, streams: 1 }"),
        with_gateway("defaults: { protocol: h2c, ejection: { grpc: [] } }"),
        with_route("{ path: /a, service: a, retry: { idempotent: true, grpc: [ABORTED] }, grpc_web: true }"),
        with_gateway("defaults: { tls: {} }\n  services: { goods: { tls: off } }"),
        with_gateway(
            "services: { goods: { tls: { server_name: \"::1\", cert: /a, key: /b, verify: false } } }",
        ),
        with_route("{ match: { client_cert: { san: [a.b, \"spiffe://a/*\"] } }, service: a }"),
        with_gateway(
            "defaults: { ejection: off, stall: off, check: off, slow_start: 5s, limits: { service: 7 } }",
        ),
        with_gateway(
            "defaults: { check: { probe: tcp } }\n  services: { goods: { check: { interval: 9s } } }",
        ),
        with_gateway("services: { goods: { balance: { hash: { header: X-User } } } }"),
        with_gateway("defaults: { balance: { hash: client } }"),
        with_gateway("timeouts: { total: off, keepalive: 5s }\n  log: json\n  reload: off"),
        with_registry(
            "audit: off\n    snapshot: off\n    allow: [10.0.0.0/8, 10.1.2.3]\n    guard: { share: 0.25 }",
        ),
        with_server("fast_timeout_to_tokio_threshold_seconds:"),
        with("service: goods", "service: goods\n      retry: { attempts: 2, statuses: [503] }"),
        with_gateway("trusted_proxies: [10.0.0.0/8]\n  forwarded: on\n  via: on\n  proxy_status: off"),
        with_gateway("errors: { 4xx: { json: { error: \"{message}\" } } }"),
        with_route("{ path: \"/{service}\", services_allowed: [goods, \"shop-*\"], max_services: 7 }"),
        with_route("{ path: { exact: /a }, services: [{ service: a, weight: 0 }, { service: b }] }"),
        with_route("{ path: { regex: /a+ }, name: a, answer: { headers: { x-a: b }, body: \"\" } }"),
        with_route(
            "{ match: { host: \"*.a.b\", methods: [GET] }, redirect: { scheme: https, host: a.b, status: 308 } }",
        ),
        with_route(
            "{ match: { host: [a.b, c.d], path: { prefix: /a }, headers: { x-a: \"\", x-b: { present: false } }, \
             query: { \"a b\": { regex: a } }, cookies: { c: { prefix: d } }, client: [10.0.0.1], scheme: http }, \
             service: a, sticky: { cookie: lw }, rewrite: { regex: \"/a(.*)\", to: \"$1\" }, host: \"a:80\" }",
        ),
        with_route(
            "{ path: /a, service: a, strip_prefix: /a, request_headers: { set: { x-a: \"{route}\" }, remove: [x-b] }, \
             response_headers: { add: { x-a: b } } }",
        ),
    ] {
        valid(&text);
        assert_eq!(complaints(&schema, &text), [""; 0], "{text}");
    }
}

#[test]
fn it_refuses_what_the_reader_refuses() {
    for (text, expected) in [
        (with("version: 1", "version: 2"), "/version"),
        ("version: 1\n".to_owned(), ": \"gateway\" is a required property"),
        (with_server("treads: 1"), ": Additional properties are not allowed"),
        (with_server("threads: 0"), "/threads"),
        (with_server("pid_file: leaseway.pid"), "/pid_file"),
        (with_server("daemon: yes"), "/daemon"),
        (with("[\"0.0.0.0:8080\"]", "[]"), "/gateway/listen"),
        (with("[\"0.0.0.0:8080\"]", "[localhost]"), "/gateway/listen/0"),
        (with("[\"0.0.0.0:8080\"]", "[{ http2: true }]"), "/gateway/listen/0"),
        (with("[\"0.0.0.0:8080\"]", "[{ address: \"[::]:80\", tls: {} }]"), "/gateway/listen/0"),
        (with_gateway("connections: { max: 0 }"), "/gateway/connections/max"),
        (with_gateway("services: { goods: { tls: on } }"), "/gateway/services/goods/tls"),
        (with_gateway("services: { goods: { protocol: grpc } }"), "/gateway/services/goods/protocol"),
        (with_gateway("defaults: { ejection: { grpc: [OK] } }"), "/gateway/defaults/ejection"),
        (with_gateway("connections: { max_age: 5 }"), "/gateway/connections/max_age"),
        (with_route("{ match: { client_cert: {} }, service: a }"), "/gateway/routes/0/match/client_cert"),
        (with_endpoints("[127.0.0.1:2379]"), "/gateway/registry/endpoints/0"),
        (with_registry("embedded: {}"), "/gateway/registry"),
        (with_registry("audit: 60"), "/gateway/registry/audit"),
        (with_registry("guard: { share: 2 }"), "/gateway/registry/guard/share"),
        (with("path: /goods", "path: goods"), "/gateway/routes/0/path"),
        (
            with("      service: goods\n", ""),
            "/gateway/routes/0: {\"path\":\"/goods\"} is not valid under any",
        ),
        (with_gateway("log: xml"), "/gateway/log"),
        (with_gateway("max_requests: 0"), "/gateway/max_requests"),
        (with_gateway("timeouts: { idle: soon }"), "/gateway/timeouts/idle"),
        (with_gateway("defaults: { balance: fastest }"), "/gateway/defaults/balance"),
        (with_gateway("defaults: { check: { healthy: 1 } }"), "/gateway/defaults/check"),
        (with_gateway("services: { goods: { stall: { factor: 0 } } }"), "/gateway/services/goods/stall"),
        (
            with("service: goods", "service: goods\n      retry: { statuses: [508] }"),
            "/gateway/routes/0/retry/statuses/0",
        ),
    ] {
        assert_refused(&text, expected);
    }
}

#[test]
fn it_refuses_what_the_reader_refuses_in_routes() {
    for (text, expected) in [
        (with_gateway("forwarded: yes"), "/gateway/forwarded"),
        (with_gateway("errors: { 200: { json: {} } }"), "/gateway/errors"),
        (with_gateway("errors: { 404: {} }"), "/gateway/errors/404"),
        (
            with_route("{ service: goods }"),
            "/gateway/routes/0: {\"service\":\"goods\"} is not valid under any",
        ),
        (with_route("{ path: /a, service: a, answer: {} }"), "/gateway/routes/0: "),
        (with_route("{ path: { exact: /a, regex: /b }, service: a }"), "/gateway/routes/0/path"),
        (with_route("{ path: { exact: a }, service: a }"), "/gateway/routes/0/path"),
        (with_route("{ path: /a, services: [] }"), "/gateway/routes/0/services"),
        (with_route("{ path: /a, services: [{ weight: 1 }] }"), "/gateway/routes/0/services/0"),
        (with_route("{ match: { host: [] }, service: a }"), "/gateway/routes/0/match/host"),
        (with_route("{ match: { methods: [get] }, service: a }"), "/gateway/routes/0/match/methods/0"),
        (with_route("{ match: { headers: { a b: c } }, service: a }"), "/gateway/routes/0/match/headers"),
        (with_route("{ match: { cookies: { a: {} } }, service: a }"), "/gateway/routes/0/match/cookies/a"),
        (with_route("{ match: { scheme: ftp }, service: a }"), "/gateway/routes/0/match/scheme"),
        (
            with_route("{ path: /a, redirect: { host: a.b, status: 300 } }"),
            "/gateway/routes/0/redirect/status",
        ),
        (with_route("{ path: /a, answer: { status: 99 } }"), "/gateway/routes/0/answer/status"),
        (with_route("{ path: /a, service: a, sticky: {} }"), "/gateway/routes/0/sticky"),
        (with_route("{ path: /a, service: a, rewrite: { regex: a } }"), "/gateway/routes/0/rewrite"),
        (
            with_route("{ path: /a, service: a, request_headers: { remove: [a b] } }"),
            "/gateway/routes/0/request_headers/remove/0",
        ),
    ] {
        assert_refused(&text, expected);
    }
}

/// By the reader, and by the schema for something at this place.
#[track_caller]
fn assert_refused(text: &str, place: &str) {
    assert!(parse(text).is_err(), "{text}");
    let told = complaints(&schema(), text);
    assert!(told.iter().any(|told| told.starts_with(place)), "{text}: {told:?}");
}
