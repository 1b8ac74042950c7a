use std::future::poll_fn;

use openssl::ssl::{ErrorCode, Ssl, SslConnector, SslMethod, SslVerifyMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_openssl::SslStream;

use super::*;
use crate::link::Link;
use crate::tls;
use crate::tls::fixture::{Realm, context};

/// Our side of a connection, and the server's.
async fn pair() -> (Link, SslStream<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let context = context(&Realm::new("any").sign("127.0.0.1"), |_| ());
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let ssl = connector.build().configure().unwrap().into_ssl("127.0.0.1").unwrap();
    let mut ours = tls::stream(ssl, ours.unwrap()).unwrap();
    let mut theirs = SslStream::new(Ssl::new(&context).unwrap(), theirs.unwrap().0).unwrap();
    let (connected, accepted) = tokio::join!(Pin::new(&mut ours).connect(), Pin::new(&mut theirs).accept());
    connected.unwrap();
    accepted.unwrap();
    (Link::Tls(Box::new(Tls::new(ours))), theirs)
}

#[tokio::test]
async fn an_end_is_one_only_if_tls_has_said_so_whoever_looks_first() {
    for looks in [false, true] {
        for is_said in [false, true] {
            let (mut ours, mut theirs) = pair().await;
            theirs.write_all(b"half").await.unwrap();
            let mut half = [0; 4];
            ours.read_exact(&mut half).await.unwrap();
            if is_said {
                theirs.shutdown().await.unwrap();
            } else {
                theirs.get_mut().shutdown().await.unwrap();
            }
            if looks {
                poll_fn(|cx| ours.poll_stirred(cx)).await;
                assert!(!ours.is_silent());
            }
            for _ in 0..3 {
                assert_eq!(ours.read(&mut half).await.is_ok(), is_said, "looks: {looks}");
            }
        }
    }
}

#[tokio::test]
async fn after_its_own_end_it_reads_on() {
    let (mut ours, mut theirs) = pair().await;
    ours.write_all(b"ask").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut asked = String::new();
    theirs.read_to_string(&mut asked).await.unwrap();
    theirs.write_all(b"answer").await.unwrap();
    theirs.shutdown().await.unwrap();
    let mut answer = String::new();
    ours.read_to_string(&mut answer).await.unwrap();
    assert_eq!((asked.as_str(), answer.as_str()), ("ask", "answer"));
}

#[tokio::test]
async fn what_a_look_has_seen_is_the_first_that_is_read() {
    let (mut ours, mut theirs) = pair().await;
    theirs.write_all(b"all").await.unwrap();
    theirs.shutdown().await.unwrap();
    let mut all = Vec::new();
    for room in [0, 1, 8, 8] {
        for _ in 0..2 {
            poll_fn(|cx| ours.poll_stirred(cx)).await;
        }
        assert!(!ours.is_silent());
        let mut piece = vec![0; room];
        let count = ours.read(&mut piece).await.unwrap();
        all.push(String::from_utf8(piece[..count].to_vec()).unwrap());
    }
    assert_eq!(all, ["", "a", "ll", ""]);
}

#[tokio::test]
async fn one_that_is_dropped_or_reset_has_not_ended() {
    for is_reset in [false, true] {
        let (mut ours, mut theirs) = pair().await;
        // Tickets, and what comes after them: with bytes unread, TCP resets it in any case.
        theirs.write_all(b"!").await.unwrap();
        ours.read_exact(&mut [0]).await.unwrap();
        if is_reset {
            ours.reset();
        } else {
            drop(ours);
        }
        let error = Pin::new(&mut theirs).peek(&mut [0]).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::SYSCALL, "{error}");
        let kind = error.io_error().map(io::Error::kind);
        assert_eq!(kind, is_reset.then_some(io::ErrorKind::ConnectionReset));
    }
}
