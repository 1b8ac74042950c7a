//! Passwords and keys that others can read. They keep no program from starting: it is for the program to warn of them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tonic::transport::Uri;

use super::ConnectionSettings;

const OTHERS_READ: u32 = 0o004;
const OTHERS_ENTER: u32 = 0o001;

/// A secret that others can read. Its text (`Display`) says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exposed {
    /// A password that leaves this machine without TLS.
    #[error(
        "the password goes to {0} unencrypted: whoever is on the way there can read it, and can change what the \
         registry answers. Let the registry serve TLS, and write https://"
    )]
    OnTheWay(String),
    /// A file with a password or a key.
    #[error(
        "everybody on this machine may read {}, which has mode {mode:04o}: take that right from them, as with \
         `chmod o= {}` (or `defaultMode: 0440` of a secret in Kubernetes), and let its owner and group alone read it",
        path.display(), path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Its permissions, as `chmod` takes them: `0o644`.
        mode: u32,
    },
}

impl Exposed {
    /// The first of these endpoints that a password would reach in clear text, on another machine.
    #[must_use]
    pub fn on_the_way(endpoints: &[String]) -> Option<Self> {
        let exposed = endpoints.iter().find(|endpoint| leaves_in_clear(endpoint));
        exposed.cloned().map(Self::OnTheWay)
    }

    /// A file that everybody may read, if they may also enter the directories that it is in. A file that only a group
    /// may read is not exposed: a group is for those who are to read it. Nor is one that cannot be looked at: whoever
    /// tries to read it will report that.
    #[must_use]
    pub fn file(path: &Path) -> Option<Self> {
        let target = fs::canonicalize(path).ok()?;
        let mode = fs::metadata(&target).ok()?.mode() & 0o7777;
        let is_closed =
            |directory: &Path| fs::metadata(directory).is_ok_and(|d| d.mode() & OTHERS_ENTER == 0);
        let is_exposed = mode & OTHERS_READ != 0 && !target.ancestors().skip(1).any(is_closed);
        is_exposed.then(|| Self::File { path: path.to_owned(), mode })
    }
}

impl ConnectionSettings {
    /// What others can read of these settings' secrets: the password on its way, the files of password and key. It
    /// looks at the files as they are now.
    #[must_use]
    pub fn exposed(&self) -> Vec<Exposed> {
        let password = self.user.as_ref().map(|user| &*user.password_file);
        let key = self.tls.as_ref().and_then(|tls| tls.key.as_deref());
        let on_the_way = password.and_then(|_| Exposed::on_the_way(&self.endpoints));
        on_the_way
            .into_iter()
            .chain([password, key].into_iter().flatten().filter_map(Exposed::file))
            .collect()
    }
}

fn leaves_in_clear(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<Uri>() else { return false };
    uri.scheme_str() == Some("http") && !uri.host().is_some_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Tls, User};
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_is_exposed_on_its_way_to_another_machine_in_clear_text() {
        for (endpoint, is_exposed) in [
            ("http://etcd:2379", true),
            ("http://10.0.0.5:2379", true),
            ("http://[2001:db8::5]:2379", true),
            ("http://[::ffff:10.0.0.5]:2379", true),
            ("http://localhost.example.com:2379", true),
            ("http://127.0.0.1.example.com:2379", true),
            ("HTTP://etcd:2379", true),
            ("https://etcd:2379", false),
            ("http://localhost:2379", false),
            ("http://LocalHost:2379", false),
            ("http://127.0.0.1:2379", false),
            ("http://127.1.2.3:2379", false),
            ("http://[::1]:2379", false),
            ("http://[::ffff:127.0.0.1]:2379", false),
        ] {
            let exposed = Exposed::on_the_way(&["https://a:1".into(), endpoint.into()]);
            let expected = is_exposed.then(|| Exposed::OnTheWay(endpoint.into()));
            assert_eq!(exposed, expected, "{endpoint}");
        }
    }

    #[test]
    fn a_file_is_exposed_if_everybody_may_read_it_and_come_to_it() {
        let place = tempfile::tempdir().unwrap();
        let (inner, file, link) =
            (place.path().join("a"), place.path().join("a/file"), place.path().join("link"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "secret").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (outer, middle, mode, is_exposed) in [
            (0o755, 0o755, 0o644, true),
            (0o711, 0o711, 0o604, true),
            (0o755, 0o755, 0o640, false),
            (0o755, 0o755, 0o662, false),
            (0o700, 0o755, 0o644, false),
            (0o755, 0o750, 0o644, false),
        ] {
            allow(place.path(), outer);
            allow(&inner, middle);
            allow(&file, mode);
            for path in [&file, &link] {
                let expected = is_exposed.then(|| Exposed::File { path: path.clone(), mode });
                assert_eq!(Exposed::file(path), expected, "{outer:o} {middle:o} {mode:o}");
            }
        }
        assert_eq!(Exposed::file(&place.path().join("missing")), None);
    }

    #[test]
    fn a_connection_tells_of_all_its_secrets() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = place.path().join(name);
            fs::write(&path, "secret").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            path
        };
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        let (password_file, key) = (file("password"), file("key"));
        let connection = ConnectionSettings {
            user: Some(User { name: "goods".into(), password_file: password_file.clone() }),
            tls: Some(Tls { cert: Some(file("cert")), key: Some(key.clone()), ca: None }),
            ..ConnectionSettings::to(["http://etcd:2379"])
        };
        let of = |path| Exposed::File { path, mode: 0o644 };
        let all = [Exposed::OnTheWay("http://etcd:2379".into()), of(password_file), of(key)];
        assert_eq!(connection.exposed(), all);
        assert_eq!(ConnectionSettings { user: None, tls: None, ..connection }.exposed(), []);
    }
}
