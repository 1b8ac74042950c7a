//! A request's body on its way to an instance, which may have to go a second time.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::client::ClientStream;
use super::instance::Instance;
use super::piece::{Piece, fit_trailers};
use super::shortened::is_too_long;
use super::spaces::{SPACES, has_spaces};
use super::web::Text;
use crate::gateway::carry::failure::Failed;
use crate::gateway::carry::waits::Side;

/// How much of a body is kept to be sent again.
const KEPT: usize = 64 * 1024;

/// A request's body on its way. What comes is taken only when all that came before has gone on, so the window of its stream
/// bounds what is here.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// What is to go on next: of the client, or of what is kept.
    due: VecDeque<Bytes>,
    /// How many bytes of `due` have come from the client and are still to be released.
    unreleased: usize,
    trailers: Option<HeaderMap>,
    /// What comes may be another's writing of it.
    pub(super) text: Text,
    /// All of it has come.
    is_read: bool,
    /// Its end has gone on.
    is_sent: bool,
    /// What has come so far, while it may have to go on a second time.
    kept: BytesMut,
    /// Whether something has come that is not kept.
    is_lost: bool,
    /// What it waits for.
    pub(super) waits_for: Side,
}

impl Upload {
    /// `is_read`: there is none.
    pub(super) fn new(is_read: bool) -> Self {
        Self { is_read, ..Self::default() }
    }

    /// Whether there is nothing to be sent but the head.
    pub(super) fn is_nothing(&self) -> bool {
        self.is_read && self.due.is_empty() && self.trailers.is_none()
    }

    /// Whether all that has gone on of it can go on a second time.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_lost
    }

    /// Whether all of it has come, and can go on a second time.
    pub(super) fn is_complete(&self) -> bool {
        self.is_read && self.is_whole()
    }

    /// It will not go on a second time.
    pub(super) fn forget(&mut self) {
        self.is_lost = true;
        self.kept = BytesMut::new();
    }

    /// It goes to another instance, from its begin.
    pub(super) fn begin_again(&mut self) {
        self.is_sent = false;
        self.due = VecDeque::new();
        if !self.kept.is_empty() {
            self.due.push_back(Bytes::copy_from_slice(&self.kept));
        }
    }

    /// The head has gone on, and said that nothing follows.
    pub(super) fn went_with_head(&mut self) {
        self.is_sent = true;
    }

    /// Moves what can be moved. Ready when all has gone on. `moved` is set if anything has come, or gone.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (client, instance): (&mut ClientStream, &mut Instance),
        trace_header: &[u8],
        moved: &mut bool,
    ) -> Poll<Result<(), Failed>> {
        while !self.is_sent {
            self.waits_for = Side::Sink;
            let is_last = self.is_read && self.trailers.is_none() && self.due.len() == 1;
            if let Some(data) = self.due.front_mut() {
                let count = ready!(instance.poll_send(cx, data, is_last))?;
                let is_gone = data.is_empty();
                *moved = true;
                if is_gone {
                    self.due.pop_front();
                    self.is_sent = is_last;
                }
                // It may be shorter than what came.
                self.release(client, if self.due.is_empty() { self.unreleased } else { count });
                continue;
            }
            if self.is_read {
                ready!(instance.poll_end(cx, &mut self.trailers))?;
                self.is_sent = true;
                break;
            }
            // Who takes nothing is not sent more.
            ready!(instance.poll_flush(cx))?;
            self.waits_for = Side::Source;
            let piece = ready!(client.poll_piece(cx)).map_err(Failed::of_client)?;
            *moved = true;
            self.unreleased += piece.len();
            let piece = self.text.read(piece)?;
            self.came(piece, trace_header)?;
        }
        Poll::Ready(Ok(()))
    }

    fn came(&mut self, piece: Piece, trace_header: &[u8]) -> Result<(), Failed> {
        match piece {
            // What has come of text may stand for nothing yet, and instances count frames that say nothing.
            Piece::Data { bytes, is_last: false } if bytes.is_empty() => {}
            Piece::Data { bytes, is_last } => {
                self.is_read = is_last;
                if !bytes.is_empty() {
                    self.keep(&bytes);
                    self.due.push_back(bytes);
                }
            }
            Piece::Trailers(trailers) if is_too_long(&trailers) => {
                return Err(Failed::Malformed("its trailers are too long"));
            }
            Piece::Trailers(trailers) if has_spaces(&trailers) => return Err(Failed::Malformed(SPACES)),
            Piece::Trailers(mut trailers) => {
                fit_trailers(&mut trailers, trace_header);
                // With them it is not sent again.
                self.forget();
                (self.is_read, self.trailers) = (true, Some(trailers));
            }
            Piece::End => self.is_read = true,
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &Bytes) {
        if self.is_lost || self.kept.len() + bytes.len() > KEPT {
            self.forget();
        } else {
            // Copied: small pieces hold on to the large blocks that they came in.
            self.kept.extend_from_slice(bytes);
        }
    }

    /// What goes a second time was released when it went first.
    fn release(&mut self, client: &mut ClientStream, count: usize) {
        let count = count.min(self.unreleased);
        self.unreleased -= count;
        if count > 0 {
            client.release(count);
        }
    }
}
