//! What is particular to a service.

use super::*;
use crate::config::CertificateFiles;
use crate::config::grpc_statuses::GrpcStatuses;
use crate::grpc::Status;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// The defaults stand in line 9.
fn with_defaults(keys: &str) -> String {
    with_gateway(&format!("defaults: {{ {keys} }}"))
}

/// The defaults stand in line 9, and what the service goods has of its own in line 11.
fn with_both(defaults: &str, own: &str) -> String {
    with_gateway(&format!("defaults: {{ {defaults} }}\n  services:\n    goods: {{ {own} }}"))
}

fn statuses<const COUNT: usize>(statuses: [Status; COUNT]) -> GrpcStatuses {
    statuses.into_iter().collect()
}

fn goods(text: &str) -> Service {
    valid(text).gateway.services.get("goods").clone()
}

/// Holds a mistake in `defaults`, and the same in a service of its own, to its message.
#[track_caller]
fn assert_mistake(keys: &str, expected: &str) {
    assert_problem(&with_defaults(keys), &format!("9: gateway.defaults.{expected}"));
    assert_problem(&with_both("", keys), &format!("11: gateway.services.goods.{expected}"));
}

#[test]
fn a_service_of_which_nothing_is_said_has_the_documented_defaults() {
    let expected = Service {
        addresses: None,
        tls: None,
        protocol: Protocol::Auto,
        balance: Balance::Random,
        slow_start: Duration::ZERO,
        ejection: Some(Ejection {
            failures: count(5),
            base: 500 * MS,
            longest: 4 * SECOND,
            forgive: 10 * SECOND,
            grpc: statuses([
                Status::Unavailable,
                Status::Internal,
                Status::Unknown,
                Status::DeadlineExceeded,
            ]),
        }),
        stall: Some(Stall { requests: count(3), floor: SECOND, factor: count(10) }),
        check: None,
        limits: Limits { endpoint: None, service: None },
        budget: Budget { percent: 20, per_second: 10 },
    };
    assert_eq!(Service::default(), expected);
    for text in [VALID, &with_defaults(""), &with_both("", "")] {
        assert_eq!(goods(text), expected);
    }
}

#[test]
fn every_key_reaches_the_service() {
    let keys = "balance: least_request, slow_start: 30s, \
        ejection: { failures: 1, base: 50ms, longest: 1h, forgive: 1s, grpc: [DATA_LOSS] }, \
        stall: { requests: 1000, floor: 100ms, factor: 1 }, \
        check: { probe: /healthz?full=1, statuses: [200, 204], interval: 2s, timeout: 1500ms, healthy: 1, unhealthy: 4, initially: unhealthy }, \
        limits: { endpoint: 100, service: 1000000 }, budget: { percent: 0, per_second: 100000 }, tls: { ca: /a.pem }, protocol: h2";
    let expected = Service {
        addresses: None,
        tls: Some(ServiceTls { ca: Some("/a.pem".into()), ..ServiceTls::default() }),
        protocol: Protocol::H2,
        balance: Balance::LeastRequest,
        slow_start: 30 * SECOND,
        ejection: Some(Ejection {
            failures: count(1),
            base: 50 * MS,
            longest: 3600 * SECOND,
            forgive: SECOND,
            grpc: statuses([Status::DataLoss]),
        }),
        stall: Some(Stall { requests: count(1000), floor: 100 * MS, factor: count(1) }),
        check: Some(Check {
            probe: Probe::Http { path: "/healthz?full=1".into(), statuses: vec![200, 204] },
            interval: 2 * SECOND,
            timeout: 1500 * MS,
            healthy: count(1),
            unhealthy: count(4),
            initially: Initially::Unhealthy,
        }),
        limits: Limits { endpoint: Some(count(100)), service: Some(count(1_000_000)) },
        budget: Budget { percent: 0, per_second: 100_000 },
    };
    assert_eq!(goods(&with_defaults(keys)), expected);
    assert_eq!(goods(&with_both("", keys)), expected);
    let services = valid(&with_both("", keys)).gateway.services;
    assert_eq!(services.get("another"), &Service::default());
}

#[test]
fn what_can_be_off_is_off() {
    let everything = "slow_start: 1s, check: { probe: tcp }, limits: { endpoint: 1, service: 2 }";
    let off =
        "slow_start: off, ejection: off, stall: off, check: off, limits: { endpoint: off, service: off }";
    let expected = Service { ejection: None, stall: None, ..Service::default() };
    assert_eq!(goods(&with_both(everything, off)), expected);
    assert_eq!(goods(&with_defaults(off)), expected);
    assert_eq!(goods(&with_defaults("stall: off")), Service { stall: None, ..Service::default() });
}

#[test]
fn a_service_takes_over_key_by_key_what_it_does_not_say() {
    let defaults = "balance: ewma, slow_start: 5s, ejection: { base: 2s, failures: 7 }, stall: { floor: 3s }, \
        check: { probe: /up, statuses: [204], interval: 9s }, limits: { endpoint: 8 }, budget: { percent: 30 }, protocol: h2c";
    let own = "balance: random, ejection: { failures: 2 }, stall: { factor: 4 }, check: { unhealthy: 1 }, \
        limits: { service: 90 }, budget: { per_second: 0 }";
    let (all, goods) = (goods(&with_defaults(defaults)), goods(&with_both(defaults, own)));
    let expected = Service {
        addresses: None,
        tls: None,
        protocol: Protocol::H2c,
        balance: Balance::Random,
        slow_start: 5 * SECOND,
        ejection: all.ejection.map(|ejection| Ejection { failures: count(2), ..ejection }),
        stall: all.stall.map(|stall| Stall { factor: count(4), ..stall }),
        check: all.check.map(|check| Check { unhealthy: count(1), ..check }),
        limits: Limits { endpoint: Some(count(8)), service: Some(count(90)) },
        budget: Budget { percent: 30, per_second: 0 },
    };
    assert_eq!(goods, expected);
    assert_eq!(expected.ejection.map(|ejection| ejection.base), Some(2 * SECOND));
    assert_eq!(expected.stall.map(|stall| stall.floor), Some(3 * SECOND));
}

#[test]
fn each_policy_and_each_hash_has_its_name() {
    for (text, expected) in [
        ("random", Balance::Random),
        ("round_robin", Balance::RoundRobin),
        ("least_request", Balance::LeastRequest),
        ("ewma", Balance::Ewma),
        ("{ hash: path }", Balance::Hash(HashKey::Path)),
        ("{ hash: client }", Balance::Hash(HashKey::Client)),
        (
            "{ hash: { header: X-User } }",
            Balance::Hash(HashKey::Header(http::HeaderName::from_static("x-user"))),
        ),
        ("{ hash: { cookie: SID } }", Balance::Hash(HashKey::Cookie("SID".into()))),
    ] {
        assert_eq!(goods(&with_defaults(&format!("balance: {text}"))).balance, expected, "{text}");
    }
}

#[test]
fn any_other_balance_is_told_what_there_is() {
    let policies = "random, round_robin, least_request, ewma, or a hash such as {hash: client}";
    let keys = "path, client, {header: NAME} or {cookie: NAME}";
    for (text, expected) in [
        ("fastest", format!("balance: found fastest, expected {policies}")),
        ("hash", format!("balance: found hash, expected {policies}")),
        ("off", format!("balance: found off, expected {policies}")),
        ("[random]", "balance: found a list, expected a single value".into()),
        ("{}", format!("balance.hash: is missing: expected {keys}")),
        ("{ hash: path, on: b }", "balance.on: is an unknown key: expected one of hash".into()),
        ("{ hash: url }", format!("balance.hash: found url, expected {keys}")),
        ("{ hash: {} }", format!("balance.hash: found a section, expected {keys}")),
        (
            "{ hash: { header: a, cookie: b } }",
            "balance.hash: has a header and a cookie: one of them is hashed".into(),
        ),
        ("{ hash: { heder: a } }", "balance.hash.heder: is an unknown key: did you mean header?".into()),
        (
            "{ hash: { header: a b } }",
            "balance.hash.header: \"a b\" is not a header name: expected letters, digits, \"-\" and \"_\""
                .into(),
        ),
        (
            "{ hash: { cookie: \"\" } }",
            "balance.hash.cookie: \"\" is not a cookie name: expected letters, digits, \"-\" and \"_\""
                .into(),
        ),
    ] {
        assert_mistake(&format!("balance: {text}"), &expected);
    }
}

#[test]
fn slow_start_ejection_and_stall_state_their_bounds() {
    let duration = |key: &str, found: &str, bounds: &str| {
        (format!("found {found}, expected a duration from {bounds}"), key.to_owned(), found.to_owned())
    };
    for (expected, key, found) in [
        duration("slow_start", "99ms", "100ms to 1h, or off"),
        duration("slow_start", "0s", "100ms to 1h, or off"),
        duration("slow_start", "61m", "100ms to 1h, or off"),
        duration("ejection.base", "49ms", "50ms to 1m"),
        duration("ejection.base", "61s", "50ms to 1m"),
        duration("ejection.longest", "49ms", "50ms to 1h"),
        duration("ejection.longest", "61m", "50ms to 1h"),
        duration("ejection.forgive", "999ms", "1s to 1h"),
        duration("ejection.forgive", "61m", "1s to 1h"),
        duration("stall.floor", "99ms", "100ms to 10m"),
        duration("stall.floor", "601s", "100ms to 10m"),
    ] {
        assert_mistake(&nested(&key, &found), &format!("{key}: {expected}"));
    }
    for key in ["ejection.failures", "stall.requests", "stall.factor"] {
        for found in ["0", "1001", "many"] {
            let expected = format!("{key}: found {found}, expected a whole number from 1 to 1000");
            assert_mistake(&nested(key, found), &expected);
        }
    }
}

/// `a.b` with a value -> `a: { b: value }`.
fn nested(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((section, key)) => format!("{section}: {{ {key}: {value} }}"),
        None => format!("{key}: {value}"),
    }
}

#[test]
fn what_is_a_section_or_off_says_so() {
    let any = "a section: keys and values, indented by two spaces";
    for (key, expected) in
        [("ejection", any), ("stall", any), ("check", "a section such as {probe: /healthz}")]
    {
        for (value, found) in [("false", "false"), ("", "nothing"), ("[off]", "a list")] {
            assert_mistake(
                &format!("{key}: {value}"),
                &format!("{key}: found {found}, expected {expected}, or off"),
            );
        }
    }
    for key in ["limits", "budget"] {
        assert_mistake(
            &format!("{key}: off"),
            &format!("{key}: found off, expected a section: keys and values, indented by two spaces"),
        );
    }
}

#[test]
fn of_base_and_longest_the_one_that_is_not_set_gives_way() {
    for (set, base, longest) in [
        ("base: 3s", 3_000, 4_000),
        ("base: 10s", 10_000, 10_000),
        ("longest: 100ms", 100, 100),
        ("longest: 1m", 500, 60_000),
    ] {
        let ejection = goods(&with_defaults(&format!("ejection: {{ {set} }}"))).ejection.unwrap();
        assert_eq!((ejection.base, ejection.longest), (base * MS, longest * MS), "{set}");
    }
    let inherits = goods(&with_both("ejection: { base: 10s, longest: 20s }", "ejection: { longest: 5s }"));
    assert_eq!(inherits.ejection.unwrap().base, 5 * SECOND);
    assert_mistake(
        "ejection: { base: 2s, longest: 1s }",
        "ejection.base: must not be longer than longest, 1s",
    );
    assert_mistake(
        "ejection: { base: 20s, longest: 1 }",
        "ejection.longest: \"1\" has no unit: write 1s for seconds, 1ms for milliseconds",
    );
}

#[test]
fn which_statuses_of_grpc_are_failures_is_said_as_a_whole() {
    let of = |text: &str| goods(text).ejection.unwrap().grpc;
    let given = "ejection: { grpc: [UNAVAILABLE, RESOURCE_EXHAUSTED] }";
    let expected = statuses([Status::ResourceExhausted, Status::Unavailable]);
    assert_eq!(of(&with_defaults(given)), expected);
    assert_eq!(of(&with_both(given, "ejection: { failures: 2 }")), expected);
    assert_eq!(of(&with_both(given, "ejection: { grpc: [ABORTED] }")), statuses([Status::Aborted]));
    assert_eq!(of(&with_both("", "ejection: { grpc: [] }")), GrpcStatuses::default());
    for (value, expected) in [
        ("UNAVAILABLE", ": found UNAVAILABLE, expected a list: write [UNAVAILABLE]"),
        ("[UNAVAILABLE, 14]", "[1]: \"14\" is no status of gRPC: expected a name such as UNAVAILABLE"),
        ("[unavailable]", "[0]: \"unavailable\" is no status of gRPC: expected a name such as UNAVAILABLE"),
        ("[OK]", "[0]: is OK, by which a call has not failed"),
        ("off", ": found off, expected a list: write [off]"),
    ] {
        assert_mistake(&format!("ejection: {{ grpc: {value} }}"), &format!("ejection.grpc{expected}"));
    }
    assert_problem(
        &with_both("", "ejection: { grpc: [ABORTED, ABORTED] }"),
        "11: gateway.services.goods.ejection.grpc[1]: is there already, in line 11: remove one of them",
    );
}

#[test]
fn a_stall_is_an_ejection_and_means_nothing_without() {
    let void = "stall: means nothing while ejection is off: a stall is an ejection";
    assert_mistake("ejection: off, stall: { factor: 2 }", void);
    assert_problem(
        &with_both("ejection: off", "stall: { factor: 2 }"),
        &format!("11: gateway.services.goods.{void}"),
    );
    assert_eq!(goods(&with_defaults("ejection: off")).stall, None);
    assert_eq!(goods(&with_both("", "ejection: off, stall: off")).stall, None);
    let on_again = goods(&with_both("ejection: off", "ejection: { failures: 2 }"));
    assert_eq!(on_again.stall, Some(Stall::default()));
    assert_eq!(on_again.ejection, Some(Ejection { failures: count(2), ..Ejection::default() }));
    assert_problem(
        &with_both("ejection: off", "ejection: {failures: 0}, stall: { factor: 2 }"),
        "11: gateway.services.goods.ejection.failures: found 0, expected a whole number from 1 to 1000",
    );
    assert_problem(
        &with_both("ejection: off", "ejection: on, stall: { factor: 2 }"),
        "11: gateway.services.goods.ejection: found on, expected a section: keys and values, indented by two spaces, or off",
    );
}

fn check(text: &str) -> Check {
    goods(text).check.unwrap()
}

#[test]
fn a_check_needs_a_probe_alone() {
    let expected = Check {
        probe: Probe::Tcp,
        interval: 5 * SECOND,
        timeout: SECOND,
        healthy: count(2),
        unhealthy: count(3),
        initially: Initially::Up,
    };
    assert_eq!(check(&with_defaults("check: { probe: tcp }")), expected);
    let probe = Probe::Http { path: "/".into(), statuses: vec![200] };
    assert_eq!(check(&with_defaults("check: { probe: / }")), Check { probe, ..expected });
    assert_mistake(
        "check: { healthy: 1 }",
        "check.probe: is missing: expected tcp, or the path of a GET, such as /healthz; or grpc, a service of gRPC, in its place",
    );
}

#[test]
fn a_service_can_probe_otherwise_than_others() {
    let probe = |own: &str| {
        check(&with_both("check: { probe: /up, statuses: [204] }", &format!("check: {{ {own} }}"))).probe
    };
    let http = |path: &str, statuses: &[u16]| Probe::Http { path: path.into(), statuses: statuses.into() };
    assert_eq!(probe(""), http("/up", &[204]));
    assert_eq!(probe("probe: /live"), http("/live", &[204]));
    assert_eq!(probe("statuses: [200, 301]"), http("/up", &[200, 301]));
    assert_eq!(probe("probe: tcp"), Probe::Tcp);
    let from_tcp = check(&with_both("check: { probe: tcp }", "check: { probe: /live }"));
    assert_eq!(from_tcp.probe, http("/live", &[200]));
    let grpc = |service: &str| Probe::Grpc { service: service.into() };
    assert_eq!(probe("grpc: shop.v1.Goods"), grpc("shop.v1.Goods"));
    let from_grpc =
        |own: &str| check(&with_both("check: { grpc: shop.v1.Goods }", &format!("check: {{ {own} }}"))).probe;
    assert_eq!(from_grpc("interval: 9s"), grpc("shop.v1.Goods"));
    assert_eq!(from_grpc("grpc: \"\""), grpc(""));
    assert_eq!(from_grpc("probe: tcp"), Probe::Tcp);
    assert_eq!(from_grpc("probe: /live, statuses: [204]"), http("/live", &[204]));
    for own in ["check: {}", "check: { statuses: [200] }"] {
        let told = problems(&with_both("check: off", own));
        assert!(told.len() == 1 && told[0].contains("check.probe: is missing"), "{told:?}");
    }
}

#[test]
fn a_check_states_its_bounds() {
    let (tcp, by_grpc) = ("means nothing to a probe by tcp", "means nothing to a check by gRPC");
    let beside = "grpc: stands beside probe: an instance is asked by one of them";
    for (check, expected) in [
        ("probe: http", "probe: \"http\" is not a probe: expected tcp, or a path that starts with \"/\""),
        ("probe: off", "probe: \"off\" is not a probe: expected tcp, or a path that starts with \"/\""),
        ("probe: \"/a b\"", "probe: \"/a b\" has ' ' in it: what URLs do not allow is written as %XX"),
        ("probe: \"/a#b\"", "probe: \"/a#b\" has '#' in it: what URLs do not allow is written as %XX"),
        ("probe: \"/a<b\"", "probe: \"/a<b\" has '<' in it: what URLs do not allow is written as %XX"),
        ("probe: \"/?a=`\"", "probe: \"/?a=`\" has '`' in it: what URLs do not allow is written as %XX"),
        ("probe: /ü", "probe: \"/ü\" has 'ü' in it: what URLs do not allow is written as %XX"),
        ("probe:", "probe: has no value: give it one, or remove the key"),
        ("probe: tcp, statuses: [200]", &format!("statuses: {tcp}")),
        ("grpc: a.B, statuses: [200]", &format!("statuses: {by_grpc}")),
        ("grpc: \"\", probe: tcp", beside),
        ("grpc: a.B, probe: tcp, statuses: [200]", beside),
        ("grpc:", "grpc: has no value: give it one, or remove the key"),
        ("probe: /a, statuses: []", "statuses: is empty: expected at least one status, such as 200"),
        ("probe: tcp, statuses: []", "statuses: is empty: expected at least one status, such as 200"),
        ("probe: /a, statuses: [199]", "statuses[0]: found 199, expected a whole number from 200 to 599"),
        (
            "probe: /a, statuses: [200, 600]",
            "statuses[1]: found 600, expected a whole number from 200 to 599",
        ),
        ("probe: tcp, interval: 99ms", "interval: found 99ms, expected a duration from 100ms to 1h"),
        ("probe: tcp, interval: 61m", "interval: found 61m, expected a duration from 100ms to 1h"),
        ("probe: tcp, timeout: 9ms", "timeout: found 9ms, expected a duration from 10ms to 1m"),
        ("probe: tcp, timeout: 61s", "timeout: found 61s, expected a duration from 10ms to 1m"),
        ("probe: tcp, timeout: 3s, interval: 2s", "timeout: must not be longer than interval, 2s"),
        ("probe: tcp, healthy: 0", "healthy: found 0, expected a whole number from 1 to 1000"),
        ("probe: tcp, healthy: 1001", "healthy: found 1001, expected a whole number from 1 to 1000"),
        ("probe: tcp, unhealthy: 0", "unhealthy: found 0, expected a whole number from 1 to 1000"),
        ("probe: tcp, unhealthy: 1001", "unhealthy: found 1001, expected a whole number from 1 to 1000"),
        ("probe: tcp, initially: down", "initially: found down, expected up or unhealthy"),
        (
            "probe: tcp, path: /a",
            "path: is an unknown key: expected one of probe, grpc, statuses, interval, timeout, healthy, unhealthy, initially",
        ),
    ] {
        assert_mistake(&format!("check: {{ {check} }}"), &format!("check.{expected}"));
    }
    assert_problem(
        &with_both("check: { probe: tcp }", "check: { statuses: [200] }"),
        &format!("11: gateway.services.goods.check.statuses: {tcp}"),
    );
    assert_problem(
        &with_both("check: { grpc: a.B }", "check: { statuses: [200] }"),
        &format!("11: gateway.services.goods.check.statuses: {by_grpc}"),
    );
    assert_problem(
        &with_both("check: { probe: tcp }", "check: { probe: http, statuses: [200] }"),
        "11: gateway.services.goods.check.probe: \"http\" is not a probe: expected tcp, or a path that starts with \"/\"",
    );
}

#[test]
fn of_a_checks_timeout_and_interval_the_one_that_is_not_set_gives_way() {
    for (set, timeout, interval) in [
        ("interval: 200ms", 200, 200),
        ("timeout: 20s", 20_000, 20_000),
        ("timeout: 2s", 2_000, 5_000),
        ("interval: 1s", 1_000, 1_000),
    ] {
        let check = check(&with_defaults(&format!("check: {{ probe: tcp, {set} }}")));
        assert_eq!((check.timeout, check.interval), (timeout * MS, interval * MS), "{set}");
    }
}

#[test]
fn limits_and_budget_state_their_bounds() {
    for key in ["limits.endpoint", "limits.service"] {
        for found in ["0", "1000001", "none"] {
            let expected = format!("{key}: found {found}, expected a whole number from 1 to 1000000, or off");
            assert_mistake(&nested(key, found), &expected);
        }
    }
    for (key, found, most) in [
        ("budget.percent", "1001", 1_000),
        ("budget.percent", "20%", 1_000),
        ("budget.percent", "off", 1_000),
        ("budget.per_second", "100001", 100_000),
        ("budget.per_second", "-1", 100_000),
    ] {
        let expected = format!("{key}: found {found}, expected a whole number from 0 to {most}");
        assert_mistake(&nested(key, found), &expected);
    }
}

#[test]
fn unknown_keys_are_mistakes_in_every_section() {
    for (keys, expected) in [
        ("slowstart: 3s", "slowstart: is an unknown key: did you mean slow_start?"),
        (
            "ejection: { jitter: 1 }",
            "ejection.jitter: is an unknown key: expected one of failures, base, longest, forgive, grpc",
        ),
        (
            "stall: { waiting: 1 }",
            "stall.waiting: is an unknown key: expected one of requests, floor, factor",
        ),
        ("limits: { gateway: 1 }", "limits.gateway: is an unknown key: expected one of endpoint, service"),
        ("budget: { ratio: 1 }", "budget.ratio: is an unknown key: expected one of percent, per_second"),
    ] {
        assert_mistake(keys, expected);
    }
    let known = "balance, slow_start, ejection, stall, check, limits, budget, tls, protocol";
    assert_problem(
        &with_defaults("weight: 3"),
        &format!("9: gateway.defaults.weight: is an unknown key: expected one of {known}"),
    );
    assert_problem(
        &with_both("", "weight: 3"),
        &format!("11: gateway.services.goods.weight: is an unknown key: expected one of addresses, {known}"),
    );
}

#[test]
fn the_addresses_of_a_service_that_does_not_register_are_its_own_and_not_of_all() {
    let addresses = r#"addresses: ["10.0.0.9:80", "Legacy.example.net:8080", "[fd00::1]:80"]"#;
    let goods = goods(&with_both("balance: ewma", addresses));
    let found: Vec<_> = goods.addresses.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(found, ["10.0.0.9:80", "legacy.example.net:8080", "[fd00::1]:80"]);
    assert_eq!(goods.balance, Balance::Ewma);
    let services = valid(&with_both("", addresses)).gateway.services;
    assert_eq!(services.given().collect::<Vec<_>>(), ["goods"]);
    let mistake = "9: gateway.defaults.addresses: is an unknown key: expected one of balance";
    assert!(problems(&with_defaults(addresses)).iter().any(|told| told.starts_with(mistake)));
}

#[test]
fn addresses_are_read_strictly() {
    let many =
        format!("[{}]", (1..=101).map(|n| format!("\"10.0.0.{n}:80\"")).collect::<Vec<_>>().join(", "));
    for (addresses, expected) in [
        ("[]", "addresses: has 0 addresses: expected 1 to 100"),
        (&*many, "addresses: has 101 addresses: expected 1 to 100"),
        (r#"["10.0.0.1:80", "10.0.0.1:80"]"#, "addresses: has 10.0.0.1:80 twice"),
        (r#"["a.net:80", "A.net:80"]"#, "addresses: has a.net:80 twice"),
        (r#"["[fd00::1]:80", "[fd00:0::1]:80"]"#, "addresses: has [fd00::1]:80 twice"),
        (
            r#"["10.0.0.1"]"#,
            "addresses[0]: \"10.0.0.1\" has no port: write ip:port, [ipv6]:port or name:port, such as \
             legacy.example.net:80",
        ),
        (r#"["a.net:0"]"#, "addresses[0]: \"a.net:0\" has no port from 1 to 65535 after its last colon"),
    ] {
        let text = with_both("", &format!("addresses: {addresses}"));
        assert_problem(&text, &format!("11: gateway.services.goods.{expected}"));
    }
}

#[test]
fn a_service_that_no_route_leads_to_is_a_mistake() {
    for (name, expected) in [
        ("good", "good: is the service of no route: did you mean goods?"),
        ("reviews", "reviews: is the service of no route"),
        (
            "a/b",
            "\"a/b\": \"a/b\" is not a name: expected 1 to 253 bytes without \"/\" and control characters",
        ),
    ] {
        let text = with_gateway(&format!("services: {{ goods: {{}}, {name}: {{}} }}"));
        assert_problem(&text, &format!("9: gateway.services.{expected}"));
    }
    assert_problem(
        &with_gateway("services: { goods: {}, goods: {} }"),
        "9: gateway.services.goods: stands in line 9 already",
    );
    assert_problem(
        &with_gateway("services: { goods: ewma }"),
        "9: gateway.services.goods: found ewma, expected a section: keys and values, indented by two spaces",
    );
    assert_problem(
        &with_gateway("services: [goods]"),
        "9: gateway.services: found a list, expected a section: keys and values, indented by two spaces",
    );
}

#[test]
fn a_route_whose_service_cannot_be_read_says_nothing_of_services() {
    let text = format!("{}  services: {{ good: {{}} }}\n", with("service: goods", "service: []"));
    assert_problem(&text, "8: gateway.routes[0].service: found a list, expected a single value");
    let text = format!("{}  services: {{ good: {{}} }}\n", with("path: /goods", "path: goods"));
    assert_eq!(problems(&text).len(), 2);
}

#[test]
fn a_mistake_in_the_defaults_is_not_repeated_for_each_service() {
    let text =
        with_both("ejection: { base: 2s, longest: 1s }, check: { probe: x }", "ejection: { failures: 2 }");
    let told = problems(&text);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|told| told.starts_with("9: gateway.defaults.")), "{told:?}");
}

fn tls(text: &str) -> Option<ServiceTls> {
    goods(text).tls
}

#[test]
fn tls_to_instances_is_off_unless_it_is_said_and_takes_what_is_said_for_all() {
    assert_eq!(tls(VALID), None);
    assert_eq!(tls(&with_both("", "tls: {}")), Some(ServiceTls::default()));
    let all = "tls: { ca: /ca.pem, server_name: Pay.example.net, cert: /a.pem, key: /a.key }";
    let expected = ServiceTls {
        ca: Some("/ca.pem".into()),
        server_name: Some("pay.example.net".into()),
        certificate: Some(CertificateFiles { cert: "/a.pem".into(), key: "/a.key".into() }),
        verify: true,
    };
    for text in [with_defaults(all), with_both("", all), with_both(all, "tls: {}")] {
        assert_eq!(tls(&text).as_ref(), Some(&expected));
    }
    assert_eq!(tls(&with_both(all, "tls: off")), None);
    let other =
        tls(&with_both(all, "tls: { server_name: \"fd00::0:1\", cert: /b.pem, key: /b.key }")).unwrap();
    assert_eq!(other.server_name.as_deref(), Some("fd00::1"));
    assert_eq!(other.certificate.unwrap().key, PathBuf::from("/b.key"));
    assert_eq!(other.ca, expected.ca);
}

#[test]
fn what_is_wrong_with_tls_to_instances_is_told() {
    let name = "is no host name such as pay.example.net, and no IP address: no port, no URL, no pattern";
    for (keys, expected) in [
        ("cert: /a.pem", "cert: needs key beside it".to_owned()),
        ("key: /a.key", "key: needs cert beside it".to_owned()),
        ("ca: a.pem", "ca: found a.pem, expected an absolute path".to_owned()),
        ("verify: off", "verify: found off, expected true or false".to_owned()),
        ("server_name: \"a.b:443\"", format!("server_name: \"a.b:443\" {name}")),
        ("server_name: \"*.a.b\"", format!("server_name: \"*.a.b\" {name}")),
        ("server_name: a.b.", format!("server_name: \"a.b.\" {name}")),
        ("server_name: \"[fd00::1]\"", format!("server_name: \"[fd00::1]\" {name}")),
        ("name: a", "name: is an unknown key: expected one of ca, server_name, cert, key, verify".to_owned()),
    ] {
        assert_mistake(&format!("tls: {{ {keys} }}"), &format!("tls.{expected}"));
    }
    assert_mistake(
        "tls: on",
        "tls: found on, expected a section such as {ca: /pay.pem}; {} takes all defaults, or off",
    );
}

#[test]
fn an_instance_that_is_not_verified_is_remarked_on_where_it_is_said() {
    let told = "tls.verify: is off: anybody on the way can read and change what goes to these instances and comes back";
    let unverified = "tls: { verify: false }";
    assert_eq!(remarks(&with_defaults(unverified)), [format!("9: gateway.defaults.{told}")]);
    assert_eq!(remarks(&with_both(unverified, "tls: {}")), [format!("9: gateway.defaults.{told}")]);
    assert_eq!(remarks(&with_both("", unverified)), [format!("11: gateway.services.goods.{told}")]);
    assert_eq!(
        remarks(&with_both(unverified, "tls: { ca: /a.pem }"))[1],
        "11: gateway.services.goods.tls.ca: means nothing while verify is false: no certificate is checked"
    );
    assert_eq!(remarks(&with_defaults("tls: { verify: true, ca: /a.pem }")), [""; 0]);
}

#[test]
fn each_protocol_of_a_service_has_its_name() {
    for (keys, expected) in [
        ("protocol: auto", Protocol::Auto),
        ("protocol: http1", Protocol::Http1),
        ("protocol: http1, tls: {}", Protocol::Http1),
        ("protocol: h2c", Protocol::H2c),
        ("protocol: h2, tls: {}", Protocol::H2),
    ] {
        assert_eq!(goods(&with_defaults(keys)).protocol, expected, "{keys}");
        assert_eq!(goods(&with_both("", keys)).protocol, expected, "{keys}");
    }
    for found in ["http2", "grpc", "off"] {
        let expected = format!("protocol: found {found}, expected auto, http1, h2c or h2");
        assert_mistake(&format!("protocol: {found}"), &expected);
    }
}

#[test]
fn tls_alone_says_whether_http2_is_h2_or_h2c() {
    let without = "protocol: is h2, which is HTTP/2 under TLS, and there is no tls: set tls, or write h2c, which is HTTP/2 \
                   in clear";
    let with_tls =
        "protocol: is h2c, which is HTTP/2 in clear, and there is tls: write h2, which is HTTP/2 under TLS";
    assert_mistake("protocol: h2", without);
    assert_mistake("protocol: h2, tls: off", without);
    assert_mistake("protocol: h2c, tls: {}", with_tls);
    for (defaults, own, expected) in [
        ("tls: {}", "protocol: h2c", with_tls),
        ("tls: {}, protocol: h2", "protocol: h2c", with_tls),
        ("protocol: h2c", "protocol: h2", without),
        (
            "tls: {}, protocol: h2",
            "tls: off",
            "tls: is off, and h2, the protocol of `defaults`, is HTTP/2 under TLS: set protocol here, too",
        ),
        (
            "protocol: h2c",
            "tls: {}",
            "tls: is set, and h2c, the protocol of `defaults`, is HTTP/2 in clear: set protocol here, too",
        ),
    ] {
        assert_problem(&with_both(defaults, own), &format!("11: gateway.services.goods.{expected}"));
    }
    let fits = |defaults: &str, own: &str| goods(&with_both(defaults, own)).protocol;
    assert_eq!(fits("tls: {}, protocol: h2", "tls: off, protocol: h2c"), Protocol::H2c);
    assert_eq!(fits("tls: {}, protocol: h2", "tls: { verify: true }"), Protocol::H2);
    assert_eq!(fits("protocol: h2c", "slow_start: 1s"), Protocol::H2c);
}

#[test]
fn of_a_protocol_or_tls_that_cannot_be_read_no_more_is_said() {
    assert_mistake(
        "protocol: h2, tls: on",
        "tls: found on, expected a section such as {ca: /pay.pem}; {} takes all defaults, or off",
    );
    assert_problem(
        &with_both("tls: {}, protocol: h2", "protocol: h3, tls: off"),
        "11: gateway.services.goods.protocol: found h3, expected auto, http1, h2c or h2",
    );
    let told = problems(&with_both("protocol: h2", "slow_start: 1s"));
    assert_eq!(told.len(), 1, "{told:?}");
}
