//! Versions, groups, ciphers, ALPN.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    certificates::Wanted,
    http::Request,
    link::{Link, TlsClient},
    stack::Gateway,
};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openssl::ssl::SslVersion;
use serde_json::json;

use super::{FAILURES, Place, SHOP, tls, wait_metric_that};

const DONE: &str = "leaseway_tls_handshakes_total";

impl Place {
    /// A client that speaks this version alone, with whatever is weak.
    fn speaking(&self, version: SslVersion) -> Result<TlsClient> {
        let client = TlsClient::with(self.authority.pem(), |builder| {
            builder.set_cipher_list("ALL:@SECLEVEL=0")?;
            builder.set_min_proto_version(Some(version))?;
            builder.set_max_proto_version(Some(version))
        })?;
        Ok(client.asking_for(SHOP))
    }

    /// A gateway whose door has a certificate with an RSA key.
    async fn serving_rsa(&self) -> Result<Gateway> {
        let certificate = self.authority.sign(&Wanted::named(&[SHOP]).rsa(2_048))?;
        self.gateway(tls(&[&self.write(&certificate, "rsa")?])).await
    }

    /// A client of TLS 1.2 that has these ciphers alone, weak ones, too.
    fn with_cipher(&self, ciphers: &str) -> Result<TlsClient> {
        let client = TlsClient::with(self.authority.pem(), |builder| {
            builder.set_cipher_list(&format!("{ciphers}:@SECLEVEL=0"))
        });
        Ok(client.with_context(|| ciphers.to_owned())?.asking_for(SHOP).speaking(SslVersion::TLS1_2))
    }

    /// The server says that it has nothing in common with this client: it is no other fault.
    async fn assert_declined(&self, client: &TlsClient, what: &str) -> Result<()> {
        let error = self.ask(client).await.err().with_context(|| format!("{what} has an answer"))?;
        ensure!(format!("{error:#}").contains("alert handshake failure"), "{what}: {error:#}");
        Ok(())
    }

    fn offering(&self, protocols: &[u8]) -> Result<TlsClient> {
        Ok(TlsClient::with(self.authority.pem(), |builder| builder.set_alpn_protos(protocols))?
            .asking_for(SHOP))
    }
}

#[tokio::test]
async fn versions_before_1_2_are_refused_and_the_others_are_spoken_and_counted() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, _files) = place.serving().await?;
    for (refused, version) in [(1.0, SslVersion::TLS1), (2.0, SslVersion::TLS1_1)] {
        let error = place.ask(&place.speaking(version)?).await.err().context("it has an answer")?;
        // The alert that says so (RFC 8446, 6.2), and not whatever else a client may stumble upon.
        ensure!(format!("{error:#}").contains("alert protocol version"), "{version:?}: {error:#}");
        wait_metric_that(&gateway, FAILURES, &[], |value| value >= refused).await?;
    }
    for (version, label) in [(SslVersion::TLS1_2, "1.2\""), (SslVersion::TLS1_3, "1.3\"")] {
        let before = gateway.metric(DONE, &[label]).await?;
        assert_eq!(place.ask(&place.speaking(version)?).await?.status, 200, "{version:?}");
        wait_metric_that(&gateway, DONE, &[label], |value| value == before + 1.0).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_group_is_spoken_that_openssl_has() -> Result<()> {
    let place = Place::new().await?;
    let (_gateway, _files) = place.serving().await?;
    let mut spoken = Vec::new();
    for group in ["X25519", "P-256", "X448", "P-384", "P-521", "X25519MLKEM768"] {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let is_of_1_3 = group.contains("MLKEM");
            // Until TLS 1.3 a client's groups say, too, of which curve a certificate may be (RFC 8422, 5.1).
            let has_curve = version == SslVersion::TLS1_3 || group == "P-256";
            let groups = if has_curve { group.to_owned() } else { format!("{group}:P-256") };
            let client = TlsClient::with(place.authority.pem(), |builder| {
                builder.set_groups_list(&groups)?;
                builder.set_min_proto_version(Some(version))?;
                builder.set_max_proto_version(Some(version))
            });
            match client {
                _ if is_of_1_3 && version == SslVersion::TLS1_2 => {}
                // An OpenSSL of the system's, before 3.5.
                Err(_) if is_of_1_3 => {}
                client => {
                    let answer = place.ask(&client?.asking_for(SHOP)).await;
                    let answer = answer.with_context(|| format!("with {group} in {version:?}"))?;
                    assert_eq!(answer.status, 200);
                    spoken.push(group);
                }
            }
        }
    }
    assert!(spoken.len() >= 10, "{spoken:?}");
    Ok(())
}

/// With a key that is not of a curve, as a client's groups say, too, of which curve that may be.
#[tokio::test]
async fn no_other_group_is_spoken() -> Result<()> {
    let place = Place::new().await?;
    let _gateway = place.serving_rsa().await?;
    for (group, version) in [
        ("P-224", SslVersion::TLS1_2),
        ("secp256k1", SslVersion::TLS1_2),
        ("brainpoolP256r1", SslVersion::TLS1_2),
        ("ffdhe2048", SslVersion::TLS1_3),
        ("ffdhe3072", SslVersion::TLS1_3),
    ] {
        let client = TlsClient::with(place.authority.pem(), |builder| builder.set_groups_list(group));
        let client = client.with_context(|| group.to_owned())?.asking_for(SHOP).speaking(version);
        place.assert_declined(&client, group).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_rsa_is_shown_and_its_ciphers_are_those_with_keys_that_are_thrown_away() -> Result<()>
{
    let place = Place::new().await?;
    let _gateway = place.serving_rsa().await?;
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        assert_eq!(place.ask(&place.client()?.speaking(version)).await?.status, 200, "{version:?}");
    }
    for cipher in
        ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"]
    {
        let answer = place.ask(&place.with_cipher(cipher)?).await;
        assert_eq!(answer.with_context(|| cipher.to_owned())?.status, 200);
    }
    for cipher in
        ["AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA"]
    {
        place.assert_declined(&place.with_cipher(cipher)?, cipher).await?;
    }
    Ok(())
}

#[tokio::test]
async fn ciphers_without_authentication_of_what_is_sent_are_refused() -> Result<()> {
    let place = Place::new().await?;
    let (_gateway, _files) = place.serving().await?;
    for cipher in
        ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    {
        let answer = place.ask(&place.with_cipher(cipher)?).await;
        assert_eq!(answer.with_context(|| cipher.to_owned())?.status, 200);
    }
    for ciphers in
        ["ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-SHA", "aNULL", "eNULL"]
    {
        place.assert_declined(&place.with_cipher(ciphers)?, ciphers).await?;
    }
    Ok(())
}

fn agreed(link: &Link) -> Option<String> {
    let protocol = link.ssl()?.selected_alpn_protocol()?;
    Some(String::from_utf8_lossy(protocol).into_owned())
}

#[tokio::test]
async fn alpn_offers_http2_unless_the_listener_says_otherwise() -> Result<()> {
    for http2 in [false, true] {
        let place = Place::new().await?;
        let mut listener = tls(&[&place.shop()?]);
        if !http2 {
            listener["http2"] = json!(false);
        }
        let _gateway = place.gateway(listener).await?;
        let both = place.offering(b"\x02h2\x08http/1.1")?;
        let preferred = if http2 { "h2" } else { "http/1.1" };
        assert_eq!(agreed(&both.connect(place.door).await?).as_deref(), Some(preferred));
        for first in [&b"\x08http/1.1"[..], b"\x08http/1.1\x08http/1.0"] {
            let one = place.offering(first)?;
            assert_eq!(agreed(&one.connect(place.door).await?).as_deref(), Some("http/1.1"));
            assert_eq!(place.ask(&one).await?.status, 200);
        }
        let other = if http2 { &b"\x03foo"[..] } else { b"\x02h2" };
        let error = place.offering(other)?.connect(place.door).await.err().context("nothing is agreed on")?;
        assert!(error.to_string().contains("alert no application protocol"), "{error}");
        assert_eq!(agreed(&place.client()?.connect(place.door).await?), None);
        assert_eq!(place.ask(&place.client()?).await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn http2_is_served_where_alpn_has_chosen_it() -> Result<()> {
    let place = Place::new().await?;
    let _gateway = place.gateway(tls(&[&place.shop()?])).await?;
    let link = place.offering(b"\x02h2")?.connect(place.door).await?;
    assert_eq!(agreed(&link).as_deref(), Some("h2"));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(link)).await?;
    let driver = tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::get(format!("https://{SHOP}/goods")).body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await?.to_bytes(), "hello");
    }
    let arrived = place.backend.last()?;
    assert_eq!(arrived.header("x-forwarded-proto"), Some("https"));
    assert_eq!(arrived.header("x-forwarded-host").or(arrived.header("host")), Some(SHOP));
    driver.abort();
    Ok(())
}
