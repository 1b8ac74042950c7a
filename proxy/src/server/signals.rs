//! The signals that end the process: SIGTERM and SIGINT stop it, SIGQUIT hands its sockets to a new one.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::unistd::geteuid;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::blocked;
use crate::config::ours;
use crate::lifecycle::Lifecycle;
use crate::site::Current;

/// How long a new process has to open its upgrade socket after the old one was told to hand over.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(5);
/// How often a condition that nobody announces is looked at.
const POLL: Duration = Duration::from_millis(10);

/// What they come to, for Pingora.
#[derive(Debug)]
pub(crate) struct Signals {
    lifecycle: Arc<Lifecycle>,
    site: Arc<Current>,
    /// Told at each SIGHUP.
    reload: Arc<Notify>,
    upgrade_sock: PathBuf,
}

impl Signals {
    /// After being told to stop, the process serves on for as long as the site says (`lame_duck`), saying that it is
    /// not ready.
    pub(super) fn new(
        lifecycle: Arc<Lifecycle>,
        site: Arc<Current>,
        reload: Arc<Notify>,
        upgrade_sock: PathBuf,
    ) -> Self {
        Self { lifecycle, site, reload, upgrade_sock }
    }

    async fn terminate(&self, signals: &mut EndSignals) -> ShutdownSignal {
        tracing::info!(in_flight = self.lifecycle.requests_in_flight(), "stopping");
        self.lifecycle.stop();
        tokio::select! {
            () = sleep(self.site.get().common().timeouts.lame_duck) => ShutdownSignal::GracefulTerminate,
            // Whoever asks twice does not want to wait.
            () = signals.stop() => ShutdownSignal::FastShutdown,
        }
    }

    /// Pingora ends the old process even if nobody takes its sockets, so a new process must be there first, and it
    /// must be ours.
    async fn upgrade(&self, signals: &mut EndSignals) -> Option<ShutdownSignal> {
        let (socket, us) = (self.upgrade_sock.display(), geteuid().as_raw());
        let refuse = |error: ours::NotOurs| {
            tracing::error!(%socket, %error, "told to hand over, but the upgrade socket's place is not ours alone: serving on");
        };
        ours::check_place(&self.upgrade_sock, us).map_err(refuse).ok()?;
        let is_awaited = async {
            while !somebody_listens(&self.upgrade_sock) {
                sleep(POLL).await;
            }
        };
        tokio::select! {
            () = is_awaited => {}
            () = signals.stop() => return Some(self.terminate(signals).await),
            () = sleep(UPGRADE_PATIENCE) => {
                tracing::error!(%socket, "told to hand over, but no new process waits (start it with -u first): serving on");
                return None;
            }
        }
        // As late as can be. What Pingora connects to a moment later is the same: nobody else can change it.
        ours::check_socket(&self.upgrade_sock, us).map_err(refuse).ok()?;
        tracing::info!("handing over to a new process");
        // Still ready: a probe that reaches this process must not take the new one out.
        self.lifecycle.close();
        Some(ShutdownSignal::GracefulUpgrade)
    }
}

/// Whether a process listens on a stream socket, asked without connecting to it: the new process accepts
/// once. A datagram socket is told EPROTOTYPE where somebody listens, ECONNREFUSED where a process left its
/// socket behind.
fn somebody_listens(socket: &Path) -> bool {
    let connected = UnixDatagram::unbound().and_then(|datagram| datagram.connect(socket));
    connected.is_err_and(|error| error.raw_os_error() == Some(Errno::EPROTOTYPE as i32))
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = match EndSignals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals: stopping");
                return ShutdownSignal::FastShutdown;
            }
        };
        // The process has forked by now, if it does at all.
        if let Err(error) = blocked::take(self.reload.clone()) {
            tracing::warn!(%error, "cannot start a thread for signals: SIGHUP does nothing");
        }
        loop {
            let ended = match signals.next().await {
                End::Stop => Some(self.terminate(&mut signals).await),
                End::HandOver => self.upgrade(&mut signals).await,
            };
            if let Some(signal) = ended {
                return signal;
            }
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGQUIT.
    HandOver,
}

#[derive(Debug)]
pub(crate) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl EndSignals {
    /// Takes the signals over from their default, which is to kill.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for one that stops the process.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != End::Stop {}
    }

    async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.terminate.recv() => End::Stop,
            _ = self.interrupt.recv() => End::Stop,
            _ = self.quit.recv() => End::HandOver,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_counts_only_while_somebody_listens_on_it() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("upgrade.sock");
        assert!(!somebody_listens(&socket));
        let listener = UnixListener::bind(&socket).unwrap();
        assert!(somebody_listens(&socket));
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nothing was connected");
        drop(listener);
        assert!(socket.exists() && !somebody_listens(&socket));
    }
}
