//! In which order calls work on the registry's keys, so that none keeps the thread from keep-alives for long.
//!
//! There is one thread. A call is short, but thousands may be ready at a time, and tokio would run all of them before
//! it looks at the network again. So whenever calls that read or write keys, and watches that read the history, have
//! used the thread for a while, everything else that is ready goes first: above all keep-alives, which take no turn.
//!
//! Besides, calls wait in a queue, in which each client has one call at a time: a client that sends a thousand at once
//! makes itself wait, and not the others. The gateway's own calls do not wait.

use std::{
    sync::{Mutex as Shared, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, task::yield_now};

use crate::client::Client;

/// For how long the thread is used before everything else goes first.
const ENOUGH: Duration = Duration::from_millis(5);
/// If letting others go first took less than this, there was nothing else to run.
const IDLE: Duration = Duration::from_micros(100);
/// That it took less must be found so often in a row: once, it may have been sixty of many who each had little to do.
const SURE: u32 = 3;
/// The longest time that a call lets others go first: there may always be more of them.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(crate) struct Turns {
    line: Mutex<()>,
    used: Shared<Used>,
}

/// How long the thread was used since everything else last went first, and how often that has happened.
#[derive(Debug, Default)]
struct Used {
    time: Duration,
    rounds: u64,
}

impl Turns {
    /// Does some work once it is this client's turn. The future must be polled to its end or dropped, since others wait
    /// behind it.
    pub(crate) async fn take<T>(&self, client: &Client, work: impl FnOnce() -> T) -> T {
        if client.is_gateway() {
            return self.work(work);
        }
        let _in_line = (client.turn.lock().await, self.line.lock().await);
        if self.used().time >= ENOUGH {
            self.let_others_go_first(PATIENCE).await;
        }
        self.work(work)
    }

    /// Does some work outside of the queue: for a watch, which is polled only while its client takes what it sends, so
    /// that nobody may have to wait behind it. It lets others go first only once. If it did so until the thread was
    /// free, it might never work: most often the next call of the queue comes first, and uses the thread for long
    /// enough again.
    pub(crate) async fn amid_others<T>(&self, client: &Client, work: impl FnOnce() -> T) -> T {
        if !client.is_gateway() && self.used().time >= ENOUGH {
            self.let_others_go_first(Duration::ZERO).await;
        }
        self.work(work)
    }

    /// Ends when everything that is ready has run, and what that made ready; or after so much time. The first to go on
    /// then resets the count, for all who waited.
    async fn let_others_go_first(&self, patience: Duration) {
        let round = self.used().rounds;
        let start = Instant::now();
        let (mut yielded, mut found_nobody) = (start, 0);
        loop {
            yield_now().await;
            // tokio lets a task that has yielded go on after some sixty others, although more are ready. If a flood
            // makes ten thousand tasks ready, one yield would let only few of them go first.
            let now = Instant::now();
            found_nobody = if now - yielded < IDLE { found_nobody + 1 } else { 0 };
            if found_nobody == SURE || now - start >= patience {
                break;
            }
            yielded = now;
        }
        let mut used = self.used();
        if used.rounds == round {
            *used = Used { time: Duration::ZERO, rounds: round.wrapping_add(1) };
        }
    }

    fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.used().time += start.elapsed();
        done
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread::sleep};

    use futures_util::{FutureExt, future::join_all};

    use super::*;

    /// What was done, in its order.
    type Done = Arc<Shared<Vec<&'static str>>>;

    async fn work(turns: Arc<Turns>, client: Arc<Client>, name: &'static str, done: Done) {
        turns
            .take(&client, || {
                sleep(ENOUGH);
                done.lock().unwrap().push(name);
            })
            .await;
    }

    #[tokio::test]
    async fn everything_else_goes_first_once_calls_have_used_the_thread_for_a_while() {
        let (turns, done) = (Arc::new(Turns::default()), Done::default());
        let calls = (0..3).map(|_| tokio::spawn(work(turns.clone(), Client::guest(), "call", done.clone())));
        let calls: Vec<_> = calls.collect();
        let keep_alive = tokio::spawn({
            let done = done.clone();
            async move {
                for _ in 0..3 {
                    done.lock().unwrap().push("keep-alive");
                    yield_now().await;
                }
            }
        });
        join_all(calls).await;
        keep_alive.await.unwrap();
        let done = done.lock().unwrap();
        assert_eq!(done[..2], ["call", "keep-alive"], "{done:?}");
        assert_ne!(done[2..4], ["call", "call"], "{done:?}");
    }

    /// A task that has so often to be woken by others until it is done, as a keep-alive's is on its way.
    async fn hop(times: usize) {
        for _ in 0..times {
            tokio::spawn(async { sleep(2 * IDLE) }).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_made_ready_by_others_goes_first_too() {
        let (turns, done) = (Arc::new(Turns::default()), Done::default());
        turns.take(&Client::guest(), || sleep(ENOUGH)).await;
        // More than tokio runs before it lets go on who has yielded.
        let keep_alives = (0..100).map(|_| {
            let done = done.clone();
            tokio::spawn(async move {
                hop(2).await;
                done.lock().unwrap().push("keep-alive");
            })
        });
        let keep_alives: Vec<_> = keep_alives.collect();
        work(turns, Client::guest(), "call", done.clone()).await;
        let before = done.lock().unwrap().iter().position(|done| *done == "call").unwrap();
        // All of them, but on a machine that is very busy.
        assert!(before >= 50, "only {before} went first");
        join_all(keep_alives).await;
    }

    #[tokio::test]
    async fn who_is_never_idle_does_not_keep_calls_for_ever() {
        let turns = Arc::new(Turns::default());
        let guest = Client::guest();
        turns.take(&guest, || sleep(ENOUGH)).await;
        let busy = tokio::spawn(async {
            loop {
                sleep(2 * IDLE);
                yield_now().await;
            }
        });
        turns.take(&guest, || {}).await;
        busy.abort();
    }

    #[tokio::test]
    async fn a_watch_that_is_driven_no_further_holds_up_nobody() {
        let turns = Arc::new(Turns::default());
        let guest = Client::guest();
        turns.take(&guest, || sleep(ENOUGH)).await;
        let mut stalled = Box::pin(turns.amid_others(&guest, || {}));
        assert!((&mut stalled).now_or_never().is_none(), "everything else goes first");
        turns.take(&guest, || sleep(ENOUGH)).await;
        turns.amid_others(&guest, || {}).await;
        stalled.await;
    }

    #[tokio::test]
    async fn a_watch_gets_its_turn_though_calls_come_first_each_time() {
        let (turns, guest) = (Turns::default(), Client::guest());
        turns.take(&guest, || sleep(ENOUGH)).await;
        let of_the_gateway = turns.amid_others(&Client::gateway(), || {}).now_or_never();
        assert!(of_the_gateway.is_some(), "the gateway waits for nobody");
        let mut watch = Box::pin(turns.amid_others(&guest, || {}));
        assert!((&mut watch).now_or_never().is_none());
        turns.take(&guest, || sleep(ENOUGH)).await;
        assert!(watch.now_or_never().is_some(), "it has let others go first");
    }

    #[tokio::test]
    async fn who_sends_much_waits_for_it_himself_and_the_gateway_for_no_line() {
        let (turns, done) = (Arc::new(Turns::default()), Done::default());
        let (many, few, gateway) = (Client::guest(), Client::guest(), Client::gateway());
        let mut calls: Vec<_> =
            (0..10).map(|_| tokio::spawn(work(turns.clone(), many.clone(), "many", done.clone()))).collect();
        for (client, name) in [(few, "few"), (gateway, "gateway")] {
            calls.push(tokio::spawn(work(turns.clone(), client, name, done.clone())));
        }
        join_all(calls).await;
        let done = done.lock().unwrap();
        let place = |name| done.iter().position(|done| *done == name).unwrap();
        assert!(place("gateway") <= 1 && place("few") <= 3, "{done:?}");
    }
}
