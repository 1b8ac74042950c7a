//! Log lines: where they go and in which form.
//!
//! Lines are collected in memory and written by a thread of their own, so that a request never waits for
//! whoever reads them. A reader that has stopped reading costs lines, which are counted, not memory.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use registry::log_line::Form;
use registry::log_line::printable;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Ours from `info` on, the libraries' from `warn` on, but for some of what Pingora says:
///
/// - of an upgrade: it calls each second of waiting for the old process an error, and what it comes to is said by the
///   server's sockets;
/// - of a client's connection over HTTP/2 that did not begin or is broken off for what came on it: a client can have as many
///   of these lines as it likes. Nothing else of use is said there, apart from the server of the admin port. Nor does h2 say
///   anything else, whose own the frames are.
const FILTER: &str = "warn,pingora_core::server::transfer_fd=off,pingora_core::apps=off,\
    pingora_core::apps::http_app=warn,pingora_core::protocols::http::v2::server=off,h2=off,\
    proxy=info,leaseway_registry=info";
/// Lines wait at most this long.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes that wait before the writer is woken early.
const FLUSH_SIZE: usize = 64 * 1024;
/// Bytes that wait before further lines are dropped.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// How long the end of the process waits for whoever reads the log.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// Where lines are collected.
#[derive(Debug)]
pub struct Output {
    form: Form,
    waiting: Mutex<Waiting>,
    /// The lines being written; empty in between. It is locked from taking lines until they are written, so that they
    /// stay in order and a flush misses none. This buffer and the waiting one change places and are never freed, so
    /// that a busy log needs no new memory.
    writing: Mutex<Vec<u8>>,
    wake: Condvar,
    dropped: AtomicU64,
    /// With an `error_log`, a daemon's stdout leads nowhere and its stderr there.
    to_stderr: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Before the writer runs (a daemon forks first), lines are written at once.
    has_writer: bool,
}

impl Output {
    /// An output that writes each line at once until [`Output::start_writer`].
    pub fn new(form: Form, to_stderr: bool) -> Arc<Self> {
        Arc::new(Self {
            form,
            waiting: Mutex::default(),
            writing: Mutex::default(),
            wake: Condvar::new(),
            dropped: AtomicU64::new(0),
            to_stderr,
        })
    }

    /// One whose lines nobody writes, for tests.
    #[cfg(test)]
    pub(crate) fn waiting(form: Form) -> Arc<Self> {
        let output = Self::new(form, false);
        lock(&output.waiting).has_writer = true;
        output
    }

    /// The lines that wait, which do so no more.
    #[cfg(test)]
    pub(crate) fn take_lines(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut lock(&self.waiting).lines)).into_owned()
    }

    /// Sends all `tracing` events and `log` records there: ours from `info` on, the libraries' from `warn`
    /// on, or as the environment variable `LEASEWAY_LOG` says.
    ///
    /// # Errors
    /// `LEASEWAY_LOG` is no filter, or a logger was installed before.
    pub fn install(self: &Arc<Self>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let filter = match std::env::var("LEASEWAY_LOG") {
            Ok(filter) => EnvFilter::try_new(filter)?,
            Err(_) => EnvFilter::new(FILTER),
        };
        Ok(self.subscriber(filter).try_init()?)
    }

    fn subscriber(self: &Arc<Self>, filter: EnvFilter) -> Box<dyn Subscriber + Send + Sync> {
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(self.clone());
        match self.form {
            Form::Json => Box::new(
                lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish(),
            ),
            Form::Text => Box::new(lines.with_target(false).with_ansi(false).finish()),
        }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Lines dropped because nobody took them.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Starts the thread that writes. Not before the process has forked.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start_writer(self: &Arc<Self>) -> io::Result<()> {
        let output = self.clone();
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || {
            loop {
                output.wait();
                output.write_waiting();
            }
        })?;
        lock(&self.waiting).has_writer = true;
        Ok(())
    }

    /// Adds a line, which ends with a line feed. Every line passes here, so whatever somebody wrote in one of
    /// its fields, it stays one line, and nothing in it acts on whoever reads it.
    pub(crate) fn line(&self, line: &[u8]) {
        let line = printable(line.strip_suffix(b"\n").unwrap_or(line), self.form);
        let mut waiting = lock(&self.waiting);
        if !waiting.has_writer {
            self.write_out(&[&*line, b"\n"].concat());
            return;
        }
        if waiting.lines.len() + line.len() > MAX_WAITING {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = waiting.lines.len();
        waiting.lines.extend_from_slice(&line);
        waiting.lines.push(b'\n');
        if before < FLUSH_SIZE && waiting.lines.len() >= FLUSH_SIZE {
            self.wake.notify_one();
        }
    }

    /// Writes what waits, for the end of the process: a reader that has stopped reading holds it up for a
    /// second, no longer.
    pub fn flush(self: &Arc<Self>) {
        let (done, written) = std::sync::mpsc::channel();
        let output = self.clone();
        let flush = std::thread::Builder::new().spawn(move || {
            output.write_waiting();
            // Nobody waits any more, after a second.
            let _ = done.send(());
        });
        if flush.is_ok() {
            let _ = written.recv_timeout(LAST_FLUSH);
        }
    }

    /// Ends the process with status 1, and says why in the log and on stderr: to a person who has started it,
    /// and reads one of them.
    pub(crate) fn end_with(self: &Arc<Self>, error: &dyn std::error::Error) -> ! {
        tracing::error!(%error, "ending the process");
        self.flush();
        if !self.to_stderr {
            // Nobody is left to be told that it cannot be written.
            let _ = writeln!(io::stderr(), "proxy: {error}");
        }
        std::process::exit(1)
    }

    fn wait(&self) {
        let is_small = |w: &mut Waiting| w.lines.len() < FLUSH_SIZE;
        let waited = self.wake.wait_timeout_while(lock(&self.waiting), FLUSH_INTERVAL, is_small);
        drop(waited);
    }

    fn write_waiting(&self) {
        let mut writing = lock(&self.writing);
        std::mem::swap(&mut lock(&self.waiting).lines, &mut *writing);
        self.write_out(&writing);
        writing.clear();
    }

    /// Errors are dropped: if the log cannot be written, there is nowhere to report that.
    fn write_out(&self, lines: &[u8]) {
        let _ = if self.to_stderr {
            io::stderr().write_all(lines)
        } else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines).and_then(|()| stdout.flush())
        };
    }
}

/// A thread that panicked while it held the lock has left whole lines behind, so the lock can be used all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `tracing` hands over one event's line in one piece.
impl Write for &Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What three ways to log one text come to: a field, a displayed field and a message.
    fn logged(form: Form, text: &str) -> String {
        let output = Output::waiting(form);
        tracing::subscriber::with_default(output.subscriber(EnvFilter::new("info")), || {
            tracing::info!(key = text, "a field");
            tracing::info!(key = %text, "a displayed field");
            tracing::info!("{text}");
        });
        output.line(format!("by hand {text}\n").as_bytes());
        output.take_lines()
    }

    #[test]
    fn a_client_cannot_have_lines_of_pingoras_for_nothing() {
        let output = Output::waiting(Form::Text);
        tracing::subscriber::with_default(output.subscriber(EnvFilter::new(FILTER)), || {
            tracing::error!(target: "pingora_core::apps", "H2 handshake error");
            tracing::warn!(target: "pingora_core::protocols::http::v2::server", "tearing down");
            tracing::error!(target: "pingora_core::apps::http_app", "the admin port");
            tracing::warn!(target: "pingora_core::protocols::http::v1::server", "HTTP/1");
            tracing::warn!(target: "pingora_core::server", "the server");
        });
        let lines = output.take_lines();
        let said: Vec<_> = lines
            .lines()
            .filter_map(|line| line.split_once("  WARN ").or(line.split_once(" ERROR ")))
            .collect();
        assert_eq!(
            said.iter().map(|(_, said)| *said).collect::<Vec<_>>(),
            ["the admin port", "HTTP/1", "the server"]
        );
    }

    proptest! {
        #[test]
        fn whatever_is_logged_is_one_line_of_visible_characters(
            text in r"[\n\r\t\x1b\x00\x7f\u{9b}\u{202e}\u{2066}\u{2028}\u{200e}a-c\\\PC]{0,40}",
        ) {
            let lines = logged(Form::Text, &text);
            prop_assert_eq!(lines.lines().count(), 4, "{:?}", lines);
            let acts = |c: char| c.is_control() || "\u{202e}\u{2066}\u{2028}\u{200e}".contains(c);
            prop_assert!(!lines.chars().any(|c| c != '\n' && acts(c)), "{lines:?}");
        }

        #[test]
        fn json_says_what_was_logged_without_a_character_that_acts(text in r"[\n\x1b\x7f\u{202e}\\\x22a-c]{0,40}") {
            let lines = logged(Form::Json, &text);
            let lines: Vec<_> = lines.lines().collect();
            for (line, field) in lines.iter().zip(["key", "key", "message"]) {
                prop_assert!(!line.contains(['\u{7f}', '\u{202e}']), "{line:?}");
                let line: Value = serde_json::from_str(line).unwrap();
                prop_assert_eq!(line[field].as_str(), Some(&*text));
            }
        }
    }
}
