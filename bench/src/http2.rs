//! Frames of HTTP/2 as bytes, as far as idle clients and floods send them: nothing between them and the proxy has limits
//! of its own, and 10,000 clients cost the load little. RFC 9113 has the frames, RFC 7541 the heads.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stream::{Stream, clear};

/// What a client says first, before its SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const CONTINUATION: u8 = 0x9;
const GOAWAY: u8 = 0x7;

const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

const HEADER: usize = 9;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= 16 << 10, "what all must take");
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// How a client's connection begins: the preface, and SETTINGS that leave all as it is.
pub(crate) fn begin() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The number of a connection's request: clients have the odd ones.
pub(crate) fn stream(request: u32) -> u32 {
    2 * request + 1
}

/// The head of a GET, in a form that leaves no state behind.
pub(crate) fn get(path: &str) -> Vec<u8> {
    // :method GET and :scheme http are entries 2 and 6 of the static table.
    [&[0x82, 0x86][..], &target(path)].concat()
}

/// The head of a POST whose body has this length.
pub(crate) fn post(path: &str, length: usize) -> Vec<u8> {
    let length = length.to_string();
    [&[0x83, 0x86][..], &target(path), &field("content-length", &length)].concat()
}

/// :path and :authority, whose names are entries 4 and 1.
fn target(path: &str) -> Vec<u8> {
    [&[0x04][..], &string(path), &[0x01], &string("bench.example")].concat()
}

/// A field that is not to be remembered.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0x00][..], &string(name), &string(value)].concat()
}

/// A field that becomes the newest entry of the dynamic table.
pub(crate) fn remembered(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &string(name), &string(value)].concat()
}

/// That entry: a whole field, in one byte.
pub(crate) const NEWEST: u8 = 0x80 | 62;

/// Without Huffman's code. The length has a prefix of 7 bits, and what is beyond them in groups of 7, the least first.
fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 3);
    match text.len().checked_sub(127) {
        None => bytes.push(text.len() as u8),
        Some(mut rest) => {
            bytes.push(127);
            while rest >= 128 {
                bytes.push(128 | (rest % 128) as u8);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A connection after its first request, which was answered with so many bytes.
///
/// # Errors
/// When it cannot be opened, or the request was answered otherwise.
pub(crate) async fn asked(address: SocketAddr, (path, answer): (&str, usize)) -> Result<Stream> {
    let mut connection = clear(address).await?;
    let request = frame(HEADERS, END_STREAM | END_HEADERS, stream(0), &get(path));
    connection.write_all(&[begin(), request].concat()).await?;
    let (mut length, mut is_whole) = (0, false);
    while !is_whole {
        let (kind, flags, on, payload) = next(&mut connection).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => connection.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            DATA => length += payload,
            RST_STREAM | GOAWAY => {
                bail!("the connection or its stream was ended before the answer was whole")
            }
            _ => {}
        }
        is_whole = on == stream(0) && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
    }
    // Errors have pages of other lengths.
    ensure!(length == answer, "an answer of {length} bytes in place of {answer}");
    Ok(connection)
}

/// The next frame: its type, its flags, its stream, and how long its payload was.
async fn next(connection: &mut Stream) -> Result<(u8, u8, u32, usize)> {
    let mut header = [0; HEADER];
    connection.read_exact(&mut header).await.context("reading a frame")?;
    let [a, b, c, kind, flags, stream @ ..] = header;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let mut payload = vec![0; length];
    connection.read_exact(&mut payload).await.context("reading a frame's payload")?;
    Ok((kind, flags, u32::from_be_bytes(stream), length))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use h2::server::handshake;
    use http::Response;
    use tokio::net::TcpListener;

    use super::*;

    /// A server of one connection, which answers each request with so many bytes if it is as it should be.
    async fn server(answer: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = handshake(stream).await.unwrap();
            while let Some(accepted) = connection.accept().await {
                let (request, mut respond) = accepted.unwrap();
                assert_eq!(request.uri(), "http://bench.example/small");
                let mut send = respond.send_response(Response::new(()), false).unwrap();
                send.send_data(Bytes::from(vec![b'.'; answer]), true).unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_request_is_one_that_another_implementation_understands() {
        let connection = asked(server(60).await, ("/small", 60)).await.unwrap();
        assert!(crate::stream::is_open(&connection));
    }

    #[tokio::test]
    async fn an_answer_of_another_length_is_a_failure() {
        let told = asked(server(61).await, ("/small", 60)).await.err().unwrap().to_string();
        assert!(told.contains("61 bytes in place of 60"), "{told}");
    }

    #[test]
    fn lengths_are_written_as_the_specification_has_them() {
        assert_eq!(string("a"), [1, b'a']);
        assert_eq!(string(&"a".repeat(127))[..3], [127, 0, b'a']);
        // RFC 7541, C.1.2: 1,337 with another prefix; here 1,337 + 127 - 31.
        assert_eq!(string(&"a".repeat(1433))[..4], [127, 0b1001_1010, 0b0000_1010, b'a']);
        assert_eq!(frame(PING, 0, 0x0102_0304, b"ab"), [0, 0, 2, 6, 0, 1, 2, 3, 4, b'a', b'b']);
    }
}
