//! A message's body: RFC 9112, 6 and 7.

use anyhow::{Context, Result, bail, ensure};

use super::{Fields, Head, Read, is_token, line};

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its head.
    pub head: Head,
    /// Its body, without its chunks.
    pub body: Vec<u8>,
    /// What came after the last chunk.
    pub trailers: Fields,
    /// How its end was told.
    pub framing: Framing,
}

/// How a body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By a length.
    Length(usize),
    /// By a last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Framing {
    /// A request's.
    ///
    /// # Errors
    /// Both framings in one head, two lengths, another coding.
    pub fn of(fields: &Fields) -> Result<Self> {
        let (codings, lengths) = (fields.all("transfer-encoding"), fields.all("content-length"));
        match (&codings[..], &lengths[..]) {
            ([], []) => Ok(Self::None),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Self::Chunked),
            ([], [length]) => {
                let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                ensure!(digits && (!length.starts_with('0') || length.len() == 1), "no length: {length:?}");
                Ok(Self::Length(length.parse().context("a length beyond all bounds")?))
            }
            _ => bail!("which is it? Transfer-Encoding {codings:?}, Content-Length {lengths:?}"),
        }
    }

    /// RFC 9112, 6.3: an answer without a length goes to the end of the connection, and some have no body.
    ///
    /// # Errors
    /// As above, and where there must be none.
    pub fn of_answer(head: &Head, method: &str) -> Result<Self> {
        let framing = Self::of(&head.fields)?;
        let status = head.status();
        let is_bare = status < 200 || status == 204;
        ensure!(!is_bare || framing == Self::None, "a {status} with a length: {head:?}");
        Ok(match framing {
            _ if is_bare || status == 304 || method == "HEAD" => Self::None,
            Self::None => Self::Close,
            told => told,
        })
    }
}

impl Message {
    /// A whole request.
    pub(super) fn request(bytes: &[u8]) -> Read<Self> {
        let Some((head, at)) = Head::request(bytes)? else { return Ok(None) };
        let framing = Framing::of(&head.fields)?;
        Self::with_body(head, framing, bytes, at)
    }

    /// A request whose head was read already.
    pub(super) fn of_head(head: &Head, bytes: &[u8]) -> Read<Self> {
        Self::with_body(head.clone(), Framing::of(&head.fields)?, bytes, 0)
    }

    /// A whole answer to a request of this method; `ended`: nothing comes after these bytes.
    pub(super) fn answer(bytes: &[u8], method: &str, ended: bool) -> Read<Self> {
        let Some((head, at)) = Head::answer(bytes)? else { return Ok(None) };
        match Framing::of_answer(&head, method)? {
            Framing::Close if !ended => Ok(None),
            framing => Self::with_body(head, framing, bytes, at),
        }
    }

    fn with_body(head: Head, framing: Framing, bytes: &[u8], at: usize) -> Read<Self> {
        let rest = &bytes[at..];
        let read = match framing {
            Framing::None => Some((Vec::new(), Fields::default(), 0)),
            Framing::Length(length) => {
                rest.get(..length).map(|body| (body.to_vec(), Fields::default(), length))
            }
            Framing::Chunked => chunks(rest)?,
            Framing::Close => Some((rest.to_vec(), Fields::default(), rest.len())),
        };
        Ok(read.map(|(body, trailers, length)| (Self { head, body, trailers, framing }, at + length)))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A chunked body to its very end, its trailers, and its length; none when it goes on.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, Fields, usize)>> {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some((line, length)) = line(&bytes[at..])? {
        at += length;
        let size = chunk_size(line)?;
        if size == 0 {
            let trailers = Fields::read(&bytes[at..])?;
            return Ok(trailers.map(|(trailers, length)| (body, trailers, at + length)));
        }
        let Some(chunk) = bytes.get(at..at + size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(other) => bail!("a chunk goes on with {}", other.escape_ascii()),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// `1*HEXDIG [ chunk-ext ]`; of an extension it is enough that it begins as one.
fn chunk_size(line: &[u8]) -> Result<usize> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, extension) = line.split_at(digits);
    let is_extension = match extension.trim_ascii_start() {
        [b';', name @ ..] => {
            let name = name.trim_ascii_start().split(|byte| b"=; \t".contains(byte)).next();
            name.is_some_and(is_token) && extension.iter().all(|&byte| byte == b'\t' || byte >= b' ')
        }
        _ => extension.is_empty(),
    };
    ensure!(is_extension && (1..=16).contains(&digits), "no chunk's size: {}", line.escape_ascii());
    Ok(usize::from_str_radix(std::str::from_utf8(size)?, 16)?)
}
