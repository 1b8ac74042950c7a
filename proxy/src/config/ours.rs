//! Whether a place on this machine is one user's alone.
//!
//! On SIGQUIT the listening sockets go to whoever listens at the path of the upgrade socket. So nobody else may be
//! able to put anything there: not in the directory, which is ours and closed to others, nor another directory in
//! its place. Others must not reach the socket of a new process either: Pingora makes it with mode 0666, and would
//! take any sockets that somebody sends.
//!
//! Root is trusted everywhere: whoever is root needs no upgrade socket. `owner` is the user id that the gateway
//! runs as, or will run as.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

const ROOT: u32 = 0;
const PERMISSIONS: u32 = 0o7777;
/// Every right of those who are not the owner.
const OTHERS: u32 = 0o077;
/// Their right to write: to make, rename and remove what is in a directory.
const OTHERS_WRITE: u32 = 0o022;
/// Where others may write, but rename and remove only what is theirs, as in /tmp.
const STICKY: u32 = 0o1000;
/// So many links of a path Linux follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Why a place is not one user's alone. Each names what was found, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// It cannot be looked at.
    #[error("cannot look at {}: {source}", path.display())]
    Unseen {
        /// What cannot.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Something else has its name, perhaps a link to somewhere else.
    #[error("{} is not a directory: remove it", .0.display())]
    NotADirectory(PathBuf),
    /// Likewise.
    #[error("{} is not a socket: remove it", .0.display())]
    NotASocket(PathBuf),
    /// It belongs to somebody else.
    #[error(
        "{} belongs to user id {owner}, not to {expected}: remove it, name another place, or run the gateway as \
         that user", path.display()
    )]
    Foreign {
        /// What belongs to him.
        path: PathBuf,
        /// The user id that it belongs to.
        owner: u32,
        /// The user id that it must belong to.
        expected: u32,
    },
    /// Others can get in.
    #[error(
        "{} has mode {mode:04o}, with which others can enter it: give it 0700 (under systemd: \
         RuntimeDirectoryMode=0700), or name another place", path.display()
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Others can put something in its place.
    #[error(
        "{} belongs to user id {owner} and has mode {mode:04o}, with which others can change what is in it: take \
         that right from them, or name another place", path.display()
    )]
    Changeable {
        /// The directory.
        path: PathBuf,
        /// The user id that it belongs to.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
}

/// Checks the place of an upgrade socket that is there or not.
///
/// # Errors
/// When somebody else than `owner` could put a socket there, or reach one.
pub(crate) fn check_place(socket: &Path, owner: u32) -> Result<(), NotOurs> {
    let directory = parent(socket);
    check_private(directory, owner)?;
    check_way(parent(directory), owner)
}

/// Checks an upgrade socket and its place. (Whose process listens on it can only be asked of a connection, and the
/// process that waits takes the first one for the one with the sockets.)
///
/// # Errors
/// When there is none, or not `owner`'s, or its place is not safe.
pub(crate) fn check_socket(socket: &Path, owner: u32) -> Result<(), NotOurs> {
    check_place(socket, owner)?;
    let found = look(fs::symlink_metadata(socket), socket)?;
    if !found.file_type().is_socket() {
        return Err(NotOurs::NotASocket(socket.to_owned()));
    }
    check_owner(&found, socket, owner)
}

/// Checks that a directory is `owner`'s, and that nobody else can enter it.
///
/// # Errors
/// When it is not so.
pub(super) fn check_private(directory: &Path, owner: u32) -> Result<(), NotOurs> {
    // Of the name itself: a link may lead into somebody else's directory.
    let found = look(fs::symlink_metadata(directory), directory)?;
    if !found.is_dir() {
        return Err(NotOurs::NotADirectory(directory.to_owned()));
    }
    check_owner(&found, directory, owner)?;
    match found.mode() & PERMISSIONS {
        mode if mode & OTHERS != 0 => Err(NotOurs::Open { path: directory.to_owned(), mode }),
        _ => Ok(()),
    }
}

/// Checks the place of a daemon's pid file or log: whoever can change what is there chooses which file is written to,
/// and which process is sent signals. `owner`: who opens it.
///
/// # Errors
/// When somebody else than `owner` and root could put a file there.
pub(super) fn check_kept_file(file: &Path, owner: u32) -> Result<(), NotOurs> {
    let directory = parent(file);
    check_kept(directory, owner, 0)?;
    check_way(parent(directory), owner)
}

/// Checks every directory on the way to what is in this one: those in which a name of the path is looked up, one after
/// the other, as the system does it. Where a name is a link, whoever can change the directory that it is in, or any on
/// the way to its target, chooses where the path leads.
fn check_way(directory: &Path, owner: u32) -> Result<(), NotOurs> {
    let mut reached = PathBuf::from("/");
    let mut rest = names(directory);
    let mut links = 0;
    check_kept(&reached, owner, STICKY)?;
    while let Some(name) = rest.pop() {
        if name == ".." {
            // What is above has been checked on the way down.
            reached.pop();
            continue;
        }
        let next = reached.join(&name);
        let found = look(fs::symlink_metadata(&next), &next)?;
        if found.is_symlink() {
            check_link(&found, &next, owner)?;
            links += 1;
            if links > MOST_LINKS {
                return Err(NotOurs::Unseen { path: directory.to_owned(), source: Errno::ELOOP.into() });
            }
            let target = look(fs::read_link(&next), &next)?;
            if target.is_absolute() {
                reached = PathBuf::from("/");
            }
            rest.extend(names(&target));
        } else {
            check_kept(&next, owner, STICKY)?;
            reached = next;
        }
    }
    Ok(())
}

/// The names that a path consists of, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let is_name = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    let names = path.components().filter(is_name).map(|part| part.as_os_str().to_owned());
    names.collect::<Vec<_>>().into_iter().rev().collect()
}

/// `excuse`: a permission that makes up for the right to write.
fn check_kept(directory: &Path, owner: u32, excuse: u32) -> Result<(), NotOurs> {
    let found = look(fs::metadata(directory), directory)?;
    let (of, mode) = (found.uid(), found.mode() & PERMISSIONS);
    let is_kept = mode & OTHERS_WRITE == 0 || mode & excuse != 0;
    if is_kept && [owner, ROOT].contains(&of) {
        return Ok(());
    }
    Err(NotOurs::Changeable { path: directory.to_owned(), owner: of, mode })
}

/// In a directory such as /tmp everybody may change what is his: where his links lead, too.
fn check_link(found: &Metadata, link: &Path, owner: u32) -> Result<(), NotOurs> {
    match found.uid() {
        of if [owner, ROOT].contains(&of) => Ok(()),
        of => Err(NotOurs::Foreign { path: link.to_owned(), owner: of, expected: owner }),
    }
}

fn check_owner(found: &Metadata, path: &Path, expected: u32) -> Result<(), NotOurs> {
    match found.uid() {
        owner if owner == expected => Ok(()),
        owner => Err(NotOurs::Foreign { path: path.to_owned(), owner, expected }),
    }
}

fn look<T>(found: io::Result<T>, path: &Path) -> Result<T, NotOurs> {
    found.map_err(|source| NotOurs::Unseen { path: path.to_owned(), source })
}

/// The configuration's paths are absolute.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use std::os::unix::net::UnixListener;

    use nix::unistd::geteuid;
    use tempfile::TempDir;

    /// A directory of mode 0700 within another, and the path of a socket in the inner one.
    fn place() -> (TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        allow(&inner, 0o700);
        (outer, inner.join("socket"))
    }

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn us() -> u32 {
        geteuid().as_raw()
    }

    #[test]
    fn a_socket_of_ours_in_a_directory_of_ours_is_taken() {
        let (_outer, socket) = place();
        check_place(&socket, us()).unwrap();
        assert!(matches!(check_socket(&socket, us()), Err(NotOurs::Unseen { .. })), "there is none yet");
        let _listener = UnixListener::bind(&socket).unwrap();
        allow(&socket, 0o666);
        check_socket(&socket, us()).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_enter_is_none() {
        let (_outer, socket) = place();
        for open in [0o777, 0o755, 0o770, 0o710, 0o701, 0o1777] {
            allow(socket.parent().unwrap(), open);
            let error = check_place(&socket, us()).unwrap_err();
            assert!(matches!(error, NotOurs::Open { mode, .. } if mode == open), "{error}");
            assert!(check_socket(&socket, us()).is_err());
        }
    }

    #[test]
    fn a_directory_and_a_socket_of_another_user_are_none() {
        let (_outer, socket) = place();
        let _listener = UnixListener::bind(&socket).unwrap();
        let other = us() + 1;
        let error = check_place(&socket, other).unwrap_err();
        assert!(
            matches!(error, NotOurs::Foreign { owner, expected, .. } if (owner, expected) == (us(), other)),
            "{error}"
        );
        let found = fs::symlink_metadata(&socket).unwrap();
        assert!(check_owner(&found, &socket, us()).is_ok());
        assert!(check_owner(&found, &socket, other).is_err());
    }

    #[test]
    fn a_link_and_a_file_in_the_place_of_directory_or_socket_are_refused() {
        let (outer, socket) = place();
        let (link, file) = (outer.path().join("link"), outer.path().join("file"));
        symlink(socket.parent().unwrap(), &link).unwrap();
        fs::write(&file, "").unwrap();
        for directory in [link, file] {
            let error = check_place(&directory.join("socket"), us()).unwrap_err();
            assert!(matches!(error, NotOurs::NotADirectory(_)), "{error}");
        }
        let elsewhere = outer.path().join("elsewhere");
        let _listener = UnixListener::bind(&elsewhere).unwrap();
        symlink(&elsewhere, &socket).unwrap();
        assert!(matches!(check_socket(&socket, us()), Err(NotOurs::NotASocket(_))));
    }

    #[test]
    fn a_directory_in_whose_place_others_can_put_another_is_none() {
        let (outer, socket) = place();
        for (mode, is_safe) in
            [(0o755, true), (0o1777, true), (0o1775, true), (0o777, false), (0o775, false), (0o702, false)]
        {
            allow(outer.path(), mode);
            let checked = check_place(&socket, us());
            assert_eq!(checked.is_ok(), is_safe, "{mode:o}");
            let is_named = |e: NotOurs| matches!(e, NotOurs::Changeable { path, .. } if path == outer.path());
            assert!(checked.err().is_none_or(is_named), "{mode:o}");
        }
    }

    #[test]
    fn a_link_of_another_user_leads_where_he_wants() {
        let (outer, socket) = place();
        allow(outer.path(), 0o1777);
        let link = outer.path().join("link");
        symlink(outer.path(), &link).unwrap();
        let by_link = link.join("inner").join(socket.file_name().unwrap());
        check_place(&by_link, us()).unwrap();
        let found = fs::symlink_metadata(&link).unwrap();
        if us() == ROOT {
            // Whom root trusts is root: so it has to be somebody else's.
            lchown(&link, Some(ROOT + 1), None).unwrap();
            let error = check_place(&by_link, us()).unwrap_err();
            assert!(matches!(error, NotOurs::Foreign { path, owner: 1, .. } if path == link));
        } else {
            assert!(matches!(check_link(&found, &link, us() + 1), Err(NotOurs::Foreign { .. })));
        }
        assert!(check_link(&found, &link, us()).is_ok());
    }

    #[test]
    fn both_ends_of_a_link_on_the_way_count() {
        let (outer, socket) = place();
        let (open, closed) = (outer.path().join("open"), outer.path().join("closed"));
        for (directory, mode) in [(&open, 0o777), (&closed, 0o755)] {
            fs::create_dir(directory).unwrap();
            allow(directory, mode);
        }
        // Somebody could make the link lead elsewhere.
        symlink(outer.path(), open.join("link")).unwrap();
        assert!(matches!(
            check_place(&open.join("link/inner/socket"), us()),
            Err(NotOurs::Changeable { path, .. }) if path == open
        ));
        // Somebody could put another directory where the link leads.
        fs::create_dir(open.join("ours")).unwrap();
        allow(&open.join("ours"), 0o700);
        fs::create_dir(open.join("ours/inner")).unwrap();
        allow(&open.join("ours/inner"), 0o700);
        symlink(open.join("ours"), closed.join("link")).unwrap();
        assert!(matches!(
            check_place(&closed.join("link/inner/socket"), us()),
            Err(NotOurs::Changeable { path, .. }) if path == open
        ));
        symlink(outer.path(), closed.join("home")).unwrap();
        check_place(&closed.join("home").join("inner").join(socket.file_name().unwrap()), us()).unwrap();
    }

    #[test]
    fn every_link_of_a_chain_counts_and_the_chain_ends() {
        let (outer, _socket) = place();
        let at = |name: &str| outer.path().join(name);
        for (name, mode) in [("safe", 0o755), ("open", 0o777)] {
            fs::create_dir(at(name)).unwrap();
            allow(&at(name), mode);
        }
        // Somebody could make the second link lead elsewhere, although both ends are safe.
        symlink(outer.path(), at("open/second")).unwrap();
        symlink(at("open/second"), at("safe/absolute")).unwrap();
        symlink("../open/second", at("safe/relative")).unwrap();
        for link in ["safe/absolute", "safe/relative"] {
            let checked = check_place(&at(link).join("inner/socket"), us());
            assert!(matches!(checked, Err(NotOurs::Changeable { path, .. }) if path == at("open")), "{link}");
        }
        allow(&at("open"), 0o755);
        for link in ["safe/absolute", "safe/relative"] {
            check_place(&at(link).join("inner/socket"), us()).unwrap();
        }
        symlink(at("safe/round"), at("safe/round")).unwrap();
        assert!(check_way(&at("safe/round"), us()).is_err());
    }

    #[test]
    fn a_daemons_file_may_lie_where_anybody_reads_and_nobody_else_writes() {
        let (_outer, file) = place();
        for (mode, is_safe) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false), (0o1777, false)]
        {
            allow(file.parent().unwrap(), mode);
            assert_eq!(check_kept_file(&file, us()).is_ok(), is_safe, "{mode:o}");
        }
        // Root's, as /run is.
        check_kept_file(Path::new("/pid"), us() + 1).unwrap();
        let (_outer, file) = place();
        assert_eq!(check_kept_file(&file, us() + 1).is_ok(), us() == ROOT);
    }
}
