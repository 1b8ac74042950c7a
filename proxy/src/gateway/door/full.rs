//! What somebody is told for whom there is no room.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long it may take to tell one.
pub(super) const TELLING: Duration = Duration::from_millis(20);

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
    Content-Length: 69\r\nConnection: close\r\n\r\n\
    {\"code\":-1,\"message\":\"the gateway has as many connections as it may\"}";

/// Tells somebody that there is no room.
pub(super) async fn tell(mut stream: TcpStream) {
    let told = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // What was sent and not read would have the answer taken back.
        let _ = stream.try_read(&mut [0; 4096]);
        Ok::<_, io::Error>(())
    };
    let _ = timeout(TELLING, told).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_the_length_that_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
