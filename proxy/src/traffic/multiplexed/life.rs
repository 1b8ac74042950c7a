//! What a connection's task and its streams know of each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Life {
    streams: AtomicUsize,
    /// Since when there are none.
    idle_since: Mutex<Instant>,
    /// Since the last look something came; of an answer; a stream began.
    was_heard: AtomicBool,
    has_answered: AtomicBool,
    has_begun: AtomicBool,
    /// It gets no streams any more.
    pub(super) is_left: AtomicBool,
    pub(super) is_closed: AtomicBool,
}

/// What has happened on a connection since somebody looked last.
pub(super) struct Seen {
    /// Something came.
    pub(super) was_heard: bool,
    /// What came was of an answer.
    pub(super) has_answered: bool,
    /// A stream has begun.
    pub(super) has_begun: bool,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            streams: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            was_heard: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            is_left: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Acquire)
    }

    pub(super) fn add_stream(&self) {
        self.streams.fetch_add(1, Ordering::AcqRel);
        set(&self.has_begun);
    }

    pub(super) fn heard(&self) {
        set(&self.was_heard);
    }

    pub(super) fn has_answered(&self) {
        set(&self.has_answered);
    }

    pub(super) fn look(&self) -> Seen {
        Seen {
            was_heard: self.was_heard.swap(false, Ordering::AcqRel),
            has_answered: self.has_answered.swap(false, Ordering::AcqRel),
            has_begun: self.has_begun.swap(false, Ordering::AcqRel),
        }
    }

    pub(super) fn remove_stream(&self) {
        if self.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    pub(super) fn is_idle_for(&self, idle: Duration) -> bool {
        self.streams() == 0
            && self.idle_since.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= idle
    }
}

/// Most often it is set, and its line stays where it is.
fn set(flag: &AtomicBool) {
    if !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Release);
    }
}
