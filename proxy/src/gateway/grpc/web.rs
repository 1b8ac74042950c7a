//! gRPC-Web: what becomes of a browser's call, and of the answer to it. A browser sees no trailers, so they come as a last
//! part of the body; and where it asks for text, the body is base64.
//!
//! Pingora has a module for this (`GrpcWebCtx`). It is of no use here: it changes heads of Pingora's own kind alone, makes
//! `application/grpc-text` of the form that is text and leaves its body as it is, and an answer that consists of trailers
//! alone gets no last part.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;

use super::kind::after;

/// What a part of the body begins with that holds fields.
const FIELDS: u8 = 0x80;

/// How a call of gRPC-Web is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Form<'t> {
    /// Whether its body, and that of its answer, is base64.
    pub(in crate::gateway) is_text: bool,
    /// What follows in its type: `+proto`.
    suffix: &'t [u8],
}

/// What should be base64 is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.why())]
pub(in crate::gateway) struct NotBase64;

impl NotBase64 {
    pub(in crate::gateway) fn why(self) -> &'static str {
        "its body is said to be base64, and is not"
    }
}

impl<'t> Form<'t> {
    /// Of a call with this `Content-Type`; none: it is none of gRPC-Web.
    pub(in crate::gateway) fn of(content_type: &'t [u8]) -> Option<Self> {
        let rest = after(content_type, b"application/grpc-web")?;
        Some(match after(rest, b"-text") {
            Some(suffix) => Self { is_text: true, suffix },
            None => Self { is_text: false, suffix: rest },
        })
    }

    /// The form of its answers, which say themselves what their messages are written in.
    pub(in crate::gateway) fn of_answers(self) -> Form<'static> {
        Form { is_text: self.is_text, suffix: b"" }
    }

    /// The `Content-Type` of the call as it goes on.
    pub(in crate::gateway) fn of_call(self) -> HeaderValue {
        value(&[b"application/grpc", self.suffix])
    }

    /// That of the answer as its client gets it; an instance's own is this. What is not gRPC's goes on as it is.
    pub(in crate::gateway) fn of_answer(self, content_type: &[u8]) -> HeaderValue {
        let name: &[u8] = if self.is_text { b"application/grpc-web-text" } else { b"application/grpc-web" };
        after(content_type, b"application/grpc")
            .map_or_else(|| value(&[content_type]), |rest| value(&[name, rest]))
    }

    /// A piece of an answer's body as its client gets it. Each piece is base64 by itself, with its own end, so that nothing
    /// of a message waits for the next one: clients take that.
    pub(in crate::gateway) fn piece(self, piece: Bytes) -> Bytes {
        if self.is_text { STANDARD.encode(&piece).into() } else { piece }
    }

    /// The last part of an answer's body, which holds its trailers.
    pub(in crate::gateway) fn last_piece<'f>(
        self,
        trailers: impl Iterator<Item = (&'f str, &'f [u8])>,
    ) -> Bytes {
        let mut lines = Vec::new();
        for (name, value) in trailers {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        let mut part = vec![FIELDS];
        // Heads are bounded far below 4 GiB.
        part.extend_from_slice(&u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes());
        part.append(&mut lines);
        self.piece(part.into())
    }
}

/// Whether a field of an answer that consists of trailers alone has its place in the last part of the body.
pub(in crate::gateway) fn is_of_trailers(name: &str) -> bool {
    matches!(name, "grpc-status" | "grpc-message" | "grpc-status-details-bin")
}

fn value(parts: &[&[u8]]) -> HeaderValue {
    // They are parts of values.
    HeaderValue::from_maybe_shared(Bytes::from(parts.concat())).unwrap_or(HeaderValue::from_static(""))
}

/// Reads base64 that comes in pieces, however they are cut. It may end within, and begin again.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Decoder {
    /// What is not whole yet: up to three letters between one piece and the next.
    letters: Vec<u8>,
}

impl Decoder {
    /// Appends what this piece, and what was left of those before it, stands for.
    pub(in crate::gateway) fn decode(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        self.letters.extend_from_slice(piece);
        let whole = self.letters.len() / 4 * 4;
        let mut rest = self.letters.get(..whole).unwrap_or_default();
        while !rest.is_empty() {
            let end = memchr::memchr(b'=', rest).map_or(rest.len(), |at| at / 4 * 4 + 4);
            let (run, next) = rest.split_at_checked(end).ok_or(NotBase64)?;
            STANDARD.decode_vec(run, out).map_err(|_| NotBase64)?;
            rest = next;
        }
        self.letters.drain(..whole);
        Ok(())
    }

    /// Nothing more comes.
    pub(in crate::gateway) fn end(self) -> Result<(), NotBase64> {
        if self.letters.is_empty() { Ok(()) } else { Err(NotBase64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_browsers_call_goes_on_as_grpc_and_its_answer_comes_back_as_it_was_asked_for() {
        for (came, goes_on, comes_back) in [
            ("application/grpc-web", "application/grpc", "application/grpc-web+proto"),
            ("application/grpc-web+proto", "application/grpc+proto", "application/grpc-web+proto"),
            ("Application/gRPC-Web+json;a=b", "application/grpc+json;a=b", "application/grpc-web+proto"),
            ("application/grpc-web-text+proto", "application/grpc+proto", "application/grpc-web-text+proto"),
            ("application/grpc-web-text", "application/grpc", "application/grpc-web-text+proto"),
        ] {
            let form = Form::of(came.as_bytes()).unwrap();
            assert_eq!(form.of_call(), goes_on, "{came}");
            assert_eq!(form.of_answer(b"application/grpc+proto"), comes_back, "{came}");
            assert_eq!(form.of_answer(b"text/html"), "text/html", "{came}");
        }
        assert_eq!(Form::of(b"application/grpc"), None);
    }

    #[test]
    fn trailers_come_as_the_last_part_of_the_body() {
        let trailers = || [("grpc-status", &b"5"[..]), ("grpc-message", b"no such good")].into_iter();
        let binary = Form::of(b"application/grpc-web").unwrap();
        let expected = b"\x80\0\0\0\x2cgrpc-status: 5\r\ngrpc-message: no such good\r\n";
        assert_eq!(binary.last_piece(trailers()), &expected[..]);
        let text = Form::of(b"application/grpc-web-text").unwrap();
        assert_eq!(STANDARD.decode(text.last_piece(trailers())).unwrap(), expected);
        assert_eq!(binary.last_piece([].into_iter()), &b"\x80\0\0\0\0"[..]);
        assert!(is_of_trailers("grpc-status") && !is_of_trailers("content-type"));
    }

    #[test]
    fn what_is_not_base64_is_declined() {
        let decoded = |text: &[u8]| {
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            decoder.decode(text, &mut out).and_then(|()| decoder.end()).map(|()| out)
        };
        assert_eq!(decoded(b"aGk=aG8h").as_deref(), Ok(&b"hiho!"[..]), "two, one behind the other");
        for bad in [&b"aGk"[..], b"a", b"aG!=", b"=Gk=", b"aGk=a", b"a===", b"\0\0\0\0"] {
            assert_eq!(decoded(bad), Err(NotBase64), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn however_a_body_is_cut_it_stays_the_same(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            cuts in prop::collection::vec(1_usize..9, 1..20),
        ) {
            let form = Form::of(b"application/grpc-web-text+proto").unwrap();
            let text: Vec<u8> = pieces.iter().flat_map(|piece| form.piece(piece.clone().into())).collect();
            let (mut decoder, mut out, mut rest) = (Decoder::default(), Vec::new(), &text[..]);
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, next) = rest.split_at(cut.min(rest.len()));
                decoder.decode(piece, &mut out).unwrap();
                rest = next;
            }
            prop_assert!(decoder.end().is_ok());
            prop_assert_eq!(out, pieces.concat());
        }
    }
}
