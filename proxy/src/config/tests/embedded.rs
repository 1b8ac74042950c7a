//! The section `gateway.registry.embedded`.

use super::*;

#[test]
fn an_embedded_registry_takes_the_place_of_the_endpoints() {
    let registry = valid(&with_embedded("")).gateway.registry;
    let embedded = registry.embedded.unwrap();
    assert_eq!(embedded.listen, "127.0.0.1:2379".parse().unwrap());
    assert_eq!(embedded.settings, embedded_registry::Settings::default());
    assert_eq!(registry.connection, registry::connect::ConnectionSettings::to(["http://127.0.0.1:2379"]));
}

#[test]
fn every_key_of_an_embedded_registry_reaches_it() {
    let text = with_embedded(
        "listen: \"10.0.0.1:1\", max_bytes: 1048576, history: 2, max_leases: 3, max_watches: 8, \
         max_watches_per_stream: 5, max_watch_streams: 9, max_connections: 10, \
         hosts: [registry.internal, leaseway]",
    );
    let embedded = valid(&text).gateway.registry.embedded.unwrap();
    assert_eq!(embedded.listen, "10.0.0.1:1".parse().unwrap());
    let expected = embedded_registry::Settings {
        max_bytes: 1 << 20,
        history: 2,
        max_leases: 3,
        max_watches: 8,
        max_watches_per_stream: 5,
        max_watch_streams: 9,
        max_connections: 10,
        hosts: vec!["registry.internal".to_owned(), "leaseway".to_owned()],
        ..Default::default()
    };
    assert_eq!(embedded.settings, expected);
}

#[test]
fn the_gateway_reaches_a_registry_on_all_addresses_by_loopback() {
    for (listen, expected) in [
        ("127.0.0.1:7", "http://127.0.0.1:7"),
        ("0.0.0.0:7", "http://127.0.0.1:7"),
        ("[::]:7", "http://[::1]:7"),
        ("10.0.0.1:7", "http://10.0.0.1:7"),
    ] {
        let text = with_embedded(&format!("listen: \"{listen}\""));
        assert_eq!(valid(&text).gateway.registry.connection.endpoints, [expected]);
    }
}

#[test]
fn its_snapshot_is_on_and_lies_beside_the_upgrade_socket() {
    let snapshot = |text: &str| valid(text).gateway.registry.snapshot;
    assert_eq!(snapshot(VALID), None);
    let text = with_embedded("listen: \"127.0.0.1:7\"");
    assert_eq!(snapshot(&text), Some("/tmp/leaseway-1000/snapshot-127.0.0.1:7".into()));
    assert!(valid(&text).run_directory.is_some_and(|directory| directory.path() == "/tmp/leaseway-1000"));
    let elsewhere = format!("{text}upgrade_sock: /run/mine/a.sock\n");
    assert_eq!(snapshot(&elsewhere), Some("/run/mine/snapshot-127.0.0.1:7".into()));
    let said = |path: &str| format!("}}\n    snapshot: {path}\n    guard: {{ share: 0.5");
    assert_eq!(snapshot(&with_embedded(&said("/var/lib/x"))), Some("/var/lib/x".into()));
    assert_eq!(snapshot(&with_embedded(&said("off"))), None);
}

/// systemd removes the run directory at each stop.
#[test]
fn its_snapshot_lies_in_the_services_state_directory_if_there_is_one() {
    let snapshot = |state: &str, text: &str| {
        let environment = Environment { state_directory: Some(state.to_owned()), ..environment() };
        Config::parse(text, "test.yaml", &environment).unwrap().gateway.registry.snapshot
    };
    let text = with_embedded("");
    assert_eq!(snapshot("/var/lib/a:/b", &text), Some("/var/lib/a/snapshot-127.0.0.1:2379".into()));
    assert_eq!(snapshot("", &text), Some("/tmp/leaseway-1000/snapshot-127.0.0.1:2379".into()));
    assert_eq!(snapshot("/var/lib/a", VALID), None);
}

#[test]
fn it_is_local_on_loopback_alone() {
    for (listen, expected) in [
        ("127.0.0.2:7", true),
        ("[::1]:7", true),
        ("[::ffff:127.0.0.1]:7", true),
        ("0.0.0.0:7", false),
        ("[::]:7", false),
        ("10.0.0.1:7", false),
        ("[::ffff:10.0.0.1]:7", false),
    ] {
        let registry = valid(&with_embedded(&format!("listen: \"{listen}\""))).gateway.registry;
        assert_eq!(registry.embedded.unwrap().is_local(), expected, "{listen}");
        let told = remarks(&with_embedded(&format!("listen: \"{listen}\"")));
        assert_eq!(told.is_empty(), expected, "{told:?}");
        let is_it = |told: &String| {
            told.starts_with("5: gateway.registry.embedded.listen: ")
                && told.contains("lets others reach the embedded registry, and it has no users")
        };
        assert!(told.iter().all(is_it), "{told:?}");
    }
}

#[test]
fn the_guard_cannot_be_turned_off_for_a_registry_that_starts_empty() {
    let text = with_embedded("}\n    guard: { share: 1");
    assert_problem(
        &text,
        "6: gateway.registry.guard.share: turns the guard off, and an embedded registry starts empty: each \
         restart would remove every instance. Expected less than 1",
    );
    valid(&text.replace("share: 1", "share: 0.99"));
}

#[test]
fn the_registry_is_here_or_elsewhere_and_nothing_of_one_is_said_of_the_other() {
    for (line, expected) in [
        (
            "endpoints: [\"http://a:1\"]",
            "endpoints: stands beside embedded: the registry is in this process or elsewhere, remove one",
        ),
        ("username: root", "username: means nothing to an embedded registry: it has no users"),
        ("password_file: /a", "password_file: means nothing to an embedded registry: it has no users"),
        ("password: a", "password: means nothing to an embedded registry: it has no users"),
        ("tls: {}", "tls: means nothing to an embedded registry: it serves no TLS"),
    ] {
        let text = with(r#"endpoints: ["http://127.0.0.1:2379"]"#, &format!("embedded: {{}}\n    {line}"));
        assert_problem(&text, &format!("6: gateway.registry.{expected}"));
    }
    assert_problem(
        &with(r#"endpoints: ["http://127.0.0.1:2379"]"#, "prefix: /a"),
        "4: gateway.registry.endpoints: is missing: expected a list such as [\"http://127.0.0.1:2379\"], or \
         embedded: {} in its place",
    );
}

#[test]
fn each_key_of_an_embedded_registry_states_what_it_takes() {
    for (keys, expected) in [
        (
            "listen: \"127.0.0.1:0\"",
            "listen: \"127.0.0.1:0\" has port 0, which would be another port at each start: name one",
        ),
        (
            "listen: localhost:2379",
            "listen: \"localhost:2379\" has a host name in it: write an IP address, such as 127.0.0.1:2379 for this machine alone",
        ),
        (
            "listen: 2379",
            "listen: \"2379\" has no address: write 0.0.0.0:2379 for all of IPv4, [::]:2379 for IPv6, or 127.0.0.1:2379 for this machine alone",
        ),
        ("listen: \"127.0.0.1:8080\"", "listen: \"127.0.0.1:8080\" overlaps with gateway.listen[0]"),
        ("listen: \"127.0.0.1:9090\"", "listen: \"127.0.0.1:9090\" overlaps with gateway.admin"),
        (
            "max_bytes: 1048575",
            "max_bytes: found 1048575, expected a whole number from 1048576 to 68719476736",
        ),
        ("max_bytes: 256MiB", "max_bytes: found 256MiB, expected a whole number from 1048576 to 68719476736"),
        ("history: 0", "history: found 0, expected a whole number from 1 to 10000000"),
        ("max_leases: -1", "max_leases: found -1, expected a whole number from 1 to 10000000"),
        ("max_watches: off", "max_watches: found off, expected a whole number from 1 to 10000000"),
        ("max_connections: 0", "max_connections: found 0, expected a whole number from 1 to 10000000"),
        (
            "listen: \"[fe80::1%2]:2379\"",
            "listen: has a scope (%), which no URL of it could have: name another address",
        ),
        ("max_conections: 1", "max_conections: is an unknown key: did you mean max_connections?"),
    ] {
        assert_problem(&with_embedded(keys), &format!("5: gateway.registry.embedded.{expected}"));
    }
    assert_problem(
        &with_embedded("}").replace(":8080", ":2379").replace(" } }", " }"),
        "5: gateway.registry.embedded.listen: is 127.0.0.1:2379 by default, which is taken by gateway.listen[0]: \
         set another address",
    );
    let text = with(r#"endpoints: ["http://127.0.0.1:2379"]"#, "embedded: on");
    assert_problem(
        &text,
        "5: gateway.registry.embedded: found on, expected a section of its settings: {} takes all defaults",
    );
}

#[test]
fn a_host_is_a_name_alone() {
    for host in ["registry:2379", "http://registry", "*.internal", "", "a..b", "a/b"] {
        let text = with_embedded(&format!("hosts: [\"{host}\"]"));
        let problem = problems(&text).join("\n");
        let expected = "is no host name such as registry.internal: no port, no URL, no pattern";
        assert!(problem.ends_with(expected), "{host}: {problem}");
    }
}
