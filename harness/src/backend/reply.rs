//! What a backend does with a request.

use std::time::Duration;

use bytes::Bytes;

/// What to do with a request, once it has been read whole.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, headers and body.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// 200 with the request's own body.
    Echo,
    /// Close the connection without a byte.
    Drop,
    /// Promise a body of this many bytes, send these, and close.
    Break(u64, Bytes),
    /// Promise a body of this many bytes, send these, and reset the connection.
    Reset(u64, Bytes),
    /// Promise a body of this many bytes, send these, and then nothing: the connection stays open.
    Stall(u64, Bytes),
    /// Promise a body of this many bytes, send these, which are more, and go on with the connection as if
    /// nothing was wrong.
    Excess(u64, Bytes),
    /// Never answer.
    Hang,
    /// Wait, then answer.
    After(Duration, Box<Reply>),
    /// Reply when the head has arrived, and read no body. In a script, or as what is always done.
    Early(Box<Reply>),
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::Answer(200, Vec::new(), body.into())
    }

    /// This status, with an empty body.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Bytes::new())
    }
}
