//! What is looked at beside the text: the file itself, and the files, directories and users that it names.

use super::*;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedKey, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd, generate_simple_self_signed,
};

fn load(path: &Path) -> Result<Config, ConfigError> {
    Config::load(path, &environment(), Purpose::Test)
}

fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("missing.yaml"), directory.path().to_owned()] {
        let error = load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_file_that_is_not_utf8_is_told_where() {
    let directory = tempfile::tempdir().unwrap();
    let latin1 = write(directory.path(), "a.yaml", b"version: 1\n# gr\xfc\xdfe\n");
    assert!(matches!(load(&latin1), Err(ConfigError::Encoding { line: 2, .. })));
    let utf16 = write(directory.path(), "b.yaml", b"\xff\xfev\0e\0r\0");
    assert!(matches!(load(&utf16), Err(ConfigError::Encoding { line: 1, .. })));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    for filling in ["#", "ü", "€"] {
        let ten_megabytes = format!("{VALID}#{}", filling.repeat((10 << 20) / filling.len()));
        let path = write(directory.path(), "a.yaml", ten_megabytes);
        let error = load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::TooLarge { limit: SIZE, .. }), "{error}");
    }
    let just_fits = VALID.to_owned() + &"#".repeat(SIZE - VALID.len());
    let path = write(directory.path(), "b.yaml", just_fits);
    assert_eq!(load(&path).unwrap(), valid(VALID));
}

#[test]
fn what_the_configuration_names_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    write(directory.path(), "empty.pem", "");
    let text = format!(
        r#"{server}error_log: {0}/missing/log
pid_file: {0}/missing/pid
upgrade_sock: {0}
working_directory: {1}
user: nobody-has-this-name
group: nobody-has-this-name
ca_file: {1}
"#,
        at(""),
        at("empty.pem"),
        server = with_endpoints(&format!(
            "[\"https://a:1\"]\n    username: a\n    password_file: {}\n    tls: {{ ca: {}, cert: {}, key: {} }}",
            at("missing"),
            at("missing"),
            at(""),
            at("empty.pem"),
        )),
    );
    let path = write(directory.path(), "a.yaml", text);
    let told = load(&path).unwrap_err().to_string();
    let told: Vec<_> = told.lines().collect();
    let expected = [
        ("password_file", "No such file"),
        ("tls.ca", "No such file"),
        ("tls.cert", "is not a file"),
        ("tls.key", "has no private key in PEM format"),
        ("error_log", "No such file"),
        ("pid_file", "No such file"),
        ("upgrade_sock", "is not a file"),
        ("working_directory", "is not a directory"),
        ("user", "this machine has no user"),
        ("group", "this machine has no group"),
        ("ca_file", "has no certificate in PEM format"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, (key, reason)) in told.iter().zip(expected) {
        assert!(line.contains(&format!("{key}: ")) && line.contains(reason), "{line}");
    }
}

#[test]
fn a_snapshot_needs_a_directory_and_a_name_that_only_a_file_may_have() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let loaded = |snapshot: &str| {
        let text = with_registry(&format!("snapshot: {snapshot}"));
        load(&write(directory.path(), "a.yaml", text))
    };
    write(directory.path(), "snapshot", "from an earlier run");
    for taken in [at("snapshot"), at("of-the-first-run")] {
        assert_eq!(loaded(&taken).unwrap().gateway.registry.snapshot, Some(taken.into()));
    }
    for (refused, expected) in [
        (at("missing/snapshot"), format!("the directory {} is missing: make it for user ", at("missing"))),
        (at("snapshot/snapshot"), format!("{} is not a directory", at("snapshot"))),
        (at(""), format!("{} is not a file", at(""))),
        ("/dev/null".to_owned(), "/dev/null is not a file".to_owned()),
    ] {
        let told = loaded(&refused).unwrap_err().to_string();
        let expected = format!("a.yaml:6: gateway.registry.snapshot: {expected}");
        assert!(told.lines().count() == 1 && told.contains(&expected), "{told}");
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_is_a_mistake_to_a_test_and_a_remark_to_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    write(directory.path(), "file", "");
    let start = |snapshot: &str| {
        let text = with_registry(&format!("snapshot: {snapshot}"));
        let path = write(directory.path(), "a.yaml", text);
        assert!(load(&path).is_err(), "{snapshot}");
        Config::load(&path, &environment(), Purpose::Start)
    };
    for (snapshot, expected) in
        [(at("missing/a"), "is missing: make it"), (at("file/a"), "is not a directory")]
    {
        let config = start(&snapshot).unwrap();
        let remarks: Vec<_> = config.remarks.iter().map(ToString::to_string).collect();
        let [remark] = &remarks[..] else { panic!("{remarks:?}") };
        assert!(remark.contains("a.yaml:6: gateway.registry.snapshot: "), "{remark}");
        assert!(remark.contains(expected) && remark.ends_with("no snapshot is kept"), "{remark}");
        // Tried again as long as the gateway runs.
        assert_eq!(config.gateway.registry.snapshot, Some(snapshot.into()));
    }
    // A file of this name would take its place.
    assert!(start("/dev/null").is_err());
}

#[test]
fn mistakes_in_the_text_and_missing_files_are_listed_together() {
    let directory = tempfile::tempdir().unwrap();
    let text = with_registry("username: a\n    password_file: /nowhere/at/all\n    prefix: reg");
    let told = load(&write(directory.path(), "a.yaml", text)).unwrap_err().to_string();
    assert_eq!(told.lines().count(), 2, "{told}");
}

/// Files of a user and his certificate, and a configuration that names them.
struct Secrets {
    cert: PathBuf,
    key: PathBuf,
    password: PathBuf,
    text: String,
}

impl Secrets {
    fn write(directory: &Path) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["a".to_owned()]).unwrap();
        let cert = write(directory, "cert.pem", cert.pem());
        let key = write(directory, "key.pem", signing_key.serialize_pem());
        let password = write(directory, "password", "secret\n");
        let text = with_endpoints(&format!(
            "[\"https://a:1\"]\n    username: a\n    password_file: {}\n    tls: {{ ca: {2}, cert: {2}, key: {1} }}",
            password.display(),
            key.display(),
            cert.display(),
        ));
        Self { cert, key, password, text }
    }
}

#[test]
fn certificates_and_keys_that_are_there_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let Secrets { cert, key, text, .. } = Secrets::write(directory.path());
    let text = format!("{text}user: root\ngroup: root\nca_file: {}\n", cert.display());
    let config = load(&write(directory.path(), "a.yaml", text)).unwrap();
    assert_eq!(config.gateway.registry.connection.tls.unwrap().key, Some(key));
}

/// A configuration of a daemon that becomes a user who owns nothing.
fn of_daemon(registry: &str) -> String {
    format!("{}daemon: true\nuser: nobody\n", with_registry(registry))
}

/// As root this is told of the daemon's user; whoever else runs the test may read and write everything here.
#[test]
fn what_the_daemons_user_may_not_read_or_write_is_told_with_owner_and_mode() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let is_root = Environment::of_this_process().uid == 0;
    let mode = |name: &str, mode| {
        fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write(directory.path(), "secret", "x");
    mode("", 0o755);
    mode("secret", 0o600);
    for (registry, key, expected) in [
        (
            format!("username: a\n    password_file: {}", at("secret")),
            "7: gateway.registry.password_file",
            format!(
                "user nobody (uid 65534, whom the daemon becomes) may not read {}: it belongs to root:root \
                 and has mode 0600",
                at("secret")
            ),
        ),
        (
            format!("snapshot: {}", at("snapshot")),
            "6: gateway.registry.snapshot",
            format!("whom the daemon becomes) may not write into {}", directory.path().display()),
        ),
    ] {
        let loaded = load(&write(directory.path(), "a.yaml", of_daemon(&registry)));
        assert_eq!(loaded.is_ok(), !is_root);
        if let Err(error) = loaded {
            let told = error.to_string();
            assert!(told.contains(key) && told.contains(&expected), "{told}");
        }
        // Not a daemon's: the user means nothing.
        let of_this_user = of_daemon(&registry).replace("daemon: true", "daemon: false");
        let path = write(directory.path(), "a.yaml", of_this_user);
        assert!(load(&path).is_ok());
        let asked_for = Environment { daemon: true, ..environment() };
        assert_eq!(Config::load(&path, &asked_for, Purpose::Test).is_ok(), !is_root, "by the command line");
    }
    let with_a_mistake = of_daemon(&format!("snapshot: {}\n    prefix: /a/*", at("snapshot")));
    let told = load(&write(directory.path(), "a.yaml", with_a_mistake)).unwrap_err().to_string();
    assert_eq!(told.lines().count(), 1 + usize::from(is_root), "{told}");
    mode("secret", 0o644);
    mode("", 0o777);
    let all = format!("username: a\n    password_file: {}\n    snapshot: {}", at("secret"), at("snapshot"));
    assert!(load(&write(directory.path(), "a.yaml", of_daemon(&all))).is_ok());
}

#[test]
fn a_file_of_roots_where_its_daemons_user_can_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    fs::create_dir(&run).unwrap();
    let is_root = std::os::unix::fs::chown(&run, Some(65534), None).is_ok();
    for key in ["pid_file", "error_log"] {
        let text = of_daemon("") + &format!("{key}: {}\n", run.join("file").display());
        let loaded = load(&write(directory.path(), "a.yaml", text));
        assert_eq!(loaded.is_err(), is_root, "{loaded:?}");
        if let Err(error) = loaded {
            let expected = format!("{key}: {} belongs to user id 65534", run.display());
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
}

#[test]
fn a_password_file_has_a_password_in_it() {
    let directory = tempfile::tempdir().unwrap();
    for (content, expected) in [
        (b"".as_slice(), Some("is empty but for white space")),
        (b" \n\t\r\n", Some("is empty but for white space")),
        (b"\xff\xfe", Some("is not UTF-8 text")),
        (b"secret\n", None),
    ] {
        let password = write(directory.path(), "password", content);
        let text = with_registry(&format!("username: a\n    password_file: {}", password.display()));
        let told = load(&write(directory.path(), "a.yaml", text)).err().map(|error| error.to_string());
        assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
        assert!(told.is_none_or(|told| told.contains(expected.unwrap())), "{content:?}");
    }
}

#[test]
fn a_password_or_a_key_that_everybody_may_read_is_remarked_by_a_test_and_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(directory.path(), 0o755);
    let Secrets { cert, key, password, text } = Secrets::write(directory.path());
    let file = write(directory.path(), "a.yaml", text);
    for purpose in [Purpose::Test, Purpose::Start] {
        let told = || -> Vec<String> {
            let config = Config::load(&file, &environment(), purpose).unwrap();
            config.remarks.iter().map(ToString::to_string).collect()
        };
        [&cert, &key, &password].into_iter().for_each(|path| mode(path, 0o644));
        let expected =
            [("7: gateway.registry.password_file", &password), ("8: gateway.registry.tls.key", &key)];
        assert_eq!(told().len(), expected.len(), "{:?}", told());
        for (told, (key, path)) in told().iter().zip(expected) {
            let expected = format!(
                "{key}: everybody on this machine may read {}, which has mode 0644: ",
                path.display()
            );
            assert!(told.contains(&expected), "{told}");
        }
        // Groups are for those who are to read it, as with the secrets of Kubernetes.
        [&key, &password].into_iter().for_each(|path| mode(path, 0o440));
        assert_eq!(told(), [""; 0]);
    }
}

#[test]
fn a_certificate_and_a_key_that_do_not_belong_together_are_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["a", "b"].map(|name| generate_simple_self_signed([name.to_owned()]).unwrap());
    let cert = write(directory.path(), "cert.pem", one.cert.pem());
    let key = write(directory.path(), "key.pem", other.signing_key.serialize_pem());
    let told = |cert: &Path, key: &Path| {
        let tls = format!("{{ cert: {}, key: {} }}", cert.display(), key.display());
        let text = with_endpoints(&format!("[\"https://a:1\"]\n    tls: {tls}"));
        load(&write(directory.path(), "a.yaml", text)).unwrap_err().to_string()
    };
    let expected = format!("tls.key: {} is not the key of the certificate {}", key.display(), cert.display());
    assert!(told(&cert, &key).contains(&expected), "{}", told(&cert, &key));
    let swapped = told(&key, &cert);
    assert!(swapped.contains("key.pem has no certificate in PEM format: it is a private key"), "{swapped}");
    assert!(swapped.contains("or one with a pass phrase: it is a certificate"), "{swapped}");
    assert_eq!(swapped.lines().count(), 2, "{swapped}");
}

/// What a listener names, each with what is told of it; nothing if it is as it should be.
#[test]
fn the_files_of_a_listener_are_looked_at_for_a_start_and_not_for_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let [one, other] = ["a", "b"].map(|name| generate_simple_self_signed([name.to_owned()]).unwrap());
    for (name, content) in [
        ("cert.pem", one.cert.pem()),
        ("cert.key", one.signing_key.serialize_pem()),
        ("other.key", other.signing_key.serialize_pem()),
        ("crl.pem", revocations()),
        ("empty.pem", String::new()),
    ] {
        let path = write(directory.path(), name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let told = |[cert, key, ca, crl]: [&str; 4], purpose| {
        let listener = format!(
            "[{{ address: \"0.0.0.0:80\", tls: {{ certificates: [{{ cert: {}, key: {} }}], client: {{ ca: {}, crl: {} }} }} }}]",
            at(cert),
            at(key),
            at(ca),
            at(crl),
        );
        let path = write(directory.path(), "a.yaml", with("[\"0.0.0.0:8080\"]", &listener));
        let read = Config::load(&path, &environment(), purpose);
        read.err().map_or_else(Vec::new, |error| error.to_string().lines().map(str::to_owned).collect())
    };
    let good = ["cert.pem", "cert.key", "cert.pem", "crl.pem"];
    for (place, name, expected) in [
        (0, "missing.pem", "certificates[0].cert: cannot read"),
        (0, "cert.key", "certificates[0].cert: FILE has no certificate in PEM format: it is a private key"),
        (1, "missing.pem", "certificates[0].key: cannot read"),
        (
            1,
            "cert.pem",
            "certificates[0].key: FILE has no private key in PEM format, or one with a pass phrase: it is a certificate",
        ),
        (1, "other.key", "certificates[0].key: FILE is not the key of the certificate"),
        (2, "empty.pem", "client.ca: FILE has no certificate in PEM format"),
        (
            3,
            "cert.pem",
            "client.crl: FILE has no list of revoked certificates (CRL) in PEM format: it is a certificate",
        ),
        (3, "empty.pem", "client.crl: FILE has no list of revoked certificates (CRL) in PEM format"),
    ] {
        let mut files = good;
        files[place] = name;
        let expected = format!("gateway.listen[0].tls.{}", expected.replace("FILE", &at(name)));
        for purpose in [Purpose::Test, Purpose::Start] {
            let told = told(files, purpose);
            assert!(told.len() == 1 && told[0].contains(&expected), "{expected}: {told:?}");
        }
        assert_eq!(told(files, Purpose::Reload), [""; 0]);
    }
    assert_eq!(told(good, Purpose::Start), [""; 0]);
}

/// A list of revoked certificates with nothing in it.
fn revocations() -> String {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(["ca".to_owned()]).unwrap();
    authority.key_usages = vec![KeyUsagePurpose::CrlSign];
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2036, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&Issuer::new(authority, key)).unwrap().pem().unwrap()
}

#[test]
fn the_files_of_a_service_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["a", "b"].map(|name| generate_simple_self_signed([name.to_owned()]).unwrap());
    let cert = write(directory.path(), "cert.pem", one.cert.pem());
    let key = write(directory.path(), "key.pem", other.signing_key.serialize_pem());
    let (cert, key) = (cert.display(), key.display());
    for (tls, expected) in [
        (
            format!("ca: {key}"),
            format!("tls.ca: {key} has no certificate in PEM format: it is a private key"),
        ),
        (
            format!("cert: {cert}, key: {key}"),
            format!("tls.key: {key} is not the key of the certificate {cert}"),
        ),
        (format!("cert: {cert}, key: {cert}"), format!("tls.key: {cert} has no private key in PEM format")),
    ] {
        let text = with_gateway(&format!("services: {{ goods: {{ tls: {{ {tls} }} }} }}"));
        let told = load(&write(directory.path(), "a.yaml", text)).unwrap_err().to_string();
        assert!(told.contains(&format!("gateway.services.goods.{expected}")), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
