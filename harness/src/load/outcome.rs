//! What became of a load's requests.

use std::{collections::BTreeMap, time::Duration};

use crate::{http::Answer, quantile::quantile};

/// How many errors are kept as text.
const KEPT_ERRORS: usize = 10;

/// What became of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests begun: answered, failed or refused.
    pub sent: u64,
    /// Requests that failed, as [`crate::load`] defines it.
    pub failed: u64,
    /// Requests whose connect was refused.
    pub refused: u64,
    /// Requests sent a second time, because a re-used connection closed before any answer byte.
    pub repeated: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Answers by their `x-served-by` header.
    pub by_instance: BTreeMap<String, u64>,
    /// Answers to clients that came back, by another instance than the one before.
    pub moved: u64,
    /// Answers that gave a client a cookie.
    pub cookies: u64,
    /// The first few failures.
    pub errors: Vec<String>,
    /// Of every answer, ascending once the load has ended.
    latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency that a share `share` (0 to 1) of all answers did not exceed; zero without answers.
    pub fn latency(&self, share: f64) -> Duration {
        quantile(&self.latencies, share).unwrap_or_default()
    }

    /// Answers that took longer than this.
    pub fn slower_than(&self, time: Duration) -> u64 {
        self.latencies.iter().filter(|&&latency| latency > time).count() as u64
    }

    /// Answers with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// Answers that this instance gave.
    pub fn instance(&self, instance: &str) -> u64 {
        self.by_instance.get(instance).copied().unwrap_or(0)
    }

    /// Adds what became of another load.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.refused += other.refused;
        self.repeated += other.repeated;
        self.moved += other.moved;
        self.cookies += other.cookies;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (instance, count) in other.by_instance {
            *self.by_instance.entry(instance).or_default() += count;
        }
        self.errors.extend(other.errors);
        self.errors.truncate(KEPT_ERRORS);
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
    }

    pub(super) fn record(&mut self, result: Result<Answer, Failure>, latency: Duration) {
        self.sent += 1;
        match result {
            Ok(answer) => {
                self.latencies.push(latency);
                *self.by_status.entry(answer.status).or_default() += 1;
                if let Some(instance) = answer.header("x-served-by") {
                    *self.by_instance.entry(instance.to_owned()).or_default() += 1;
                }
                if answer.status >= 500 {
                    self.fail(format!("status {}: {}", answer.status, answer.text()));
                }
            }
            Err(Failure::Refused) => self.refused += 1,
            Err(Failure::Transport(error)) => self.fail(format!("{error:#}")),
        }
    }

    fn fail(&mut self, error: String) {
        self.failed += 1;
        if self.errors.len() < KEPT_ERRORS {
            self.errors.push(error);
        }
    }
}

#[derive(Debug)]
pub(super) enum Failure {
    Refused,
    Transport(anyhow::Error),
}
