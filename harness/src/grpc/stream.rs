//! What both sides do with a stream of HTTP/2.

use std::{future::poll_fn, task::Poll};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};

/// How a stream was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By RST_STREAM.
    Reset(Reason),
    /// By GOAWAY: it was above the last stream.
    GoAway(Reason),
    /// With its connection.
    Broken(String),
}

impl From<h2::Error> for Cut {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::Reset(reason),
            Some(reason) if error.is_go_away() => Self::GoAway(reason),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// Sends these bytes, as fast as the other side takes them.
pub(super) async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, end: bool) -> Result<(), Cut> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Err(poll_fn(|cx| poll_cut(stream.poll_reset(cx))).await),
        };
        let piece = bytes.split_to(room.min(bytes.len()));
        stream.send_data(piece, end && bytes.is_empty())?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
    if end {
        stream.send_data(bytes, true)?;
    }
    Ok(())
}

/// What comes next of a body; none at its end.
pub(super) async fn receive(stream: &mut RecvStream) -> Result<Option<Bytes>, Cut> {
    let Some(bytes) = stream.data().await.transpose()? else { return Ok(None) };
    stream.flow_control().release_capacity(bytes.len())?;
    Ok(Some(bytes))
}

/// What the other side's reset of a stream says.
pub(super) fn poll_cut(reset: Poll<Result<Reason, h2::Error>>) -> Poll<Cut> {
    reset.map(|reset| reset.map_or_else(Cut::from, Cut::Reset))
}
