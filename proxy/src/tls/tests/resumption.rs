//! Sessions that clients resume. Through a client whose library does: OpenSSL's binding has no safe call for it.

use std::net::SocketAddr;

use http_body_util::Empty;
use hyper_openssl::client::legacy::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openssl::ssl::SslVersion;
use tokio::net::TcpListener;

use super::*;

type Browser = Client<HttpsConnector<HttpConnector>, Empty<bytes::Bytes>>;

/// One that keeps its sessions, but no connection.
fn browser(authority: &Authority, version: SslVersion) -> Browser {
    let mut tls = client(authority);
    tls.set_max_proto_version(Some(version)).unwrap();
    tls.set_alpn_protos(b"\x08http/1.1").unwrap();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let connector = HttpsConnector::with_connector(tcp, tls).unwrap();
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// Whether the browser's next connection has resumed a session.
async fn is_resumed(browser: &Browser, server: &ServerTls, door: &TcpListener) -> bool {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let address: SocketAddr = door.local_addr().unwrap();
    let serve = async {
        let (stream, _) = door.accept().await.unwrap();
        let mut stream = SslStream::new(server.accept().unwrap(), stream).unwrap();
        Pin::new(&mut stream).accept().await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        stream.write_all(ANSWER).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.ssl().session_reused()
    };
    let url = format!("https://{address}/").parse().unwrap();
    let (is_resumed, answer) = tokio::join!(serve, browser.get(url));
    assert_eq!(answer.unwrap().status(), 200);
    is_resumed
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
        let after = ServerTls::new(&config, true, Some(&server), now).map_err(|_| ()).unwrap();
        assert!(!is_resumed(&browser, &after, &door).await, "{version:?}");
    }
}
