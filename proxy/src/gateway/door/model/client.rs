//! A client, by its plan.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::time::timeout;

use super::bytes::{Tag, request_body, request_head};
use super::peer::{Pace, receive, send, tunnel};
use super::scenario::{ClientPlan, Leaving, Side};
use super::wire::Reader;
use crate::link::Link;

/// How long it waits for a 100 before it sends a body (RFC 9110, 10.1.1: it must not wait for ever).
const EXPECTING: Duration = Duration::from_secs(1);

/// What it has heard.
#[derive(Debug, Default, Clone, Copy)]
struct Heard {
    answers: usize,
    /// Interim heads since the last answer.
    interim: usize,
    has_ended: bool,
}

/// Sends its requests, and reads to the end of all answers. Returns what it has read.
pub(super) async fn run(plan: &ClientPlan, number: usize, link: Link, seed: u64) -> Reader {
    let (mut from, mut to) = split(link);
    let mut reader = Reader::of_answers(plan.requests.iter().map(|request| request.method).collect());
    let mut paces = [1, 2].map(|salt| Pace::new(seed ^ salt));
    let (told, heard) = watch::channel(Heard::default());
    let outcome = {
        let [reads, writes] = &mut paces;
        let mut writing =
            Writing { plan, number, to: &mut to, left: left(plan, number), pace: writes, heard };
        let read = async {
            read(plan, &mut from, &mut reader, reads, &told).await;
            Ok(())
        };
        tokio::try_join!(read, writing.write())
    };
    if let Err(leaving) = outcome {
        return leave(leaving, from.unsplit(to), reader);
    }
    let last = plan.requests.len() - 1;
    if let Some(plan) = plan.requests[last].upgrade.as_ref().filter(|_| is_tunnel(&reader)) {
        let says = Tag { client: number, request: last }.up(plan);
        if !tunnel((Side::Client, plan, &says), (&mut from, &mut to), &mut reader, &mut paces).await {
            return leave(Leaving::Resets, from.unsplit(to), reader);
        }
    }
    reader
}

fn leave(how: Leaving, link: Link, reader: Reader) -> Reader {
    if how == Leaving::Resets {
        link.reset();
    }
    reader
}

fn is_tunnel(reader: &Reader) -> bool {
    reader.messages.last().is_some_and(|seen| seen.head.status() == 101)
}

/// How many bytes it sends before it leaves; none: all.
fn left(plan: &ClientPlan, number: usize) -> Option<(usize, Leaving)> {
    let (moment, how) = plan.leaves?;
    let size = |(request, plan)| {
        let tag = Tag { client: number, request };
        request_head(tag, plan).len() + request_body(tag, plan).len()
    };
    let all: usize = plan.requests.iter().enumerate().map(size).sum();
    Some((all * moment / 1000, how))
}

async fn read(
    plan: &ClientPlan,
    from: &mut ReadHalf<Link>,
    reader: &mut Reader,
    pace: &mut Pace,
    told: &watch::Sender<Heard>,
) {
    loop {
        let is_open = receive(from, reader, pace).await;
        let answers = reader.answered();
        let interim = reader.messages.iter().rev().take_while(|seen| seen.head.status() < 200).count();
        told.send_replace(Heard { answers, interim, has_ended: !is_open });
        let waits_for_end = plan.half_closes
            || plan.leaves.is_some()
            || reader.messages.last().is_some_and(|seen| seen.head.fields.lists("connection", "close"));
        if !is_open || is_tunnel(reader) || answers == plan.requests.len() && !waits_for_end {
            return;
        }
    }
}

/// A client that sends.
struct Writing<'w> {
    plan: &'w ClientPlan,
    number: usize,
    to: &'w mut WriteHalf<Link>,
    left: Option<(usize, Leaving)>,
    pace: &'w mut Pace,
    heard: watch::Receiver<Heard>,
}

impl Writing<'_> {
    /// An error: it leaves.
    async fn write(&mut self) -> Result<(), Leaving> {
        for (request, plan) in self.plan.requests.iter().enumerate() {
            let tag = Tag { client: self.number, request };
            if !self.plan.is_ahead {
                self.wait(|heard| heard.answers >= request).await;
            }
            if !self.send(request_head(tag, plan).as_bytes()).await? {
                return Ok(());
            }
            let body = request_body(tag, plan);
            if plan.expects && !plan.is_1_0 && !self.plan.is_ahead && !body.is_empty() {
                let is_told = |heard: &Heard| heard.answers > request || heard.interim > 0;
                let _ = timeout(EXPECTING, self.wait(is_told)).await;
                if self.heard.borrow().answers > request {
                    return Ok(());
                }
            }
            if !self.send(&body).await? {
                return Ok(());
            }
        }
        if self.plan.half_closes {
            let _ = self.to.shutdown().await;
        }
        Ok(())
    }

    async fn wait(&mut self, is_enough: impl Fn(&Heard) -> bool) {
        let _ = self.heard.wait_for(|heard| heard.has_ended || is_enough(heard)).await;
    }

    /// False: it sends nothing more.
    async fn send(&mut self, bytes: &[u8]) -> Result<bool, Leaving> {
        let Some((left, how)) = &mut self.left else { return Ok(send(self.to, bytes, self.pace).await) };
        let (now, is_last) = (bytes.len().min(*left), bytes.len() >= *left);
        *left -= now;
        let how = *how;
        let is_open = send(self.to, &bytes[..now], self.pace).await;
        match how {
            _ if !is_open => Ok(false),
            _ if !is_last => Ok(true),
            Leaving::Ends => {
                let _ = self.to.shutdown().await;
                Ok(false)
            }
            Leaving::FallsSilent => Ok(false),
            Leaving::Closes | Leaving::Resets => Err(how),
        }
    }
}
