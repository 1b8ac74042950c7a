//! What is said of clients whose handshakes fail. Those of versions, ciphers, protocols and certificates are beside what is
//! agreed on: `handshakes`.

use openssl::x509::X509VerifyResult;

use super::*;

/// A listener and its authority.
fn shop(files: &Files) -> (Arc<ServerTls>, Authority) {
    let authority = Authority::new("Shops");
    (server(&listener(vec![files.pair("shop", &authority.sign(&["shop.net"]))])), authority)
}

/// Of a client that sends this and closes.
async fn failure(sent: &[u8]) -> HandshakeFailure {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let mut server = SslStream::new(shop(&Files::new()).0.accept().unwrap(), near).unwrap();
    far.write_all(sent).await.unwrap();
    far.shutdown().await.unwrap();
    let error = Pin::new(&mut server).accept().await.unwrap_err();
    HandshakeFailure::of(&error, server.ssl())
}

#[tokio::test]
async fn a_client_that_does_not_know_our_authority_is_told_from_one_that_declines_the_certificate() {
    let (server, authority) = shop(&Files::new());
    let stranger = ask(client(&Authority::new("Others")), "shop.net");
    let outcome = handshake(server.accept().unwrap(), stranger).await;
    assert_eq!(outcome.failure(), &HandshakeFailure::UnknownCa);
    let elsewhere = ask(client(&authority), "elsewhere.net");
    let outcome = handshake(server.accept().unwrap(), elsewhere).await;
    assert_eq!(outcome.failure().reason(), "bad_certificate_alert", "{}", outcome.failure());
}

#[tokio::test]
async fn something_that_is_not_tls_is_told_from_an_end() {
    for sent in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        &[0; 64],
    ] {
        assert_eq!(failure(sent).await, HandshakeFailure::NotTls, "{sent:?}");
    }
    // Nothing, and the beginning of a record.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01"] {
        assert_eq!(failure(sent).await, HandshakeFailure::Closed, "{sent:?}");
    }
}

#[tokio::test]
async fn a_client_that_stops_at_any_byte_of_its_hello_has_closed() {
    let mut hello =
        SslStream::new(ask(client(&Authority::new("Shops")), "shop.net"), Recorded::default()).unwrap();
    let _ = Pin::new(&mut hello).connect().await;
    let hello = std::mem::take(&mut hello.get_mut().0);
    assert!(hello.len() > 100);
    for end in 0..hello.len() {
        assert_eq!(failure(&hello[..end]).await, HandshakeFailure::Closed, "{end}");
    }
}

/// Takes what is written, and is at its end when it is read.
#[derive(Default)]
struct Recorded(Vec<u8>);

impl tokio::io::AsyncRead for Recorded {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0.extend_from_slice(bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[test]
fn each_reason_is_a_label_and_a_sentence_of_its_own() {
    let failures = [
        HandshakeFailure::NoSharedVersion,
        HandshakeFailure::NoSharedCipher,
        HandshakeFailure::NoSharedProtocol,
        HandshakeFailure::UnknownCa,
        HandshakeFailure::BadCertificateAlert("certificate expired"),
        HandshakeFailure::NoClientCertificate,
        HandshakeFailure::ClientCertificate(X509VerifyResult::OK),
        HandshakeFailure::NotTls,
        HandshakeFailure::Closed,
        HandshakeFailure::Timeout,
        HandshakeFailure::Other("why".to_owned()),
    ];
    for told in [
        |failure: &HandshakeFailure| failure.reason().to_owned(),
        |failure: &HandshakeFailure| failure.to_string(),
    ] {
        let mut told: Vec<String> = failures.iter().map(told).collect();
        told.sort();
        told.dedup();
        assert_eq!(told.len(), failures.len());
    }
}
