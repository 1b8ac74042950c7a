//! Signals that end a process by default, and do not end the gateway: at SIGHUP it reads its configuration again, the
//! others change nothing.
//!
//! They are blocked before there is a second thread, so that every thread has them blocked, from the first moment
//! to the last. A thread of their own takes them one by one and does what is to be done; a signal that comes before
//! this thread runs waits for it. (If the system ignored them, none of them could be logged; and a handler needs a
//! runtime, which is there only later.)

use std::io;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::SignalKind;
use tokio::sync::Notify;

/// Signals that do what they always do.
const LEFT: [Signal; 21] = [
    // They end the process in order: see the module `signals`.
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
    // They have no effect by default; SIGPIPE has none in a program in Rust.
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGURG,
    // A terminal's size has changed: no effect by default, either.
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

/// Starts the thread that takes them: at SIGHUP it notifies `reload`, of the others it says that they change nothing.
/// In a runtime, and not before the process has forked.
///
/// # Errors
/// No thread can be started, or the system refuses.
pub(super) fn take(reload: Arc<Notify>) -> io::Result<()> {
    // A daemon does not have SIGUSR1 blocked. To have listened for it once is enough to replace its default for good.
    drop(tokio::signal::unix::signal(SignalKind::user_defined1())?);
    // The real-time signals have no names here: they are blocked, and nothing is logged of them.
    let blocked = others();
    let named: SigSet = Signal::iterator().filter(|signal| blocked.contains(*signal)).collect();
    let wait = move || {
        while let Ok(signal) = named.wait() {
            match signal {
                // However many come while one is being served, they count as one.
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
