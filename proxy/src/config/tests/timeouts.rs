//! The gateway's timeouts and those of a route.

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The gateway's timeouts, and its one route's.
fn read(gateway: &str, route: &str) -> (Timeouts, RouteTimeouts) {
    let gateway = valid(&text(gateway, route)).gateway;
    (gateway.timeouts, gateway.routes[0].timeouts)
}

/// The gateway's timeouts stand in line 10, the route's in line 9.
fn text(gateway: &str, route: &str) -> String {
    let text = with("service: goods", &format!("service: goods\n      timeouts: {{ {route} }}"));
    format!("{text}  timeouts: {{ {gateway} }}\n")
}

#[test]
fn what_is_left_out_has_its_default() {
    let expected = Timeouts {
        connect: SECOND,
        first_byte: 30 * SECOND,
        idle: 60 * SECOND,
        total: None,
        tunnel: 3600 * SECOND,
        tunnel_drain: Some(10 * SECOND),
        pool: 30 * SECOND,
        keepalive: 60 * SECOND,
        handshake: 10 * SECOND,
        head: 10 * SECOND,
        body: 30 * SECOND,
        write: 30 * SECOND,
        lame_duck: Duration::ZERO,
        drain: 30 * SECOND,
    };
    assert_eq!(valid(VALID).gateway.timeouts, expected);
}

#[test]
fn a_route_has_the_gateways_where_it_sets_none() {
    let (gateway, route) = read("connect: 2s, first_byte: 3s, idle: 40s, total: 50s, body: 35s", "");
    assert_eq!(route, RouteTimeouts::from(&gateway));
    let expected = RouteTimeouts {
        connect: 2 * SECOND,
        first_byte: 3 * SECOND,
        idle: 40 * SECOND,
        total: Some(50 * SECOND),
        body: 35 * SECOND,
    };
    assert_eq!(route, expected);
}

#[test]
fn a_route_can_have_its_own() {
    let (gateway, route) = read("total: 9s", "connect: 20ms, first_byte: 4s, idle: 80s, total: 6s");
    let expected = RouteTimeouts {
        connect: 20 * MS,
        first_byte: 4 * SECOND,
        idle: 80 * SECOND,
        total: Some(6 * SECOND),
        body: 30 * SECOND,
    };
    assert_eq!(route, expected);
    assert_eq!(gateway.total, Some(9 * SECOND));
    assert_eq!(read("total: 9s", "total: off").1.total, None);
    assert_eq!(read("total: off", "").0, Timeouts::default());
}

#[test]
fn of_first_byte_and_idle_the_one_that_is_not_set_gives_way() {
    for (set, first_byte, idle) in [
        ("first_byte: 5s", 5, 60),
        ("first_byte: 2m", 120, 120),
        ("idle: 2m", 30, 120),
        ("idle: 10s", 10, 10),
        ("first_byte: 2m, idle: 2m", 120, 120),
    ] {
        let (gateway, inherits) = read(set, "");
        assert_eq!((gateway.first_byte, gateway.idle), (first_byte * SECOND, idle * SECOND), "{set}");
        assert_eq!((inherits.first_byte, inherits.idle), (first_byte * SECOND, idle * SECOND), "{set}");
        let (gateway, route) = read("", set);
        assert_eq!((route.first_byte, route.idle), (first_byte * SECOND, idle * SECOND), "{set}");
        assert_eq!(gateway, Timeouts::default(), "{set}");
    }
    let (_, route) = read("first_byte: 10s, idle: 20s", "first_byte: 40s");
    assert_eq!((route.first_byte, route.idle), (40 * SECOND, 40 * SECOND));
}

#[test]
fn a_connect_that_is_not_set_leaves_time_for_a_second_one() {
    for (total, connect) in [("10s", 1_000), ("2s", 1_000), ("1s", 500), ("300ms", 150)] {
        let set = format!("total: {total}");
        assert_eq!(read(&set, "").0.connect, connect * MS, "{set}");
        assert_eq!(read("", &set).1.connect, connect * MS, "{set}");
    }
    assert_eq!(read("connect: 5s", "total: 4s").1.connect, 2 * SECOND);
    assert_eq!(read("connect: 3s", "connect: 2s, total: 2001ms").1.connect, 2 * SECOND);
}

#[test]
fn a_body_that_is_not_set_is_shorter_than_idle_on_each_route() {
    assert_eq!(read("idle: 10s", "").0.body, 5 * SECOND);
    assert_eq!(read("idle: 10s", "").1.body, 5 * SECOND);
    assert_eq!(read("", "idle: 10s").1.body, 5 * SECOND);
    assert_eq!(read("body: 20s", "idle: 20s").1.body, 10 * SECOND);
    assert_eq!(read("body: 20s", "idle: 21s").1.body, 20 * SECOND);
    assert_eq!(read("body: 50s", "").1.body, 50 * SECOND);
}

#[test]
fn each_states_its_bounds() {
    for key in ["connect", "first_byte", "idle", "tunnel", "pool", "body", "write", "drain"] {
        for found in ["9ms", "25h"] {
            let expected = format!("found {found}, expected a duration from 10ms to 24h");
            assert_gateway(&format!("{key}: {found}"), &format!("{key}: {expected}"));
        }
    }
    for (set, expected) in [
        ("keepalive: 999ms", "keepalive: found 999ms, expected a duration from 1s to 24h"),
        ("keepalive: 1500ms", "keepalive: found 1500ms, expected whole seconds"),
        ("lame_duck: 25h", "lame_duck: found 25h, expected a duration from 0s to 24h"),
        (
            "lame_duck: off",
            "lame_duck: \"off\" is not a duration: write a whole number and its unit (ms, s, m or h), such as 250ms or 3s",
        ),
        ("head: 99ms", "head: found 99ms, expected a duration from 100ms to 10m"),
        ("head: 601s", "head: found 601s, expected a duration from 100ms to 10m"),
        ("handshake: 99ms", "handshake: found 99ms, expected a duration from 100ms to 10m"),
        ("handshake: 601s", "handshake: found 601s, expected a duration from 100ms to 10m"),
        ("tunnel_drain: 9ms", "tunnel_drain: found 9ms, expected a duration from 10ms to 24h, or off"),
        ("total: 9ms", "total: found 9ms, expected a duration from 10ms to 24h, or off"),
        ("total: 0s", "total: found 0s, expected a duration from 10ms to 24h, or off"),
        ("total: 25h", "total: found 25h, expected a duration from 10ms to 24h, or off"),
        ("total: 3", "total: \"3\" has no unit: write 3s for seconds, 3ms for milliseconds, or off"),
        (
            "read: 3s",
            "read: is an unknown key: expected one of connect, first_byte, idle, total, tunnel, tunnel_drain, pool, keepalive, handshake, head, body, write, lame_duck, drain",
        ),
    ] {
        assert_gateway(set, expected);
    }
}

#[test]
fn a_route_states_the_same_bounds_and_takes_no_others() {
    for key in ["connect", "first_byte", "idle"] {
        for found in ["9ms", "25h"] {
            let expected = format!("found {found}, expected a duration from 10ms to 24h");
            assert_route(&format!("{key}: {found}"), &format!("{key}: {expected}"));
        }
    }
    for (set, expected) in [
        ("total: 9ms", "total: found 9ms, expected a duration from 10ms to 24h, or off"),
        ("body: 3s", "body: is an unknown key: expected one of connect, first_byte, idle, total"),
    ] {
        assert_route(set, expected);
    }
}

#[test]
fn what_contradicts_another_is_a_mistake() {
    let first_byte = "first_byte: must not be longer than idle, 1500ms";
    let connect = "connect: must be shorter than total, 2s, or no other instance can be tried";
    for (set, expected) in [
        ("first_byte: 2s, idle: 1500ms", first_byte),
        ("connect: 2s, total: 2s", connect),
        ("connect: 1h, total: 2s", connect),
    ] {
        assert_gateway(set, expected);
        assert_route(set, expected);
    }
    for body in ["20s", "21s"] {
        assert_gateway(
            &format!("body: {body}, idle: 20s"),
            "body: must be shorter than idle, 20s, or a client that stalls is taken for an instance that does",
        );
    }
    assert_problem(&text("total: 2s", "connect: 2s"), &format!("9: gateway.routes[0].timeouts.{connect}"));
}

#[test]
fn a_value_that_cannot_be_read_is_the_only_mistake_of_its_section() {
    for set in
        ["first_byte: 2m, idle: 7", "body: 2m, idle: 7", "body: 7, idle: 2s", "first_byte: 7, idle: 2s"]
    {
        let told = problems(&text(set, ""));
        assert!(told.len() == 1 && told[0].contains("\"7\" has no unit"), "{told:?}");
    }
    for set in ["connect: 7, total: 500ms", "connect: 3s, total: 7"] {
        for text in [text(set, ""), text("total: 2s", set)] {
            let told = problems(&text);
            assert!(told.len() == 1 && told[0].contains("\"7\" has no unit"), "{told:?}");
        }
    }
}

#[test]
fn a_mistake_of_the_gateways_is_not_repeated_for_each_route() {
    let told = problems(&text("first_byte: 2s, idle: 1s, connect: 3s, total: 3s", ""));
    assert_eq!(told.len(), 2, "{told:?}");
}

#[track_caller]
fn assert_gateway(set: &str, expected: &str) {
    assert_problem(&text(set, ""), &format!("10: gateway.timeouts.{expected}"));
}

#[track_caller]
fn assert_route(set: &str, expected: &str) {
    assert_problem(&text("", set), &format!("9: gateway.routes[0].timeouts.{expected}"));
}
