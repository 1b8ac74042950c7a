//! The configuration as a whole: what a text becomes, and what its author is told.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

const VALID: &str = r#"version: 1
gateway:
  listen: ["0.0.0.0:8080"]
  registry:
    endpoints: ["http://127.0.0.1:2379"]
  routes:
    - path: /goods
      service: goods
"#;

fn environment() -> Environment {
    Environment {
        uid: 1000,
        cores: NonZeroUsize::new(2).unwrap(),
        runtime_directory: None,
        xdg_runtime_dir: None,
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "test.yaml", &environment())
}

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The problems of a text, without the file's name: `3: gateway.listen: ...`.
fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Invalid(problems)) => {
            let line = |problem: &Problem| problem.to_string().strip_prefix("test.yaml:").map(str::to_owned);
            problems.iter().map(|problem| line(problem).unwrap()).collect()
        }
        other => panic!("expected problems, got {other:?}\n{text}"),
    }
}

/// [`VALID`] with a line of its own replaced, or with lines added at the end of the `gateway` section.
fn with(line: &str, replacement: &str) -> String {
    assert!(VALID.contains(line), "{line:?} is not in the valid configuration");
    VALID.replacen(line, replacement, 1)
}

fn with_gateway(lines: &str) -> String {
    format!("{VALID}  {lines}\n")
}

fn with_server(lines: &str) -> String {
    format!("{VALID}{lines}\n")
}

fn with_registry(lines: &str) -> String {
    let endpoints = "    endpoints: [\"http://127.0.0.1:2379\"]\n";
    with(endpoints, &format!("{endpoints}    {lines}\n"))
}

fn with_endpoints(endpoints: &str) -> String {
    with(r#"["http://127.0.0.1:2379"]"#, endpoints)
}

#[track_caller]
fn assert_problem(text: &str, expected: &str) {
    assert_eq!(problems(text), [expected], "{text}");
}

mod what_is_taken {
    use super::*;

    #[test]
    fn the_smallest_configuration_that_we_show_is_valid() {
        assert_eq!(valid(SMALLEST), valid(VALID));
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let Config { server, gateway, run_directory } = valid(VALID);
        assert_eq!(gateway.listen, ["0.0.0.0:8080".parse::<SocketAddr>().unwrap()]);
        assert_eq!(gateway.admin, Some("127.0.0.1:9090".parse().unwrap()));
        assert_eq!(gateway.registry.connection, registry::connect::Connection::to(["http://127.0.0.1:2379"]));
        assert_eq!(gateway.registry.watch, registry::watch::Settings::default());
        assert_eq!(gateway.registry.watch.prefix.as_str(), "/service_registry_discovery");
        assert_eq!(gateway.registry.watch.audit, Some(Duration::from_secs(60)));
        let guard = Guard { window: Duration::from_secs(3), share: 0.5, hold: Duration::from_secs(300) };
        assert_eq!(gateway.registry.guard, guard);
        assert_eq!(gateway.registry.snapshot, None);
        assert_eq!(gateway.routes, [Route { path: "/goods".into(), service: "goods".into() }]);
        assert_eq!(gateway.trace_header, "trace_id");
        assert_eq!(gateway.log, LogFormat::Auto);
        assert_eq!(gateway.timeouts, Timeouts::default());
        assert_eq!(run_directory.unwrap().path(), Path::new("/tmp/leaseway-1000"));
        let expected = ServerConf {
            version: 1,
            threads: 2,
            max_retries: 3,
            grace_period_seconds: Some(30),
            upstream_keepalive_pool_size: 1024,
            pid_file: "/tmp/leaseway-1000/leaseway.pid".into(),
            upgrade_sock: "/tmp/leaseway-1000/upgrade.sock".into(),
            ..ServerConf::default()
        };
        assert_eq!(server, expected);
    }

    #[test]
    fn every_key_of_pingora_reaches_pingora() {
        let server = valid(&with_server(
            r#"daemon: true
error_log: /var/log/leaseway.log
pid_file: /run/a.pid
upgrade_sock: /run/a.sock
user: a
group: b
working_directory: /var
daemon_wait_for_ready: true
daemon_ready_timeout_seconds: 11
daemon_notify_timeout_seconds: 12
threads: 3
listener_tasks_per_fd: 4
work_stealing: false
max_blocking_threads: 5
blocking_threads_ttl_seconds: 6
fast_timeout_to_tokio_threshold_seconds: 7
graceful_shutdown_timeout_seconds: 0
ca_file: /etc/ca.pem
client_bind_to_ipv4: [10.0.0.1]
client_bind_to_ipv6: ["::1"]
upstream_keepalive_pool_size: 8
upstream_debug_ssl_keylog: true
upstream_connect_offload_threadpools: 1
upstream_connect_offload_thread_per_pool: 2
downstream_tls_offload_threadpools: 3
downstream_tls_offload_thread_per_pool: 4"#,
        ));
        let expected = ServerConf {
            version: 1,
            daemon: true,
            error_log: Some("/var/log/leaseway.log".into()),
            pid_file: "/run/a.pid".into(),
            upgrade_sock: "/run/a.sock".into(),
            user: Some("a".into()),
            group: Some("b".into()),
            working_directory: Some("/var".into()),
            daemon_wait_for_ready: true,
            daemon_ready_timeout_seconds: std::num::NonZeroU64::new(11),
            daemon_notify_timeout_seconds: std::num::NonZeroU64::new(12),
            threads: 3,
            listener_tasks_per_fd: 4,
            work_stealing: false,
            max_blocking_threads: Some(5),
            blocking_threads_ttl_seconds: Some(6),
            fast_timeout_to_tokio_threshold_seconds: Some(7),
            graceful_shutdown_timeout_seconds: Some(0),
            ca_file: Some("/etc/ca.pem".into()),
            client_bind_to_ipv4: vec!["10.0.0.1".into()],
            client_bind_to_ipv6: vec!["::1".into()],
            upstream_keepalive_pool_size: 8,
            upstream_debug_ssl_keylog: true,
            upstream_connect_offload_threadpools: Some(1),
            upstream_connect_offload_thread_per_pool: Some(2),
            downstream_tls_offload_threadpools: Some(3),
            downstream_tls_offload_thread_per_pool: Some(4),
            max_retries: 3,
            grace_period_seconds: Some(30),
            ..ServerConf::default()
        };
        assert_eq!(server.server, expected);
        assert_eq!(server.run_directory, None, "neither file lies in it");
    }

    /// A key that a new Pingora brings must be read here or refused here: not "unknown".
    #[test]
    fn every_key_that_pingora_has_is_known() {
        let pingora = ServerConf::default().to_yaml();
        let keys = pingora.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key);
        for key in keys.filter(|key| *key != "version") {
            let told = match parse(&with_server(&format!("{key}: {{}}"))) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("{key}: {{}} was taken"),
            };
            assert!(!told.contains("unknown key"), "{told}");
        }
    }

    #[test]
    fn our_keys_reach_the_gateway() {
        let gateway = valid(
            r#"
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
    audit: 90s
    guard: { window: 100ms, share: 0.25, hold: 24h }
    snapshot: /var/lib/x
  routes: [{ path: /, service: Süß }, { path: /a/b, service: b }]
  trace_header: X-Trace
  log: text
  timeouts: { connect: 10ms, read: 2s, body: 1s, lame_duck: 8s, tunnel: 24h, keepalive: 4s, pool: 5s, write: 7s, drain: 1500ms }
"#,
        );
        let Config { server, gateway, .. } = gateway;
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
        let guard =
            Guard { window: Duration::from_millis(100), share: 0.25, hold: Duration::from_secs(86_400) };
        assert_eq!(gateway.registry.guard, guard);
        assert_eq!(gateway.registry.snapshot, Some("/var/lib/x".into()));
        let routes: Vec<_> = gateway.routes.iter().map(|r| (&*r.path, &*r.service)).collect();
        assert_eq!(routes, [("/", "Süß"), ("/a/b", "b")]);
        assert_eq!(gateway.trace_header, "x-trace");
        assert_eq!(gateway.log, LogFormat::Text);
        let expected = Timeouts {
            connect: Duration::from_millis(10),
            read: Duration::from_secs(2),
            body: Duration::from_secs(1),
            lame_duck: Duration::from_secs(8),
            tunnel: Duration::from_secs(86_400),
            keepalive: Duration::from_secs(4),
            pool: Duration::from_secs(5),
            write: Duration::from_secs(7),
            drain: Duration::from_millis(1500),
        };
        assert_eq!(gateway.timeouts, expected);
        assert_eq!(server.grace_period_seconds, Some(2), "rounded up");
    }

    #[test]
    fn scalars_are_taken_as_they_are_written() {
        let gateway = valid(&with("service: goods", "service: no")).gateway;
        assert_eq!(gateway.routes[0].service, "no");
        let gateway = valid(&with("service: goods", "service: 010")).gateway;
        assert_eq!(gateway.routes[0].service, "010");
    }

    #[test]
    fn audits_can_be_turned_off_and_so_can_the_guard() {
        let registry = |line: &str| valid(&with_registry(line)).gateway.registry;
        for off in ["off", "\"off\""] {
            assert_eq!(registry(&format!("audit: {off}")).watch.audit, None);
        }
        for (share, expected) in [("1", 1.0), ("1.0", 1.0), ("0", 0.0), ("0.125", 0.125)] {
            let guard = registry(&format!("guard: {{ share: {share} }}")).guard;
            assert_eq!(guard, Guard { share: expected, ..Guard::default() });
        }
    }

    #[test]
    fn a_timer_threshold_without_value_turns_it_off_as_in_pingora() {
        let server = valid(&with_server("fast_timeout_to_tokio_threshold_seconds:")).server;
        assert_eq!(server.fast_timeout_to_tokio_threshold_seconds, None);
    }

    #[test]
    fn one_run_file_elsewhere_leaves_the_other_in_our_directory() {
        let config = valid(&with_server("pid_file: /run/a.pid"));
        assert_eq!(config.server.upgrade_sock, "/tmp/leaseway-1000/upgrade.sock");
        assert!(config.run_directory.is_some());
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
        assert_eq!(valid(&format!("\u{feff}{}", VALID.replace('\n', "\r\n"))), valid(VALID));
    }
}

mod what_is_refused {
    use super::*;

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
    read: 60
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
                "10: gateway.routes[0].service: is missing: expected the name of a service, such as goods",
                "11: gateway.routes[1].service: is missing: expected the name of a service, such as goods",
                "12: gateway.routes[1].servce: is an unknown key: did you mean service?",
                "14: gateway.timeouts.read: \"60\" has no unit: write 60s for seconds, 60ms for milliseconds",
                "15: gateway.trace_header: \"host\" is a header with a meaning of its own: the trace id would replace it",
            ]
        );
    }

    #[test]
    fn a_file_without_the_gateway_section_is_shown_the_smallest_configuration() {
        for text in ["", "# nothing yet\n", "version: 1\n"] {
            let told = problems(text).join("\n");
            assert!(told.contains("gateway: is missing"), "{told}");
            assert!(told.contains(SMALLEST), "{told}");
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
            r#"4: gateway.registry.endpoints: is missing: expected a list such as ["http://127.0.0.1:2379"]"#,
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
                "6: gateway.registry.nothing_like_it: is an unknown key: expected one of endpoints, prefix, username, password_file, tls, allow, deny, audit, guard, snapshot",
            ),
            (
                with_gateway("\"a\\nb\": 1"),
                "9: gateway.\"a\\nb\": is an unknown key: expected one of listen, admin, registry, routes, trace_header, log, timeouts",
            ),
            (
                with("service: goods", "service: goods\n      weight: 3"),
                "9: gateway.routes[0].weight: is an unknown key: expected one of path, service",
            ),
        ] {
            assert_problem(&text, expected);
        }
        let text = with_endpoints("[\"https://a:1\"]\n    tls: { cafile: /a }");
        assert_problem(
            &text,
            "6: gateway.registry.tls.cafile: is an unknown key: expected one of ca, cert, key",
        );
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
        assert_problem(
            &with_gateway("listen: [\"0.0.0.0:81\"]"),
            "9: gateway.listen: stands in line 3 already",
        );
        assert_problem(&with_server("version: 1"), "9: version: stands in line 1 already");
        assert_problem(
            &with("service: goods", "service: goods\n      path: /b"),
            "9: gateway.routes[0].path: stands in line 7 already",
        );
    }

    #[test]
    fn pingoras_keys_that_we_own_are_refused_with_the_reason() {
        for (line, reason) in [
            ("grace_period_seconds: 10", "is not taken: use gateway.timeouts.drain"),
            (
                "max_retries: 0",
                "is not taken: a request is tried on at most 3 endpoints, and only where that is safe",
            ),
            (
                "runtime_enable_alt_timer: true",
                "is not taken: it does nothing unless built with --cfg tokio_unstable",
            ),
            (
                "upgrade_sock_connect_accept_max_retries: 9",
                "is not taken: Pingora 0.9.1 has this key but never reads it",
            ),
        ] {
            let key = line.split(':').next().unwrap();
            assert_problem(&with_server(line), &format!("9: {key}: {reason}"));
        }
    }

    #[test]
    fn what_pingora_asserts_or_unwraps_is_checked_here() {
        for (line, expected) in [
            ("threads: 0", "found 0, expected a whole number from 1 to 1024"),
            ("threads: 1025", "found 1025, expected a whole number from 1 to 1024"),
            ("threads: 02", "found 02, expected a whole number from 1 to 1024"),
            ("threads: +2", "found +2, expected a whole number from 1 to 1024"),
            ("threads: 2.0", "found 2.0, expected a whole number from 1 to 1024"),
            ("threads: \"2\"", "found \"2\", expected a whole number from 1 to 1024"),
            ("threads: [2]", "found a list, expected a whole number from 1 to 1024"),
            ("threads:", "found nothing, expected a whole number from 1 to 1024"),
            ("listener_tasks_per_fd: 0", "found 0, expected a whole number from 1 to 1024"),
            ("max_blocking_threads: 0", "found 0, expected a whole number from 1 to 32768"),
            ("daemon_ready_timeout_seconds: 0", "found 0, expected a whole number from 1 to 86400"),
            ("upstream_keepalive_pool_size: 0", "found 0, expected a whole number from 1 to 1000000"),
            (
                "upstream_keepalive_pool_size: 99999999999999999999999",
                "found 99999999999999999999999, expected a whole number from 1 to 1000000",
            ),
            ("daemon: yes", "found yes, expected true or false"),
            ("daemon: \"true\"", "found \"true\", expected true or false"),
            ("work_stealing: 1", "found 1, expected true or false"),
            ("pid_file: leaseway.pid", "found leaseway.pid, expected an absolute path"),
            ("pid_file: {}", "found a section, expected a single value"),
            ("user: \"a\\0b\"", "\"a\\0b\" has a control character in it"),
            ("user:", "has no value: give it one, or remove the key"),
        ] {
            let key = line.split(':').next().unwrap();
            assert_problem(&with_server(line), &format!("9: {key}: {expected}"));
        }
        for (line, expected) in [
            ("client_bind_to_ipv4: [\"::1\"]", "client_bind_to_ipv4[0]: \"::1\" is not an IPv4 address"),
            ("client_bind_to_ipv6: [a]", "client_bind_to_ipv6[0]: \"a\" is not an IPv6 address"),
            (
                "client_bind_to_ipv4: 10.0.0.1",
                "client_bind_to_ipv4: found 10.0.0.1, expected a list, [..., ...] or lines that start with \"- \"",
            ),
            (
                "upstream_connect_offload_threadpools: 2",
                "upstream_connect_offload_threadpools: needs upstream_connect_offload_thread_per_pool beside it",
            ),
            (
                "downstream_tls_offload_thread_per_pool: 2",
                "downstream_tls_offload_thread_per_pool: needs downstream_tls_offload_threadpools beside it",
            ),
        ] {
            assert_problem(&with_server(line), &format!("9: {expected}"));
        }
    }

    #[test]
    fn the_upgrade_socket_must_fit_into_a_socket_address() {
        let longest = format!("/{}", "a".repeat(106));
        valid(&with_server(&format!("upgrade_sock: {longest}")));
        let told = problems(&with_server(&format!("upgrade_sock: {longest}a")));
        assert!(
            told[0].contains("has 108 bytes, expected at most 107: it is the path of a Unix socket"),
            "{told:?}"
        );
        assert_problem(
            &with_server("pid_file: /run/a\nupgrade_sock: /run/a"),
            "10: upgrade_sock: is the same file as pid_file",
        );
    }

    #[test]
    fn a_run_directory_with_a_long_name_leaves_no_room_for_the_upgrade_socket() {
        let environment =
            Environment { xdg_runtime_dir: Some(format!("/{}", "a".repeat(100))), ..environment() };
        let told = Config::parse(VALID, "test.yaml", &environment).unwrap_err();
        assert!(told.to_string().contains("upgrade_sock: has 123 bytes"), "{told}");
        let elsewhere = with_server("upgrade_sock: /run/a.sock");
        assert!(Config::parse(&elsewhere, "test.yaml", &environment).is_ok());
    }

    #[test]
    fn an_address_must_be_ip_and_port_and_be_free() {
        let own = "[\"0.0.0.0:8080\"]";
        for (list, expected) in [
            (
                "[localhost:80]",
                "[0]: \"localhost:80\" is not an address: write ip:port, such as 0.0.0.0:8080 or [::]:8080",
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
            ("[]", ": has 0 addresses: expected 1 to 31"),
            ("[[]]", "[0]: found a list, expected a single value"),
            ("0.0.0.0:80", ": found 0.0.0.0:80, expected a list, [..., ...] or lines that start with \"- \""),
        ] {
            assert_problem(&with(own, list), &format!("3: gateway.listen{expected}"));
        }
        let many: Vec<_> = (1..=32).map(|port| format!("\"0.0.0.0:{port}\"")).collect();
        assert_problem(
            &with(own, &format!("[{}]", many.join(", "))),
            "3: gateway.listen: has 32 addresses: expected 1 to 31",
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
    fn endpoints_user_and_certificates_must_fit_together() {
        for (text, expected) in [
            (
                with_endpoints("[]"),
                "5: gateway.registry.endpoints: is empty: expected at least one URL, such as http://127.0.0.1:2379",
            ),
            (
                with_endpoints("[\"http://a:1\", \"http://a:1/\"]"),
                "5: gateway.registry.endpoints[1]: \"http://a:1\" is in the list already",
            ),
            (
                with_registry("tls: {}"),
                "6: gateway.registry.tls: is set, but http://127.0.0.1:2379 is not encrypted: write https://, or remove tls",
            ),
            (
                with_endpoints("[\"https://a:1\"]\n    tls: { cert: /a.pem }"),
                "6: gateway.registry.tls.cert: needs key beside it",
            ),
            (
                with_endpoints("[\"https://a:1\"]\n    tls: { key: /a.pem }"),
                "6: gateway.registry.tls.key: needs cert beside it",
            ),
            (
                with_registry("password_file: /a"),
                "6: gateway.registry.password_file: needs username beside it",
            ),
        ] {
            assert_problem(&text, expected);
        }
        assert!(
            problems(&with_registry("prefix: reg/"))[0]
                .starts_with("6: gateway.registry.prefix: \"reg/\" is not a key prefix")
        );
    }

    #[test]
    fn networks_are_written_in_one_way_only() {
        for key in ["allow", "deny"] {
            for (list, expected) in [
                ("[10.0.0.1/8]", "[0]: \"10.0.0.1/8\" has bits set after its length: write 10.0.0.0/8"),
                (
                    "[10.0.0.0/8, intranet]",
                    "[1]: \"intranet\" is not a network: write an address and a length, such as 10.0.0.0/8 or fd00::/8",
                ),
                (
                    "[\"::ffff:10.0.0.0/104\"]",
                    "[0]: \"::ffff:10.0.0.0/104\" is an IPv4 network in IPv6's form, which no address is compared with: write 10.0.0.0/8",
                ),
                ("[{}]", "[0]: found a section, expected a single value"),
                (
                    "10.0.0.0/8",
                    ": found 10.0.0.0/8, expected a list, [..., ...] or lines that start with \"- \"",
                ),
            ] {
                let expected = format!("6: gateway.registry.{key}{expected}");
                assert_problem(&with_registry(&format!("{key}: {list}")), &expected);
            }
        }
    }

    #[test]
    fn audit_guard_and_snapshot_state_their_bounds() {
        for (line, expected) in [
            ("audit: 999ms", "audit: found 999ms, expected a duration from 1s to 24h"),
            ("audit: 25h", "audit: found 25h, expected a duration from 1s to 24h"),
            ("audit: 60", "audit: \"60\" has no unit: write 60s for seconds, 60ms for milliseconds"),
            (
                "audit: false",
                "audit: \"false\" is not a duration: write a whole number and its unit (ms, s, m or h), such as 250ms or 3s",
            ),
            ("audit:", "audit: has no value: give it one, or remove the key"),
            ("guard: off", "guard: found off, expected a section: keys and values, indented by two spaces"),
            ("guard: { span: 3s }", "guard.span: is an unknown key: expected one of window, share, hold"),
            ("guard: { window: 99ms }", "guard.window: found 99ms, expected a duration from 100ms to 1h"),
            ("guard: { window: 61m }", "guard.window: found 61m, expected a duration from 100ms to 1h"),
            ("guard: { hold: 0s }", "guard.hold: found 0s, expected a duration from 1s to 24h"),
            ("guard: { hold: 25h }", "guard.hold: found 25h, expected a duration from 1s to 24h"),
            ("guard: { share: 1.1 }", "guard.share: found 1.1, expected a number from 0 to 1, such as 0.5"),
            ("guard: { share: -0.5 }", "guard.share: found -0.5, expected a number from 0 to 1, such as 0.5"),
            ("guard: { share: 50% }", "guard.share: found 50%, expected a number from 0 to 1, such as 0.5"),
            ("guard: { share: .nan }", "guard.share: found .nan, expected a number from 0 to 1, such as 0.5"),
            ("guard: { share: 1e-1 }", "guard.share: found 1e-1, expected a number from 0 to 1, such as 0.5"),
            (
                "guard: { share: \"0.5\" }",
                "guard.share: found \"0.5\", expected a number from 0 to 1, such as 0.5",
            ),
            ("snapshot: leaseway.snapshot", "snapshot: found leaseway.snapshot, expected an absolute path"),
            ("snapshot: [/a]", "snapshot: found a list, expected a single value"),
            ("snapshot:", "snapshot: has no value: give it one, or remove the key"),
        ] {
            assert_problem(&with_registry(line), &format!("6: gateway.registry.{expected}"));
        }
    }

    #[test]
    fn no_password_is_repeated() {
        for text in [with_registry("password: hunter2"), with_endpoints("[\"http://root:hunter2@a:1\"]")] {
            let told = parse(&text).unwrap_err().to_string();
            assert!(told.contains("password_file"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_route_has_one_path_and_one_service() {
        assert_problem(
            &with("service: goods", "service: goods\n    - path: /goods\n      service: other"),
            "9: gateway.routes[1].path: \"/goods\" is the path of gateway.routes[0] already",
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
    fn header_log_and_timeouts_state_their_bounds() {
        for (line, expected) in [
            (
                "trace_header: a b",
                "trace_header: \"a b\" is not a header name: expected letters, digits, \"-\" and \"_\"",
            ),
            (
                "trace_header: Content-Length",
                "trace_header: \"Content-Length\" is a header with a meaning of its own: the trace id would replace it",
            ),
            ("trace_header:", "trace_header: has no value: give it one, or remove the key"),
            (
                "log: xml",
                "log: found xml, expected json or text (or no such key: text on a terminal, else json)",
            ),
            (
                "timeouts: { connect: 9ms }",
                "timeouts.connect: found 9ms, expected a duration from 10ms to 24h",
            ),
            (
                "timeouts: { connect: 25h }",
                "timeouts.connect: found 25h, expected a duration from 10ms to 24h",
            ),
            (
                "timeouts: { keepalive: 999ms }",
                "timeouts.keepalive: found 999ms, expected a duration from 1s to 24h",
            ),
            ("timeouts: { keepalive: 1500ms }", "timeouts.keepalive: found 1500ms, expected whole seconds"),
            (
                "timeouts: { drain: soon }",
                "timeouts.drain: \"soon\" is not a duration: write a whole number and its unit (ms, s, m or h), such as 250ms or 3s",
            ),
        ] {
            assert_problem(&with_gateway(line), &format!("9: gateway.{expected}"));
        }
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
}

mod files {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::load(path, &environment())
    }

    fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().join("missing.yaml"), directory.path().to_owned()] {
            let error = load(&path).unwrap_err();
            assert!(matches!(error, ConfigError::Read { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf8_is_told_where() {
        let directory = tempfile::tempdir().unwrap();
        let latin1 = write(directory.path(), "a.yaml", b"version: 1\n# gr\xfc\xdfe\n");
        assert!(matches!(load(&latin1), Err(ConfigError::Encoding { line: 2, .. })));
        let utf16 = write(directory.path(), "b.yaml", b"\xff\xfev\0e\0r\0");
        assert!(matches!(load(&utf16), Err(ConfigError::Encoding { line: 1, .. })));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        for filling in ["#", "ü", "€"] {
            let ten_megabytes = format!("{VALID}#{}", filling.repeat((10 << 20) / filling.len()));
            let path = write(directory.path(), "a.yaml", ten_megabytes);
            let error = load(&path).unwrap_err();
            assert!(matches!(error, ConfigError::TooLarge { limit: SIZE, .. }), "{error}");
        }
        let just_fits = VALID.to_owned() + &"#".repeat(SIZE - VALID.len());
        let path = write(directory.path(), "b.yaml", just_fits);
        assert_eq!(load(&path).unwrap(), valid(VALID));
    }

    #[test]
    fn what_the_configuration_names_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        write(directory.path(), "empty.pem", "");
        let text = format!(
            r#"{server}error_log: {0}/missing/log
pid_file: {0}/missing/pid
upgrade_sock: {0}
working_directory: {1}
user: nobody-has-this-name
group: nobody-has-this-name
ca_file: {1}
"#,
            at(""),
            at("empty.pem"),
            server = with_endpoints(&format!(
                "[\"https://a:1\"]\n    username: a\n    password_file: {}\n    tls: {{ ca: {}, cert: {}, key: {} }}",
                at("missing"),
                at("missing"),
                at(""),
                at("empty.pem"),
            )),
        );
        let path = write(directory.path(), "a.yaml", text);
        let told = load(&path).unwrap_err().to_string();
        let told: Vec<_> = told.lines().collect();
        let expected = [
            ("password_file", "No such file"),
            ("tls.ca", "No such file"),
            ("tls.cert", "is not a file"),
            ("tls.key", "has no private key in PEM format"),
            ("error_log", "No such file"),
            ("pid_file", "No such file"),
            ("upgrade_sock", "is not a file"),
            ("working_directory", "is not a directory"),
            ("user", "this machine has no user"),
            ("group", "this machine has no group"),
            ("ca_file", "has no certificate in PEM format"),
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (line, (key, reason)) in told.iter().zip(expected) {
            assert!(line.contains(&format!("{key}: ")) && line.contains(reason), "{line}");
        }
    }

    #[test]
    fn a_snapshot_needs_a_directory_and_a_name_that_only_a_file_may_have() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let loaded = |snapshot: &str| {
            let text = with_registry(&format!("snapshot: {snapshot}"));
            load(&write(directory.path(), "a.yaml", text))
        };
        write(directory.path(), "snapshot", "from an earlier run");
        for taken in [at("snapshot"), at("of-the-first-run")] {
            assert_eq!(loaded(&taken).unwrap().gateway.registry.snapshot, Some(taken.into()));
        }
        for (refused, expected) in [
            (at("missing/snapshot"), format!("cannot read {}: No such file", at("missing"))),
            (at("snapshot/snapshot"), format!("{} is not a directory", at("snapshot"))),
            (at(""), format!("{} is not a file", at(""))),
            ("/dev/null".to_owned(), "/dev/null is not a file".to_owned()),
        ] {
            let told = loaded(&refused).unwrap_err().to_string();
            let expected = format!("a.yaml:6: gateway.registry.snapshot: {expected}");
            assert!(told.lines().count() == 1 && told.contains(&expected), "{told}");
        }
    }

    #[test]
    fn mistakes_in_the_text_and_missing_files_are_listed_together() {
        let directory = tempfile::tempdir().unwrap();
        let text = with_registry("username: a\n    password_file: /nowhere/at/all\n    prefix: reg");
        let told = load(&write(directory.path(), "a.yaml", text)).unwrap_err().to_string();
        assert_eq!(told.lines().count(), 2, "{told}");
    }

    #[test]
    fn certificates_and_keys_that_are_there_are_taken() {
        let directory = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["a".to_owned()]).unwrap();
        let cert = write(directory.path(), "cert.pem", cert.pem());
        let key = write(directory.path(), "key.pem", signing_key.serialize_pem());
        let password = write(directory.path(), "password", "secret\n");
        let text = with_endpoints(&format!(
            "[\"https://a:1\"]\n    username: a\n    password_file: {}\n    tls: {{ ca: {2}, cert: {2}, key: {1} }}",
            password.display(),
            key.display(),
            cert.display(),
        ));
        let text = format!("{text}user: root\ngroup: root\nca_file: {}\n", cert.display());
        let config = load(&write(directory.path(), "a.yaml", text)).unwrap();
        assert_eq!(config.gateway.registry.connection.tls.unwrap().key, Some(key));
    }

    /// Root reads everything: the case cannot be made for it.
    #[test]
    fn a_secret_that_we_may_not_read_is_a_mistake() {
        let directory = tempfile::tempdir().unwrap();
        let secret = write(directory.path(), "secret", "x");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        let text = with_registry(&format!("username: a\n    password_file: {}", secret.display()));
        let loaded = load(&write(directory.path(), "a.yaml", text));
        let is_root = Environment::of_this_process().uid == 0;
        assert_eq!(loaded.is_ok(), is_root);
    }
}

mod examples {
    use super::*;

    fn conf(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf").join(name)
    }

    #[test]
    fn every_example_is_valid() {
        let mut names = Vec::new();
        for entry in fs::read_dir(conf("")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            if let Err(error) = Config::parse(&text, &path.display().to_string(), &environment()) {
                panic!("{error}");
            }
            names.push(path.file_name().unwrap().to_owned());
        }
        assert!(names.contains(&"pingora.yaml".into()) && names.len() > 1, "{names:?}");
    }

    #[test]
    fn the_default_file_runs_on_any_machine() {
        let config = Config::load(&conf("pingora.yaml"), &environment()).unwrap();
        assert_eq!(config.gateway, valid(VALID).gateway);
    }

    #[test]
    fn what_the_reference_writes_out_is_the_default() {
        let text = fs::read_to_string(conf("reference.yaml")).unwrap();
        assert_eq!(valid(&text), valid(VALID));
    }

    #[test]
    fn the_reference_names_every_key() {
        let text = fs::read_to_string(conf("reference.yaml")).unwrap();
        let tls = with_endpoints("[\"https://a:1\"]\n    tls: { zzzzzzzz: 1 }");
        let levels = [
            with_server("zzzzzzzz: 1"),
            with_gateway("zzzzzzzz: 1"),
            with_gateway("timeouts: { zzzzzzzz: 1 }"),
            with_registry("zzzzzzzz: 1"),
            with_registry("guard: { zzzzzzzz: 1 }"),
            with("service: goods", "service: goods\n      zzzzzzzz: 1"),
            tls,
        ];
        for level in levels {
            let told = problems(&level).remove(0);
            let (_, keys) = told.split_once("expected one of ").expect(&told);
            for key in keys.split(", ") {
                let is_named =
                    |line: &str| line.trim_start_matches([' ', '#', '-']).starts_with(&format!("{key}:"));
                assert!(text.lines().any(is_named), "{key} is not in the reference");
            }
        }
    }

    /// The commented examples of the reference are as valid as what it writes out.
    #[test]
    fn the_reference_is_valid_with_every_example_in_it() {
        let text = fs::read_to_string(conf("reference.yaml")).unwrap();
        let key_in_comment = |line: &str| {
            let rest = line.trim_start().strip_prefix("# ").map(str::trim_start);
            let key = rest.and_then(|rest| rest.split_once(':')).map(|(key, _)| key);
            key.is_some_and(|key| key.chars().all(|c| c.is_ascii_lowercase() || "_46".contains(c)))
        };
        let uncommented: Vec<_> = text
            .lines()
            .map(|line| if key_in_comment(line) { line.replacen("# ", "", 1) } else { line.to_owned() })
            .collect();
        let all = uncommented.join("\n").replace("http://", "https://");
        let config = valid(&all);
        assert!(config.gateway.registry.connection.tls.is_some_and(|tls| tls.key.is_some()));
        assert!(config.gateway.registry.snapshot.is_some());
        assert!(config.server.upstream_connect_offload_thread_per_pool.is_some());
        assert_eq!(config.gateway.log, LogFormat::Json);
    }
}

mod any_text {
    use super::*;

    const PIECES: [&str; 22] = [
        ":", "- ", "\n", "  ", "[", "]", "{", "}", "\"", "'", "#", "&a", "*a", "!!b", "|", ">", "---", "?",
        "%", "\t", "\u{feff}", "\0",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_yaml_like_text_makes_it_panic(
            text in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)
        ) {
            let _ = parse(&text.concat());
        }

        #[test]
        fn no_change_of_a_valid_text_makes_it_panic(
            at in any::<prop::sample::Index>(),
            length in 0..20_usize,
            piece in prop::sample::select(&PIECES[..]),
            file in prop::sample::select(&[
                VALID,
                include_str!("../../../conf/reference.yaml"),
                include_str!("../../../conf/etcd-cluster.yaml"),
            ][..]),
        ) {
            let mut characters: Vec<char> = file.chars().collect();
            let from = at.index(characters.len());
            let to = (from + length).min(characters.len());
            characters.splice(from..to, piece.chars());
            let _ = parse(&characters.into_iter().collect::<String>());
        }

        #[test]
        fn a_mistake_has_a_line_of_the_file(lines in 0..40_usize) {
            let text = format!("{}{}", "\n".repeat(lines), with("path: /goods", "path: goods"));
            match parse(&text) {
                Err(ConfigError::Invalid(problems)) => prop_assert_eq!(problems[0].line, lines + 7),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
