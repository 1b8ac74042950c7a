//! The configuration: one YAML file, Pingora's own keys at the top level, ours under `gateway:`.
//!
//! [`read_file`] reads the file's bytes, [`Config::of_bytes`] says what they mean, and whether what they name is there
//! on this machine. Every mistake is reported at once, each with its line, its key, what was found and what was
//! expected. Unknown keys are mistakes, at every level.

mod access;
mod address;
mod balance;
mod check;
mod connection;
mod connections;
pub mod documents;
mod embedded;
mod environment;
mod error;
mod files;
mod gateway;
mod given;
mod grpc_statuses;
mod host;
mod http1;
mod http2;
mod keys;
mod listener;
mod machine;
mod network;
pub(crate) mod ours;
mod pattern;
mod protocol;
mod route;
mod run_directory;
mod server;
mod service;
mod service_tls;
mod timeouts;
mod token;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use config_reader::{Key, Reader, Shown, Values, differences, key};
use pingora::server::configuration::ServerConf;

pub(crate) use self::access::AccessError;
pub use self::balance::{Balance, HashKey};
pub(crate) use self::check::{Check, Initially, Probe};
pub use self::connection::{Bounds, Guard, Registry};
pub(crate) use self::connections::Connections;
pub(crate) use self::embedded::Embedded;
pub use self::environment::Environment;
pub(crate) use self::error::ConfigError;
pub(crate) use self::gateway::Gateway;
pub use self::gateway::LogFormat;
pub use self::given::GivenAddress;
pub(crate) use self::http1::{ClientAbort, Http1Carrier, Paths};
pub(crate) use self::http2::Http2Carrier;
pub(crate) use self::listener::{CertificateFiles, ClientCertificates, ClientMode, Listener, ListenerTls};
pub(crate) use self::protocol::Protocol;
pub(crate) use self::route::{
    Action, CertificateMatch, Changes, Condition, ErrorAnswer, ErrorAnswers, Expression, FieldChanges,
    FixedAnswer, HostPattern, HostRank, Key as StickyKey, Match, Part, PathChange, PathPattern, PathRank,
    PathRefusal, Piece, Rank, Redirect, Retry, Route, Scheme, ServicePattern, ServicesAllowed, Share, Sticky,
    Template, Upgrades, Variable, below, order,
};
#[cfg(test)]
pub(crate) use self::route::{SanPattern, hidden};
pub(crate) use self::run_directory::{RunDirectory, RunDirectoryError};
pub(crate) use self::server::ATTEMPTS;
pub(crate) use self::service::{Budget, Ejection, Limits, Service, Services, Stall};
pub(crate) use self::service_tls::ServiceTls;
pub(crate) use self::timeouts::{RouteTimeouts, Timeouts};

use self::access::{Who, Wish};
use self::keys::{Around, Visit};
use self::machine::Need;

pub(crate) use config_reader::Problem;

/// What the readers of the sections note beside mistakes: what must be there on this machine.
type Section<'a> = config_reader::Section<'a, Need>;
type Value<'a> = config_reader::Value<'a, Need>;

/// The largest file taken, in bytes: ten thousand routes with all that is usually said of one.
const SIZE: usize = 4 << 20;

/// What the file as a whole has below its top level.
const GATEWAY: Key = key("gateway", "what the gateway does").required(EXPECTED);

/// What a file without our section is told.
const EXPECTED: &str = r#"our own section. The smallest valid configuration is:

  version: 1
  gateway:
    listen: ["0.0.0.0:8080"]
    registry:
      endpoints: ["http://127.0.0.1:2379"]
    routes:
      - path: /goods
        service: goods
"#;

/// A checked configuration: what it holds can be used without another check.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// Pingora's part. Paths are absolute, and `max_retries` is [`ATTEMPTS`].
    pub server: ServerConf,
    /// Our part.
    pub gateway: Gateway,
    /// The directory to prepare at the start; `None` if the configuration puts both the pid file and the upgrade
    /// socket elsewhere.
    pub(crate) run_directory: Option<RunDirectory>,
    /// What is to be told of the file, but keeps nobody from a start.
    pub remarks: Vec<Problem>,
    /// The values that a running process cannot take over.
    fixed: Vec<Shown>,
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To say what is wrong with it: everything is.
    Test,
    /// To start: what the gateway serves without is a remark.
    Start,
    /// To be taken over by a process that runs. The files and users that it names are not looked at: either their keys are
    /// fixed, so they were when the process started, and it may be another user by now; or they are certificates, their
    /// keys and the like, which are read when the configuration is taken over.
    Reload,
}

impl Config {
    /// Reads what a file had in it, and checks that what it names is there. `path` is its name in errors.
    ///
    /// # Errors
    /// When it is no YAML, or holds mistakes: all of them at once.
    pub(crate) fn of_bytes(
        bytes: &[u8],
        path: &Path,
        environment: &Environment,
        purpose: Purpose,
    ) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        // Before it is text: it may have been cut within a character.
        check_size(bytes.len(), &file)?;
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Encoding { file: file.clone(), line }
        })?;
        read_text(text, &file, environment, Some(purpose))
    }

    /// The keys, with their sections, that a running process cannot take over, and whose values differ. They need an
    /// upgrade or a restart.
    #[must_use]
    pub(crate) fn fixed_differences(&self, other: &Self) -> Vec<String> {
        differences(&self.fixed, &other.fixed)
    }
}

/// Reads the bytes of a configuration's file, without a look at what they mean. Of a file that is too large it reads
/// one byte more than is taken, by which [`Config::of_bytes`] knows it.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    read_opened(File::open(path), path)
}

/// The same of a file that was to be opened at this path.
pub(crate) fn read_opened(opened: io::Result<File>, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let read = opened.and_then(|file| file.take(SIZE as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|source| unread(path, source))?;
    Ok(bytes)
}

fn unread(path: &Path, source: io::Error) -> ConfigError {
    match Who::of_this_process().may(Wish::Read, path) {
        Err(AccessError::Denied(denied)) => ConfigError::Denied(denied),
        _ => ConfigError::Read { path: path.to_owned(), source },
    }
}

fn check_size(size: usize, file: &str) -> Result<(), ConfigError> {
    if size <= SIZE {
        return Ok(());
    }
    Err(ConfigError::TooLarge { file: file.to_owned(), limit: SIZE })
}

fn read_text(
    text: &str,
    file: &str,
    environment: &Environment,
    purpose: Option<Purpose>,
) -> Result<Config, ConfigError> {
    let document = config_reader::parse(text).map_err(|error| ConfigError::Syntax {
        file: file.to_owned(),
        line: error.line,
        message: error.message.into_owned(),
    })?;
    let reader = Reader::new(file);
    let parts = read(reader.root(document.as_ref()), environment);
    if let Some(purpose) = purpose {
        check_needs(&reader, &server::user(&parts.server, environment), purpose);
    }
    let (problems, remarks) = reader.into_problems_and_remarks();
    match parts {
        Parts { mut server, mut gateway, run_directory } if problems.is_empty() => {
            let mut fixed = Values::fixed();
            declare(&mut server, &mut gateway, &mut fixed, environment);
            Ok(Config { server, gateway, run_directory, remarks, fixed: fixed.into_shown() })
        }
        _ => Err(ConfigError::Invalid(problems)),
    }
}

/// What was read, whatever mistakes there were.
struct Parts {
    server: ServerConf,
    gateway: Gateway,
    run_directory: Option<RunDirectory>,
}

fn read(mut root: Section<'_>, environment: &Environment) -> Parts {
    let mut section = root.below(GATEWAY);
    let mut server = server::unsaid(environment);
    server::keys(&mut server, &mut root, environment);
    let mut gateway = Gateway::unsaid();
    gateway.keys(&mut section, &Around::new(environment, Path::new(&server.upgrade_sock)));
    section.close(Some((root.known(), "belongs to the top level, without indentation")));
    root.close(Some((section.known(), "belongs under gateway:, indented by two spaces")));
    let run_directory = server::run_directory(&root, environment);
    Parts { server, gateway: Gateway { services: gateway.services.settled(), ..gateway }, run_directory }
}

/// All keys of a file.
fn declare<V: Visit>(server: &mut ServerConf, gateway: &mut Gateway, v: &mut V, environment: &Environment) {
    server::keys(server, v, environment);
    let around = Around::new(environment, Path::new(&server.upgrade_sock));
    v.section(GATEWAY, |v| gateway.keys(v, &around));
}

fn check_needs(reader: &Reader<Need>, who: &Who, purpose: Purpose) {
    if purpose == Purpose::Reload {
        return;
    }
    for (place, need) in reader.notes() {
        if let Some(exposed) = need.exposed() {
            reader.remark(&place, exposed);
        }
        match need.check(who) {
            Ok(()) => {}
            Err(error) if purpose == Purpose::Start && error.spares_the_start(&need) => {
                reader.remark(&place, format_args!("{error}. Until then no snapshot is kept"));
            }
            Err(error) => reader.reject(&place, error),
        }
    }
}
