//! How a socket that is listened on is closed without anybody being reset: whoever has connected by then has perhaps
//! asked already, and the kernel resets all who still wait at a socket that closes.
//!
//! First no more are let in, so that there is a last one. Then those who are on their way are taken. Then the socket is
//! closed. Whoever comes meanwhile hears nothing, asks again after a second, as TCP does, and is refused then, which says
//! that nothing was taken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::libc::{BPF_ABS, BPF_B, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET};
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};

use super::Door;
use super::connection::welcome;

/// Whoever was let in last can be taken after so long: one round trip. (Longer ones there are. But for so long nothing is
/// heard, either, by those who could turn to another gateway.)
pub(super) const HANDSHAKE: Duration = Duration::from_millis(100);

/// The octet of a TCP header that has its flags, and in it the flag of a segment that asks for a connection (RFC 9293,
/// 3.1).
const FLAGS: u32 = 13;
const SYN: u32 = 2;

/// Has the kernel drop what asks for a connection. Whoever's handshake has begun goes on with it. Whether that was
/// possible: a kernel without socket filters closes at once, as it would.
///
/// It is for whom the socket is shared with, too.
pub(super) fn admit_no_more(listener: &TcpListener) -> bool {
    // On a TCP socket it sees a segment from its header on. Load the flags; a SYN: keep nothing of it; else keep all.
    let drops_syn = [
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, FLAGS),
        instruction(BPF_JMP | BPF_JSET | BPF_K, 0, 1, SYN),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
        instruction(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ];
    let attached = SockRef::from(listener).attach_filter(&drops_syn);
    attached.inspect_err(|error| tracing::debug!(%error, "cannot filter what asks for a connection")).is_ok()
}

/// `then`, `otherwise`: how many instructions to skip.
#[expect(clippy::cast_possible_truncation, reason = "the codes of BPF have 16 bits")]
const fn instruction(code: u32, then: u8, otherwise: u8, operand: u32) -> SockFilter {
    SockFilter::new(code as u16, then, otherwise, operand)
}

/// Takes all who wait, before the socket is closed: they would be reset by that, with what they have asked.
pub(super) fn take_rest(door: &Arc<Door>, listener: TcpListener) -> io::Result<()> {
    // Of the system itself: the runtime may not have been told yet that somebody has come.
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                welcome(door, TcpStream::from_std(stream)?);
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
    use tokio::time::timeout;

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
        take_rest(&bench.door, listener).unwrap();
        for client in waiting {
            is_answered(client).await;
        }
        assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn who_is_connected_when_no_more_are_let_in_is_served_and_nobody_else_connects() {
        let bench = Bench::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(address).await.unwrap();
        assert!(admit_no_more(&listener));
        let late = TcpStream::connect(address);
        timeout(HANDSHAKE, late).await.expect_err("it is let in");
        take_rest(&bench.door, listener).unwrap();
        // What it asks is not dropped with the rest.
        is_answered(waiting).await;
    }
}
