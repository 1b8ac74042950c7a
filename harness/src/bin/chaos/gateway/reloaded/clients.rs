//! Clients that look at each answer: all of it must be of one file.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use harness::http::{Answer, Connection, Request};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{File, PATHS};
use crate::measured::Measured;

/// How many there are, with a connection each.
const CLIENTS: u32 = 16;
/// A request without an answer after this time failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many errors are kept as text.
const KEPT: usize = 5;

/// Clients that ask until they are stopped.
pub(super) struct Clients {
    workers: JoinSet<Result<Answers>>,
    stop: watch::Sender<bool>,
}

impl Clients {
    /// So many requests a second in all.
    pub(super) fn start(address: SocketAddr, rate: u32) -> Self {
        let stop = watch::Sender::new(false);
        let mut workers = JoinSet::new();
        for _ in 0..CLIENTS {
            workers.spawn(ask(address, Duration::from_secs(1) * CLIENTS / rate, stop.subscribe()));
        }
        Self { workers, stop }
    }

    pub(super) async fn stop(self) -> Result<Answers> {
        self.stop.send_replace(true);
        let mut all = Answers::default();
        for answers in self.workers.join_all().await {
            all.add(answers?);
        }
        Ok(all)
    }
}

/// What clients have got.
#[derive(Default)]
pub(super) struct Answers {
    sent: u64,
    failed: u64,
    mixed: u64,
    /// Answers by file, and by who served them.
    first: u64,
    second: u64,
    by_service: BTreeMap<String, u64>,
    errors: Vec<String>,
}

impl Answers {
    /// Notes what became of the requests.
    ///
    /// # Errors
    /// When one failed, or was answered by a mixture of both files, or hardly any was sent.
    pub(super) fn note(&self, measured: &mut Measured) -> Result<()> {
        let Self { sent, failed, mixed, first, second, errors, .. } = self;
        measured.note(format_args!(
            "{failed} of {sent} failed; {mixed} answered by a mixture ({first} by one file, {second} by the other)"
        ));
        ensure!(failed + mixed == 0, "{failed} failed and {mixed} were mixed: {errors:#?}");
        ensure!(*first > 100 && *second > 100, "too few answers: nothing is shown");
        Ok(())
    }

    /// How many a service gave.
    pub(super) fn of(&self, service: &str) -> u64 {
        self.by_service.get(service).copied().unwrap_or(0)
    }

    fn look_at(&mut self, path: &str, answer: &Answer) {
        let is_of = |file: File| answer.header(file.trace_header()).is_some();
        let file = match (is_of(File::First), is_of(File::Second)) {
            (true, false) => File::First,
            (false, true) => File::Second,
            _ => return self.mix(path, answer),
        };
        let (served, expected) = (answer.header("x-served-by"), file.service(path));
        if answer.status != if expected.is_some() { 200 } else { 404 } {
            self.failed += 1;
            self.keep(format!("{path} by {file:?}: {} {}", answer.status, answer.text()));
        } else if served != expected {
            self.mix(path, answer);
        } else {
            match file {
                File::First => self.first += 1,
                File::Second => self.second += 1,
            }
        }
        if let Some(served) = served {
            *self.by_service.entry(served.to_owned()).or_default() += 1;
        }
    }

    fn mix(&mut self, path: &str, answer: &Answer) {
        self.mixed += 1;
        self.keep(format!("{path}: {} {:?}", answer.status, answer.headers));
    }

    fn keep(&mut self, error: String) {
        if self.errors.len() < KEPT {
            self.errors.push(error);
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.mixed += other.mixed;
        self.first += other.first;
        self.second += other.second;
        for (service, count) in other.by_service {
            *self.by_service.entry(service).or_default() += count;
        }
        other.errors.into_iter().for_each(|error| self.keep(error));
    }
}

/// One client. It keeps its connection: nothing may close it.
async fn ask(address: SocketAddr, pause: Duration, mut stop: watch::Receiver<bool>) -> Result<Answers> {
    let mut answers = Answers::default();
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = Connection::open(address).await.context("opening a client's connection")?;
    for path in PATHS.iter().cycle() {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        answers.sent += 1;
        let request = Request::get(*path).body(Bytes::new())?;
        match timeout(PATIENCE, connection.send(request)).await {
            Ok(Ok(answer)) if answer.closes() => {
                answers.failed += 1;
                answers.keep(format!("{path}: {} closes the connection", answer.status));
                connection = Connection::open(address).await?;
            }
            Ok(Ok(answer)) => answers.look_at(path, &answer),
            broken => {
                answers.failed += 1;
                answers.keep(format!("{path}: {broken:?}"));
                connection = Connection::open(address).await?;
            }
        }
    }
    Ok(answers)
}
