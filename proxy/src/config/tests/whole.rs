//! The file as a whole: what is taken, and how mistakes are told.

use super::*;

#[test]
fn the_smallest_configuration_that_we_show_is_valid() {
    let (_, smallest) = EXPECTED.split_once(":\n").unwrap();
    assert_eq!(valid(smallest), valid(VALID));
}

#[test]
fn what_is_left_out_has_its_default() {
    let Config { server, gateway, run_directory, remarks, .. } = valid(VALID);
    assert!(remarks.is_empty(), "{remarks:?}");
    assert_eq!(gateway.listen, [Listener::clear("0.0.0.0:8080".parse().unwrap())]);
    assert_eq!(gateway.connections, Connections::default());
    assert_eq!(gateway.admin, Some("127.0.0.1:9090".parse().unwrap()));
    assert!(gateway.admin_hosts.is_empty());
    assert_eq!(
        gateway.registry.connection,
        registry::connect::ConnectionSettings::to(["http://127.0.0.1:2379"])
    );
    assert_eq!(gateway.registry.watch, registry::watch::WatchSettings::default());
    assert_eq!(gateway.registry.watch.prefix.as_str(), "/service_registry_discovery");
    assert_eq!(gateway.registry.watch.audit, Some(Duration::from_secs(60)));
    assert!(!gateway.registry.watch.require_lease);
    let guard = Guard { window: Duration::from_secs(3), share: 0.5, hold: Duration::from_secs(300) };
    assert_eq!(gateway.registry.guard, guard);
    assert_eq!(gateway.registry.bounds, Bounds::default());
    assert_eq!(gateway.registry.snapshot, None);
    let timeouts = RouteTimeouts::from(&Timeouts::default());
    let retry = Retry { attempts: 3, statuses: Vec::new(), idempotent: false, grpc: Vec::new() };
    let [route] = &gateway.routes[..] else { panic!("{:?}", gateway.routes) };
    assert_eq!(route.takes, Match { path: PathPattern::Prefix("/goods".into()), ..Match::default() });
    assert_eq!(route.action, Action::Forward(vec![Share { service: "goods".into(), weight: 1 }]));
    assert_eq!((&route.timeouts, &route.retry), (&timeouts, &retry));
    assert_eq!(gateway.services, Services::default());
    assert_eq!(gateway.max_requests.get(), 10_000);
    assert_eq!(gateway.trace_header, "trace_id");
    assert_eq!(gateway.log, LogFormat::Auto);
    assert_eq!(gateway.timeouts, Timeouts::default());
    assert_eq!(run_directory.unwrap().path(), Path::new("/tmp/leaseway-1000"));
    let expected = ServerConf {
        version: 1,
        threads: 2,
        max_retries: 3,
        grace_period_seconds: Some(86_401),
        upstream_keepalive_pool_size: 1024,
        pid_file: "/tmp/leaseway-1000/leaseway.pid".into(),
        upgrade_sock: "/tmp/leaseway-1000/upgrade.sock".into(),
        ..ServerConf::default()
    };
    assert_eq!(server, expected);
}

const OURS: &str = r#"
version: 1
gateway:
  listen: ["0.0.0.0:80", "[::1]:81"]
  admin: off
  registry:
    endpoints: ["https://a:1", "https://b:2/"]
    prefix: /reg/x
    username: root
    password_file: /run/secrets/p
    tls: { ca: /a.pem, cert: /b.pem, key: /c.pem }
    allow: [10.0.0.0/8, "fd00::/8"]
    deny: [10.9.0.0/16, 10.1.2.3]
    require_lease: true
    audit: 90s
    max_instances: 1000000
    max_services: 1
    max_registrations: 7
    guard: { window: 100ms, share: 0.25, hold: 24h }
    snapshot: /var/lib/x
  routes: [{ path: /, service: Süß }, { path: /a/b, service: b }]
  defaults: { balance: ewma }
  services: { b: { balance: round_robin } }
  max_requests: 7
  trace_header: X-Trace
  log: text
  timeouts: { connect: 10ms, first_byte: 1500ms, idle: 2s, total: 9s, body: 1s, lame_duck: 8s, tunnel: 24h, tunnel_drain: off, handshake: 100ms, head: 6s, keepalive: 4s, pool: 5s, write: 7s, drain: 1500ms }
"#;

#[test]
fn our_keys_reach_the_gateway() {
    let gateway = valid(OURS);
    let Config { gateway, .. } = gateway;
    assert_eq!(gateway.listen.len(), 2);
    assert_eq!(gateway.admin, None);
    let connection = gateway.registry.connection;
    assert_eq!(connection.endpoints, ["https://a:1", "https://b:2"]);
    let user = connection.user.unwrap();
    assert_eq!((user.name.as_str(), user.password_file), ("root", PathBuf::from("/run/secrets/p")));
    let tls = connection.tls.unwrap();
    assert_eq!([tls.ca, tls.cert, tls.key], ["/a.pem", "/b.pem", "/c.pem"].map(|p| Some(p.into())));
    let watch = gateway.registry.watch;
    assert_eq!(watch.prefix.as_str(), "/reg/x");
    let networks = |networks: &[IpNet]| networks.iter().map(IpNet::to_string).collect::<Vec<_>>();
    assert_eq!(networks(&watch.networks.allow), ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(networks(&watch.networks.deny), ["10.9.0.0/16", "10.1.2.3/32"]);
    assert_eq!(watch.audit, Some(Duration::from_secs(90)));
    assert!(watch.require_lease);
    let guard = Guard { window: Duration::from_millis(100), share: 0.25, hold: Duration::from_secs(86_400) };
    assert_eq!(gateway.registry.guard, guard);
    assert_eq!(gateway.registry.bounds, Bounds { instances: 1_000_000, services: 1, registrations: 7 });
    assert_eq!(gateway.registry.snapshot, Some("/var/lib/x".into()));
    let routes: Vec<_> = gateway.routes.iter().map(|r| (&*r.name, r.services().next().unwrap())).collect();
    assert_eq!(routes, [("/", "Süß"), ("/a/b", "b")]);
    let balance = ["Süß", "b"].map(|service| gateway.services.get(service).balance.clone());
    assert_eq!(balance, [Balance::Ewma, Balance::RoundRobin]);
    assert_eq!(gateway.max_requests.get(), 7);
    assert_eq!(gateway.trace_header, "x-trace");
    assert_eq!(gateway.log, LogFormat::Text);
    let expected = Timeouts {
        connect: Duration::from_millis(10),
        first_byte: Duration::from_millis(1500),
        idle: Duration::from_secs(2),
        total: Some(Duration::from_secs(9)),
        body: Duration::from_secs(1),
        lame_duck: Duration::from_secs(8),
        tunnel: Duration::from_secs(86_400),
        tunnel_drain: None,
        handshake: Duration::from_millis(100),
        head: Duration::from_secs(6),
        keepalive: Duration::from_secs(4),
        pool: Duration::from_secs(5),
        write: Duration::from_secs(7),
        drain: Duration::from_millis(1500),
    };
    assert_eq!(gateway.timeouts, expected);
}

#[test]
fn scalars_are_taken_as_they_are_written() {
    let gateway = valid(&with("service: goods", "service: no")).gateway;
    assert_eq!(gateway.routes[0].services().next(), Some("no"));
    let gateway = valid(&with("service: goods", "service: 010")).gateway;
    assert_eq!(gateway.routes[0].services().next(), Some("010"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
    assert_eq!(valid(&format!("\u{feff}{}", VALID.replace('\n', "\r\n"))), valid(VALID));
}

#[test]
fn all_mistakes_are_listed_at_once_in_the_order_of_their_lines() {
    let text = r#"version: 2
threads: 0
thread: 4
gateway:
  listen: [8080, "0.0.0.0:80", "127.0.0.1:80"]
  registry:
    endpoints: [127.0.0.1:2379]
    username: root
  routes:
    - path: goods
    - path: /a
      servce: a
  timeouts:
    idle: 60
  trace_header: host
"#;
    assert_eq!(
        problems(text),
        [
            "1: version: found 2, expected 1",
            "2: threads: found 0, expected a whole number from 1 to 1024",
            "3: thread: is an unknown key: did you mean threads?",
            "5: gateway.listen[0]: \"8080\" has no address: write 0.0.0.0:8080 for all of IPv4, [::]:8080 for IPv6, or 127.0.0.1:8080 for this machine alone",
            "5: gateway.listen[2]: \"127.0.0.1:80\" overlaps with gateway.listen[1]",
            "7: gateway.registry.endpoints[0]: \"127.0.0.1:2379\" must start with http:// or https://",
            "8: gateway.registry.username: needs password_file beside it",
            "10: gateway.routes[0].path: \"goods\" must start with \"/\"",
            "10: gateway.routes[0].service: is missing: expected the name of a service, such as goods; or services, services_allowed, redirect or answer in its place",
            "11: gateway.routes[1].service: is missing: expected the name of a service, such as goods; or services, services_allowed, redirect or answer in its place",
            "12: gateway.routes[1].servce: is an unknown key: did you mean service?",
            "14: gateway.timeouts.idle: \"60\" has no unit: write 60s for seconds, 60ms for milliseconds",
            "15: gateway.trace_header: \"host\" is a header with a meaning of its own: the trace id would replace it",
        ]
    );
}

#[test]
fn a_file_without_the_gateway_section_is_shown_the_smallest_configuration() {
    for text in ["", "# nothing yet\n", "version: 1\n"] {
        let told = problems(text).join("\n");
        assert!(told.contains("gateway: is missing"), "{told}");
        assert!(told.contains(EXPECTED), "{told}");
        assert!(!told.contains("gateway.listen"), "{told}");
    }
    assert!(problems("").join("\n").contains("version: is missing: expected 1"));
}

#[test]
fn a_section_that_is_none_is_reported_once() {
    for (text, found) in [
        ("version: 1\ngateway:\n", "nothing"),
        ("version: 1\ngateway: on\n", "on"),
        ("version: 1\ngateway: [listen]\n", "a list"),
    ] {
        assert_problem(
            text,
            &format!(
                "2: gateway: found {found}, expected a section: keys and values, indented by two spaces"
            ),
        );
    }
    assert_eq!(problems("- version: 1\n").len(), 1);
    assert_eq!(problems("just text\n").len(), 1);
}

#[test]
fn each_required_key_is_named_when_it_is_missing() {
    assert_eq!(
        problems("version: 1\ngateway: {}\n"),
        [
            r#"2: gateway.listen: is missing: expected a list of addresses, such as ["0.0.0.0:8080"]"#,
            r#"2: gateway.registry: is missing: expected a section, such as {endpoints: ["http://127.0.0.1:2379"]}"#,
            "2: gateway.routes: is missing: expected a list such as [{path: /goods, service: goods}]",
        ]
    );
    let text = with("    endpoints: [\"http://127.0.0.1:2379\"]\n", "    prefix: /reg\n");
    assert_problem(
        &text,
        r#"4: gateway.registry.endpoints: is missing: expected a list such as ["http://127.0.0.1:2379"], or embedded: {} in its place"#,
    );
}

#[test]
fn unknown_keys_are_mistakes_at_every_level() {
    for (text, expected) in [
        (with_server("treads: 1"), "9: treads: is an unknown key: did you mean threads?"),
        (with_server("user_name: a"), "9: user_name: is an unknown key: did you mean user?"),
        (with_gateway("listn: []"), "9: gateway.listn: is an unknown key: did you mean listen?"),
        (with_gateway("timeout: {}"), "9: gateway.timeout: is an unknown key: did you mean timeouts?"),
        (
            with_gateway("timeouts: { lameduck: 1s }"),
            "9: gateway.timeouts.lameduck: is an unknown key: did you mean lame_duck?",
        ),
        (
            with_registry("endpoint: a"),
            "6: gateway.registry.endpoint: is an unknown key: did you mean endpoints?",
        ),
        (
            with_registry("nothing_like_it: a"),
            "6: gateway.registry.nothing_like_it: is an unknown key: expected one of embedded, endpoints, username, password_file, tls, prefix, allow, deny, require_lease, audit, max_instances, max_services, max_registrations, guard, snapshot",
        ),
        (
            with_gateway("\"a\\nb\": 1"),
            "9: gateway.\"a\\nb\": is an unknown key: expected one of listen, connections, admin, admin_hosts, registry, timeouts, http1, client_abort, paths, http2, trace_header, trusted_proxies, forwarded, via, proxy_status, errors, routes, defaults, services, max_requests, reload, log",
        ),
        (
            with("service: goods", "service: goods\n      weight: 3"),
            "9: gateway.routes[0].weight: is an unknown key: expected one of path, match, name, service, services, services_allowed, max_services, redirect, answer, sticky, strip_prefix, rewrite, host, request_headers, response_headers, errors, timeouts, retry, upgrades, grpc_web",
        ),
    ] {
        assert_problem(&text, expected);
    }
    let text = with_endpoints("[\"https://a:1\"]\n    tls: { cafile: /a }");
    assert_problem(&text, "6: gateway.registry.tls.cafile: is an unknown key: expected one of ca, cert, key");
}

#[test]
fn a_key_at_the_wrong_level_is_told_where_it_belongs() {
    assert_problem(
        &with_gateway("threads: 2"),
        "9: gateway.threads: is an unknown key here: it belongs to the top level, without indentation",
    );
    assert_problem(
        &with_server("log: json"),
        "9: log: is an unknown key here: it belongs under gateway:, indented by two spaces",
    );
    let unindented = problems(&VALID.replace("\n  ", "\n"));
    assert!(unindented[0].contains("gateway: found nothing"), "{unindented:?}");
    let belongs = unindented.iter().filter(|told| told.contains("belongs under gateway:"));
    assert_eq!(belongs.count(), 3, "{unindented:?}");
}

#[test]
fn a_key_that_stands_twice_is_a_mistake() {
    assert_problem(&with_gateway("listen: [\"0.0.0.0:81\"]"), "9: gateway.listen: stands in line 3 already");
    assert_problem(&with_server("version: 1"), "9: version: stands in line 1 already");
    assert_problem(
        &with("service: goods", "service: goods\n      path: /b"),
        "9: gateway.routes[0].path: stands in line 7 already",
    );
}

#[test]
fn a_long_value_is_cut_in_the_error() {
    let told = problems(&with("path: /goods", &format!("path: {}", "x".repeat(100_000))));
    assert!(told[0].len() < 200, "{}", told[0].len());
}

#[test]
fn what_is_no_yaml_configuration_is_told_with_its_line() {
    for (text, line) in [
        ("version: 1\n\tgateway: 2\n", 2),
        ("version: [1\n", 2),
        ("version: 1\n---\nversion: 1\n", 2),
        ("version: &a 1\ngateway: *a\n", 2),
        ("version: !!int 1\n", 1),
        ("version: \"1\n", 1),
        ("version: 1\nversion\n", 3),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            matches!(error, ConfigError::Syntax { line: found, .. } if found == line),
            "{text:?}: {error}"
        );
    }
}
