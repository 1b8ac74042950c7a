//! What somebody is told who does not come in.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// There is no room.
pub(super) const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
    Content-Length: 69\r\nConnection: close\r\n\r\n\
    {\"code\":-1,\"message\":\"the gateway has as many connections as it may\"}";

/// It is the wrong port.
pub(super) const CLEAR: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
    Content-Length: 58\r\nConnection: close\r\n\r\n\
    {\"code\":-1,\"message\":\"this port speaks TLS: ask by https\"}";

/// For so long it is read, and dropped, what somebody sends who is told.
const LINGER: Duration = Duration::from_secs(2);

/// Tells somebody without waiting for anything: what the kernel does not take is not told.
pub(super) fn tell_at_once(stream: &TcpStream, answer: &[u8]) {
    let socket = SockRef::from(stream);
    let _ = socket.send(answer);
    let _ = socket.shutdown(Shutdown::Write);
    // What was sent and not read would have the answer taken back.
    let _ = socket.recv(&mut [MaybeUninit::uninit(); 4096]);
}

/// Tells somebody, and reads what he still sends: a connection that is closed while its client sends is reset, and the answer
/// on its way may be lost with it.
pub(super) async fn tell(mut stream: TcpStream, answer: &[u8]) {
    let told = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        while stream.read(&mut [0; 1024]).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = timeout(LINGER, told).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn what_is_told_has_the_length_that_it_says() {
        for answer in [FULL, CLEAR] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
            assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
        }
    }

    #[tokio::test]
    async fn who_is_told_gets_it_whatever_he_has_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for at_once in [true, false] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let telling = tokio::spawn(async move {
                if at_once {
                    tell_at_once(&stream, FULL);
                } else {
                    tell(stream, FULL).await;
                }
            });
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, FULL);
            drop(client);
            telling.await.unwrap();
        }
    }
}
