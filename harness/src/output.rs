//! What a child process wrote, line by line.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::watch;

/// Lines kept of one process; the oldest are dropped beyond that.
const KEPT_LINES: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// The lines so far, of stdout and stderr, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Output {
    kept: Mutex<Kept>,
    /// How many pipes are open; marked as changed with each line too.
    open: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<(Source, String)>,
    dropped: usize,
}

impl Output {
    /// Reads a pipe to its end on a thread of its own: a child never waits for its test.
    pub(crate) fn read(self: &Arc<Self>, source: Source, pipe: impl Read + Send + 'static) {
        self.open.send_modify(|open| *open += 1);
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                output.push(source, String::from_utf8_lossy(&line).into_owned());
            }
            output.open.send_modify(|open| *open -= 1);
        });
    }

    /// How many lines have come.
    pub(crate) fn count(&self) -> usize {
        let kept = self.kept();
        kept.dropped + kept.lines.len()
    }

    /// The lines after the first `count`, as far as they are kept.
    pub(crate) fn since(&self, count: usize) -> Vec<String> {
        let kept = self.kept();
        kept.lines.iter().skip(count.saturating_sub(kept.dropped)).map(|(_, line)| line.clone()).collect()
    }

    /// The lines of one pipe.
    pub(crate) fn of(&self, wanted: Source) -> Vec<String> {
        let kept = self.kept();
        kept.lines.iter().filter(|(source, _)| *source == wanted).map(|(_, line)| line.clone()).collect()
    }

    /// The first wanted line after the first `count`; none when both pipes ended without it.
    pub(crate) async fn find_since(&self, mut count: usize, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let mut changes = self.open.subscribe();
        loop {
            let open = *changes.borrow_and_update();
            let seen = self.count();
            let found = self.since(count).into_iter().find(|line| wanted(line));
            if found.is_some() || open == 0 || changes.changed().await.is_err() {
                return found;
            }
            count = count.max(seen);
        }
    }

    /// Returns once both pipes have ended.
    pub(crate) async fn ended(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn push(&self, source: Source, line: String) {
        let mut kept = self.kept();
        kept.lines.push_back((source, line));
        if kept.lines.len() > KEPT_LINES {
            kept.lines.pop_front();
            kept.dropped += 1;
        }
        drop(kept);
        self.open.send_modify(|_| {});
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
