//! What watches say: a script for each one that is opened.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
};

use etcd_client::proto::PbWatchResponse;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::Status;

use super::{answers::unscripted, lock};

/// A line of a watch's script. After the last one, the watch is silent.
#[derive(Clone, Debug)]
pub enum Line {
    /// The watch says this.
    Say(PbWatchResponse),
    /// The watch breaks with an error.
    Fail(Status),
    /// The watch ends without a word.
    End,
}

impl From<PbWatchResponse> for Line {
    fn from(message: PbWatchResponse) -> Self {
        Self::Say(message)
    }
}

/// The scripts of watches, in the order in which they are opened. Clones are handles to the same scripts.
#[derive(Clone, Debug)]
pub struct Watches(Arc<Mutex<Scripts>>);

#[derive(Debug)]
struct Scripts {
    queue: VecDeque<Result<UnboundedReceiver<Line>, Status>>,
    afterwards: Result<Vec<Line>, Status>,
}

impl Watches {
    /// Scripts the next watch that has no script yet: before it is opened, and while it is open.
    pub fn next(&self) -> Script {
        let (script, lines) = Script::new();
        lock(&self.0).queue.push_back(Ok(lines));
        script
    }

    /// Refuses the next watch that has no script yet.
    pub fn refuse(&self, error: Status) {
        lock(&self.0).queue.push_back(Err(error));
    }

    /// What every watch says that has no script of its own.
    pub fn always(&self, lines: impl IntoIterator<Item = impl Into<Line>>) {
        lock(&self.0).afterwards = Ok(lines.into_iter().map(Into::into).collect());
    }

    /// Refuses every watch that has no script of its own.
    pub fn always_refuse(&self, error: Status) {
        lock(&self.0).afterwards = Err(error);
    }

    pub(super) fn open(&self) -> Result<Spoken, Status> {
        let mut scripts = lock(&self.0);
        if let Some(opening) = scripts.queue.pop_front() {
            return opening.map(speak);
        }
        let (script, lines) = Script::new();
        scripts.afterwards.clone()?.into_iter().for_each(|line| script.add(line));
        Ok(speak(lines))
    }
}

impl Default for Watches {
    fn default() -> Self {
        let afterwards = Err(unscripted());
        Self(Arc::new(Mutex::new(Scripts { queue: VecDeque::new(), afterwards })))
    }
}

/// One watch's script.
#[derive(Debug)]
pub struct Script(UnboundedSender<Line>);

impl Script {
    /// The watch says this.
    pub fn say(&self, message: PbWatchResponse) {
        self.add(Line::Say(message));
    }

    /// The watch breaks with an error.
    pub fn fail(&self, error: Status) {
        self.add(Line::Fail(error));
    }

    /// The watch ends without a word.
    pub fn end(&self) {
        self.add(Line::End);
    }

    fn new() -> (Self, UnboundedReceiver<Line>) {
        let (writer, lines) = unbounded_channel();
        (Self(writer), lines)
    }

    fn add(&self, line: Line) {
        // An error means that the client has closed the watch: nobody is there to hear it.
        let _ = self.0.send(line);
    }
}

/// What a watch says, as its server streams it.
pub(super) type Spoken = BoxStream<'static, Result<PbWatchResponse, Status>>;

fn speak(lines: UnboundedReceiver<Line>) -> Spoken {
    unfold(lines, async |mut lines| match lines.recv().await {
        Some(Line::Say(message)) => Some((Ok(message), lines)),
        Some(Line::Fail(error)) => Some((Err(error), lines)),
        Some(Line::End) => None,
        None => pending().await,
    })
    .boxed()
}
