//! Performs the actions of [`Machine`]: the only place of a watch that sleeps and selects.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::records::Decoder;
use super::source::{Message, Source, Stream};
use super::sync::{Action, Input, Machine, State};
use super::{Change, Settings, Update};
use crate::backoff::Backoff;
use crate::connect::CALL_TIMEOUT;
use crate::contract::Instance;
use crate::status::Status;

/// Silence after which the registry is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(5);
/// How long it may take to give one. A frozen server and a half-open connection look like silence.
const ANSWER: Duration = Duration::from_secs(5);
/// At most one line about a registry that cannot be reached in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

/// Runs a watch until its reader is gone.
pub struct Driver<S: Source> {
    source: S,
    stream: Option<S::Stream>,
    machine: Machine,
    /// What the machine wants done next.
    action: Action,
    decoder: Decoder,
    backoff: Backoff,
    updates: mpsc::Sender<Update>,
    status: watch::Sender<Status>,
    complained: Option<Instant>,
}

/// The reader of the updates is gone.
struct ReaderGone;

impl<S: Source> Driver<S> {
    pub(super) fn new(
        source: S,
        settings: Settings,
        updates: mpsc::Sender<Update>,
        status: watch::Sender<Status>,
    ) -> Self {
        let (machine, action) = Machine::start();
        Self {
            source,
            stream: None,
            machine,
            action,
            decoder: Decoder::new(settings.prefix, settings.networks),
            backoff: settings.backoff,
            updates,
            status,
            complained: None,
        }
    }

    /// Lists, watches, resumes and lists again until the receiver of the updates is dropped.
    pub async fn run(mut self) {
        // Every branch of `perform` ends by itself, but a wait or a silent stream may take seconds.
        let reader_gone = self.updates.clone();
        loop {
            let input = tokio::select! {
                input = self.perform(self.action) => input,
                () = reader_gone.closed() => return,
            };
            let Ok(input) = input else { return };
            self.action = self.machine.on(input);
            self.report();
        }
    }

    async fn perform(&mut self, action: Action) -> Result<Input, ReaderGone> {
        match action {
            Action::List => self.list().await,
            Action::Open { from } => Ok(self.open(from).await),
            Action::Confirm => Ok(self.confirm().await),
            Action::Read => self.read().await,
            Action::Wait { failures } => {
                self.stream = None;
                self.source.disconnect();
                tokio::time::sleep(self.backoff.delay(failures, fastrand::f64())).await;
                Ok(Input::Elapsed)
            }
        }
    }

    async fn list(&mut self) -> Result<Input, ReaderGone> {
        let listing = match self.source.list().await {
            Ok(listing) => listing,
            Err(error) => return Ok(self.fail(error)),
        };
        let revision = listing.revision;
        let decoded = self.decoder.list(listing.records);
        self.publish_list(decoded.items, revision).await?;
        self.status.send_modify(|s| {
            s.synced = true;
            s.revision = revision;
            s.lists += 1;
            s.skipped += decoded.skipped;
            s.confirmed = Some(Instant::now());
        });
        Ok(Input::Listed { revision })
    }

    async fn open(&mut self, from: i64) -> Input {
        let mut stream = match self.source.open(from).await {
            Ok(stream) => stream,
            Err(error) => return self.fail(error),
        };
        match timeout(CALL_TIMEOUT, stream.message()).await {
            Ok(Ok(Message::Created { revision })) => {
                self.stream = Some(stream);
                Input::Created { revision }
            }
            Ok(Ok(Message::Cancelled { compacted, reason })) => self.cancelled(compacted, reason),
            Ok(Ok(_)) => self.fail("the registry sent something else before it created the watch"),
            Ok(Err(error)) => self.fail(error),
            Err(_) => self.fail("the registry did not create the watch in time"),
        }
    }

    async fn confirm(&mut self) -> Input {
        match self.source.revision().await {
            Ok(revision) => Input::Confirmed { revision },
            Err(error) => self.fail(error),
        }
    }

    async fn read(&mut self) -> Result<Input, ReaderGone> {
        let Some(stream) = &mut self.stream else {
            return Ok(self.fail("the watch has no stream"));
        };
        let message = match timeout(QUIET, stream.message()).await {
            Ok(message) => message,
            Err(_quiet) => match ask(stream).await {
                Ok(message) => message,
                Err(silence) => return Ok(self.fail(silence)),
            },
        };
        match message {
            Ok(message) => self.take(message).await,
            Err(error) => Ok(self.fail(error)),
        }
    }

    async fn take(&mut self, message: Message) -> Result<Input, ReaderGone> {
        self.status.send_modify(|s| s.confirmed = Some(Instant::now()));
        Ok(match message {
            Message::Events { events, complete } => {
                let Some(revision) = events.last().map(|e| e.revision()) else {
                    return Ok(Input::Alive);
                };
                let count = events.len() as u64;
                let decoded = self.decoder.events(events);
                self.publish_changes(decoded.items, revision).await?;
                self.status.send_modify(|s| {
                    s.revision = revision;
                    s.events += count;
                    s.skipped += decoded.skipped;
                });
                Input::Events { revision, complete }
            }
            Message::Progress { revision, of_watch: true } => {
                self.status.send_modify(|s| s.revision = s.revision.max(revision));
                Input::Progress { revision }
            }
            Message::Progress { of_watch: false, .. } => Input::Alive,
            Message::Cancelled { compacted, reason } => self.cancelled(compacted, reason),
            Message::Created { .. } => self.fail("the registry created the watch twice"),
        })
    }

    async fn publish_list(&mut self, instances: Vec<Instance>, revision: i64) -> Result<(), ReaderGone> {
        self.publish(Update::Reset { instances, revision }).await
    }

    async fn publish_changes(&mut self, changes: Vec<Change>, revision: i64) -> Result<(), ReaderGone> {
        self.publish(Update::Apply { changes, revision }).await
    }

    async fn publish(&mut self, update: Update) -> Result<(), ReaderGone> {
        self.updates.send(update).await.map_err(|_| ReaderGone)
    }

    fn cancelled(&mut self, compacted: bool, reason: String) -> Input {
        if compacted {
            tracing::warn!(reason, "the registry compacted the history that the watch needs: listing again");
            self.status
                .send_modify(|s| s.trouble = Some(format!("the registry compacted the history: {reason}")));
            return Input::Compacted;
        }
        self.fail(format!("the registry cancelled the watch: {reason}"))
    }

    fn fail(&mut self, trouble: impl ToString) -> Input {
        let trouble = trouble.to_string();
        let quiet = self.complained.is_some_and(|at| at.elapsed() < COMPLAINT_INTERVAL);
        if !quiet {
            self.complained = Some(Instant::now());
            tracing::warn!(trouble, "lost touch with the registry: trying again, what is known stays");
        }
        self.status.send_modify(|s| {
            s.failures += 1;
            s.trouble = Some(trouble);
        });
        Input::Failed
    }

    /// Tells the state to who follows it.
    fn report(&mut self) {
        let live = matches!(self.machine.state(), State::Watching { .. });
        let changed = self.status.send_if_modified(|s| {
            let changed = s.live != live;
            s.live = live;
            if live {
                s.trouble = None;
            }
            changed
        });
        if changed && live {
            let revision = self.status.borrow().revision;
            tracing::info!(revision, "watching the registry");
        }
    }
}

/// Asks for a sign of life and awaits it, or an event, whichever comes first.
async fn ask<S: Stream>(stream: &mut S) -> Result<Result<Message, crate::connect::CallError>, String> {
    let asked = async {
        match stream.ask_progress().await {
            Ok(()) => stream.message().await,
            Err(error) => Err(error),
        }
    };
    timeout(ANSWER, asked).await.map_err(|_| format!("the registry was silent for {:?}", QUIET + ANSWER))
}
