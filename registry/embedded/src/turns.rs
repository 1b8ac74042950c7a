//! Who works on the registry's keys, and when: one call after the other, and everybody else in between.
//!
//! There is one thread. A call is short, but thousands may be ready at a time, and tokio would run all of them before
//! it looks at the network again. So calls that read or write keys, and watches that read the history, stand in line;
//! whenever they have used the thread for a while, everything else that is ready goes first: keep-alives, which stand
//! in no line, above all.
//!
//! A client has one of its calls in the guests' line, so that who sends a thousand at once waits for them himself.
//! The gateway's own calls wait for the one that is at work, and for no line.

use std::time::{Duration, Instant};

use tokio::{sync::Mutex, task::yield_now};

use crate::client::Client;

/// For how long calls use the thread before everything else goes first.
const ENOUGH: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(crate) struct Turns {
    guests: Mutex<()>,
    /// How long calls have used the thread since everything else went first.
    used: Mutex<Duration>,
}

impl Turns {
    /// Does some work once it is this client's turn.
    pub async fn take<T>(&self, client: &Client, work: impl FnOnce() -> T) -> T {
        let _in_line = match client.is_gateway() {
            true => None,
            false => Some((client.turn.lock().await, self.guests.lock().await)),
        };
        let mut used = self.used.lock().await;
        if *used >= ENOUGH {
            yield_now().await;
            *used = Duration::ZERO;
        }
        let start = Instant::now();
        let done = work();
        *used += start.elapsed();
        done
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex as Shared},
        thread::sleep,
    };

    use futures_util::future::join_all;

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
        assert!(place("gateway") <= 2 && place("few") <= 3, "{done:?}");
    }
}
