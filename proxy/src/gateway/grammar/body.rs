//! Where a body ends.

use super::chunks::{Chunks, Step};
use super::{Framing, Refusal};

/// How far a body has been read.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::gateway) enum Body {
    #[default]
    Over,
    /// So many bytes are left, more than none.
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Body {
    pub(in crate::gateway) fn of(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Over,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// What is next in it: is given what follows the bytes that the last step named. Each body ends with
    /// [`Step::End`], but one that ends with its connection.
    pub(in crate::gateway) fn next(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        match self {
            Self::Over => Ok(Step::End),
            Self::Chunked(chunks) => {
                let step = chunks.next(bytes)?;
                if let Step::Trailers(_) = step {
                    *self = Self::Over;
                }
                Ok(step)
            }
            _ if bytes.is_empty() => Ok(Step::More),
            Self::UntilClose => Ok(Step::Data(bytes.len())),
            Self::Length(left) => {
                let here = (bytes.len() as u64).min(*left);
                *left -= here;
                if *left == 0 {
                    *self = Self::Over;
                }
                Ok(Step::Data(here as usize))
            }
        }
    }

    pub(in crate::gateway) fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_its_framing_says() {
        let mut body = Body::of(Framing::Length(5));
        assert_eq!(body.next(b""), Ok(Step::More));
        assert_eq!(body.next(b"abc"), Ok(Step::Data(3)));
        assert!(!body.is_over());
        assert_eq!(body.next(b"deGET"), Ok(Step::Data(2)));
        assert!(body.is_over());
        assert_eq!(body.next(b"GET"), Ok(Step::End));
        for framing in [Framing::None, Framing::Length(0)] {
            assert!(Body::of(framing).is_over());
        }
        let mut body = Body::of(Framing::Chunked);
        assert_eq!(body.next(b"0\r\n"), Ok(Step::Framing(3)));
        assert!(!body.is_over(), "its trailer section is to come");
        assert_eq!(body.next(b"\r\n"), Ok(Step::Trailers(2)));
        assert!(body.is_over());
        assert_eq!(body.next(b""), Ok(Step::End));
        let mut body = Body::of(Framing::UntilClose);
        assert_eq!((body.next(b""), body.next(b"ab")), (Ok(Step::More), Ok(Step::Data(2))));
        assert!(!body.is_over());
    }
}
