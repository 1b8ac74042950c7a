//! Where the configuration comes from.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::Revision;
use crate::config::{self, Config, ConfigError, Environment, Purpose};

/// A configuration's file, and what it is read with.
#[derive(Debug, Clone)]
pub struct Source {
    file: PathBuf,
    environment: Environment,
}

/// A configuration that was read, and from what.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    pub(super) revision: Revision,
    pub(super) source: Source,
    content: Vec<u8>,
}

impl Source {
    /// A file, as it is named in errors.
    pub fn new(file: PathBuf, environment: Environment) -> Self {
        Self { file, environment }
    }

    /// Reads the configuration for the first time.
    ///
    /// # Errors
    /// When the file cannot be read, or holds mistakes: all of them at once.
    pub fn load(self, purpose: Purpose) -> Result<Loaded, ConfigError> {
        let content = config::read_file(&self.file)?;
        let config = Config::of_bytes(&content, &self.file, &self.environment, purpose)?;
        Ok(Loaded { config, revision: Revision::of(&content), source: self, content })
    }

    /// The same place for a process that may change its directory.
    pub(super) fn absolute(self) -> Self {
        let file = std::path::absolute(&self.file).unwrap_or(self.file);
        Self { file, ..self }
    }

    /// Whether there is a file that can be read more than once. What a process was started with may be a pipe.
    pub(super) fn is_file(&self) -> bool {
        fs::metadata(&self.file).is_ok_and(|found| found.is_file())
    }

    /// Reads the file's content. Nothing else is read: a pipe might keep whoever opens it waiting for ever.
    pub(super) fn read(&self) -> Result<Vec<u8>, ConfigError> {
        let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.file);
        let opened = opened.and_then(|file| match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is not a file")),
        });
        config::read_opened(opened, &self.file)
    }

    /// Why there is no content if reading has no end.
    pub(super) fn takes_too_long(&self) -> ConfigError {
        let source = io::Error::new(ErrorKind::TimedOut, "its disk does not answer");
        ConfigError::Read { path: self.file.clone(), source }
    }

    /// What the content says to a process that runs.
    pub(super) fn check(&self, content: &[u8]) -> Result<Config, ConfigError> {
        Config::of_bytes(content, &self.file, &self.environment, Purpose::Reload)
    }
}

impl Loaded {
    /// The configuration once more: Pingora's part of it cannot be copied, and the start uses one up.
    ///
    /// # Errors
    /// None but those of the first time.
    pub(crate) fn once_more(&self) -> Result<Config, ConfigError> {
        self.source.check(&self.content)
    }

    pub(crate) fn revision(&self) -> &Revision {
        &self.revision
    }
}
