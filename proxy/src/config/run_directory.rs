//! The directory of the pid file and the upgrade socket: ours alone.
//!
//! Who can reach the upgrade socket can take the listening sockets, and Pingora makes it with mode
//! 0666. In a directory that others can write to, they could also put a socket or a link of their own
//! there first. So the directory has mode 0700 and is checked before it is used.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::User;

use super::environment::Environment;

const PRIVATE: u32 = 0o700;
const OTHERS: u32 = 0o077;

/// The directory that we choose when the configuration does not say where these files belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
    uid: u32,
}

/// Why the run directory cannot be used. Nothing was changed, but it may have been made.
#[derive(Debug, thiserror::Error)]
pub enum RunDirectoryError {
    /// It could not be made, given away or looked at.
    #[error("cannot {attempt} the run directory {}: {source}", path.display())]
    Io {
        /// What was attempted: "make".
        attempt: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Something else has its name, perhaps a link to somewhere else.
    #[error("the run directory {} is not a directory: remove it", .0.display())]
    NotADirectory(PathBuf),
    /// It belongs to somebody else.
    #[error("the run directory {} belongs to user id {owner}, not to {expected}: remove it", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// The user id that it belongs to.
        owner: u32,
        /// The user id that it must belong to.
        expected: u32,
    },
    /// Others than its owner can get in.
    #[error("the run directory {} has mode {mode:04o}: give it 0700 (under systemd: RuntimeDirectoryMode=0700)", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The user that the daemon is to run as does not exist.
    #[error("cannot give the run directory {} to user {user:?}: there is no such user", path.display())]
    NoUser {
        /// The directory.
        path: PathBuf,
        /// The user's name.
        user: String,
    },
}

impl RunDirectory {
    /// What systemd made for the service; else `leaseway` in the session's run directory; else
    /// `/run/leaseway` for root and `/tmp/leaseway-{uid}` for anybody else.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let uid = environment.uid;
        let service = of_service(environment.runtime_directory.as_deref());
        let session = absolute(environment.xdg_runtime_dir.as_deref());
        let path = match (service, session) {
            (Some(service), _) => service,
            (None, Some(session)) => session.join("leaseway"),
            (None, None) if uid == 0 => PathBuf::from("/run/leaseway"),
            (None, None) => PathBuf::from(format!("/tmp/leaseway-{uid}")),
        };
        Self { path, uid }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> String {
        // Not lossy: the path came from text.
        self.path.join(name).to_string_lossy().into_owned()
    }

    /// Makes the directory if it is not there, and checks that it is ours alone. A daemon needs it
    /// for its pid file, an upgrade for its socket, a snapshot may be kept in it. `user`: whom a daemon started by root becomes.
    ///
    /// # Errors
    /// When it can neither be made nor used as it is.
    pub fn prepare(&self, user: Option<&str>) -> Result<(), RunDirectoryError> {
        let owner = self.owner(user)?;
        match DirBuilder::new().mode(PRIVATE).create(&self.path) {
            Ok(()) if owner != self.uid => {
                chown(&self.path, Some(owner), None).map_err(|e| self.io("give away", e))?;
            }
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.io("make", error)),
        }
        self.check(owner)
    }

    fn owner(&self, user: Option<&str>) -> Result<u32, RunDirectoryError> {
        let Some(name) = user else {
            return Ok(self.uid);
        };
        match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(RunDirectoryError::NoUser { path: self.path.clone(), user: name.into() }),
            Err(errno) => Err(self.io("find the owner of", from_errno(errno))),
        }
    }

    fn check(&self, expected: u32) -> Result<(), RunDirectoryError> {
        let path = self.path.clone();
        // Of the name itself: a link may lead into somebody else's directory.
        let found = fs::symlink_metadata(&path).map_err(|e| self.io("look at", e))?;
        let (owner, mode) = (found.uid(), found.mode() & 0o7777);
        if !found.is_dir() {
            Err(RunDirectoryError::NotADirectory(path))
        } else if owner != expected {
            Err(RunDirectoryError::Foreign { path, owner, expected })
        } else if mode & OTHERS != 0 {
            Err(RunDirectoryError::Open { path, mode })
        } else {
            Ok(())
        }
    }

    fn io(&self, attempt: &'static str, source: io::Error) -> RunDirectoryError {
        RunDirectoryError::Io { attempt, path: self.path.clone(), source }
    }
}

fn from_errno(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}

/// The first of the directories that systemd made for the service: it separates them by colons.
pub(super) fn of_service(list: Option<&str>) -> Option<PathBuf> {
    absolute(list.and_then(|list| list.split(':').next()))
}

fn absolute(path: Option<&str>) -> Option<PathBuf> {
    path.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn environment(uid: u32, service: Option<&str>, session: Option<&str>) -> Environment {
        Environment {
            daemon: false,
            uid,
            cores: NonZeroUsize::MIN,
            runtime_directory: service.map(str::to_owned),
            state_directory: None,
            xdg_runtime_dir: session.map(str::to_owned),
        }
    }

    fn ours(path: PathBuf) -> RunDirectory {
        RunDirectory { path, uid: Environment::of_this_process().uid }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_most_specific_directory_is_chosen() {
        for (uid, service, session, expected) in [
            (7, Some("/run/leaseway"), Some("/run/user/7"), "/run/leaseway"),
            (7, Some("/run/a:/run/b"), None, "/run/a"),
            (7, Some(""), Some("/run/user/7"), "/run/user/7/leaseway"),
            (7, None, Some("/run/user/7"), "/run/user/7/leaseway"),
            (7, None, Some("relative"), "/tmp/leaseway-7"),
            (7, None, None, "/tmp/leaseway-7"),
            (0, None, None, "/run/leaseway"),
        ] {
            let chosen = RunDirectory::of(&environment(uid, service, session));
            assert_eq!(chosen.path(), Path::new(expected));
        }
    }

    #[test]
    fn it_is_made_for_us_alone_and_found_again() {
        let parent = tempfile::tempdir().unwrap();
        let directory = ours(parent.path().join("leaseway"));
        directory.prepare(None).unwrap();
        assert_eq!(mode(directory.path()), PRIVATE);
        directory.prepare(None).unwrap();
    }

    #[test]
    fn one_that_others_can_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        for others in [0o755, 0o710, 0o701, 0o1777] {
            fs::set_permissions(parent.path(), fs::Permissions::from_mode(others)).unwrap();
            let error = ours(parent.path().to_owned()).prepare(None).unwrap_err();
            assert!(matches!(error, RunDirectoryError::Open { mode, .. } if mode == others), "{error}");
        }
    }

    #[test]
    fn a_link_or_a_file_of_its_name_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let (link, file) = (parent.path().join("link"), parent.path().join("file"));
        symlink(parent.path(), &link).unwrap();
        fs::write(&file, "").unwrap();
        for path in [link, file] {
            let error = ours(path).prepare(None).unwrap_err();
            assert!(matches!(error, RunDirectoryError::NotADirectory(_)), "{error}");
        }
    }

    #[test]
    fn one_of_another_user_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let uid = Environment::of_this_process().uid + 1;
        let directory = RunDirectory { path: parent.path().to_owned(), uid };
        let error = directory.prepare(None).unwrap_err();
        assert!(matches!(error, RunDirectoryError::Foreign { expected, .. } if expected == uid), "{error}");
    }

    #[test]
    fn an_owner_who_does_not_exist_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let directory = ours(parent.path().join("leaseway"));
        let error = directory.prepare(Some("nobody-has-this-name")).unwrap_err();
        assert!(error.to_string().contains("nobody-has-this-name"), "{error}");
        assert!(!directory.path().exists());
    }

    #[test]
    fn a_missing_parent_is_an_error_that_names_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let error = ours(parent.path().join("missing/leaseway")).prepare(None).unwrap_err();
        assert!(error.to_string().contains("missing/leaseway"), "{error}");
    }
}
