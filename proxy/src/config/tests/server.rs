//! Pingora's own keys.

use super::*;

#[test]
fn a_user_and_a_group_of_no_daemon_are_remarked() {
    let remarks = |text: &str, environment: &Environment| -> Vec<String> {
        let config = Config::parse(&with_server(text), "test.yaml", environment).unwrap();
        config.remarks.iter().map(ToString::to_string).collect()
    };
    let told = remarks("user: a\ngroup: b", &environment());
    assert_eq!(told.len(), 2, "{told:?}");
    let expected = "user: is of a daemon only: it does nothing without `daemon: true` or `proxy -d`";
    assert!(told[0].ends_with(expected), "{told:?}");
    assert!(remarks("daemon: true\nuser: a\ngroup: b", &environment()).is_empty());
    assert!(remarks("user: a\ngroup: b", &Environment { daemon: true, ..environment() }).is_empty());
}

const EVERY_KEY: &str = r#"daemon: true
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
downstream_tls_offload_thread_per_pool: 4"#;

#[test]
fn every_key_of_pingora_reaches_pingora() {
    let server = valid(&with_server(EVERY_KEY));
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
        grace_period_seconds: Some(86_401),
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
fn root_writes_no_pid_file_where_the_user_whom_its_daemon_becomes_can() {
    let pid_file = |uid: u32, daemon: bool, keys: &str| {
        let environment = Environment { uid, daemon, ..environment() };
        Config::parse(&with_server(keys), "test.yaml", &environment).unwrap().server.pid_file
    };
    assert_eq!(pid_file(0, true, "user: a"), "/run/leaseway.pid");
    assert_eq!(pid_file(0, false, "user: a\ndaemon: true"), "/run/leaseway.pid");
    assert_eq!(pid_file(0, true, "user: a\npid_file: /a/pid"), "/a/pid");
    for (uid, daemon, keys) in [(0, true, ""), (0, false, "user: a")] {
        assert_eq!(pid_file(uid, daemon, keys), "/run/leaseway/leaseway.pid");
    }
    assert_eq!(pid_file(7, true, "user: a"), "/tmp/leaseway-7/leaseway.pid");
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
            "client_bind_to_ipv4: found 10.0.0.1, expected a list: write [10.0.0.1]",
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
    let environment = Environment { xdg_runtime_dir: Some(format!("/{}", "a".repeat(100))), ..environment() };
    let told = Config::parse(VALID, "test.yaml", &environment).unwrap_err();
    assert!(told.to_string().contains("upgrade_sock: has 123 bytes"), "{told}");
    let elsewhere = with_server("upgrade_sock: /run/a.sock");
    assert!(Config::parse(&elsewhere, "test.yaml", &environment).is_ok());
}
