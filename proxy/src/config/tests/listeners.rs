//! Where clients are served, and how: `gateway.listen` and `gateway.connections`.

use super::routes::with_route;
use super::*;
use crate::config::{CertificateFiles, ClientCertificates, ClientMode};

/// The listeners stand in line 3.
fn with_listen(listen: &str) -> String {
    with("[\"0.0.0.0:8080\"]", &format!("[{listen}]"))
}

/// One at an address of its own, in line 3.
fn with_listener(keys: &str) -> String {
    with_listen(&format!("{{ address: \"0.0.0.0:8443\", {keys} }}"))
}

fn listener(keys: &str) -> Listener {
    valid(&with_listener(keys)).gateway.listen.remove(0)
}

fn networks(networks: &[&str]) -> Vec<IpNet> {
    networks.iter().map(|network| network.parse().unwrap()).collect()
}

const TLS: &str = "tls: { certificates: [{ cert: /a.pem, key: /a.key }]";

fn pair(name: &str) -> CertificateFiles {
    CertificateFiles { cert: format!("/{name}.pem").into(), key: format!("/{name}.key").into() }
}

#[test]
fn an_address_alone_is_one_in_clear_for_everybody() {
    let plain = valid(&with_listen("\"0.0.0.0:8443\"")).gateway;
    assert_eq!(plain.listen, [Listener::clear("0.0.0.0:8443".parse().unwrap())]);
    assert_eq!(valid(&with_listener("")).gateway, plain);
    let both = valid(&with_listen("\"0.0.0.0:80\", { address: \"[::]:443\", http2: false }")).gateway;
    assert_eq!(both.addresses().collect::<Vec<_>>(), ["0.0.0.0:80", "[::]:443"].map(|a| a.parse().unwrap()));
    assert_eq!(both.listen.iter().map(|listener| listener.http2).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn every_key_reaches_the_listener() {
    let found = listener(
        "tls: { certificates: [{ cert: /a.pem, key: /a.key }, { cert: /b.pem, key: /b.key }], \
         client: { ca: /ca.pem, crl: /crl.pem, mode: optional } }, http2: false, \
         proxy_protocol: { from: [10.0.0.0/8, \"fd00::1\"] }, allow: [10.0.0.0/8], deny: [10.9.0.0/16, \"::1\"]",
    );
    let expected = Listener {
        address: "0.0.0.0:8443".parse().unwrap(),
        tls: Some(ListenerTls {
            certificates: vec![pair("a"), pair("b")],
            client: Some(ClientCertificates {
                ca: "/ca.pem".into(),
                crl: Some("/crl.pem".into()),
                mode: ClientMode::Optional,
            }),
        }),
        http2: false,
        proxy_protocol: networks(&["10.0.0.0/8", "fd00::1/128"]),
        allow: networks(&["10.0.0.0/8"]),
        deny: networks(&["10.9.0.0/16", "::1/128"]),
    };
    assert_eq!(found, expected);
}

#[test]
fn of_tls_a_certificate_is_enough_and_an_authority_of_clients() {
    let tls = listener(&format!("{TLS} }}")).tls.unwrap();
    assert_eq!(tls, ListenerTls { certificates: vec![pair("a")], client: None });
    let client = listener(&format!("{TLS}, client: {{ ca: /ca.pem }} }}")).tls.unwrap().client;
    let expected = ClientCertificates { ca: "/ca.pem".into(), crl: None, mode: ClientMode::Required };
    assert_eq!(client, Some(expected));
}

#[test]
fn what_is_missing_or_malformed_is_told() {
    let ca = format!("{TLS}, client: {{ crl: /a }} }}");
    let mode = format!("{TLS}, client: {{ ca: /a, mode: off }} }}");
    for (keys, expected) in [
        (
            "tls: on",
            ".tls: found on, expected a section such as {certificates: [{cert: /a.pem, key: /a.key}]}",
        ),
        ("tls: {}", ".tls.certificates: is missing: expected a list such as [{cert: /a.pem, key: /a.key}]"),
        ("tls: { certificates: [] }", ".tls.certificates: is empty: expected at least one certificate"),
        (
            "tls: { certificates: [{ cert: /a }] }",
            ".tls.certificates[0].key: is missing: expected the path of a file",
        ),
        (
            "tls: { certificates: [{ cert: a, key: /a }] }",
            ".tls.certificates[0].cert: found a, expected an absolute path",
        ),
        (&ca, ".tls.client.ca: is missing: expected the path of a file"),
        (&mode, ".tls.client.mode: found off, expected required or optional"),
        ("http2: on", ".http2: found on, expected true or false"),
        (
            "proxy_protocol: {}",
            ".proxy_protocol.from: is missing: expected a list of networks, such as [10.0.0.0/8]",
        ),
        (
            "proxy_protocol: { from: [] }",
            ".proxy_protocol.from: is empty: expected at least one network, such as 10.0.0.0/8",
        ),
        ("allow: [10.0.0.1/8]", ".allow[0]: \"10.0.0.1/8\" has bits set after its length: write 10.0.0.0/8"),
        ("deny: [\"::1\", \"::1/128\"]", ".deny[1]: is there already, in line 3: remove one of them"),
        ("http_2: true", ".http_2: is an unknown key: did you mean http2?"),
    ] {
        assert_problem(&with_listener(keys), &format!("3: gateway.listen[0]{expected}"));
    }
    for (listen, expected) in [
        ("{ http2: true }", "[0].address: is missing: expected ip:port, such as \"0.0.0.0:8443\""),
        (
            "\"0.0.0.0:80\", { address: \"0.0.0.0:80\" }",
            "[1].address: \"0.0.0.0:80\" overlaps with gateway.listen[0]",
        ),
        (
            "{ address: \"0.0.0.0:80\" }, \"0.0.0.0:80\"",
            "[1]: \"0.0.0.0:80\" overlaps with gateway.listen[0].address",
        ),
    ] {
        assert_problem(&with_listen(listen), &format!("3: gateway.listen{expected}"));
    }
}

#[test]
fn http2_that_is_declined_in_clear_is_remarked_on() {
    let told = remarks(&with_listener("http2: false"));
    assert!(matches!(&told[..], [one] if one.contains(".http2: does nothing without tls")), "{told:?}");
    assert_eq!(remarks(&with_listener(&format!("{TLS} }}, http2: false"))), [""; 0]);
}

#[test]
fn whose_word_everybody_could_give_is_remarked_on() {
    assert_eq!(
        remarks(&with_listener("proxy_protocol: { from: [\"0.0.0.0/0\"] }")),
        [
            "3: gateway.listen[0].proxy_protocol.from: 0.0.0.0/0 trusts everybody: any client may say that it is another. \
             Name the proxies' networks"
        ]
    );
    assert_eq!(remarks(&with_listener("proxy_protocol: { from: [10.0.0.0/8] }, allow: [\"::/0\"]")), [""; 0]);
}

#[test]
fn a_route_by_certificates_for_which_nobody_is_asked_is_remarked_on() {
    let by_certificate = with_route("{ match: { client_cert: { san: a.b } }, service: goods }");
    let expected = "7: gateway.routes[0].match: takes nothing: it has client_cert, and nowhere in gateway.listen are clients \
                    asked for a certificate, by tls.client";
    assert_eq!(remarks(&by_certificate), [expected]);
    for (client, is_told) in [("", true), (", client: { ca: /a.pem, mode: optional }", false)] {
        let listener = format!("[{{ address: \"0.0.0.0:8080\", {TLS}{client} }} }}]");
        let told = remarks(&by_certificate.replace("[\"0.0.0.0:8080\"]", &listener));
        assert_eq!(told.len(), usize::from(is_told), "{told:?}");
    }
}

#[test]
fn connections_have_limits_of_which_each_states_its_bounds() {
    let text = "connections: { max: 10000000, per_address: 1, requests: 1000000000, handshakes: 1000000, max_age: 24h, \
                streams: 10000 }";
    let count = |number: u32| NonZeroU32::new(number).unwrap();
    let expected = Connections {
        max: count(10_000_000),
        per_address: count(1),
        requests: Some(count(1_000_000_000)),
        handshakes: count(1_000_000),
        max_age: Some(Duration::from_secs(24 * 3600)),
        streams: count(10_000),
    };
    assert_eq!(valid(&with_gateway(text)).gateway.connections, expected);
    assert_eq!(
        valid(&with_gateway("connections: { requests: off, max_age: off }")).gateway.connections,
        Connections::default()
    );
    for (key, most, or) in [
        ("max", 10_000_000_u64, ""),
        ("per_address", 10_000_000, ""),
        ("requests", 1_000_000_000, ", or off"),
        ("handshakes", 1_000_000, ""),
        ("streams", 10_000, ""),
    ] {
        for found in [0, most + 1] {
            assert_problem(
                &with_gateway(&format!("connections: {{ {key}: {found} }}")),
                &format!(
                    "9: gateway.connections.{key}: found {found}, expected a whole number from 1 to {most}{or}"
                ),
            );
        }
    }
}

#[test]
fn a_connection_may_be_as_old_as_it_likes_unless_it_is_said() {
    assert_eq!((Connections::default().max_age, Connections::default().streams.get()), (None, 100));
    let max_age = |age: &str| with_gateway(&format!("connections: {{ max_age: {age} }}"));
    assert_eq!(valid(&max_age("1s")).gateway.connections.max_age, Some(Duration::from_secs(1)));
    for found in ["999ms", "0s", "25h"] {
        let expected = format!(
            "9: gateway.connections.max_age: found {found}, expected a duration from 1s to 24h, or off"
        );
        assert_problem(&max_age(found), &expected);
    }
}
