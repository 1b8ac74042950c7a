//! How far an exchange has come.

use std::time::Instant;

/// What the client has been told. It holds for all attempts.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The status of its answer, once that has begun.
    pub(super) status: Option<u16>,
    /// Where that is an answer of the gateway's own: how many bytes its body has.
    pub(super) replied: Option<usize>,
    /// Whether the client can tell where its answer ends.
    pub(super) has_end: bool,
    /// How many heads came before the answer's (1xx).
    pub(super) interim: u8,
    /// Whether its connection serves another request afterwards.
    pub(super) keeps_client: bool,
}

impl Told {
    /// Whether it has seen nothing of an answer.
    pub(super) fn is_nothing(&self) -> bool {
        self.status.is_none() && self.interim == 0
    }
}

/// How far one attempt has come: each begins anew.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) sending: Sending,
    /// When the request last went on.
    pub(super) sent_at: Instant,
    /// When something last came from the instance; before that, when the attempt began.
    pub(super) heard_at: Instant,
    /// When the client last took something of its answer; before that, when the attempt began.
    pub(super) taken_at: Instant,
    /// How many bytes the head has that came last.
    pub(super) answer_head: usize,
    /// Whether the answer began before the request was sent whole.
    pub(super) is_early: bool,
}

/// How far the request is on its way to the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Underway,
    /// It was sent whole.
    Done,
    /// No more of it goes on: the instance takes no more, or the client sends no more, while it is answered. The answer
    /// still counts.
    GivenUp,
}

impl Progress {
    pub(super) fn begun(now: Instant) -> Self {
        Self {
            sending: Sending::Underway,
            sent_at: now,
            heard_at: now,
            taken_at: now,
            answer_head: 0,
            is_early: false,
        }
    }
}
