//! What a case measured, in words, checked as it is noted.

use std::{fmt, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{load::Outcome, quantile::quantile};

/// What a case measured so far.
#[derive(Debug, Default)]
pub(crate) struct Measured(Vec<String>);

impl Measured {
    pub(crate) fn note(&mut self, what: impl fmt::Display) {
        self.0.push(what.to_string());
    }

    /// # Errors
    /// When a request failed or was refused, or hardly any was sent.
    pub(crate) fn none_failed(&mut self, outcome: &Outcome) -> Result<()> {
        self.note(format_args!("{} of {} failed", outcome.failed + outcome.refused, outcome.sent));
        ensure_none_failed(outcome)
    }

    /// As [`Measured::none_failed`], with a word for the requests.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn none_failed_of(&mut self, requests: &str, outcome: &Outcome) -> Result<()> {
        self.note(format_args!("{} of {} {requests} failed", outcome.failed + outcome.refused, outcome.sent));
        ensure_none_failed(outcome)
    }

    /// # Errors
    /// When it took more than ten times as long as it should have.
    pub(crate) fn time(&mut self, what: &str, took: Duration, goal: Duration) -> Result<()> {
        let verdict = if took <= goal { "" } else { " (goal MISSED)" };
        self.note(format_args!("{what}: {:.3} s{verdict}", took.as_secs_f64()));
        ensure!(took <= bound(goal), "{what} took {took:?}; the goal is {goal:?}");
        Ok(())
    }

    /// What was done many times: the median, the shortest and the longest.
    ///
    /// # Errors
    /// When one took more than ten times as long as it should have, or it was never done.
    pub(crate) fn times(&mut self, what: &str, took: &[Duration], goal: Duration) -> Result<()> {
        let mut ascending = took.to_vec();
        ascending.sort_unstable();
        let at = |share| quantile(&ascending, share).with_context(|| format!("{what}: never"));
        let (shortest, median, longest) = (at(0.0)?, at(0.5)?, at(1.0)?);
        let verdict = if longest <= goal { "" } else { " (goal MISSED)" };
        self.note(format_args!(
            "{what} {:.1} s [{:.1} - {:.1}, of {}]{verdict}",
            median.as_secs_f64(),
            shortest.as_secs_f64(),
            longest.as_secs_f64(),
            took.len()
        ));
        ensure!(longest <= bound(goal), "{what} {longest:?}; the goal is {goal:?}");
        Ok(())
    }
}

/// # Errors
/// When a request failed or was refused, or hardly any was sent.
pub(crate) fn ensure_none_failed(outcome: &Outcome) -> Result<()> {
    let Outcome { sent, failed, refused, errors, .. } = outcome;
    let first = errors.first();
    ensure!(failed + refused == 0, "{failed} requests failed and {refused} were refused: {first:?}");
    ensure!(*sent > 100, "only {sent} requests were sent: nothing is shown");
    Ok(())
}

/// What a case waits for at most: beyond it the case fails.
pub(crate) fn bound(goal: Duration) -> Duration {
    10 * goal
}

impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("; "))
    }
}
