//! A client's connection.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{Block, Timer};
use crate::gateway::origin::Arrival;
use crate::link::Link;
use crate::traffic::bell::Bell;

/// A client's connection, and what wakes whoever carries it.
#[derive(Debug)]
pub(in crate::gateway) struct Client {
    pub(in crate::gateway) link: Link,
    pub(in crate::gateway) bell: Arc<Bell>,
    pub(in crate::gateway) timer: Timer,
    arrival: Arrival,
    /// It sends no more.
    has_ended: bool,
    /// Whether the request that is carried is the last one on the connection.
    pub(in crate::gateway) is_last: bool,
}

/// A client without its connection, which somebody else has for the moment.
#[derive(Debug)]
pub(in crate::gateway) struct Unlinked {
    bell: Arc<Bell>,
    timer: Timer,
    arrival: Arrival,
}

impl Client {
    pub(in crate::gateway) fn new(link: Link, arrival: Arrival, bell: Arc<Bell>) -> Self {
        Self { link, bell, timer: Timer::default(), arrival, has_ended: false, is_last: false }
    }

    pub(in crate::gateway) fn into_parts(self) -> (Link, Unlinked) {
        let Self { link, bell, timer, arrival, .. } = self;
        (link, Unlinked { bell, timer, arrival })
    }

    /// Whether nothing keeps others from reading what is spoken on its connection.
    pub(in crate::gateway) fn is_in_clear(&self) -> bool {
        !matches!(self.link, Link::Tls(_))
    }

    pub(in crate::gateway) fn arrival(&self) -> Arrival {
        self.arrival.clone()
    }

    /// Ready when it has left: when its connection is broken, or, with `at_end`, when it sends no more. What it sends ahead
    /// is read into `input`, up to `most` bytes: once they are there, nobody can tell whether it has left until they have
    /// been used.
    ///
    /// Without `at_end`, one that sends no more may still wait for its answer (a half-close: RFC 9112, 9.6). If it has
    /// left all the same, that is found out when it takes nothing of the answer.
    pub(in crate::gateway) fn poll_leaves(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Block,
        most: usize,
        at_end: bool,
    ) -> Poll<()> {
        loop {
            if self.has_ended {
                return if at_end { Poll::Ready(()) } else { Poll::Pending };
            }
            if input.len() >= most {
                return Poll::Pending;
            }
            ready!(self.link.poll_stirred(cx));
            match ready!(input.poll_fill(&mut self.link, most, cx)) {
                Ok(0) => self.has_ended = true,
                Ok(_) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl Unlinked {
    pub(in crate::gateway) fn with(self, link: Link) -> Client {
        let Self { bell, timer, arrival } = self;
        Client { link, bell, timer, arrival, has_ended: false, is_last: false }
    }
}
