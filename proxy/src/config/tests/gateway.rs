//! Addresses, the trace id's header, the log, and the gateway's limit.

use super::*;
use crate::config::http1::Http1;

#[test]
fn an_address_must_be_ip_and_port_and_be_free() {
    let own = "[\"0.0.0.0:8080\"]";
    for (list, expected) in [
        (
            "[localhost:80]",
            "[0]: \"localhost:80\" has a host name in it: write an IP address, such as 127.0.0.1:80 for this machine alone",
        ),
        (
            "[\"1.2.3.4\"]",
            "[0]: \"1.2.3.4\" is not an address: write ip:port, such as 0.0.0.0:8080 or [::]:8080",
        ),
        (
            "[\"0.0.0.0:0\"]",
            "[0]: \"0.0.0.0:0\" has port 0, which would be another port at each start: name one",
        ),
        ("[\"0.0.0.0:80\", \"0.0.0.0:80\"]", "[1]: \"0.0.0.0:80\" overlaps with gateway.listen[0]"),
        ("[\"[::1]:80\", \"[::]:80\"]", "[1]: \"[::]:80\" overlaps with gateway.listen[0]"),
        ("[]", ": has 0 addresses: expected 1 to 30"),
        ("[[]]", "[0]: found a list, expected a single value"),
        ("0.0.0.0:80", ": found 0.0.0.0:80, expected a list: write [0.0.0.0:80]"),
        ("\"0.0.0.0:80\"", ": found \"0.0.0.0:80\", expected a list: write [\"0.0.0.0:80\"]"),
        (
            "[\"*:80\"]",
            "[0]: \"*:80\" has no address: write 0.0.0.0:80 for all of IPv4, [::]:80 for IPv6, or 127.0.0.1:80 for this machine alone",
        ),
    ] {
        assert_problem(&with(own, list), &format!("3: gateway.listen{expected}"));
    }
    let many: Vec<_> = (1..=31).map(|port| format!("\"0.0.0.0:{port}\"")).collect();
    assert_problem(
        &with(own, &format!("[{}]", many.join(", "))),
        "3: gateway.listen: has 31 addresses: expected 1 to 30",
    );
}

#[test]
fn the_admin_address_must_not_be_a_listen_address() {
    assert_problem(
        &with_gateway("admin: 127.0.0.1:8080"),
        "9: gateway.admin: \"127.0.0.1:8080\" overlaps with gateway.listen[0]",
    );
    assert_problem(
        &with("8080", "9090"),
        "2: gateway.admin: is 127.0.0.1:9090 by default, which is taken by gateway.listen[0]: set another address, or off",
    );
    assert_eq!(valid(&(with("8080", "9090") + "  admin: off\n")).gateway.admin, None);
    assert!(problems(&with_gateway("admin: no"))[0].contains("\"no\" is not an address"));
}

#[test]
fn keys_that_do_nothing_with_pingora_s_carrier_are_remarked_on() {
    let written = |http1: &str, keys: &str, upgrades: &str| {
        let routes = format!("  routes: [{{ path: /x, service: x, upgrades: {upgrades} }}]\n");
        let text = with_gateway(&format!("http1: {http1}\n  {keys}"));
        let (before, _) = text.split_once("  routes:").unwrap();
        let (_, behind) = text.split_once("http1:").unwrap();
        format!("{before}{routes}  http1:{behind}")
    };
    let keys = "client_abort: on_reset\n  timeouts: { tunnel_drain: 5s }";
    let told = remarks(&written("pingora", keys, "[websocket, irc/2]"));
    let is_of = |key: &str, why: &str| told.iter().any(|remark| remark.contains(key) && remark.contains(why));
    assert!(is_of("gateway.client_abort: does nothing with `http1: pingora`", "on_fin"), "{told:?}");
    assert!(is_of("gateway.timeouts.tunnel_drain: does nothing with `http1: pingora`", "go on"), "{told:?}");
    assert!(is_of("gateway.routes[0].upgrades: irc/2 does not pass with `http1: pingora`", ""), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
    let agree = "client_abort: on_fin\n  timeouts: { tunnel_drain: off }";
    for text in [
        written("ours", keys, "[irc/2]"),
        written("pingora", agree, "[websocket]"),
        written("pingora", "reload: on", "[]"),
    ] {
        assert_eq!(remarks(&text), [""; 0], "{text}");
    }
}

#[test]
fn header_log_and_the_limit_of_requests_state_what_they_take() {
    for (line, expected) in [
        (
            "trace_header: a b",
            "trace_header: \"a b\" is not a header name: expected letters, digits, \"-\" and \"_\"",
        ),
        (
            "trace_header: Content-Length",
            "trace_header: \"Content-Length\" is a header with a meaning of its own: the trace id would replace it",
        ),
        (
            "trace_header: CDN_Loop",
            "trace_header: \"CDN_Loop\" is a header with a meaning of its own: the trace id would replace it",
        ),
        ("trace_header:", "trace_header: has no value: give it one, or remove the key"),
        ("log: xml", "log: found xml, expected json or text (or no such key: text on a terminal, else json)"),
        ("max_requests: 0", "max_requests: found 0, expected a whole number from 1 to 1000000"),
        ("max_requests: 1000001", "max_requests: found 1000001, expected a whole number from 1 to 1000000"),
        ("max_requests: off", "max_requests: found off, expected a whole number from 1 to 1000000"),
    ] {
        assert_problem(&with_gateway(line), &format!("9: gateway.{expected}"));
    }
}

#[test]
fn how_http1_is_carried_can_be_chosen() {
    assert_eq!(valid(VALID).gateway.http1, Http1::default());
    let chosen = valid(&with_gateway("http1: ours\n  client_abort: on_fin\n  paths: strict")).gateway.http1;
    let (carrier, client_abort, paths) = (Http1Carrier::Ours, ClientAbort::OnFin, Paths::Strict);
    assert_eq!(chosen, Http1 { carrier, client_abort, paths });
    for (line, expected) in [
        ("http1: own", "http1: found own, expected ours or pingora"),
        ("client_abort: off", "client_abort: found off, expected on_reset or on_fin"),
        ("paths: lenient", "paths: found lenient, expected standard or strict"),
    ] {
        assert_problem(&with_gateway(line), &format!("9: gateway.{expected}"));
    }
}

#[test]
fn the_admin_port_may_have_names() {
    let hosts = valid(&with_gateway("admin_hosts: [gateway, Gateway-1.Internal]")).gateway.admin_hosts;
    assert_eq!(hosts, ["gateway", "gateway-1.internal"]);
    assert_problem(
        &with_gateway("admin_hosts: [gateway, \"gateway:9090\"]"),
        "9: gateway.admin_hosts[1]: \"gateway:9090\" is no host name such as registry.internal: no port, no URL, no pattern",
    );
    assert_problem(
        &with_gateway("admin: off\n  admin_hosts: [gateway]"),
        "10: gateway.admin_hosts: means nothing while admin is off",
    );
}

#[test]
fn who_trusts_everybody_is_told_so() {
    let networks = |list: &str| with_gateway(&format!("trusted_proxies: {list}"));
    assert_eq!(valid(&networks("[10.0.0.0/8, \"fd00::1\"]")).gateway.trusted_proxies.len(), 2);
    assert_eq!(remarks(&networks("[10.0.0.0/8, \"fd00::1\"]")), [""; 0]);
    for all in ["0.0.0.0/0", "::/0"] {
        let told = remarks(&networks(&format!("[10.0.0.0/8, \"{all}\"]")));
        assert_eq!(told.len(), 1, "{told:?}");
        let expected = format!("9: gateway.trusted_proxies: {all} trusts everybody: ");
        assert!(told[0].starts_with(&expected), "{told:?}");
    }
    assert!(problems(&networks("[proxies.internal]"))[0].contains("trusted_proxies[0]"));
}

#[test]
fn how_http2_is_carried_can_be_chosen() {
    let http2 = |text: &str| valid(text).gateway.http2;
    assert_eq!(http2(VALID), Http2Carrier::Ours);
    assert_eq!(http2(&with_gateway("http2: ours")), Http2Carrier::Ours);
    assert_eq!(http2(&with_gateway("http2: pingora")), Http2Carrier::Pingora);
    assert_problem(&with_gateway("http2: on"), "9: gateway.http2: found on, expected ours or pingora");
}
