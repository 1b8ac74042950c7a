//! Routes, and what is tried again on them.

mod actions;
mod changes;
mod matching;
mod names;

use super::*;
use crate::grpc::Status;

/// [`VALID`] with this route in the place of its own.
pub(super) fn with_route(route: &str) -> String {
    with("    - path: /goods\n      service: goods\n", &format!("    - {route}\n"))
}

fn routes(text: &str) -> Vec<Route> {
    valid(text).gateway.routes
}

/// The route that [`with_route`] puts there.
fn route(written: &str) -> Route {
    routes(&with_route(written)).remove(0)
}

/// The one mistake of a route, which stands in line 7.
#[track_caller]
fn assert_refused(written: &str, expected: &str) {
    assert_problem(&with_route(written), &format!("7: gateway.routes[0]{expected}"));
}

#[test]
fn a_route_has_one_path_and_one_service() {
    assert_problem(
        &with("service: goods", "service: goods\n    - path: /goods\n      service: other"),
        "9: gateway.routes[1]: takes nothing: gateway.routes[0] in line 7 takes all of it before",
    );
    for service in ["a/b", "\"\""] {
        let told = problems(&with("service: goods", &format!("service: {service}")));
        assert!(
            told[0].starts_with("8: gateway.routes[0].service:") && told[0].contains("is not a name"),
            "{told:?}"
        );
    }
    assert_problem(
        &with("    - path: /goods\n      service: goods\n", "    []\n"),
        "6: gateway.routes: is empty: expected at least one route",
    );
}

#[test]
fn clients_come_back_only_to_a_service_that_the_route_names() {
    let by_path = "path: \"/{service}\"\n      services_allowed: [\"*\"]\n      sticky: {cookie: lw}";
    assert_problem(
        &with("path: /goods\n      service: goods", by_path),
        "9: gateway.routes[0].sticky: means nothing beside services_allowed: it needs service or services",
    );
}

#[test]
fn a_pattern_is_told_what_takes_everything_below_a_path() {
    assert_problem(
        &with("path: /goods", "path: /goods/*"),
        "7: gateway.routes[0].path: \"/goods/*\" looks like a pattern, \"*\", which is matched as it is written: write /goods, which takes everything below it",
    );
    for path in ["~ ^/goods", "^/goods", "= /goods", "goods.example.com/*", "http://goods/list"] {
        let told = problems(&with("path: /goods", &format!("path: \"{path}\"")));
        assert!(told[0].contains("is no path: it must start with"), "{told:?}");
    }
    for prefix in ["/services/*", "/services/{service}"] {
        let told = problems(&with_registry(&format!("prefix: \"{prefix}\"")));
        assert!(told[0].ends_with("write /services, which takes everything below it"), "{told:?}");
    }
}

#[test]
fn a_route_says_what_its_requests_may_upgrade_to() {
    let upgrades =
        |written: &str| route(&format!("{{ path: /a, service: a, upgrades: {written} }}")).upgrades;
    assert_eq!(route("{ path: /a, service: a }").upgrades, Upgrades::default());
    assert_eq!(upgrades("[WebSocket]"), Upgrades::default());
    assert_ne!(upgrades("[]"), Upgrades::default());
    assert_ne!(upgrades("[websocket, irc/2]"), upgrades("[irc/2]"));
    for (written, expected) in [
        ("websocket", ": found websocket, expected a list: write [websocket]"),
        (
            "[h2c]",
            "[0]: \"h2c\" would carry HTTP on to the instance: no route, no limit and no line in the log would see its requests",
        ),
        (
            "[a b]",
            "[0]: \"a b\" is no protocol: expected a name, such as websocket, or a name and a version, such as irc/2",
        ),
        ("[websocket, WebSocket]", "[1]: is there already, in line 7: remove one of them"),
    ] {
        assert_refused(
            &format!("{{ path: /a, service: a, upgrades: {written} }}"),
            &format!(".upgrades{expected}"),
        );
    }
    assert_refused(
        "{ path: /a, answer: { status: 200 }, upgrades: [] }",
        ".upgrades: means nothing on an answer: no instance gets the request",
    );
}

#[test]
fn a_route_says_whether_it_takes_grpc_web() {
    let grpc_web = |written: &str| route(&format!("{{ path: /a, service: a{written} }}")).grpc_web;
    assert!(!grpc_web("") && !grpc_web(", grpc_web: false") && grpc_web(", grpc_web: true"));
    assert_refused("{ path: /a, service: a, grpc_web: on }", ".grpc_web: found on, expected true or false");
    assert_refused(
        "{ path: /a, redirect: { scheme: https }, match: { scheme: http }, grpc_web: true }",
        ".grpc_web: means nothing on a redirect: no instance gets the request",
    );
}

fn with_retry(retry: &str) -> String {
    with("service: goods", &format!("service: goods\n      retry: {retry}"))
}

#[test]
fn what_is_tried_again_is_said_per_route() {
    let retry = |text: &str| valid(&with_retry(text)).gateway.routes[0].retry.clone();
    let nothing = Retry { attempts: 3, statuses: vec![], idempotent: false, grpc: vec![] };
    assert_eq!(retry("{}"), nothing);
    assert_eq!(
        retry("{ attempts: 1, idempotent: false, grpc: [] }"),
        Retry { attempts: 1, ..nothing.clone() }
    );
    let statuses = vec![503, 500, 599];
    let several = Retry { attempts: 2, statuses, ..nothing.clone() };
    assert_eq!(retry("{ attempts: 2, statuses: [503, 500, 599] }"), several);
    let twice = Retry { idempotent: true, ..nothing };
    assert_eq!(retry("{ idempotent: true }"), twice);
    let grpc = vec![Status::Unavailable, Status::Aborted];
    assert_eq!(retry("{ idempotent: true, grpc: [UNAVAILABLE, ABORTED] }"), Retry { grpc, ..twice });
}

#[test]
fn a_retry_states_its_bounds() {
    for (retry, expected) in [
        ("off", ": found off, expected a section: keys and values, indented by two spaces"),
        ("{ attempts: 0 }", ".attempts: found 0, expected a whole number from 1 to 3"),
        ("{ attempts: 4 }", ".attempts: found 4, expected a whole number from 1 to 3"),
        ("{ statuses: 503 }", ".statuses: found 503, expected a list: write [503]"),
        ("{ statuses: [503, 499] }", ".statuses[1]: found 499, expected a whole number from 500 to 599"),
        ("{ statuses: [600] }", ".statuses[0]: found 600, expected a whole number from 500 to 599"),
        (
            "{ statuses: [503, 508] }",
            ".statuses[1]: is 508, which says that a request goes round in circles: it must not be sent round again",
        ),
        (
            "{ attempts: 1, statuses: [503] }",
            ".statuses: means nothing with one attempt: set attempts to 2 or more",
        ),
        (
            "{ attempts: 1, idempotent: true }",
            ".idempotent: means nothing with one attempt: set attempts to 2 or more",
        ),
        ("{ idempotent: yes }", ".idempotent: found yes, expected true or false"),
        (
            "{ grpc: [UNAVAILABLE] }",
            ".grpc: needs idempotent: true beside it: a call that has failed so may have been carried out, and only you know \
             whether it may be twice",
        ),
        ("{ idempotent: yes, grpc: [UNAVAILABLE] }", ".idempotent: found yes, expected true or false"),
        ("{ idempotent: true, grpc: [UNAVAILABLE, OK] }", ".grpc[1]: is OK, by which a call has not failed"),
        (
            "{ idempotent: true, grpc: [503] }",
            ".grpc[0]: \"503\" is no status of gRPC: expected a name such as UNAVAILABLE",
        ),
        (
            "{ idempotent: true, grpc: [ABORTED, ABORTED] }",
            ".grpc[1]: is there already, in line 9: remove one of them",
        ),
        ("{ attempts: 0, statuses: [503] }", ".attempts: found 0, expected a whole number from 1 to 3"),
        ("{ status: [503] }", ".status: is an unknown key: did you mean statuses?"),
    ] {
        assert_problem(&with_retry(retry), &format!("9: gateway.routes[0].retry{expected}"));
    }
}
