//! How the keys of a section are declared here, and what stands around the file that they are read from.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config_reader::Visitor;
use config_reader::kind::{Kind, text};

use super::Value;
use super::address::Taken;
use super::environment::Environment;
use super::files::Files;
use super::machine::Need;
use super::run_directory;

/// Whoever takes the declarations of our keys.
pub(super) trait Visit: Visitor<Need> {}

impl<V: Visitor<Need>> Visit for V {}

/// What the keys under `gateway:` are read beside.
pub(super) struct Around {
    /// The addresses that are spoken for.
    pub(super) taken: Taken,
    /// The files that were read with it.
    pub(super) files: Files,
    /// The directory of an embedded registry's snapshot.
    snapshots: PathBuf,
}

impl Around {
    pub(super) fn new(environment: &Environment, upgrade_sock: &Path) -> Self {
        // Beside the upgrade socket it is the gateway's user's alone, but systemd clears that place at each stop.
        let state = run_directory::of_service(environment.state_directory.as_deref());
        let beside = || upgrade_sock.parent().map(Path::to_owned).unwrap_or_default();
        Self { taken: Taken::default(), files: Files::default(), snapshots: state.unwrap_or_else(beside) }
    }

    /// Where an embedded registry's snapshot of this name is kept, if nothing else is said.
    pub(super) fn snapshot(&self, name: &str) -> PathBuf {
        self.snapshots.join(name)
    }
}

/// An address to listen on, which nobody else in the file listens on.
pub(super) fn address(taken: &Taken) -> impl Kind<Need, Value = SocketAddr> {
    let read = |value: &Value<'_>| value.parse(|text| taken.claim(text, &value.place().key));
    text(read, SocketAddr::to_string).pattern(":[0-9]+$").takes("`ip:port`")
}

/// Text that is taken if `parse` takes it, and that stays as it is.
pub(super) fn parsed<E: std::fmt::Display>(
    parse: impl Fn(&str) -> Result<String, E>,
    pattern: &'static str,
) -> impl Kind<Need, Value = String> {
    text(move |value: &Value<'_>| value.parse(&parse), String::clone).pattern(pattern)
}
