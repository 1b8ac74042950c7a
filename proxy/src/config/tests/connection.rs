//! The section `gateway.registry`.

use super::*;
use registry::networks::Loopback;

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
fn loopback_instances_must_be_named_unless_the_registry_is_on_loopback_too() {
    let loopback = |text: &str| valid(text).gateway.registry.watch.networks.loopback;
    for (endpoints, expected) in [
        (r#"["http://127.0.0.1:2379"]"#, Loopback::Permitted),
        (r#"["http://localhost:2379", "http://[::1]:2379"]"#, Loopback::Permitted),
        (r#"["http://127.0.0.1:2379", "http://10.0.0.1:2379"]"#, Loopback::IfNamed),
        (r#"["http://etcd:2379"]"#, Loopback::IfNamed),
    ] {
        assert_eq!(loopback(&with_endpoints(endpoints)), expected, "{endpoints}");
    }
    assert_eq!(loopback(&with_embedded("")), Loopback::Permitted);
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
        (with_registry("password_file: /a"), "6: gateway.registry.password_file: needs username beside it"),
    ] {
        assert_problem(&text, expected);
    }
    assert!(
        problems(&with_registry("prefix: reg/"))[0]
            .starts_with("6: gateway.registry.prefix: \"reg/\" is not a key prefix")
    );
}

#[test]
fn a_password_that_leaves_the_machine_in_clear_text_is_remarked() {
    let with_user = |endpoints: &str, user: &str| with_endpoints(&format!("[{endpoints}]\n    {user}"));
    let user = "username: a\n    password_file: /a";
    let told = remarks(&with_user(r#""http://127.0.0.1:1", "http://etcd:1""#, user));
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = "6: gateway.registry.username: the password goes to http://etcd:1 unencrypted: ";
    assert!(told[0].starts_with(expected) && told[0].ends_with("write https://"), "{told:?}");
    for text in [
        with_user(r#""https://etcd:1""#, user),
        with_user(r#""http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1""#, user),
        with_user(r#""http://etcd:1""#, ""),
    ] {
        assert_eq!(remarks(&text), [""; 0], "{text}");
    }
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
            ("10.0.0.0/8", ": found 10.0.0.0/8, expected a list: write [10.0.0.0/8]"),
        ] {
            let expected = format!("6: gateway.registry.{key}{expected}");
            assert_problem(&with_registry(&format!("{key}: {list}")), &expected);
        }
    }
}

#[test]
fn audit_guard_and_snapshot_state_their_bounds() {
    for (line, expected) in [
        ("audit: 999ms", "audit: found 999ms, expected a duration from 1s to 24h, or off"),
        ("audit: 25h", "audit: found 25h, expected a duration from 1s to 24h, or off"),
        ("audit: 60", "audit: \"60\" has no unit: write 60s for seconds, 60ms for milliseconds, or off"),
        (
            "audit: false",
            "audit: \"false\" is not a duration: write a whole number and its unit (ms, s, m or h), such as 250ms or 3s, or off",
        ),
        ("audit:", "audit: has no value: give it one, or remove the key"),
        ("max_instances: 0", "max_instances: found 0, expected a whole number from 1 to 1000000"),
        ("max_instances: off", "max_instances: found off, expected a whole number from 1 to 1000000"),
        ("max_services: 1000001", "max_services: found 1000001, expected a whole number from 1 to 1000000"),
        (
            "max_registrations: 10000001",
            "max_registrations: found 10000001, expected a whole number from 1 to 10000000",
        ),
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
        (
            "snapshot: leaseway.snapshot",
            "snapshot: found leaseway.snapshot, expected an absolute path, or off",
        ),
        ("snapshot: [/a]", "snapshot: found a list, expected a single value, or off"),
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
fn a_variable_is_told_that_nobody_replaces_it() {
    let unknown =
        ". This file knows no variables: write the value itself, or have the file made from a template";
    for (text, expected) in [
        (with_endpoints("[\"${ETCD_URL}\"]"), "\"${ETCD_URL}\" is not a URL"),
        (with_endpoints("[$ETCD_URL]"), "\"$ETCD_URL\" must start with http"),
        (with_endpoints("[\"http://${HOST}:2379\"]"), "\"http://${HOST}:2379\" is not a URL"),
        (with_registry("audit: ${AUDIT}"), "${AUDIT}"),
        (with_server("threads: ${THREADS}"), "found ${THREADS}, expected a whole number"),
    ] {
        let told = problems(&text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(expected) && told[0].ends_with(unknown), "{told:?}");
    }
    let told = problems(&with_endpoints("[etcd]"));
    assert!(!told[0].contains("variables"), "{told:?}");
}
