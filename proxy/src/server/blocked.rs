//! Signals that end a process by default, and do not end the gateway: at SIGHUP it reads its configuration again, the
//! others change nothing.
//!
//! They are blocked before there is a second thread, so that every thread has them blocked, from the first moment
//! to the last. A thread of their own takes them one by one and does what is to be done; what comes before it runs
//! waits for it. (A signal that was ignored by the system could not be told; a handler needs a runtime, which comes
//! later.)

use std::io;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::SignalKind;
use tokio::sync::Notify;

/// Signals that do what they always do.
const LEFT: [Signal; 21] = [
    // They end the process in order: the `signals` has them.
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    // Nobody can block them.
    Signal::SIGKILL,
    Signal::SIGSTOP,
    // A person at a terminal stops the process, and lets it go on.
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
    // A fault of the program, or the limit of its CPU time: going on would be wrong.
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGXCPU,
    // Without effect by default; SIGPIPE by Rust's.
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGURG,
    // Nor has that of a terminal whose size changes.
    Signal::SIGWINCH,
];

/// Blocks them in this thread and in all that it starts.
///
/// # Errors
/// The system refuses.
pub fn block() -> io::Result<()> {
    Ok(others().thread_block()?)
}

/// Lets SIGUSR1 through again: by it, Pingora's daemon tells the process that started it that it is ready.
///
/// # Errors
/// The system refuses.
pub fn leave_to_daemon() -> io::Result<()> {
    Ok(SigSet::from(Signal::SIGUSR1).thread_unblock()?)
}

/// Starts the thread that takes them: at SIGHUP it notifies `reload`, of the others it says that they change nothing. In
/// a runtime, and not before the process has forked.
///
/// # Errors
/// No thread can be started, or the system refuses.
pub(super) fn take(reload: Arc<Notify>) -> io::Result<()> {
    // For a daemon, which does not have it blocked: whoever listens once has replaced its default for good.
    drop(tokio::signal::unix::signal(SignalKind::user_defined1())?);
    // Those of real time have no name here. They are blocked, and nobody is told.
    let blocked = others();
    let named: SigSet = Signal::iterator().filter(|signal| blocked.contains(*signal)).collect();
    let wait = move || {
        while let Ok(signal) = named.wait() {
            match signal {
                // However many come while one is served, they are one.
                Signal::SIGHUP => reload.notify_one(),
                _ => tracing::warn!(
                    "{signal} changes nothing: SIGHUP has the configuration read again, SIGTERM stops the gateway, SIGQUIT \
                     hands over to a new process that was started with -u"
                ),
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// All but [`LEFT`].
fn others() -> SigSet {
    let mut others = SigSet::all();
    LEFT.into_iter().for_each(|signal| others.remove(signal));
    others
}
