//! The pieces of a body on its way.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;

use crate::gateway::grammar::may_pass;

/// A piece of a body.
#[derive(Debug)]
pub(in crate::gateway::carry) enum Piece {
    Data {
        bytes: Bytes,
        /// Whether nothing follows.
        is_last: bool,
    },
    /// What stands behind it. Nothing follows.
    Trailers(HeaderMap),
    /// It is over.
    End,
}

impl Piece {
    /// How many bytes of a body it has.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len(),
            Self::Trailers(_) | Self::End => 0,
        }
    }
}

/// The next piece of what comes over a stream.
pub(super) fn next_piece(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<Piece, h2::Error>> {
    if let Some(bytes) = ready!(body.poll_data(cx)) {
        return Poll::Ready(Ok(Piece::Data { bytes: bytes?, is_last: body.is_end_stream() }));
    }
    let trailers = ready!(body.poll_trailers(cx))?;
    Poll::Ready(Ok(trailers.map_or(Piece::End, Piece::Trailers)))
}

/// Leaves out what no trailer may say.
pub(in crate::gateway::carry) fn fit_trailers(trailers: &mut HeaderMap, trace_header: &[u8]) {
    let bad: Vec<_> =
        trailers.keys().filter(|name| !may_pass(name.as_str(), trace_header)).cloned().collect();
    for name in bad {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn what_no_trailer_may_say_is_left_out() {
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "grpc-message", "host", "trace_id", "x-forwarded-for", "x-data-bin"] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        fit_trailers(&mut trailers, b"trace_id");
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-message", "grpc-status", "x-data-bin"]);
    }
}
