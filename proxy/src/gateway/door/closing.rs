//! How a socket that is listened on is closed without anybody being reset: whoever has connected by then has perhaps
//! asked already, and the kernel resets all who still wait at a socket that closes.
//!
//! First no more are let in, so that there is a last one: whoever comes is refused. Then those who are on their way are
//! taken. Then the socket is closed.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use super::Door;
use super::entrance::welcome;

/// Whoever was let in last can be taken after so long: one round trip. Who takes longer is reset.
pub(super) const HANDSHAKE: Duration = Duration::from_millis(100);

/// No interface has this number: those that there are, are numbered from 1.
const NOWHERE: NonZeroU32 = NonZeroU32::new(i32::MAX.cast_unsigned()).unwrap();

/// Has the kernel refuse whoever asks for a connection. A handshake that has begun goes on, and who has connected waits to be
/// taken as before. Whether that was possible; where it was not, somebody may be reset.
///
/// The socket takes connections of one interface only from then on (`SO_BINDTOIFINDEX`, socket(7)), and there is none with
/// that number: so it is not found for what comes. It holds for every process that shares the socket.
pub(super) fn admit_no_more(listener: &TcpListener) -> bool {
    let socket = SockRef::from(listener);
    let bound = match listener.local_addr() {
        Ok(SocketAddr::V4(_)) => socket.bind_device_by_index_v4(Some(NOWHERE)),
        Ok(SocketAddr::V6(_)) => socket.bind_device_by_index_v6(Some(NOWHERE)),
        Err(error) => Err(error),
    };
    bound
        .inspect_err(|error| tracing::debug!(%error, "cannot refuse connections before the socket closes"))
        .is_ok()
}

/// Takes all who wait, before the socket is closed: they would be reset by that, with what they have asked.
pub(super) fn take_rest(door: &Arc<Door>, listener: TcpListener, at: SocketAddr) -> io::Result<()> {
    // Of the system itself: the runtime may not have been told yet that somebody has come.
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                welcome(door, TcpStream::from_std(stream)?, peer, at);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn is_answered(mut client: TcpStream) {
        client.write_all(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn who_waits_when_no_more_are_taken_is_served_and_who_comes_later_is_refused() {
        let bench = Bench::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || TcpStream::connect(address);
        let waiting = [connect().await.unwrap(), connect().await.unwrap()];
        take_rest(&bench.door, listener, address).unwrap();
        for client in waiting {
            is_answered(client).await;
        }
        assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn when_no_more_are_let_in_who_is_connected_is_served_and_who_comes_is_refused() {
        let bench = Bench::new();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            let waiting = TcpStream::connect(address).await.unwrap();
            assert!(admit_no_more(&listener));
            let refused = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            take_rest(&bench.door, listener, address).unwrap();
            is_answered(waiting).await;
        }
    }
}
