//! The PROXY protocol: a proxy that forwards bytes, and so cannot add a field to a request, says in front of them who its
//! client is.
//!
//! ```text
//! header   what it says, and how far it goes: pure
//! checks   what must hold of that, whatever comes
//! ```

#[cfg(test)]
mod checks;
mod header;

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub(super) use header::{Header, ProxyError};
use header::{LONGEST_LINE, Next, next};

/// Reads the header that a connection begins with, and nothing of what follows it. It waits for as long as it takes.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Header, ProxyError> {
    let mut bytes = Vec::with_capacity(LONGEST_LINE);
    loop {
        let came = match next(&bytes)? {
            Next::UpTo(most) => append(stream, &mut bytes, most).await,
            Next::Line(most) => append_line(stream, &mut bytes, most).await,
            Next::Nothing(header) => return Ok(header),
        };
        if came.map_err(ProxyError::Lost)? == 0 {
            return Err(ProxyError::ended(bytes.len()));
        }
    }
}

async fn append(stream: &mut TcpStream, bytes: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    stream.take(most as u64).read_buf(bytes).await
}

/// All that is looked at and does not end the line is taken, so that the next look waits for more.
async fn append_line(stream: &mut TcpStream, bytes: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let mut seen = [0; LONGEST_LINE];
    let most = most.min(seen.len());
    let length = stream.peek(&mut seen[..most]).await?;
    let length = memchr::memchr(b'\n', &seen[..length]).map_or(length, |at| at + 1);
    append(stream, bytes, length).await
}

#[cfg(test)]
mod tests;
