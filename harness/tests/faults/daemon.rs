//! A process that is nobody's child.

use harness::process::Signal;
use nix::{sys::signal::kill, unistd::Pid};

/// A daemon, by its process id. Ends it whatever becomes of the test.
pub(crate) struct Daemon(pub i32);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}
