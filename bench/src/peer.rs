//! The proxies that are measured: what they are called, how they are started, and where they are found.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use harness::process::binary;

use crate::case::Cases;

mod identity;
mod list;
mod running;
mod template;

pub(crate) use identity::Identity;
use list::PEERS;
pub(crate) use running::{Place, Running};

/// Where `tools/setup.sh bench` puts the programs that it does not install.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/peers/bin");

/// What every figure is set beside.
pub(crate) const CONTROL: &str = "nginx";
/// What handshakes are set beside, too.
pub(crate) const SECOND_CONTROL: &str = "HAProxy";
/// What gRPC and HTTP/2 are set beside, too.
pub(crate) const HTTP2_CONTROL: &str = "Envoy";

/// How a proxy is started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: Program,
    /// Its files, as templates, by their names in the directory that it runs in. The first is the configuration.
    files: &'static [(&'static str, &'static str)],
    /// With the words of [`template`].
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    version: &'static [&'static str],
    /// Words that are its own.
    words: &'static [(&'static str, &'static str)],
    /// The header of its answers that has the request's id.
    request_id: Option<&'static str>,
    pub(crate) cases: Cases,
    /// What it does beside the others, in a few words.
    pub(crate) duties: &'static str,
}

/// Where a program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// Built from this workspace, by this command.
    Built(&'static str, &'static str),
    /// From `tools/setup.sh bench`, or in the PATH.
    Installed(&'static str),
}

/// A peer that is there.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) peer: &'static Peer,
    program: PathBuf,
    pub(crate) version: String,
}

impl Peer {
    /// Whether instances register with it.
    fn has_registry(&self) -> bool {
        self.words.iter().any(|(word, _)| *word == "http1_carrier")
    }

    /// # Errors
    /// When it is not there. The error says how to get it.
    pub(crate) fn find(&'static self) -> Result<Found> {
        let program = match self.program {
            Program::Built(name, command) => {
                binary(name).with_context(|| format!("`{command}` builds it"))?
            }
            Program::Installed(name) => installed(name).context("`tools/setup.sh bench` installs it")?,
        };
        let version = self.version_of(&program)?;
        Ok(Found { peer: self, program, version })
    }

    fn version_of(&self, program: &Path) -> Result<String> {
        if self.version.is_empty() {
            return Ok(String::new());
        }
        let asked = Command::new(program).args(self.version).output();
        let asked = asked.with_context(|| format!("asking {} for its version", program.display()))?;
        let text = [asked.stdout, asked.stderr].concat();
        Ok(version_in(&String::from_utf8_lossy(&text)).unwrap_or_default())
    }
}

fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where administrators have their programs, and users mostly not.
    let directories =
        [TOOLS.into()].into_iter().chain(std::env::split_paths(&path)).chain(["/usr/sbin".into()]);
    let mut candidates = directories.map(|directory| directory.join(name));
    candidates.find(|candidate| candidate.is_file()).with_context(|| format!("there is no {name}"))
}

/// The first word that has a number with a point in it, from its first digit on: `1.22.1` of `nginx/1.22.1`.
fn version_in(text: &str) -> Option<String> {
    text.split(|letter: char| letter.is_whitespace() || letter == '/').find_map(|word| {
        let word = word.trim_start_matches('v');
        let number: String =
            word.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
        let is_version = number.starts_with(|first: char| first.is_ascii_digit()) && number.contains('.');
        is_version.then(|| number.trim_end_matches('.').to_owned())
    })
}

/// One that is not there: its name, and why.
pub(crate) type Missing = (&'static str, String);

/// Those that are there, and those that are not.
///
/// # Errors
/// When one is missing that is built from this workspace, or `only` names none.
pub(crate) fn find(only: &[String]) -> Result<(Vec<Found>, Vec<Missing>)> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let is_meant = |peer: &&Peer| {
        let name = peer.name.to_lowercase();
        only.is_empty() || only.iter().any(|meant| name.contains(&meant.to_lowercase()))
    };
    for peer in PEERS.iter().filter(is_meant) {
        match peer.find() {
            Ok(peer) => found.push(peer),
            // Our own are built from here: without them nothing is compared.
            Err(error) if matches!(peer.program, Program::Built(..)) => {
                return Err(error.context(format!("{} is missing", peer.name)));
            }
            Err(error) => {
                println!("missing: {}: {error:#}", peer.name);
                // The path that was looked at says nothing elsewhere.
                missing.push((peer.name, error.to_string()));
            }
        }
    }
    ensure!(!(found.is_empty() && missing.is_empty()), "no proxy is called {}", only.join(" or "));
    Ok((found, missing))
}

#[cfg(test)]
mod tests {
    use super::{list::LEASEWAY, *};

    #[test]
    fn a_version_is_found_in_what_each_says() {
        for (said, version) in [
            ("nginx version: nginx/1.22.1", Some("1.22.1")),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", Some("2.6.12")),
            ("envoy  version: 8f3a/1.40.0/Clean/RELEASE/BoringSSL", Some("1.40.0")),
            ("Version:      3.7.15\nGo version:   go1.26.9", Some("3.7.15")),
            ("v2.11.7 h1:yj0Y4fYZ.GPk", Some("2.11.7")),
            ("proxy 0.1.0", Some("0.1.0")),
            ("nothing at all", None),
        ] {
            assert_eq!(version_in(said).as_deref(), version, "{said}");
        }
    }

    #[test]
    fn each_peer_is_named_once_and_its_command_has_no_word_that_is_unknown() {
        for (place, peer) in PEERS.iter().enumerate() {
            assert!(PEERS.iter().skip(place + 1).all(|other| other.name != peer.name), "{}", peer.name);
        }
        for control in [CONTROL, SECOND_CONTROL, HTTP2_CONTROL] {
            assert!(PEERS.iter().any(|peer| peer.name == control && peer.cases == Cases::All));
        }
    }

    #[test]
    fn one_that_is_missing_is_named_with_what_installs_it() {
        const ABSENT: Peer = Peer { program: Program::Installed("no-such-proxy"), ..LEASEWAY };
        let told = format!("{:#}", ABSENT.find().unwrap_err());
        assert!(told.contains("tools/setup.sh bench") && told.contains("no-such-proxy"), "{told}");
        assert!(find(&["no-such-proxy".to_owned()]).is_err());
    }
}
