//! What became of a request whose stream has failed.

use h2::{Error, Reason};

/// What became of a request whose stream has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The peer refused the stream: it has done nothing with the request.
    Declined,
    /// The request was above the last stream of the peer's GOAWAY, or was never sent: nothing was done with it.
    WentAway,
    /// The peer reset the stream.
    Reset(Reason),
    /// The connection broke: the peer may have the request.
    Broke,
    /// What the peer sends is not HTTP/2.
    Malformed,
    /// It was ended, or was asked for what cannot be, from this side.
    Ours,
}

/// What became of a request that was sent, by the error of its stream.
///
/// h2 tells a stream of a GOAWAY only if its id is above the last one; one below goes on, and when the connection closes it
/// gets an error of the socket (`proto/streams/streams.rs`, `recv_go_away` and `recv_eof`). A stream that is queued when
/// the connection closes gets the same as one that was written: it cannot be told apart, and may have been sent.
pub(crate) fn fate(error: &Error) -> Fate {
    match error.reason() {
        _ if error.is_io() => Fate::Broke,
        Some(Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => Fate::Declined,
        Some(reason) if error.is_reset() && error.is_remote() => Fate::Reset(reason),
        Some(_) if error.is_go_away() && error.is_remote() => Fate::WentAway,
        // A bound of our own, of the connection as a whole: whoever asked for it, this stream is not to blame.
        Some(Reason::ENHANCE_YOUR_CALM) if error.is_library() => Fate::Ours,
        Some(_) if error.is_library() => Fate::Malformed,
        _ => Fate::Ours,
    }
}

/// What became of a request for which `send_request` itself returned the error: h2 has made no stream of it, whatever ended
/// the connection. (No reason: the request cannot be said in HTTP/2.)
pub(crate) fn fate_unsent(error: &Error) -> Fate {
    if error.is_io() || error.reason().is_some() { Fate::WentAway } else { Fate::Ours }
}
