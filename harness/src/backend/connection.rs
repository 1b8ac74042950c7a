//! One connection of a backend, for as long as the backend's behaviour lets it live.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, sync::watch, time::sleep};

use super::{Behaviour, State};
use crate::link::{Greeting, Link as Stream};

/// Serves it to its end. (Arguments are dropped last first: it counts as open until it is closed.)
pub(super) async fn serve(open: Open, mut stream: Stream) {
    while let Some((after, end)) = serve_http(&open, stream).await {
        stream = after;
        match end {
            Ending::Reset => {
                // A socket that takes no options is closed already.
                let _ = stream.tcp().set_zero_linger();
                return;
            }
            Ending::Write(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// An open connection, counted.
#[derive(Debug)]
pub(super) struct Open {
    /// How many came before it.
    pub(super) number: usize,
    /// None: it is in clear.
    pub(super) greeting: Option<Greeting>,
    pub(super) state: Arc<State>,
}

impl Open {
    pub(super) fn new(state: &Arc<State>) -> Self {
        state.open.fetch_add(1, Ordering::SeqCst);
        let number = state.accepted.fetch_add(1, Ordering::SeqCst);
        Self { number, greeting: None, state: Arc::clone(state) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.state.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a reply needs that HTTP does not allow: the connection is taken from hyper for it.
#[derive(Debug)]
pub(super) enum Ending {
    /// Reset it.
    Reset,
    /// Write these bytes, and go on.
    Write(Vec<u8>),
}

/// Between a connection and its requests.
#[derive(Debug, Default)]
pub(super) struct Link {
    ending: Mutex<Option<Ending>>,
    activity: watch::Sender<Activity>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Activity {
    /// No request came so far, or one is being answered.
    #[default]
    Busy,
    /// The last request was answered.
    Idle,
}

/// The connection is busy until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Link>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.activity.send_replace(Activity::Idle);
    }
}

impl Link {
    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.activity.send_replace(Activity::Busy);
        Busy(Arc::clone(self))
    }

    /// What to do when hyper has given up the connection.
    pub(super) fn end_with(&self, ending: Ending) {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(ending);
    }

    fn take_ending(&self) -> Option<Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until it was idle for as long as `draw` says, once for each time that it becomes so.
    async fn idle_too_long(&self, draw: impl Fn() -> Duration) {
        let mut activity = self.activity.subscribe();
        // The sender is in `self`: it outlives this.
        while activity.wait_for(|activity| *activity == Activity::Idle).await.is_ok() {
            tokio::select! {
                _ = activity.changed() => {}
                () = sleep(draw()) => return,
            }
        }
    }
}

/// Serves HTTP until the connection is closed (none), or a reply asked for what hyper cannot do.
async fn serve_http(open: &Open, stream: Stream) -> Option<(Stream, Ending)> {
    let state = &open.state;
    let link = Arc::new(Link::default());
    let service = service_fn(|request| state.handle(request, open, &link));
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut behaviour = state.behaviour.subscribe();
    let mut is_closing = false;
    loop {
        let now = behaviour.borrow_and_update().clone();
        let within = match now {
            Behaviour::CloseIdle { within, .. } if !is_closing => Some(within),
            _ => None,
        };
        let idle = pin!(link.idle_too_long(|| state.draw_pause(within.unwrap_or_default())));
        let is_idle = tokio::select! {
            // A change is in force before anything else is read.
            biased;
            _ = behaviour.changed() => false,
            () = idle, if within.is_some() => true,
            // Not polled: nothing is read, nothing written, no handler goes on.
            _ = &mut http, if !matches!(now, Behaviour::Freeze) => break,
        };
        if is_idle {
            is_closing = true;
            Pin::new(&mut http).graceful_shutdown();
        }
    }
    // A broken connection is what some replies ask for, and otherwise the client's to notice.
    let ending = link.take_ending()?;
    Some((http.into_parts().io.into_inner(), ending))
}
