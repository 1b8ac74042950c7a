use harness::{stack::private_directory, tls::TlsFiles};
use openssl::ssl::{Ssl, SslContext, SslFiletype};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::load::{End, Idle, Load};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server of TLS 1.3 that answers each request, so many on a connection.
async fn server(answers: usize) -> SocketAddr {
    let directory = private_directory().unwrap();
    let files = TlsFiles::generate(directory.path()).unwrap();
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_certificate_chain_file(&files.server_cert).unwrap();
    context.set_private_key_file(&files.server_key, SslFiletype::PEM).unwrap();
    let context = context.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut stream = SslStream::new(Ssl::new(&context).unwrap(), TokioIo::new(tcp)).unwrap();
            tokio::spawn(async move {
                Pin::new(&mut stream).accept().await.unwrap();
                assert_eq!(stream.ssl().servername(openssl::ssl::NameType::HOST_NAME), Some(NAME));
                let mut stream = TokioIo::new(stream);
                for _ in 0..answers {
                    if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                        let _ = stream.write_all(ANSWER).await;
                    }
                }
            });
        }
    });
    address
}

/// How many of ten requests, two at a time, come on resumed connections.
async fn resumed(handshakes: Handshakes) -> u64 {
    let tls = Tls::new(handshakes).unwrap();
    let load = Load::get(server(1).await, ("/", 2), 2).over(tls).fresh();
    let outcome = load.run(End::Requests(5)).await;
    outcome.ensure_all_answered().unwrap();
    outcome.resumed
}

#[tokio::test]
async fn handshakes_are_full_or_resumed_as_they_are_meant() {
    assert_eq!(resumed(Handshakes::Full).await, 0);
    assert_eq!(resumed(Handshakes::Resumed).await, 8, "all but the first of either client");
}

#[tokio::test]
async fn kept_connections_and_idle_ones_are_told_from_closed_ones() {
    let load = |address| Load::get(address, ("/", 2), 3).over(Tls::new(Handshakes::Full).unwrap());
    let kept = server(9).await;
    load(kept).run(End::Requests(3)).await.ensure_all_answered().unwrap();
    let idle = Idle::open(&load(kept)).await.unwrap();
    idle.ensure_open().unwrap();
    let idle = Idle::open(&load(server(1).await)).await.unwrap();
    let told = harness::wait::eventually("they are closed", std::time::Duration::from_secs(10), async || {
        anyhow::ensure!(idle.ensure_open().is_err());
        Ok(())
    });
    told.await.unwrap();
}

#[tokio::test]
async fn a_ticket_that_comes_late_is_not_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = clear(listener.local_addr().unwrap()).await.unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    other.write_all(b"unasked").await.unwrap();
    tokio::task::yield_now().await;
    assert!(is_open(&stream));
    drop(other);
    let told = harness::wait::eventually("it is closed", std::time::Duration::from_secs(10), async || {
        anyhow::ensure!(!is_open(&stream));
        Ok(())
    });
    told.await.unwrap();
}

#[test]
fn a_client_hello_is_one_record_and_asks_for_what_is_measured() {
    let hello = client_hello().unwrap();
    let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    assert_eq!((hello[0], hello[5], hello.len()), (22, 1, 5 + length), "a handshake's record, a ClientHello");
    assert!(hello.windows(NAME.len()).any(|part| part == NAME.as_bytes()));
}
