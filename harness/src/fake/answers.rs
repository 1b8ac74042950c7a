//! What calls are answered: a queue per kind of call, and what holds once it is empty.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
};

use tonic::Status;

use super::lock;

/// What a call is answered.
#[derive(Clone, Debug)]
pub enum Reply<T> {
    /// A message.
    Message(T),
    /// An error.
    Error(Status),
    /// Nothing, ever.
    Silence,
}

impl<T> From<T> for Reply<T> {
    fn from(message: T) -> Self {
        Self::Message(message)
    }
}

/// The answers to one kind of call. Clones are handles to the same script.
#[derive(Clone, Debug)]
pub struct Answers<T>(Arc<Mutex<Script<T>>>);

#[derive(Debug)]
struct Script<T> {
    queue: VecDeque<Reply<T>>,
    afterwards: Reply<T>,
}

impl<T: Clone> Answers<T> {
    /// Queues the answer to one more call.
    pub fn next(&self, reply: impl Into<Reply<T>>) {
        lock(&self.0).queue.push_back(reply.into());
    }

    /// Queues an error for one more call.
    pub fn fail(&self, error: Status) {
        self.next(Reply::Error(error));
    }

    /// The answer to every call that finds the queue empty.
    pub fn always(&self, reply: impl Into<Reply<T>>) {
        lock(&self.0).afterwards = reply.into();
    }

    pub(super) async fn answer(&self) -> Result<T, Status> {
        let reply = {
            let mut script = lock(&self.0);
            script.queue.pop_front().unwrap_or_else(|| script.afterwards.clone())
        };
        match reply {
            Reply::Message(message) => Ok(message),
            Reply::Error(error) => Err(error),
            Reply::Silence => pending().await,
        }
    }
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        let afterwards = Reply::Error(unscripted());
        Self(Arc::new(Mutex::new(Script { queue: VecDeque::new(), afterwards })))
    }
}

/// What is not scripted fails so.
pub(super) fn unscripted() -> Status {
    Status::unavailable("the script says nothing here")
}
