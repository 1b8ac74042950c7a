//! What a running process does with a configuration that has changed.

use super::*;

fn differences(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (valid(before), valid(after));
    let mut backwards = after.fixed_differences(&before);
    let found = before.fixed_differences(&after);
    backwards.sort();
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(backwards, sorted, "the same both ways");
    found
}

#[test]
fn whether_the_file_is_watched_is_on_unless_it_is_off() {
    assert!(valid(VALID).gateway.reload);
    assert!(valid(&with_gateway("reload: on")).gateway.reload);
    assert!(!valid(&with_gateway("reload: off")).gateway.reload);
    for (value, found) in [("yes", "yes"), ("true", "true"), ("5s", "5s")] {
        let expected = format!("9: gateway.reload: found {found}, expected on or off");
        assert_problem(&with_gateway(&format!("reload: {value}")), &expected);
    }
}

#[test]
fn what_needs_an_upgrade_or_a_restart_is_named() {
    for (changed, expected) in [
        (with_server("threads: 3"), vec!["threads"]),
        (with_server("error_log: /a/b\npid_file: /a/c"), vec!["error_log", "pid_file"]),
        (with_server("client_bind_to_ipv4: [10.0.0.1]"), vec!["client_bind_to_ipv4"]),
        (with("0.0.0.0:8080", "0.0.0.0:8081"), vec!["gateway.listen"]),
        (with_gateway("admin: off"), vec!["gateway.admin"]),
        (with_gateway("admin_hosts: [a]"), vec!["gateway.admin_hosts"]),
        (with_gateway("log: json"), vec!["gateway.log"]),
        (
            with_server("threads: 3").replace("8080", "8081") + "work_stealing: false\n",
            vec!["threads", "work_stealing", "gateway.listen"],
        ),
    ] {
        assert_eq!(differences(VALID, &changed), expected, "{changed}");
    }
}

#[test]
fn what_a_running_process_takes_over_is_no_difference() {
    let changed = format!(
        "{VALID}    - {{ path: /b, service: b, timeouts: {{ total: 1s }} }}\n  defaults: {{ balance: ewma }}\n  \
         services: {{ b: {{ check: {{ probe: tcp }}, tls: {{ ca: /a.pem }}, protocol: h2 }} }}\n  max_requests: 7\n  trace_header: x-trace\n  \
         connections: {{ max: 7, per_address: 2, requests: 9, handshakes: 3, max_age: 5m, streams: 7 }}\n  \
         timeouts: {{ handshake: 1s, idle: 2s, lame_duck: 3s, drain: 4s, head: 5s, tunnel_drain: off }}\n  reload: off\n  \
         http1: ours\n  http2: pingora\n  client_abort: on_fin\n  paths: strict\n"
    );
    assert_eq!(differences(VALID, &changed), [""; 0]);
    assert_eq!(differences(VALID, VALID), [""; 0]);
}

/// They may stand in another order, and what else is said of each is taken over.
#[test]
fn which_addresses_there_are_is_fixed_and_how_they_are_served_is_not() {
    let own = "[\"0.0.0.0:8080\"]";
    let tls = "tls: { certificates: [{ cert: /a.pem, key: /a.key }], client: { ca: /a.pem } }";
    let served = [
        "{ address: \"0.0.0.0:8080\" }".to_owned(),
        format!("{{ address: \"0.0.0.0:8080\", {tls}, http2: true }}"),
        "{ address: \"0.0.0.0:8080\", proxy_protocol: { from: [10.0.0.1] }, allow: [\"::1\"], deny: [10.0.0.2] }".to_owned(),
    ];
    for listener in &served {
        assert_eq!(differences(VALID, &with(own, &format!("[{listener}]"))), [""; 0]);
    }
    let [one, other, _] = served;
    let two = with(own, &format!("[{other}, \"0.0.0.0:81\"]"));
    assert_eq!(differences(&two, &with(own, "[\"0.0.0.0:81\", \"0.0.0.0:8080\"]")), [""; 0]);
    assert_eq!(differences(&two, &with(own, &format!("[{one}]"))), ["gateway.listen"]);
    assert_eq!(differences(&two, &with(own, "[\"0.0.0.0:82\", \"0.0.0.0:8080\"]")), ["gateway.listen"]);
}

/// A default that is written out is no change.
#[test]
fn values_are_compared_not_texts() {
    assert_eq!(differences(VALID, &with_server("threads: 2\ndaemon: false")), [""; 0]);
    assert_eq!(differences(VALID, &with_registry("audit: 60s")), [""; 0]);
}

/// The server's own time limit cannot change in a running process; the drain time can.
#[test]
fn the_server_waits_for_the_longest_drain_that_a_file_may_have() {
    for drain in ["10ms", "24h"] {
        let config = valid(&with_gateway(&format!("timeouts: {{ drain: {drain} }}")));
        assert_eq!(config.server.grace_period_seconds, Some(86_401), "{drain}");
    }
}

#[test]
fn a_file_is_read_first_and_understood_then() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    fs::write(&path, VALID).unwrap();
    let bytes = read_file(&path).unwrap();
    assert_eq!(bytes, VALID.as_bytes());
    fs::remove_file(&path).unwrap();
    let config = Config::of_bytes(&bytes, &path, &environment(), Purpose::Start).unwrap();
    assert_eq!(config, valid(VALID));
    assert!(matches!(read_file(&path), Err(ConfigError::Read { .. })));
    let wrong = Config::of_bytes(b"version: 2", &path, &environment(), Purpose::Start).unwrap_err();
    assert!(wrong.to_string().starts_with(&format!("{}:1: ", path.display())), "{wrong}");
}

#[test]
fn of_a_file_that_is_too_large_no_more_is_read_than_shows_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    for (size, read) in [(SIZE, SIZE), (SIZE + 1, SIZE + 1), (SIZE * 3, SIZE + 1)] {
        fs::write(&path, vec![b'#'; size]).unwrap();
        let bytes = read_file(&path).unwrap();
        assert_eq!(bytes.len(), read);
        let refused = Config::of_bytes(&bytes, &path, &environment(), Purpose::Start).unwrap_err();
        assert_eq!(matches!(refused, ConfigError::TooLarge { limit: SIZE, .. }), size > SIZE, "{refused}");
    }
}
