//! HTTP/1.1 as bytes, read strictly and by nobody else's parser: what the gateway sends to either side is held
//! against RFC 9112 here.

mod body;
mod head;
mod instance;
mod stream;

pub use self::{
    body::{Framing, Message},
    head::{Fields, Head},
    instance::Instance,
    stream::{BrokenOff, End, Wire},
};

use anyhow::{Result, bail};

/// What was read from the beginning of some bytes, and how many of them it was; none when they go on.
type Read<T> = Result<Option<(T, usize)>>;

/// The line that the bytes begin with, without its end; none when it has not ended. Only CR LF ends one.
fn line(bytes: &[u8]) -> Read<&[u8]> {
    for (at, byte) in bytes.iter().enumerate() {
        match (byte, bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => return Ok(Some((&bytes[..at], at + 2))),
            (b'\r', None) => return Ok(None),
            (b'\r' | b'\n' | b'\0', _) => {
                bail!("a bare CR or LF, or a NUL, after {}", bytes[..at].escape_ascii())
            }
            _ => {}
        }
    }
    Ok(None)
}

fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// One byte, one character: nothing is lost, and everything can be printed.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests;
