//! The directory of the pid file and the upgrade socket, unless the configuration puts them elsewhere: ours alone.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::User;

use super::access::{AccessError, Who, Wish};
use super::environment::Environment;
use super::ours::{self, NotOurs};

const PRIVATE: u32 = 0o700;

/// The directory that we choose when the configuration does not say where these files belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    uid: u32,
}

/// Why the run directory cannot be used. Nothing was changed, but it may have been made.
#[derive(Debug, thiserror::Error)]
pub enum RunDirectoryError {
    /// It could not be made or given away.
    #[error("cannot {attempt} the run directory {}: {source}", path.display())]
    Io {
        /// What was attempted: "make".
        attempt: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is not there, and will not be made.
    #[error("cannot make the run directory {}: {why}", path.display())]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// What stands against it.
        why: AccessError,
    },
    /// Somebody else has it, or can get in.
    #[error("cannot use the run directory: {0}")]
    NotOurs(#[from] NotOurs),
    /// The user that the daemon is to run as does not exist.
    #[error("cannot give the run directory {} to user {user:?}: there is no such user", path.display())]
    NoUser {
        /// The directory.
        path: PathBuf,
        /// The user's name.
        user: String,
    },
}

impl RunDirectoryError {
    /// Whether there is no place for one, as in a container whose file system is read-only.
    #[must_use]
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
            || matches!(self, Self::NoRoom { why: AccessError::ReadOnly(_), .. })
    }
}

impl RunDirectory {
    /// What systemd made for the service; else `leaseway` in the session's run directory; else
    /// `/run/leaseway` for root and `/tmp/leaseway-{uid}` for anybody else.
    #[must_use]
    pub(crate) fn of(environment: &Environment) -> Self {
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
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> String {
        // Not lossy: the path came from text.
        self.path.join(name).to_string_lossy().into_owned()
    }

    /// The path of a file beside it that has its name, and this after a dot.
    pub(super) fn beside(&self, extension: &str) -> String {
        format!("{}.{extension}", self.path.display())
    }

    /// Whether this file is in it.
    #[must_use]
    pub(crate) fn holds(&self, file: &Path) -> bool {
        file.parent() == Some(&self.path)
    }

    /// Makes the directory if it is not there, and checks that it is ours alone. `user`: whom a daemon started by
    /// root becomes.
    ///
    /// # Errors
    /// When it can neither be made nor used as it is.
    pub(crate) fn prepare(&self, user: Option<&str>) -> Result<(), RunDirectoryError> {
        let owner = self.owner(user)?;
        match DirBuilder::new().mode(PRIVATE).create(&self.path) {
            Ok(()) if owner != self.uid => {
                chown(&self.path, Some(owner), None).map_err(|e| self.io("give away", e))?;
            }
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.io("make", error)),
        }
        Ok(ours::check_private(&self.path, owner)?)
    }

    /// Says what [`prepare`](Self::prepare) would say, and changes nothing.
    ///
    /// # Errors
    /// As `prepare`.
    pub(crate) fn foresee(&self, user: Option<&str>) -> Result<(), RunDirectoryError> {
        let owner = self.owner(user)?;
        if fs::symlink_metadata(&self.path).is_ok() {
            return Ok(ours::check_private(&self.path, owner)?);
        }
        let parent = self.path.parent().unwrap_or(&self.path);
        let made = Who::of_this_process().may(Wish::WriteInto, parent);
        made.map_err(|why| RunDirectoryError::NoRoom { path: self.path.clone(), why })
    }

    /// The user id that the gateway runs as.
    ///
    /// # Errors
    /// When there is no user of this name.
    pub(crate) fn owner(&self, user: Option<&str>) -> Result<u32, RunDirectoryError> {
        let Some(name) = user else {
            return Ok(self.uid);
        };
        match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(RunDirectoryError::NoUser { path: self.path.clone(), user: name.into() }),
            Err(errno) => Err(self.io("find the owner of", from_errno(errno))),
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
    use std::os::unix::fs::PermissionsExt;

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
    fn one_that_is_not_ours_alone_is_refused_before_and_at_the_start() {
        let parent = tempfile::tempdir().unwrap();
        let uid = Environment::of_this_process().uid + 1;
        let foreign = RunDirectory { path: parent.path().to_owned(), uid };
        let refused = [foreign.prepare(None), foreign.foresee(None)];
        assert!(refused.iter().all(|r| matches!(r, Err(RunDirectoryError::NotOurs(_)))), "{refused:?}");
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let open = ours(parent.path().to_owned());
        let refused = [open.prepare(None), open.foresee(None)];
        assert!(refused.iter().all(|r| matches!(r, Err(RunDirectoryError::NotOurs(_)))), "{refused:?}");
    }

    #[test]
    fn what_the_start_would_make_is_not_made_before() {
        let parent = tempfile::tempdir().unwrap();
        let directory = ours(parent.path().join("leaseway"));
        directory.foresee(None).unwrap();
        assert!(!directory.path().exists());
        directory.prepare(None).unwrap();
        directory.foresee(None).unwrap();
        let error = ours(parent.path().join("missing/leaseway")).foresee(None).unwrap_err();
        let expected =
            format!("cannot make the run directory {}", parent.path().join("missing/lea").display());
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    #[test]
    fn no_room_on_a_read_only_file_system_is_told_apart() {
        let path = PathBuf::from("/tmp/leaseway-7");
        let io = |kind: io::ErrorKind| RunDirectoryError::Io {
            attempt: "make",
            path: path.clone(),
            source: kind.into(),
        };
        assert!(io(io::ErrorKind::ReadOnlyFilesystem).is_read_only());
        assert!(!io(io::ErrorKind::PermissionDenied).is_read_only());
        let why = AccessError::ReadOnly("/tmp".into());
        assert!(RunDirectoryError::NoRoom { path: path.clone(), why }.is_read_only());
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
