//! Sessions that clients resume. Through a client whose library does: OpenSSL's binding has no safe call for it.

use std::net::SocketAddr;

use http_body_util::Empty;
use hyper_openssl::client::legacy::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openssl::pkey::PKey;
use openssl::ssl::SslVersion;
use tokio::net::TcpListener;

use super::*;
use crate::config::{ClientCertificates, ClientMode};
use crate::tls::{Event, check_resumed};

const HOUR: Duration = Duration::from_secs(60 * 60);

type Browser = Client<HttpsConnector<HttpConnector>, Empty<bytes::Bytes>>;

/// One that keeps its sessions, but no connection.
fn browser(authority: &Authority, version: SslVersion) -> Browser {
    browser_as(client(authority), version)
}

fn browser_as(mut tls: SslConnectorBuilder, version: SslVersion) -> Browser {
    tls.set_max_proto_version(Some(version)).unwrap();
    tls.set_alpn_protos(b"\x08http/1.1").unwrap();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let connector = HttpsConnector::with_connector(tcp, tls).unwrap();
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// Whether the browser's next connection has resumed a session.
async fn is_resumed(browser: &Browser, server: &ServerTls, door: &TcpListener) -> bool {
    next(browser, server, door, |ssl| ssl.session_reused()).await
}

/// What somebody sees of the browser's next connection.
async fn next<T>(
    browser: &Browser,
    server: &ServerTls,
    door: &TcpListener,
    see: impl FnOnce(&SslRef) -> T,
) -> T {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let address: SocketAddr = door.local_addr().unwrap();
    let serve = async {
        let (stream, _) = door.accept().await.unwrap();
        let mut stream = SslStream::new(server.accept().unwrap(), stream).unwrap();
        Pin::new(&mut stream).accept().await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        stream.write_all(ANSWER).await.unwrap();
        stream.shutdown().await.unwrap();
        see(stream.ssl())
    };
    let url = format!("https://{address}/").parse().unwrap();
    let (seen, answer) = tokio::join!(serve, browser.get(url));
    assert_eq!(answer.unwrap().status(), 200);
    seen
}

#[tokio::test]
async fn sessions_are_resumed_until_the_contexts_are_made_anew() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let config = listener(vec![files.pair("shop", &authority.sign(&["127.0.0.1"]))]);
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let (server, now) = (server(&config), SystemTime::now());
        let used = async || {
            let browser = browser(&authority, version);
            assert!(!is_resumed(&browser, &server, &door).await, "{version:?}");
            assert!(is_resumed(&browser, &server, &door).await, "{version:?}");
            browser
        };
        let browser = used().await;
        server.look(now + Duration::from_secs(11 * 60 * 60));
        // Each resumed one gives a ticket, too.
        assert!(is_resumed(&browser, &server, &door).await, "{version:?}");
        server.look(now + Duration::from_secs(13 * 60 * 60));
        assert!(!is_resumed(&browser, &server, &door).await, "{version:?}");
        // So does a new configuration.
        let browser = used().await;
        let after =
            ServerTls::new(&config, true, Some(&server), Expired::Refused, now).map_err(|_| ()).unwrap();
        assert!(!is_resumed(&browser, &after, &door).await, "{version:?}");
    }
}

/// A listener that demands certificates that these clients have signed, by a list that lives for another three hours, with one
/// that lives for an hour.
fn demanding(files: &Files, authority: &Authority, clients: &Authority) -> ListenerTls {
    let ca = files.write("clients.pem", &clients.pem);
    let now = SystemTime::now();
    let others = Authority::new("Others").revoke_until(&[], now + HOUR);
    let crl = Some(files.write("revoked.pem", clients.revoke_until(&[], now + 3 * HOUR) + &others));
    let demand = ClientCertificates { ca, crl, mode: ClientMode::Required };
    let certificates = vec![files.pair("shop", &authority.sign(&["127.0.0.1"]))];
    ListenerTls { certificates, client: Some(demand) }
}

fn showing(authority: &Authority, shown: &Signed) -> SslConnectorBuilder {
    let mut tls = client(authority);
    tls.set_certificate(&X509::from_pem(shown.cert.as_bytes()).unwrap()).unwrap();
    tls.set_private_key(&PKey::private_key_from_pem(shown.key.as_bytes()).unwrap()).unwrap();
    tls
}

#[tokio::test]
async fn a_session_does_not_outlive_the_certificate_that_was_shown_in_it() {
    let (files, authority, clients) = (Files::new(), Authority::new("Shops"), Authority::new("Clients"));
    let server = server(&demanding(&files, &authority, &clients));
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let now = SystemTime::now();
        let end = now + Duration::from_secs(60);
        let shown = clients.sign_with(&["ann"], |parameters| parameters.not_after = end.into());
        let browser = browser_as(showing(&authority, &shown), version);
        let checked = async |now| {
            let see = |ssl: &SslRef| (ssl.session_reused(), check_resumed(ssl, now));
            next(&browser, &server, &door, see).await
        };
        assert_eq!(checked(now).await, (false, Ok(())), "{version:?}");
        assert_eq!(checked(now).await, (true, Ok(())), "{version:?}");
        let (is_resumed, ended) = checked(end + Duration::from_secs(1)).await;
        let failure = ended.unwrap_err();
        assert!(is_resumed && failure.reason() == "client_certificate", "{version:?}: {failure}");
        assert!(failure.to_string().ends_with("certificate has expired"), "{version:?}: {failure}");
        assert!(checked(SystemTime::UNIX_EPOCH).await.1.is_err(), "{version:?}: it is not valid yet");
        // Who has shown none has nothing that could end.
        let nobody = ssl_of_nobody(&authority, &files, version).await;
        assert_eq!(nobody, (true, Ok(())), "{version:?}");
    }
}

/// Of a session that was resumed in which no certificate was shown.
async fn ssl_of_nobody(
    authority: &Authority,
    files: &Files,
    version: SslVersion,
) -> (bool, Result<(), HandshakeFailure>) {
    let server = server(&listener(vec![files.pair("open", &authority.sign(&["127.0.0.1"]))]));
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let browser = browser(authority, version);
    is_resumed(&browser, &server, &door).await;
    let see = |ssl: &SslRef| (ssl.session_reused(), check_resumed(ssl, SystemTime::UNIX_EPOCH));
    next(&browser, &server, &door, see).await
}

#[tokio::test]
async fn no_session_goes_on_when_a_list_of_revoked_certificates_has_ended() {
    let (files, authority, clients) = (Files::new(), Authority::new("Shops"), Authority::new("Clients"));
    let (server, now) = (server(&demanding(&files, &authority, &clients)), SystemTime::now());
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let browser = browser_as(showing(&authority, &clients.sign(&["ann"])), SslVersion::TLS1_3);
    assert!(!is_resumed(&browser, &server, &door).await);
    assert!(is_resumed(&browser, &server, &door).await);
    // Long before all sessions end.
    server.look(now + HOUR / 2);
    assert!(is_resumed(&browser, &server, &door).await);
    for later in [2 * HOUR, 4 * HOUR] {
        let events = server.look(now + later);
        assert!(matches!(&events[..], [Event::RevocationsEnded { .. }]), "{later:?}: {events:?}");
        assert!(!is_resumed(&browser, &server, &door).await, "{later:?}");
        assert!(is_resumed(&browser, &server, &door).await, "{later:?}");
    }
}
