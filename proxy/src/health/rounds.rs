//! Rounds: asks many, each again and again after its interval. At most so many are asked at once; of those that are
//! due, the one that has waited longest comes first.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::tasks::{joined, now, sleep_until};

/// What is asked over and over, and what comes of it.
pub(crate) trait Question: Clone + Send + 'static {
    /// What comes of asking.
    type Answer: Send + 'static;

    /// Asks once.
    fn ask(self) -> impl Future<Output = Self::Answer> + Send;
}

/// Who is asked when.
#[derive(Debug)]
pub(crate) struct Rounds<Q: Question> {
    /// How many may be asked at once.
    most: usize,
    asked: HashMap<u64, Asked<Q>>,
    /// By when they are due.
    waiting: BTreeSet<(Instant, u64)>,
    running: JoinSet<(u64, Q::Answer)>,
}

/// One who is asked.
#[derive(Debug)]
struct Asked<Q> {
    question: Q,
    interval: Duration,
    turn: Turn,
}

#[derive(Debug)]
enum Turn {
    /// It is due then.
    At(Instant),
    /// It is being asked.
    Now { begun: Instant, task: AbortHandle },
}

impl<Q: Question> Rounds<Q> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, asked: HashMap::new(), waiting: BTreeSet::new(), running: JoinSet::new() }
    }

    /// Whether this one is asked.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.asked.contains_key(&id)
    }

    /// Asks this from now on, for the first time at `first`, and then from the start of one question to that of the
    /// next after `interval`. If it was asked before, it is as if that had been given up.
    pub(crate) fn start(&mut self, id: u64, question: Q, interval: Duration, first: Instant) {
        self.stop(id);
        self.asked.insert(id, Asked { question, interval, turn: Turn::At(first) });
        self.waiting.insert((first, id));
    }

    /// Asks this no more. The answer to a question that was asked already is not told.
    pub(crate) fn stop(&mut self, id: u64) {
        match self.asked.remove(&id).map(|asked| asked.turn) {
            Some(Turn::At(due)) => drop(self.waiting.remove(&(due, id))),
            Some(Turn::Now { task, .. }) => task.abort(),
            None => {}
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
            let (due, id) = *self.waiting.first()?;
            if due > now {
                return Some(due);
            }
            self.waiting.pop_first();
            let Some(asked) = self.asked.get_mut(&id) else { continue };
            let asking = asked.question.clone().ask();
            let task = self.running.spawn(async move { (id, asking.await) });
            asked.turn = Turn::Now { begun: now, task };
        }
        None
    }

    /// Takes an answer and plans the next question. None: nobody wants to know any more.
    fn end(&mut self, ended: Result<(Id, (u64, Q::Answer)), JoinError>) -> Option<(u64, Q::Answer)> {
        let (ended, (id, answer)) = joined(ended)?;
        let asked = self.asked.get_mut(&id)?;
        // It may have been given up and taken up again while the answer to the former question was coming.
        let begun = match &asked.turn {
            Turn::Now { begun, task } if task.id() == ended => *begun,
            _ => return None,
        };
        let next = begun + asked.interval;
        asked.turn = Turn::At(next);
        self.waiting.insert((next, id));
        Some((id, answer))
    }
}

#[cfg(test)]
mod tests;
