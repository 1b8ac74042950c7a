//! How a connection in memory hesitates.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Has whoever polls a connection wait now and then for nothing, or moves fewer bytes than it could: as networks and
/// busy machines do.
#[derive(Debug, Default)]
pub(crate) struct Hesitation {
    rng: fastrand::Rng,
    /// How often it will do so yet.
    left: u32,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Hesitation {
    /// So many bytes are moved at the most when it moves few.
    pub(super) const PIECE: usize = 8;

    /// One that hesitates so often.
    pub(crate) fn new(seed: u64, times: u32) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), left: times, sleep: None }
    }

    /// Whether it hesitates no more.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Ready with how many bytes may be moved; none: with as many as there are.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        } else if self.left > 0 && self.rng.bool() {
            self.left -= 1;
            match self.rng.u8(..4) {
                0 => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                1 => {
                    let sleep =
                        self.sleep.insert(Box::pin(sleep(Duration::from_millis(self.rng.u64(1..20)))));
                    ready!(sleep.as_mut().poll(cx));
                }
                _ => return Poll::Ready(Some(self.rng.usize(1..=Self::PIECE))),
            }
        }
        Poll::Ready(None)
    }
}
