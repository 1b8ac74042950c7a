//! An instance's side of one connection, by the plans of the requests that come.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::time::sleep;

use super::bytes::{Tag, answer_body, answer_head, interim, interim_head, is_tunnel};
use super::peer::{Pace, receive, send, tunnel};
use super::scenario::{Afterwards, AnswerPlan, Fault, Leaving, RequestPlan, Scenario, Side};
use super::wire::Reader;
use crate::link::Link;

/// An answer that nobody must get.
const BEYOND: &[u8] = b"HTTP/1.1 200 No\r\nX-Answer: nobody\r\nContent-Length: 0\r\n\r\n";

/// What all instances have in common.
#[derive(Debug)]
pub(super) struct Instances {
    pub(super) scenario: Scenario,
    /// How often each request has come.
    pub(super) arrived: Mutex<HashMap<Tag, usize>>,
    /// What came over each connection that has ended.
    pub(super) heard: Mutex<Vec<Reader>>,
    /// Connections that an instance has closed of itself while nothing was asked on them.
    pub(super) closed_idle: AtomicUsize,
    /// Whether connections that serve nobody are closed.
    pub(super) closing: watch::Sender<bool>,
}

impl Instances {
    pub(super) fn new(scenario: Scenario) -> Arc<Self> {
        let (arrived, heard, closed_idle, closing) = Default::default();
        Arc::new(Self { scenario, arrived, heard, closed_idle, closing })
    }

    fn arrives(&self, tag: Tag) -> (RequestPlan, usize) {
        let attempt = *self.arrived.lock().unwrap().entry(tag).and_modify(|count| *count += 1).or_insert(1);
        (self.scenario.clients[tag.client].requests[tag.request].clone(), attempt - 1)
    }
}

/// One connection.
struct Instance<'i> {
    all: &'i Instances,
    from: ReadHalf<Link>,
    to: WriteHalf<Link>,
    reader: Reader,
    paces: [Pace; 2],
    /// Something was said with an answer's end that is none of it.
    is_spoilt: bool,
}

/// What becomes of the connection.
enum After {
    Stays(Afterwards),
    /// It is closed at once.
    Closes,
    Resets,
    /// It is closed when the other side has closed it.
    Ends,
}

pub(super) async fn serve(all: Arc<Instances>, link: Link, seed: u64) {
    let (from, to) = split(link);
    let paces = [3, 4].map(|salt| Pace::new(seed ^ salt));
    let mut instance =
        Instance { all: &all, from, to, reader: Reader::of_requests(), paces, is_spoilt: false };
    let (mut served, mut after) = (0, After::Stays(Afterwards::Waits));
    while let After::Stays(afterwards) = after {
        after = instance.serve_one(served, afterwards).await;
        served += 1;
    }
    let Instance { mut from, to, mut reader, mut paces, .. } = instance;
    match after {
        After::Stays(_) | After::Closes => {}
        After::Resets => from.unsplit(to).reset(),
        After::Ends => while reader.end.is_none() && receive(&mut from, &mut reader, &mut paces[0]).await {},
    }
    all.heard.lock().unwrap().push(reader);
}

impl Instance<'_> {
    /// Serves one more request than `served`.
    async fn serve_one(&mut self, served: usize, afterwards: Afterwards) -> After {
        if let Some(after) = self.wait(served, afterwards).await {
            return after;
        }
        assert!(!self.is_spoilt, "a request came over a connection on which too much was said");
        let tag = Tag::parse(self.reader.messages[served].head.get("x-tag").expect("a tag"));
        let (request, attempt) = self.all.arrives(tag);
        let plan = request.answer(attempt).clone();
        for status in interim(&request, &plan) {
            if !self.send(interim_head(status).as_bytes()).await {
                return After::Closes;
            }
        }
        if !plan.is_early && !self.read_whole(served).await {
            return After::Closes;
        }
        if let Some(after) = self.answer((served, tag), &request, (&plan, attempt)).await {
            return after;
        }
        if plan.closes {
            sleep(Duration::from_millis(fastrand::u64(..30))).await;
            let _ = self.to.shutdown().await;
            return After::Ends;
        }
        if !self.read_whole(served).await {
            return After::Closes;
        }
        After::Stays(plan.afterwards)
    }

    /// Waits for a request's head.
    async fn wait(&mut self, served: usize, afterwards: Afterwards) -> Option<After> {
        let mut closing = self.all.closing.subscribe();
        let is_over = async move {
            match afterwards {
                Afterwards::Waits => drop(closing.wait_for(|closing| *closing).await),
                Afterwards::Closes(millis) | Afterwards::Babbles(millis) => {
                    sleep(Duration::from_millis(millis)).await;
                }
            }
        };
        tokio::pin!(is_over);
        while self.reader.messages.len() == served {
            let is_open = tokio::select! {
                biased;
                is_open = receive(&mut self.from, &mut self.reader, &mut self.paces[0]) => is_open,
                () = &mut is_over, if self.reader.is_between() => {
                    self.all.closed_idle.fetch_add(1, Ordering::Relaxed);
                    if matches!(afterwards, Afterwards::Babbles(_)) {
                        self.send(b"\0 what?\r\n\r\n").await;
                    }
                    return Some(After::Closes);
                }
            };
            if !is_open {
                return Some(After::Closes);
            }
        }
        None
    }

    /// False: the connection has ended before.
    async fn read_whole(&mut self, served: usize) -> bool {
        while !self.reader.messages[served].is_whole {
            if !receive(&mut self.from, &mut self.reader, &mut self.paces[0]).await {
                return false;
            }
        }
        true
    }

    async fn send(&mut self, bytes: &[u8]) -> bool {
        send(&mut self.to, bytes, &mut self.paces[1]).await
    }

    /// Sends the last byte of an answer, and with it what is none of it; without that, if there is no room for both.
    async fn send_beyond(&mut self, last: &[u8]) -> bool {
        let bytes = [last, BEYOND].concat();
        let Ok(count) = self.to.write(&bytes).await else { return false };
        self.is_spoilt = count > last.len();
        !self.is_spoilt || self.to.write_all(&bytes[count..]).await.is_ok()
    }

    /// Some: that was all on this connection.
    async fn answer(
        &mut self,
        (served, tag): (usize, Tag),
        request: &RequestPlan,
        (plan, attempt): (&AnswerPlan, usize),
    ) -> Option<After> {
        let mut bytes = answer_head(tag, request, plan, attempt).into_bytes();
        let is_tunnel = is_tunnel(request, plan);
        if is_tunnel {
            self.reader.becomes_tunnel();
        } else {
            bytes.extend(answer_body(tag, request, plan, attempt));
        }
        if let Some(Fault::Leaves(moment, how)) = plan.fault {
            bytes.truncate(bytes.len() * moment / 1000);
            let is_open = self.send(&bytes).await;
            return Some(match how {
                Leaving::Resets => After::Resets,
                Leaving::FallsSilent if is_open => After::Ends,
                _ => After::Closes,
            });
        }
        if plan.fault == Some(Fault::Beyond) {
            let last = bytes.split_off(bytes.len() - 1);
            let is_open = self.send(&bytes).await && self.send_beyond(&last).await;
            return (!is_open).then_some(After::Closes);
        }
        if let Some(half) = plan.half.filter(|_| plan.is_early && plan.fault.is_none()) {
            let rest = bytes.split_off(bytes.len() * half / 1000);
            if !self.send(&bytes).await || !self.read_whole(served).await {
                return Some(After::Closes);
            }
            bytes = rest;
        }
        if !self.send(&bytes).await {
            return Some(After::Closes);
        }
        if plan.fault.is_some() {
            return Some(After::Ends);
        }
        let plan = request.upgrade.as_ref().filter(|_| is_tunnel)?;
        let Self { from, to, reader, paces, .. } = self;
        let is_done = tunnel((Side::Instance, plan, &tag.down(plan)), (from, to), reader, paces).await;
        Some(if is_done { After::Closes } else { After::Resets })
    }
}
