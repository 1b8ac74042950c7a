//! HTTP/1.0 and HTTP/1.1 to the letter: RFC 9112, and what RFC 9110 and RFC 3986 say of its parts. Pure.
//!
//! ```text
//! request   a request's head              target     what a request asks for
//! answer    an answer's head              host       the host that it names
//! body      where a body ends             fields     the lines of a head or of a trailer section
//! chunks    the framing of a chunked one  framing    what a head says of its body
//! trailers  what may stand behind it      lines      bytes -> lines, as they come
//!                                         bytes      which bytes may stand where
//! ```
//!
//! What two servers in a row may read differently is how requests are smuggled, so what is not of the grammar is refused
//! even where the RFC lets a server make the best of it. What is accepted can be sent on as it is written, but for what
//! the functions here say: a target in absolute form, a length that is not normal, fields of one connection.

mod answer;
mod body;
mod bytes;
mod chunks;
mod fields;
mod framing;
mod host;
mod lines;
mod request;
mod target;
mod trailers;

pub(in crate::gateway) use answer::{AnswerHead, Asked, SWITCHES, agree, is_interim};
pub(in crate::gateway) use body::Body;
pub(in crate::gateway) use chunks::Step;
pub(in crate::gateway) use fields::{Fields, Kind, Lengths};
pub(in crate::gateway) use framing::Framing;
pub(in crate::gateway) use request::{RequestHead, RequestView};
pub(in crate::gateway) use trailers::may_pass;

/// The longest head, in bytes, with its empty lines.
pub(in crate::gateway) const LONGEST_HEAD: usize = 64 << 10;

/// Why a message is refused, and what its sender is answered with. (Where the message is an instance's answer, the
/// status says nothing.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Refusal {
    pub(in crate::gateway) status: u16,
    pub(in crate::gateway) why: &'static str,
}

impl Refusal {
    const fn bad(why: &'static str) -> Self {
        Self { status: 400, why }
    }
}

impl From<&'static str> for Refusal {
    fn from(why: &'static str) -> Self {
        Self::bad(why)
    }
}

/// Where something stands among the bytes of a head.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// (Nothing that is read here is longer than a head.)
    const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes, of the same ones that were read.
    pub(in crate::gateway) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    pub(in crate::gateway) const fn start(self) -> usize {
        self.start as usize
    }

    pub(in crate::gateway) const fn end(self) -> usize {
        self.end as usize
    }

    pub(in crate::gateway) const fn len(self) -> usize {
        self.end().saturating_sub(self.start())
    }
}
