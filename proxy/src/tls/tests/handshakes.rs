//! What clients get of a listener.

use openssl::pkey::PKey;
use openssl::ssl::SslVersion;

use super::*;
use crate::config::{ClientCertificates, ClientMode};

/// A listener with one certificate, for `shop.net`, and whoever has signed it.
struct Shop {
    files: Files,
    authority: Authority,
    config: ListenerTls,
}

impl Shop {
    fn new() -> Self {
        let (files, authority) = (Files::new(), Authority::new("Shops"));
        let config = listener(vec![files.pair("shop", &authority.sign(&["shop.net"]))]);
        Self { files, authority, config }
    }

    /// One that asks clients for certificates, and their authority.
    fn with_clients(mode: ClientMode) -> (Self, Authority) {
        let (mut shop, clients) = (Self::new(), Authority::new("Clients"));
        let ca = shop.files.write("clients.pem", &clients.pem);
        shop.config.client = Some(ClientCertificates { ca, crl: None, mode });
        (shop, clients)
    }

    fn client(&self) -> SslConnectorBuilder {
        client(&self.authority)
    }

    /// One that shows this certificate.
    fn client_as(&self, shown: &Signed) -> SslConnectorBuilder {
        let mut client = self.client();
        let mut chain = X509::stack_from_pem(shown.cert.as_bytes()).unwrap().into_iter();
        client.set_certificate(&chain.next().unwrap()).unwrap();
        chain.for_each(|signer| client.add_extra_chain_cert(signer).unwrap());
        client.set_private_key(&PKey::private_key_from_pem(shown.key.as_bytes()).unwrap()).unwrap();
        client
    }

    async fn greet(&self, client: SslConnectorBuilder) -> Outcome {
        handshake(server(&self.config).accept().unwrap(), ask(client, "shop.net")).await
    }
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let pair = |name: &str, names: &[&str]| files.pair(name, &authority.sign(names));
    let server = server(&listener(vec![
        pair("first", &["first.net"]),
        pair("any", &["*.shop.net"]),
        pair("pay", &["pay.shop.net"]),
    ]));
    let cases = [
        ("first.net", "first.net"),
        ("pay.shop.net", "pay.shop.net"),
        ("goods.shop.net", "*.shop.net"),
        ("GOODS.shop.net", "*.shop.net"),
        ("elsewhere.net", "first.net"),
        ("127.0.0.1", "first.net"),
    ];
    for (name, shown) in cases {
        let mut client = client(&authority).build().configure().unwrap();
        client.set_verify_hostname(name != "elsewhere.net" && name != "127.0.0.1");
        let outcome = handshake(server.accept().unwrap(), client.into_ssl(name).unwrap()).await;
        assert_eq!(outcome.shown(), shown, "{name}");
    }
}

#[tokio::test]
async fn tls_is_spoken_from_1_2_on_and_not_before() {
    let shop = Shop::new();
    for (version, is_spoken) in
        [(SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true), (SslVersion::TLS1_3, true)]
    {
        let mut client = shop.client();
        client.set_security_level(0);
        client.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
        client.set_min_proto_version(Some(version)).unwrap();
        client.set_max_proto_version(Some(version)).unwrap();
        let outcome = shop.greet(client).await;
        match is_spoken {
            true => assert_eq!(outcome.server().version2(), Some(version)),
            false => assert_eq!(outcome.failure(), &HandshakeFailure::NoSharedVersion),
        }
    }
}

#[tokio::test]
async fn each_group_of_elliptic_curves_is_agreed_on() {
    let shop = Shop::new();
    for group in ["X25519MLKEM768", "X25519", "P-256", "X448", "P-384", "P-521"] {
        let mut client = shop.client();
        client.set_groups_list(group).unwrap();
        shop.greet(client).await.server();
    }
    let mut client = shop.client();
    client.set_groups_list("ffdhe2048").unwrap();
    assert_eq!(shop.greet(client).await.failure(), &HandshakeFailure::NoSharedCipher);
}

#[tokio::test]
async fn only_ciphers_with_keys_that_are_thrown_away_are_agreed_on() {
    let shop = Shop::new();
    for cipher in ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"] {
        let mut client = shop.client();
        client.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        client.set_cipher_list(cipher).unwrap();
        let failure = shop.greet(client).await;
        assert_eq!(failure.failure(), &HandshakeFailure::NoSharedCipher, "{cipher}");
    }
    let mut client = shop.client();
    client.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    client.set_cipher_list("ECDHE-ECDSA-CHACHA20-POLY1305").unwrap();
    shop.greet(client).await.server();
}

#[tokio::test]
async fn a_protocol_is_agreed_on_by_alpn_or_none_is_offered() {
    let shop = Shop::new();
    type Agreed = Result<Option<&'static [u8]>, HandshakeFailure>;
    let cases: [(bool, &[u8], Agreed); 7] = [
        (true, b"\x02h2\x08http/1.1", Ok(Some(b"h2"))),
        (true, b"\x08http/1.1\x02h2", Ok(Some(b"h2"))),
        (true, b"\x08http/1.1", Ok(Some(b"http/1.1"))),
        (false, b"\x02h2\x08http/1.1", Ok(Some(b"http/1.1"))),
        (false, b"", Ok(None)),
        (false, b"\x02h2", Err(HandshakeFailure::NoSharedProtocol)),
        (true, b"\x04smtp", Err(HandshakeFailure::NoSharedProtocol)),
    ];
    for (http2, offered, agreed) in cases {
        let mut client = shop.client();
        if !offered.is_empty() {
            client.set_alpn_protos(offered).unwrap();
        }
        let server = ServerTls::new(&shop.config, http2, None, Expired::Used, SystemTime::now()).unwrap();
        let outcome = handshake(server.accept().unwrap(), ask(client, "shop.net")).await;
        match agreed {
            Ok(agreed) => assert_eq!(outcome.server().selected_alpn_protocol(), agreed, "{offered:?}"),
            Err(failure) => assert_eq!(outcome.failure(), &failure, "{offered:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_has_to_show_a_certificate_or_may() {
    for (mode, without) in
        [(ClientMode::Optional, None), (ClientMode::Required, Some(HandshakeFailure::NoClientCertificate))]
    {
        let (shop, clients) = Shop::with_clients(mode);
        assert_eq!(shop.greet(shop.client()).await.server.err(), without, "{mode:?}");
        let shown = shop.greet(shop.client_as(&clients.sign(&["ann"]))).await;
        assert_eq!(
            shown.server().peer_certificate().unwrap().subject_alt_names().unwrap()[0].dnsname(),
            Some("ann")
        );
        // One that is shown has to be valid in any case.
        let foreign = shop.greet(shop.client_as(&shop.authority.sign(&["ann"]))).await;
        assert_eq!(foreign.failure().reason(), "client_certificate", "{}", foreign.failure());
        let expired = clients.sign_with(&["ann"], |parameters| {
            parameters.not_after = (SystemTime::now() - DAY).into();
        });
        let failure = shop.greet(shop.client_as(&expired)).await;
        assert!(failure.failure().to_string().ends_with("certificate has expired"), "{}", failure.failure());
    }
}

#[tokio::test]
async fn a_listener_that_asks_for_no_certificate_gets_none() {
    let shop = Shop::new();
    let outcome = shop.greet(shop.client_as(&shop.authority.sign(&["ann"]))).await;
    assert!(outcome.server().peer_certificate().is_none());
}

#[tokio::test]
async fn clients_are_asked_whatever_the_name_is() {
    let (mut shop, clients) = Shop::with_clients(ClientMode::Required);
    let signed = shop.authority.sign(&["pay.net"]);
    shop.config.certificates.insert(0, shop.files.pair("pay", &signed));
    assert_eq!(shop.greet(shop.client()).await.failure(), &HandshakeFailure::NoClientCertificate);
    let foreign = shop.client_as(&shop.authority.sign(&["ann"]));
    assert_eq!(shop.greet(foreign).await.failure().reason(), "client_certificate");
    let outcome = shop.greet(shop.client_as(&clients.sign(&["ann"]))).await;
    outcome.server();
    assert_eq!(outcome.shown(), "shop.net");
}
