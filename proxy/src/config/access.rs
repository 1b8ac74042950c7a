//! Whether a user may read a file or write into a directory.
//!
//! The kernel is asked, for what the mode says is not all: there are access control lists, file systems that
//! are read-only, and containers in which root is none. Of another user it is asked by a thread of its own
//! that takes this user's place for files alone (setfsuid(2)); the process stays what it is.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, faccessat, getegid, geteuid, getgrouplist, setfsgid, setfsuid,
};

/// Whoever the gateway runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    name: String,
    uid: Uid,
    /// The groups of a user that the process becomes only later; none: it is this one already.
    becomes: Option<Vec<Gid>>,
}

/// What somebody wants of a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To read a file.
    Read,
    /// To make and replace files in a directory.
    WriteInto,
}

/// Why a wish is not granted. Each says whose it was, and on what.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Somebody else owns it.
    #[error("{0}")]
    Denied(Box<Denied>),
    /// Nobody may write there.
    #[error(
        "{} is on a file system that is read-only here (under systemd, StateDirectory=leaseway lets the \
         gateway write to /var/lib/leaseway)", .0.display()
    )]
    ReadOnly(PathBuf),
    /// It is not there, say.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// What could not be reached.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// A file or a directory that its owner keeps from us.
#[derive(Debug)]
pub struct Denied {
    who: Who,
    verb: &'static str,
    path: PathBuf,
    owner: String,
    mode: u32,
}

impl Who {
    /// The user of this process.
    pub(crate) fn of_this_process() -> Self {
        let uid = geteuid();
        let user = User::from_uid(uid).ok().flatten();
        Self { name: user.map_or_else(|| uid.to_string(), |user| user.name), uid, becomes: None }
    }

    /// The user whom root's daemon becomes; this process's user where there is none of this name, or where
    /// it cannot become another. The daemon has all of the user's groups, and `group` beside them; without one
    /// Pingora leaves it the group of the process that started it.
    pub(crate) fn of_daemon(user: &str, group: Option<&str>) -> Self {
        let ours = Self::of_this_process();
        match User::from_name(user) {
            Ok(Some(user)) if ours.uid.is_root() && user.uid != ours.uid => {
                let groups = std::ffi::CString::new(user.name.as_bytes()).ok();
                let groups = groups.and_then(|name| getgrouplist(&name, user.gid).ok());
                let mut groups = groups.unwrap_or(vec![user.gid]);
                groups.extend(match group {
                    Some(group) => Group::from_name(group).ok().flatten().map(|group| group.gid),
                    None => Some(getegid()),
                });
                Self { name: user.name, uid: user.uid, becomes: Some(groups) }
            }
            _ => ours,
        }
    }

    /// How a user is called at a command line.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Whether this user may do so, on the way there too. Changes nothing.
    pub(crate) fn may(&self, wish: Wish, path: &Path) -> Result<(), AccessError> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut steps: Vec<&Path> = path.ancestors().collect();
        steps.reverse();
        // Opened as whom we are now: where to find it is not what is asked.
        let mut opened = Vec::new();
        let mut missing = None;
        for step in steps {
            match OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(step) {
                Ok(file) => opened.push((step, file)),
                Err(source) => {
                    missing = Some(AccessError::Io { path: step.to_owned(), source });
                    break;
                }
            }
        }
        let refused = self.in_place(|groups| {
            opened.iter().find_map(|(step, file)| {
                let wish = (*step == path).then_some(wish);
                let refused = ask(file, flags(wish), groups).err()?;
                self.refusal(wish, step, file, refused)
            })
        });
        match refused.or(missing) {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Asks in this user's place; an empty answer where that cannot be taken.
    fn in_place<T: Send>(&self, ask: impl FnOnce(&[Gid]) -> Option<T> + Send) -> Option<T> {
        let Some(groups) = &self.becomes else { return ask(&[]) };
        let asking = || {
            setfsuid(self.uid);
            // It answers with the user that was set before, and sets none of this number.
            let is_set = setfsuid(Uid::from_raw(u32::MAX)) == self.uid;
            if is_set { ask(groups) } else { None }
        };
        thread::scope(|scope| scope.spawn(asking).join().ok().flatten())
    }

    fn refusal(&self, wish: Option<Wish>, path: &Path, file: &File, errno: Errno) -> Option<AccessError> {
        let path = path.to_owned();
        match errno {
            Errno::EROFS => Some(AccessError::ReadOnly(path)),
            Errno::EACCES => {
                let found = file.metadata().ok()?;
                let (owner, mode) = (owner(&found), found.mode() & 0o7777);
                let verb = match wish {
                    None => "enter",
                    Some(Wish::Read) => "read",
                    Some(Wish::WriteInto) => "write into",
                };
                Some(AccessError::Denied(Box::new(Denied { who: self.clone(), verb, path, owner, mode })))
            }
            // A kernel or a filter of system calls that does not take the question has not said no.
            _ => None,
        }
    }
}

/// `leaseway (uid 999)`, and where the user comes from if not from whoever runs this.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let later = if self.becomes.is_some() { ", whom the daemon becomes" } else { "" };
        write!(f, "user {} (uid {}{later})", self.name, self.uid)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, verb, path, owner, mode } = self;
        let path = path.display();
        write!(
            f,
            "{who} may not {verb} {path}: it belongs to {owner} and has mode {mode:04o}. Change that, or run \
             the gateway as a user who may"
        )
    }
}

/// Of a directory on the way only that it can be entered is wanted.
fn flags(wish: Option<Wish>) -> AccessFlags {
    match wish {
        None => AccessFlags::X_OK,
        Some(Wish::Read) => AccessFlags::R_OK,
        Some(Wish::WriteInto) => AccessFlags::W_OK | AccessFlags::X_OK,
    }
}

/// Asks once for each group, since a thread has only one group of its own; `groups`: none for those that
/// this process has.
fn ask(file: &File, flags: AccessFlags, groups: &[Gid]) -> Result<(), Errno> {
    let at = AtFlags::AT_EACCESS | AtFlags::AT_EMPTY_PATH;
    let ask = || faccessat(file.as_fd(), Path::new(""), flags, at);
    let mut answer = if groups.is_empty() { ask() } else { Err(Errno::EACCES) };
    for group in groups {
        setfsgid(*group);
        answer = ask();
        if answer.is_ok() {
            break;
        }
    }
    answer
}

fn owner(found: &fs::Metadata) -> String {
    let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(found.gid())).ok().flatten();
    let user = user.map_or_else(|| found.uid().to_string(), |user| user.name);
    let group = group.map_or_else(|| found.gid().to_string(), |group| group.name);
    format!("{user}:{group}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};

    const OTHER: &str = "nobody";

    /// A file below a directory below another, all of this process's user alone.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a").join("file");
        fs::create_dir(place.path().join("a")).unwrap();
        fs::write(&file, "secret").unwrap();
        (place, file)
    }

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What root is told of another user; whoever else runs the test is told of himself, and may.
    fn told(wish: Wish, path: &Path) -> Option<String> {
        Who::of_daemon(OTHER, None).may(wish, path).err().map(|error| error.to_string())
    }

    fn is_root() -> bool {
        geteuid().is_root()
    }

    #[test]
    fn the_first_step_that_is_closed_is_named_with_its_owner_and_mode() {
        let (place, file) = place();
        let (outer, inner) = (place.path(), file.parent().unwrap());
        for (step, mode, verb) in [(outer, 0o700, "enter"), (inner, 0o700, "enter"), (&file, 0o600, "read")] {
            allow(step, mode);
            let told = told(Wish::Read, &file);
            assert_eq!(told.is_some(), is_root(), "{told:?}");
            if let Some(told) = told {
                let (step, step_mode) = (step.display(), format!("has mode {mode:04o}"));
                assert!(
                    told.starts_with("user nobody (uid 65534, whom the daemon becomes) may not"),
                    "{told}"
                );
                assert!(
                    told.contains(&format!("may not {verb} {step}: it belongs to root:root and ")),
                    "{told}"
                );
                assert!(told.contains(&step_mode), "{told}");
            }
            allow(step, 0o755);
        }
        assert_eq!(told(Wish::Read, &file), None);
        assert_eq!(Who::of_this_process().may(Wish::Read, &file).ok(), Some(()));
    }

    #[test]
    fn a_directory_that_can_be_read_is_not_one_to_write_into() {
        let (place, file) = place();
        let directory = file.parent().unwrap();
        allow(place.path(), 0o755);
        let told_at = |mode| {
            allow(directory, mode);
            told(Wish::WriteInto, directory)
        };
        let refused = told_at(0o755);
        assert_eq!(refused.is_some(), is_root());
        assert!(refused.is_none_or(|told| told.contains("may not write into")));
        assert_eq!(told_at(0o777), None);
    }

    #[test]
    fn a_question_that_the_system_does_not_take_is_no_refusal() {
        let (_place, path) = place();
        let file = File::open(&path).unwrap();
        let refusal = |errno| Who::of_this_process().refusal(Some(Wish::Read), &path, &file, errno);
        for errno in [Errno::EPERM, Errno::ENOSYS, Errno::EINVAL] {
            assert!(refusal(errno).is_none(), "{errno}");
        }
        assert!(matches!(refusal(Errno::EACCES), Some(AccessError::Denied(_))));
        let read_only = refusal(Errno::EROFS).unwrap().to_string();
        assert!(read_only.contains("is on a file system that is read-only here"), "{read_only}");
    }

    #[test]
    fn each_of_a_users_groups_counts() {
        let (place, file) = place();
        let (directory, user) = (file.parent().unwrap(), User::from_name(OTHER).unwrap().unwrap());
        if !is_root() {
            return assert_eq!(told(Wish::Read, &file), None);
        }
        // One step for one group, the next for another.
        let other = Gid::from_raw(user.gid.as_raw() - 1);
        let who = Who { becomes: Some(vec![user.gid, other]), ..Who::of_daemon(OTHER, None) };
        for (path, group, mode) in
            [(place.path(), user.gid, 0o710), (directory, other, 0o750), (&file, user.gid, 0o640)]
        {
            chown(path, None, Some(group.as_raw())).unwrap();
            allow(path, mode);
        }
        assert!(who.may(Wish::Read, &file).is_ok());
        let stranger = Who { becomes: Some(vec![Gid::from_raw(1)]), ..who };
        assert!(stranger.may(Wish::Read, &file).is_err());
    }

    /// As a key that Debian's group ssl-cert may read.
    #[test]
    fn the_daemon_reads_what_its_own_group_may_read() {
        let (place, file) = place();
        if !is_root() {
            return assert_eq!(told(Wish::Read, &file), None);
        }
        let group = Group::from_name("daemon").unwrap().unwrap();
        for path in [place.path(), file.parent().unwrap()] {
            allow(path, 0o755);
        }
        allow(&file, 0o640);
        let may = |group: Option<&str>| Who::of_daemon(OTHER, group).may(Wish::Read, &file).is_ok();
        chown(&file, None, Some(group.gid.as_raw())).unwrap();
        assert_eq!([None, Some("daemon")].map(may), [false, true]);
        chown(&file, None, Some(getegid().as_raw())).unwrap();
        assert!(may(None), "without one it keeps that of its parent");
    }

    #[test]
    fn what_is_missing_is_named_and_a_user_who_does_not_exist_is_not_asked_for() {
        let (place, file) = place();
        let missing = place.path().join("b").join("file");
        let error = Who::of_this_process().may(Wish::Read, &missing).unwrap_err();
        let expected = format!("cannot read {}: No such file", place.path().join("b").display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(Who::of_daemon("nobody-has-this-name", None).may(Wish::Read, &file).is_ok());
    }
}
