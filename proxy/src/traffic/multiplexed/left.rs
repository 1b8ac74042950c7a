//! What becomes of streams that are left before anything of an answer has come.
//!
//! Each is reset at once, as a server should hear of a call that was cancelled. But a server that stood still finds all of
//! these resets at once when it goes on, for requests that it has not looked at; more than 20 of them look like an attack
//! to hyper's ("rapid reset"), which closes the connection with every call on it. So after [`RESETS`] to which
//! the peer has said nothing, the others are kept as they are, and are reset when it speaks again.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const RESETS: usize = 16;

/// What h2 has of a request, and its place on the connection. Dropped, its stream is reset.
pub(super) type Handles = Box<dyn Any + Send>;

#[derive(Debug, Default)]
pub(super) struct Left {
    /// So many were left since the peer was heard last.
    since_heard: AtomicUsize,
    has_kept: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    handles: Vec<Handles>,
    /// The connection has ended: nothing is kept any more.
    is_over: bool,
}

impl Left {
    /// Whether one more may be reset at once.
    pub(super) fn may_reset(&self) -> bool {
        self.since_heard.fetch_add(1, Ordering::AcqRel) < RESETS
    }

    pub(super) fn keep(&self, handles: Handles) {
        let mut kept = self.lock();
        if !kept.is_over {
            kept.handles.push(handles);
            self.has_kept.store(true, Ordering::Release);
        }
    }

    pub(super) fn heard(&self) {
        if self.since_heard.load(Ordering::Acquire) > 0 {
            self.since_heard.store(0, Ordering::Release);
        }
    }

    /// Resets those that were kept, if the peer was heard since.
    pub(super) fn reset_kept(&self) {
        if self.has_kept.load(Ordering::Acquire) && self.since_heard.load(Ordering::Acquire) == 0 {
            self.has_kept.store(false, Ordering::Release);
            let handles = std::mem::take(&mut self.lock().handles);
            drop(handles);
        }
    }

    /// The connection has ended, and with it its streams.
    pub(super) fn end(&self) {
        let kept = std::mem::replace(&mut *self.lock(), Kept { handles: Vec::new(), is_over: true });
        drop(kept);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
