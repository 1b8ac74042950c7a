//! What lies in the run directory, and what becomes of a start without a safe one.
//!
//! It is prepared at every start, also by a gateway that may never be upgraded: if it were left to others to make,
//! the next SIGQUIT would find their socket there. But only a daemon cannot do without its pid file, and an upgrade
//! without its socket. Whoever runs in a container without a place for either starts all the same, and hands
//! nothing over.

use std::path::Path;

use crate::cli::Arguments;
use crate::config::{Config, RunDirectory, RunDirectoryError, ours};

const NO_UPGRADE: &str = "this gateway cannot be upgraded: on SIGQUIT it hands nothing over, and serves on. To \
                          upgrade it with -u, mend this, or name another place in upgrade_sock";
const NO_SNAPSHOT: &str =
    "no snapshot is kept: after a restart the gateway serves once instances have registered again";

/// Makes the run directory if something belongs into it. Without one there may be no snapshot.
///
/// # Errors
/// There is none that can be used, and no start without it.
pub(crate) fn prepare(config: &mut Config, arguments: &Arguments) -> Result<(), RunDirectoryError> {
    let Some(use_of) = Use::of(config, arguments) else { return Ok(()) };
    let prepared = use_of.directory.prepare(use_of.user);
    let Some(Loss { error, consequences, snapshot }) = use_of.loss(prepared)? else { return Ok(()) };
    if error.is_read_only() && !snapshot {
        // Nobody else has it, and nothing is to be done.
        tracing::info!(%error, "{consequences}");
    } else {
        tracing::warn!(%error, "{consequences}");
    }
    if snapshot {
        config.gateway.registry.snapshot = None;
    }
    Ok(())
}

/// Says beforehand what [`prepare`] would say, and changes nothing. None: nothing.
///
/// # Errors
/// As [`prepare`].
pub fn foresee(config: &Config, arguments: &Arguments) -> Result<Option<String>, RunDirectoryError> {
    let Some(use_of) = Use::of(config, arguments) else { return Ok(None) };
    let loss = use_of.loss(use_of.directory.foresee(use_of.user))?;
    Ok(loss.map(|loss| format!("{}: {}", loss.error, loss.consequences)))
}

/// What this start needs the run directory for.
struct Use<'a> {
    directory: &'a RunDirectory,
    /// Whom a daemon becomes.
    user: Option<&'a str>,
    pid_file: bool,
    /// The upgrade socket, for now or later.
    socket: Option<&'a Path>,
    snapshot: bool,
    upgrades: bool,
}

/// What a start goes on without.
struct Loss {
    error: RunDirectoryError,
    consequences: String,
    snapshot: bool,
}

impl<'a> Use<'a> {
    fn of(config: &'a Config, arguments: &Arguments) -> Option<Self> {
        let directory = config.run_directory.as_ref()?;
        // Only a daemon writes a pid file and changes its user.
        let is_daemon = arguments.daemon || config.server.daemon;
        let snapshot = config.gateway.registry.snapshot.as_deref();
        let of = Self {
            directory,
            user: config.server.user.as_deref().filter(|_| is_daemon),
            pid_file: is_daemon && directory.holds(Path::new(&config.server.pid_file)),
            socket: Some(Path::new(&config.server.upgrade_sock)).filter(|socket| directory.holds(socket)),
            snapshot: snapshot.is_some_and(|snapshot| directory.holds(snapshot)),
            upgrades: arguments.upgrade,
        };
        (of.pid_file || of.socket.is_some() || of.snapshot).then_some(of)
    }

    /// `directory`: whether there is one that is ours alone.
    fn loss(&self, directory: Result<(), RunDirectoryError>) -> Result<Option<Loss>, RunDirectoryError> {
        let snapshot = self.snapshot && directory.is_err();
        let Err(error) = directory.and_then(|()| self.check_socket()) else { return Ok(None) };
        if self.pid_file || (self.upgrades && self.socket.is_some()) {
            return Err(error);
        }
        let consequences = [(self.socket.is_some(), NO_UPGRADE), (snapshot, NO_SNAPSHOT)];
        let consequences: Vec<_> =
            consequences.iter().filter(|(is_so, _)| *is_so).map(|(_, told)| *told).collect();
        Ok(Some(Loss { error, consequences: consequences.join("; "), snapshot }))
    }

    /// Of a directory that will be made only its way could be looked at: the start does.
    fn check_socket(&self) -> Result<(), RunDirectoryError> {
        match self.socket {
            Some(socket) if self.directory.path().exists() => {
                Ok(ours::check_place(socket, self.directory.owner(self.user)?)?)
            }
            _ => Ok(()),
        }
    }
}
