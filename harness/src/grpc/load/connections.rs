//! The connections of a load's calls.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Error, Result};
use tokio::sync::Mutex;

use super::End;
use crate::grpc::{Client, Cut, Outcome, Reason, framed};

/// So many connections; one that takes no more calls is replaced when the next one comes.
#[derive(Debug)]
pub(super) struct Connections {
    target: SocketAddr,
    places: Vec<Mutex<Option<Arc<Client>>>>,
    opened: AtomicUsize,
}

/// What became of a call that was sent.
pub(super) enum Sent {
    Ended(End),
    /// The other side has provably not begun with it.
    NotBegun,
}

impl Connections {
    pub(super) fn new(target: SocketAddr, count: usize) -> Self {
        let places = (0..count).map(|_| Mutex::default()).collect();
        Self { target, places, opened: AtomicUsize::new(0) }
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    pub(super) async fn all(&self) -> Result<Vec<Arc<Client>>> {
        let mut all = Vec::new();
        for place in 0..self.places.len() {
            all.push(self.open(place).await?);
        }
        Ok(all)
    }

    async fn open(&self, place: usize) -> Result<Arc<Client>> {
        let mut kept = self.places[place].lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.has_ended()) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::connect(self.target).await?);
        self.opened.fetch_add(1, Ordering::Relaxed);
        *kept = Some(Arc::clone(&client));
        Ok(client)
    }

    /// The next call of its place gets another connection. What is in flight on this one goes on.
    async fn leave(&self, place: usize, client: &Arc<Client>) {
        let mut kept = self.places[place].lock().await;
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, client)) {
            *kept = None;
        }
    }

    pub(super) async fn send(
        &self,
        place: usize,
        path: &str,
        pairs: &[(&str, &str)],
        message: &[u8],
    ) -> Sent {
        let client = match self.open(place).await {
            Ok(client) => client,
            Err(error) if is_refused(&error) => return Sent::Ended(End::Refused),
            Err(error) => return Sent::Ended(End::Failed(format!("{error:#}"))),
        };
        let Ok((mut upload, download)) = client.call(path, pairs).await else {
            self.leave(place, &client).await;
            return Sent::NotBegun;
        };
        let sent = upload.send_all(framed(message), true);
        match tokio::join!(sent, download.outcome()).1 {
            Ok(outcome) if is_not_begun(&outcome) => Sent::NotBegun,
            Ok(outcome) => Sent::Ended(End::of(&outcome)),
            Err(error) => Sent::Ended(End::Failed(format!("{error:#}"))),
        }
    }
}

fn is_refused(error: &Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(ErrorKind::ConnectionRefused)
}

fn is_not_begun(outcome: &Outcome) -> bool {
    matches!(outcome.cut, Some(Cut::GoAway(Reason::NO_ERROR) | Cut::Reset(Reason::REFUSED_STREAM)))
        && outcome.http == 0
}
