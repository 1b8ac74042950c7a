//! What the process finds around itself: read once, in `main`, and passed on.

use std::env;
use std::num::NonZeroUsize;
use std::thread;

use nix::unistd::geteuid;

/// The surroundings that defaults are derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Whether the command line asks for the background, whatever the configuration says.
    pub daemon: bool,
    /// The user that we run as; 0 is root.
    pub uid: u32,
    /// The number of threads that can run at once.
    pub cores: NonZeroUsize,
    /// `$RUNTIME_DIRECTORY`: directories that systemd made for the service, separated by colons.
    pub runtime_directory: Option<String>,
    /// `$STATE_DIRECTORY`: likewise, those that outlive the service's stop.
    pub state_directory: Option<String>,
    /// `$XDG_RUNTIME_DIR`: the directory that the login session has for its user.
    pub xdg_runtime_dir: Option<String>,
}

impl Environment {
    /// Surroundings of which nothing is known: for whoever reads no file.
    pub(super) fn unknown() -> Self {
        Self {
            daemon: false,
            uid: u32::MAX,
            cores: NonZeroUsize::MIN,
            runtime_directory: None,
            state_directory: None,
            xdg_runtime_dir: None,
        }
    }

    /// The surroundings of this process, in the foreground.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            daemon: false,
            uid: geteuid().as_raw(),
            cores: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            runtime_directory: env::var("RUNTIME_DIRECTORY").ok(),
            state_directory: env::var("STATE_DIRECTORY").ok(),
            xdg_runtime_dir: env::var("XDG_RUNTIME_DIR").ok(),
        }
    }
}
