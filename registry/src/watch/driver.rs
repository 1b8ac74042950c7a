//! Performs the actions of [`Machine`]: the only place of a watch that sleeps and selects.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::admission::Admission;
use super::audit::{AuditStep, Auditor, Finding};
use super::picture::Difference;
use super::records::{Decoder, Listing, shown};
use super::reread::{Reread, Wish};
use super::source::{Cursor, Event, Message, Page, RawKey, Source, WatchStream, Written};
use super::sync::{Action, Input, LinkUse, Machine, Pause, State, is_another};
use super::{Update, WatchSettings, WatchStatus};
use crate::backoff::Backoff;
use crate::connect::{CALL_TIMEOUT, CallError, Reason};
use crate::timing::sleep_until;

/// While the registry refuses us, until somebody changes a password or a role. Each login costs it some
/// 100 ms of hashing.
const REFUSED: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(15) };
/// Silence after which the registry is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(5);
/// How long it may take to give one. A frozen server and a half-open connection look like silence.
const ANSWER: Duration = Duration::from_secs(5);
/// At most one line about a registry that cannot be reached in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

/// Keys that an audit names; it counts the others.
const WARNINGS: u64 = 20;

/// What keeps a watch going. It must be [run](Driver::run).
pub struct Driver<S: Source> {
    source: S,
    stream: Option<S::Stream>,
    machine: Machine,
    /// What the machine wants done next.
    action: Action,
    decoder: Decoder,
    backoff: Backoff,
    auditor: Auditor,
    /// The audit's call that is under way.
    audit_call: Option<AuditCall>,
    /// When the stream must have said something.
    deadline: Deadline,
    wish: Wish,
    updates: mpsc::Sender<Update>,
    status: watch::Sender<WatchStatus>,
    complained: Option<Instant>,
}

type AuditCall = BoxFuture<'static, Result<Page<RawKey>, CallError>>;

/// When a stream must have said something.
#[derive(Clone, Copy)]
enum Deadline {
    /// Then it is asked.
    Quiet(Instant),
    /// It was asked; then it is given up.
    Answer(Instant),
}

/// The reader of the updates is gone.
struct ReaderGone;

/// A complete list.
struct List {
    listing: Listing,
    revision: i64,
    cluster: u64,
}

struct Failure {
    reason: Reason,
    trouble: String,
}

impl Failure {
    fn of(error: &CallError) -> Self {
        Self { reason: error.cause.reason(), trouble: error.to_string() }
    }
}

/// What happens while a stream is read.
enum Happening {
    Message(Result<Message, CallError>),
    Silence,
    Wished,
    AuditDue,
    AuditPage(Result<Page<RawKey>, CallError>),
}

impl<S: Source> Driver<S> {
    pub(super) fn new(
        source: S,
        settings: WatchSettings,
        admission: Admission,
        updates: mpsc::Sender<Update>,
        status: watch::Sender<WatchStatus>,
    ) -> Self {
        let (machine, action) = Machine::start();
        Self {
            source,
            stream: None,
            machine,
            action,
            decoder: Decoder::new(settings.prefix, admission),
            backoff: settings.backoff,
            auditor: Auditor::new(settings.audit),
            audit_call: None,
            deadline: Deadline::in_quiet(),
            wish: Wish::default(),
            updates,
            status,
            complained: None,
        }
    }

    pub(super) fn reread(&self) -> Reread {
        self.wish.handle()
    }

    /// Lists, watches, resumes and lists again, until the receiver of the updates
    /// ([`Watch::updates`](super::Watch::updates)) is dropped.
    pub async fn run(mut self) {
        // Every branch of `perform` ends by itself, but a wait or a silent stream may take seconds.
        let reader_gone = self.updates.clone();
        loop {
            let input = tokio::select! {
                input = self.perform(self.action) => input,
                () = reader_gone.closed() => return,
            };
            let Ok(input) = input else { return };
            self.follow_up(input);
            self.action = self.machine.on(input);
            if let (Input::Created { .. } | Input::Confirmed { .. }, Action::Wait { .. }) =
                (input, self.action)
            {
                self.note(
                    "the registry is not the one that was listed, or its history fell back: listing again",
                );
            }
            self.report();
        }
    }

    /// What an input means for the audits and for the stream's deadline. The machine has not taken it yet.
    fn follow_up(&mut self, input: Input) {
        if !self.is_rereading() {
            return;
        }
        // Nobody has read the stream meanwhile.
        self.deadline = Deadline::in_quiet();
        if let Input::Listed { .. } = input {
            // An audit that is under way compares with what the picture was before.
            self.audit_call = None;
            self.auditor.lost();
            self.auditor.watching(Instant::now(), fastrand::f64());
        }
    }

    fn is_rereading(&self) -> bool {
        matches!(self.machine.state(), State::Rereading { .. })
    }

    async fn perform(&mut self, action: Action) -> Result<Input, ReaderGone> {
        match action {
            Action::List => self.list().await,
            Action::Open { from } => Ok(self.open(from).await),
            Action::Confirm => Ok(self.confirm().await),
            Action::Read => self.read().await,
            Action::Wait { pause, link } => Ok(self.wait(pause, link).await),
        }
    }

    async fn list(&mut self) -> Result<Input, ReaderGone> {
        let begun = Instant::now();
        self.wish.begins();
        match self.read_list().await {
            Ok(list) => {
                let listed = self.take_list(list).await?;
                self.wish.ended(begun, Instant::now());
                Ok(listed)
            }
            Err(failure) if self.is_rereading() => {
                self.wish.failed(begun, Instant::now(), fastrand::f64());
                Ok(self.not_reread(failure))
            }
            Err(Failure { reason, trouble }) => Ok(self.lose(reason, trouble)),
        }
    }

    async fn read_list(&mut self) -> Result<List, Failure> {
        let mut list = List { listing: Listing::new(), revision: 0, cluster: 0 };
        let mut cursor = Some(Cursor::default());
        while let Some(at) = cursor {
            let page = self.source.records(&at).await.map_err(|error| Failure::of(&error))?;
            if is_another(list.cluster, page.cluster) {
                let trouble = "another cluster answered within a list".to_owned();
                return Err(Failure { reason: Reason::Other, trouble });
            }
            self.decoder.page(page.items, &mut list.listing);
            (list.revision, list.cluster, cursor) = (page.revision, page.cluster, page.next);
        }
        Ok(list)
    }

    async fn take_list(&mut self, list: List) -> Result<Input, ReaderGone> {
        let List { listing, revision, cluster } = list;
        let (decoded, refused) = self.decoder.complete(listing);
        self.publish(Update::Reset { instances: decoded.items, refused, revision }).await?;
        self.status.send_modify(|s| {
            s.synced = true;
            s.revision = revision;
            s.lists += 1;
            s.skip(decoded.skipped, decoded.last_skipped);
            s.confirmed = Some(Instant::now().into_std());
        });
        Ok(Input::Listed { revision, cluster })
    }

    /// A list beside the watch has failed. The watch goes on.
    fn not_reread(&mut self, Failure { reason, trouble }: Failure) -> Input {
        tracing::info!(trouble, "could not read all records again: trying again later, the watch goes on");
        self.status.send_modify(|s| s.failures += 1);
        self.renew_login(reason);
        Input::Failed { reason }
    }

    /// A login that is no longer valid is renewed beside the watch, which outlives it.
    fn renew_login(&mut self, reason: Reason) {
        if reason.is_about_login() {
            self.source.disconnect();
        }
    }

    async fn open(&mut self, from: i64) -> Input {
        let mut stream = match self.source.open(from).await {
            Ok(stream) => stream,
            Err(error) => return self.fail(&error),
        };
        match timeout(CALL_TIMEOUT, stream.message()).await {
            Ok(Ok(Message::Created { revision, cluster })) => {
                self.stream = Some(stream);
                self.deadline = Deadline::in_quiet();
                Input::Created { revision, cluster }
            }
            Ok(Ok(Message::Cancelled { reason, text })) => self.cancelled(reason, &text),
            Ok(Ok(_)) => self.confused("the registry sent something else before it created the watch"),
            Ok(Err(error)) => self.fail(&error),
            Err(_) => self.confused("the registry did not create the watch in time"),
        }
    }

    async fn confirm(&mut self) -> Input {
        match self.source.revision().await {
            Ok(revision) => Input::Confirmed { revision },
            Err(error) => self.fail(&error),
        }
    }

    async fn wait(&mut self, pause: Pause, link: LinkUse) -> Input {
        self.stream = None;
        self.audit_call = None;
        if link == LinkUse::Renew {
            self.source.disconnect();
        }
        let chance = fastrand::f64();
        sleep(match pause {
            Pause::Short { failures } => self.backoff.delay(failures, chance),
            Pause::Long { refusals } => REFUSED.delay(refusals, chance),
        })
        .await;
        Input::Elapsed
    }

    /// Reads the stream, and audits beside it, until there is something for the machine.
    async fn read(&mut self) -> Result<Input, ReaderGone> {
        loop {
            if let Some(input) = self.judge() {
                return Ok(input);
            }
            let Some(stream) = &mut self.stream else {
                return Ok(self.confused("the watch has no stream"));
            };
            let happening = tokio::select! {
                message = stream.message() => Happening::Message(message),
                page = finish(&mut self.audit_call) => Happening::AuditPage(page),
                () = sleep_until(Some(self.deadline.at().into_std())) => Happening::Silence,
                () = sleep_until(self.auditor.due().map(Instant::into_std)) => Happening::AuditDue,
                () = self.wish.due() => Happening::Wished,
            };
            let input = match happening {
                Happening::Message(Ok(message)) => return self.take(message).await,
                Happening::Message(Err(error)) => Some(self.fail(&error)),
                Happening::Silence => self.silence().await,
                Happening::Wished => Some(Input::Reread),
                Happening::AuditDue => self.audit().await,
                Happening::AuditPage(page) => self.audit_page(page).await,
            };
            if let Some(input) = input {
                return Ok(input);
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<Input, ReaderGone> {
        self.deadline = Deadline::in_quiet();
        self.status.send_modify(|s| s.confirmed = Some(Instant::now().into_std()));
        Ok(match message {
            Message::Events { events, complete } => return self.events(events, complete).await,
            Message::Progress { revision, of_watch: true } => {
                self.status.send_modify(|s| s.revision = s.revision.max(revision));
                Input::Progress { revision }
            }
            Message::Progress { revision, of_watch: false } => {
                self.auditor.report(revision);
                Input::Alive
            }
            Message::Cancelled { reason, text } => self.cancelled(reason, &text),
            Message::Created { .. } => self.confused("the registry created the watch twice"),
        })
    }

    async fn events(&mut self, mut events: Vec<Event>, complete: bool) -> Result<Input, ReaderGone> {
        // What an audit has confirmed meanwhile is not undone by the events that led there.
        let next = self.next();
        events.retain(|event| event.revision() >= next);
        let Some(revision) = events.last().map(Event::revision) else {
            return Ok(Input::Alive);
        };
        let count = events.len() as u64;
        self.auditor.events();
        for event in &events {
            if let Event::Delete { key, revision } = event {
                self.auditor.deleted(key, *revision);
            }
        }
        let decoded = self.decoder.events(events);
        self.publish(Update::Apply { changes: decoded.items, revision }).await?;
        self.status.send_modify(|s| {
            s.revision = s.revision.max(revision);
            s.events += count;
            s.skip(decoded.skipped, decoded.last_skipped);
        });
        Ok(Input::Events { revision, complete })
    }

    async fn publish(&mut self, update: Update) -> Result<(), ReaderGone> {
        self.updates.send(update).await.map_err(|_| ReaderGone)
    }

    /// The stream's deadline has passed: asks for a sign of life, or gives it up.
    async fn silence(&mut self) -> Option<Input> {
        match self.deadline {
            Deadline::Quiet(_) => self.ask().await,
            Deadline::Answer(_) => {
                let silence = format!("the registry was silent for {:?}", QUIET + ANSWER);
                Some(self.confused(&silence))
            }
        }
    }

    async fn ask(&mut self) -> Option<Input> {
        let stream = self.stream.as_mut()?;
        let asked = timeout(ANSWER, stream.ask_progress()).await;
        // A later question must not put off the deadline of the first.
        if let Deadline::Quiet(_) = self.deadline {
            self.deadline = Deadline::Answer(Instant::now() + ANSWER);
        }
        match asked {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.fail(&error)),
            Err(_) => Some(self.confused("the registry takes no questions")),
        }
    }

    async fn audit(&mut self) -> Option<Input> {
        match self.auditor.step(Instant::now(), self.machine.seen(), self.machine.cluster())? {
            AuditStep::Read(cursor) => {
                self.audit_call = Some(self.source.keys(cursor));
                None
            }
            AuditStep::AskProgress => self.ask().await,
        }
    }

    async fn audit_page(&mut self, page: Result<Page<RawKey>, CallError>) -> Option<Input> {
        let (now, chance) = (Instant::now(), fastrand::f64());
        match page {
            Ok(page) => {
                let verdict = self.auditor.page(&page, self.decoder.picture(), now, chance)?;
                Some(self.settle(verdict))
            }
            Err(error) => {
                tracing::debug!(%error, "could not audit: trying again later, the watch goes on");
                self.status.send_modify(|s| s.audits_failed += 1);
                self.auditor.failed(now, chance);
                self.renew_login(error.cause.reason());
                None
            }
        }
    }

    fn judge(&mut self) -> Option<Input> {
        let (now, chance, next) = (Instant::now(), fastrand::f64(), self.next());
        let verdict = self.auditor.judge(next, self.decoder.picture(), now, chance)?;
        Some(self.settle(verdict))
    }

    fn settle(&mut self, verdict: Finding) -> Input {
        self.status.send_modify(|s| s.audits += 1);
        match verdict {
            Finding::Equal { revision } => {
                self.status.send_modify(|s| s.revision = s.revision.max(revision));
                tracing::debug!(revision, "audited: the picture is that of the registry");
                Input::Audited { revision }
            }
            Finding::Differs(differences) => {
                self.tell(&differences);
                self.status.send_modify(|s| s.repaired += differences.len() as u64);
                self.note("the watch lost an event: listing again");
                Input::Differs
            }
            Finding::AnotherHistory => {
                self.note(
                    "the registry is not the one that is watched, or its history fell back: listing again",
                );
                Input::Differs
            }
        }
    }

    fn tell(&self, differences: &[Difference]) {
        for Difference { key, listed } in differences.iter().take(WARNINGS as usize) {
            let revision = |written: Written| written.revision;
            let watched = self.decoder.picture().written(key).map(revision);
            let (key, listed) = (shown(key), listed.map(revision));
            tracing::warn!(key, watched, listed, "an audit found a key that differs from the registry");
        }
        if let Some(more) = (differences.len() as u64).checked_sub(WARNINGS).filter(|more| *more > 0) {
            tracing::warn!(more, "an audit found more keys that differ from the registry");
        }
    }

    /// The first revision that the watch has not seen.
    fn next(&self) -> i64 {
        self.machine.state().next().unwrap_or_default()
    }

    fn cancelled(&mut self, reason: Reason, text: &str) -> Input {
        self.lose(reason, format!("the registry cancelled the watch: {text}"))
    }

    fn fail(&mut self, error: &CallError) -> Input {
        let Failure { reason, trouble } = Failure::of(error);
        self.lose(reason, trouble)
    }

    fn confused(&mut self, trouble: &str) -> Input {
        self.lose(Reason::Other, trouble.to_owned())
    }

    fn lose(&mut self, reason: Reason, mut trouble: String) -> Input {
        if reason == Reason::Compacted {
            // A list makes up for it.
            let trouble = "the registry compacted the history that the watch needs: listing again";
            tracing::info!("{trouble}");
            self.status.send_modify(|s| s.trouble = Some(trouble.to_owned()));
            return Input::Failed { reason };
        }
        if let Some(advice) = reason.advice("read", &format!("{}/", self.decoder.prefix())) {
            trouble = format!("{trouble}: {advice}");
        }
        self.complain(reason, &trouble);
        self.status.send_modify(|s| {
            s.failures += 1;
            s.trouble = Some(trouble);
        });
        Input::Failed { reason }
    }

    fn complain(&mut self, reason: Reason, trouble: &str) {
        if reason == Reason::Stopped && self.status.borrow().live {
            // Its restart, or its successor's start. If it stays away, the next call fails otherwise.
            tracing::info!(trouble, "the registry's server was stopped: connecting again");
            return;
        }
        let quiet = self.complained.is_some_and(|at| at.elapsed() < COMPLAINT_INTERVAL);
        if quiet {
            return;
        }
        self.complained = Some(Instant::now());
        if self.status.borrow().synced {
            tracing::warn!(trouble, "lost touch with the registry: trying again, what is known stays");
        } else {
            tracing::warn!(
                trouble,
                "the registry has not been read yet, nothing is known from it: trying again"
            );
        }
    }

    /// Tells why a list will be read again.
    fn note(&mut self, trouble: &str) {
        tracing::warn!("{trouble}");
        self.status.send_modify(|s| s.trouble = Some(trouble.to_owned()));
    }

    /// Tells whoever follows the status, and the auditor, whether the watch is live.
    fn report(&mut self) {
        let live = matches!(self.machine.state(), State::Watching { .. } | State::Rereading { .. });
        let changed = self.status.send_if_modified(|s| {
            let changed = s.live != live;
            s.live = live;
            if live {
                s.trouble = None;
            }
            changed
        });
        if !changed {
            return;
        }
        if live {
            self.auditor.watching(Instant::now(), fastrand::f64());
            let revision = self.status.borrow().revision;
            tracing::info!(revision, "watching the registry");
        } else {
            self.auditor.lost();
        }
    }
}

impl Deadline {
    fn in_quiet() -> Self {
        Self::Quiet(Instant::now() + QUIET)
    }

    fn at(self) -> Instant {
        match self {
            Self::Quiet(at) | Self::Answer(at) => at,
        }
    }
}

/// Waits for the end of an audit's call; for ever if there is none.
async fn finish(call: &mut Option<AuditCall>) -> Result<Page<RawKey>, CallError> {
    let Some(running) = call else { return std::future::pending().await };
    let page = running.await;
    *call = None;
    page
}
