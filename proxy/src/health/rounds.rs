//! Rounds: asks many, each again and again after its interval. At most so many are asked at once; of those that are
//! due, the one that has waited longest comes first.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use registry::timing::sleep_until;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::tasks::{joined, now};

/// What is asked over and over, and what comes of it.
pub(crate) trait Question: Clone + Send + 'static {
    type Answer: Send + 'static;

    fn ask(self) -> impl Future<Output = Self::Answer> + Send;
}

#[derive(Debug)]
pub(crate) struct Rounds<Q: Question> {
    most: usize,
    members: HashMap<u64, Member<Q>>,
    /// Those that are not being asked, by when they are due.
    waiting: BTreeSet<(Instant, u64)>,
    running: JoinSet<(u64, Q::Answer)>,
}

/// One that is asked again and again.
#[derive(Debug)]
struct Member<Q> {
    question: Q,
    interval: Duration,
    due: Due,
}

#[derive(Debug)]
enum Due {
    At(Instant),
    Now { begun: Instant, task: AbortHandle },
}

impl<Q: Question> Rounds<Q> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, members: HashMap::new(), waiting: BTreeSet::new(), running: JoinSet::new() }
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.members.contains_key(&id)
    }

    /// Asks this from now on, for the first time at `first`, and then from the start of one question to that of the
    /// next after `interval`. If it was asked before, it is as if that had been given up.
    pub(crate) fn start(&mut self, id: u64, question: Q, interval: Duration, first: Instant) {
        self.stop(id);
        self.members.insert(id, Member { question, interval, due: Due::At(first) });
        self.waiting.insert((first, id));
    }

    /// Asks this no more. The answer to a question that was asked already is not told.
    pub(crate) fn stop(&mut self, id: u64) {
        match self.members.remove(&id).map(|member| member.due) {
            Some(Due::At(at)) => drop(self.waiting.remove(&(at, id))),
            Some(Due::Now { task, .. }) => task.abort(),
            None => {}
        }
    }

    /// Asks this, which is not being asked, for the next time after `rest`, unless it is due before that.
    pub(crate) fn bring_forward(&mut self, id: u64, rest: Duration) {
        let next = now() + rest;
        if let Some(Member { due: Due::At(at), .. }) = self.members.get_mut(&id)
            && *at > next
        {
            self.waiting.remove(&(*at, id));
            self.waiting.insert((next, id));
            *at = next;
        }
    }

    /// Waits until there are answers, and returns them. May be dropped while it waits without losing one.
    pub(crate) async fn answers(&mut self) -> Vec<(u64, Q::Answer)> {
        loop {
            let next = self.ask_due(now());
            let mut ended = tokio::select! {
                Some(ended) = self.running.join_next_with_id() => Some(ended),
                () = sleep_until(next) => None,
            };
            let mut answers = Vec::new();
            while let Some(one) = ended {
                answers.extend(self.end(one));
                ended = self.running.try_join_next_with_id();
            }
            if !answers.is_empty() {
                return answers;
            }
        }
    }

    /// Asks those that are due, as many as may be asked at once. Returns when the next one is due; none if nobody
    /// waits, or if an answer has to come first.
    fn ask_due(&mut self, now: Instant) -> Option<Instant> {
        while self.running.len() < self.most {
            let (at, id) = *self.waiting.first()?;
            if at > now {
                return Some(at);
            }
            self.waiting.pop_first();
            let Some(member) = self.members.get_mut(&id) else { continue };
            let asking = member.question.clone().ask();
            let task = self.running.spawn(async move { (id, asking.await) });
            member.due = Due::Now { begun: now, task };
        }
        None
    }

    /// Takes an answer and plans the next question. None: nobody wants to know any more.
    fn end(&mut self, ended: Result<(Id, (u64, Q::Answer)), JoinError>) -> Option<(u64, Q::Answer)> {
        let (ended, (id, answer)) = joined(ended)?;
        let member = self.members.get_mut(&id)?;
        // It may have been given up and taken up again while the answer to the former question was coming.
        let begun = match &member.due {
            Due::Now { begun, task } if task.id() == ended => *begun,
            _ => return None,
        };
        let next = begun + member.interval;
        member.due = Due::At(next);
        self.waiting.insert((next, id));
        Some((id, answer))
    }
}

#[cfg(test)]
mod tests;
