use super::super::format::{NAME, SkippedLines};
use super::*;

use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use registry::contract::{MAX_METADATA_BYTES, MAX_SEGMENT, Metadata, Record};
use tempfile::TempDir;

/// A directory of its own, and the snapshot's file in it.
struct Place {
    directory: TempDir,
    file: File,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = File::new(directory.path().join("snapshot"));
        Self { directory, file }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What is wrong with these bytes as a snapshot, which must then have been set aside as they are.
    #[track_caller]
    fn fault_of(&self, bytes: &[u8]) -> Fault {
        fs::write(self.path("snapshot"), bytes).unwrap();
        match self.file.load() {
            Err(LoadError::SetAside { fault, aside, .. }) => {
                assert_eq!(aside, self.path("snapshot.corrupt"));
                assert_eq!(fs::read(aside).unwrap(), bytes);
                assert!(!self.path("snapshot").exists());
                fault
            }
            other => panic!("{other:?}\n{}", String::from_utf8_lossy(bytes)),
        }
    }
}

fn instance(service: &str, id: &str, value: &str) -> Instance {
    Instance {
        service: service.into(),
        id: id.into(),
        record: Record::decode(value.as_bytes()).unwrap(),
        lease: 7587,
        revision: 811,
    }
}

fn store(file: &File, snapshot: &Snapshot) -> Result<Stored, StoreError> {
    file.store(snapshot.revision, snapshot.instances.clone())
}

/// A snapshot's text, of any length.
fn encoded(snapshot: &Snapshot) -> Vec<u8> {
    let mut text = Cursor::new(Vec::new());
    encode(&mut text, snapshot.revision, snapshot.instances.clone(), u64::MAX).unwrap();
    text.into_inner()
}

/// However many there are.
fn decode(input: impl io::BufRead) -> Result<Snapshot, ReadError> {
    super::decode(input, usize::MAX)
}

fn small() -> Snapshot {
    let instances = vec![
        instance("goods", "goods-1", "10.0.0.5:80"),
        instance("süß", "a\"b", r#"{"address":"[2001:db8::1]:80","weight":0,"metadata":{"zone":"\n\"a"}}"#),
    ];
    Snapshot { revision: 812, instances, skipped: None }
}

/// As many instances as the number of the revision.
fn times(revision: i64) -> Snapshot {
    let ids = 0..revision;
    let instances = ids.map(|id| instance("goods", &id.to_string(), "10.0.0.5:80")).collect();
    Snapshot { revision, instances, skipped: None }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A snapshot's text with a checksum that fits: somebody may have edited both.
fn sealed(counts: &str, lines: &str) -> Vec<u8> {
    let rest = format!(" {counts}\n{lines}");
    format!("{NAME} version=1 crc32={:08x}{rest}", crc32fast::hash(rest.as_bytes())).into_bytes()
}

mod a_file_that_is_whole {
    use super::*;

    #[test]
    fn is_text_that_a_person_can_read() {
        let text = String::from_utf8(encoded(&small())).unwrap();
        let (first, lines) = text.split_once('\n').unwrap();
        assert_eq!(first, "leaseway-snapshot version=1 crc32=680a864f revision=812 instances=0000000002");
        let expected = r#"{"service":"goods","id":"goods-1","value":"10.0.0.5:80","lease":7587,"revision":811}
{"service":"süß","id":"a\"b","value":"{\"address\":\"[2001:db8::1]:80\",\"metadata\":{\"zone\":\"\\n\\\"a\"},\"weight\":0}","lease":7587,"revision":811}
"#;
        assert_eq!(lines, expected);
    }

    #[test]
    fn is_what_the_documentation_shows() {
        let module = include_str!("../format.rs");
        let shown = module.split("```").nth(1).unwrap().lines().filter_map(|line| line.strip_prefix("//! "));
        let text: String = shown.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
        let snapshot = decode(text.as_bytes()).unwrap();
        assert_eq!(encoded(&snapshot), text.as_bytes());
    }

    /// The number of instances has no leading zeros there.
    #[test]
    fn may_be_one_that_an_older_gateway_wrote() {
        let lines = r#"{"service":"goods","id":"goods-1","value":"10.0.0.5:80","lease":7587,"revision":811}"#;
        let text = sealed("revision=812 instances=1", &format!("{lines}\n"));
        assert_eq!(decode(&*text).unwrap().instances, small().instances[..1]);
    }

    #[test]
    fn is_read_back_as_it_was_written() {
        let place = Place::new();
        store(&place.file, &small()).unwrap();
        assert_eq!(place.file.load().unwrap(), Some(small()));
        let first = place.file.clone().within(1).load().unwrap().unwrap();
        assert_eq!(first.instances, small().instances[..1]);
        assert_eq!(place.names(), ["snapshot"]);
    }

    #[test]
    fn may_have_no_instance() {
        let place = Place::new();
        let empty = Snapshot { revision: 1, instances: Vec::new(), skipped: None };
        store(&place.file, &empty).unwrap();
        assert_eq!(place.file.load().unwrap(), Some(empty));
    }

    #[test]
    fn replaces_the_one_before() {
        let place = Place::new();
        store(&place.file, &times(9)).unwrap();
        store(&place.file, &small()).unwrap();
        assert_eq!(place.file.load().unwrap(), Some(small()));
    }

    #[test]
    fn is_for_its_owner_alone_whatever_was_there_before() {
        let place = Place::new();
        for name in ["snapshot", "snapshot.tmp"] {
            fs::write(place.path(name), "").unwrap();
            fs::set_permissions(place.path(name), Permissions::from_mode(0o666)).unwrap();
        }
        store(&place.file, &small()).unwrap();
        assert_eq!(mode(&place.path("snapshot")), 0o600);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn holds_whatever_the_contract_takes(revision: i64, instances in vec(any_instance(), 0..20)) {
            let place = Place::new();
            let snapshot = Snapshot { revision, instances, skipped: None };
            store(&place.file, &snapshot).unwrap();
            prop_assert_eq!(place.file.load().unwrap(), Some(snapshot));
        }
    }

    fn any_instance() -> impl Strategy<Value = Instance> {
        let name = || "[^/\\p{Cc}]{1,20}";
        let address = any::<std::net::SocketAddr>().prop_filter_map("no backend", |address| {
            registry::contract::parse_address(&address.to_string()).ok()
        });
        let metadata = btree_map(any::<String>(), any::<String>(), 0..3);
        (name(), name(), address, 0..=registry::contract::MAX_WEIGHT, metadata, any::<i64>(), any::<i64>())
            .prop_map(|(service, id, address, weight, metadata, lease, revision)| Instance {
                service: service.into(),
                id: id.into(),
                record: Record { address, weight, metadata: Metadata::new(metadata).unwrap_or_default() },
                lease,
                revision,
            })
    }

    /// The goal is well under a second in release; this is a debug build on any machine.
    #[test]
    fn of_a_hundred_thousand_instances_is_written_and_read() {
        let place = Place::new();
        let value = r#"{"address":"10.0.0.5:80","weight":10,"metadata":{"zone":"a"}}"#;
        let instances = (0..100_000).map(|n| instance("goods", &format!("goods-{n}"), value)).collect();
        let snapshot = Snapshot { revision: 812, instances, skipped: None };
        store(&place.file, &snapshot).unwrap();
        assert_eq!(place.file.load().unwrap(), Some(snapshot));
    }
}

mod a_line {
    use super::*;

    /// The largest that the registry can hold, of what is longest in JSON.
    fn longest() -> Instance {
        let name = "\"".repeat(MAX_SEGMENT);
        let metadata = Metadata::new([("", "\u{0}".repeat(MAX_METADATA_BYTES))]).unwrap();
        let record = Record { weight: 10, metadata, ..Record::new("[2001:db8::1]:65535".parse().unwrap()) };
        Instance { lease: i64::MIN, revision: i64::MIN, record, ..instance(&name, &name, "10.0.0.5:80") }
    }

    #[test]
    fn of_the_greatest_length_fits() {
        let place = Place::new();
        let snapshot = Snapshot { revision: i64::MIN, instances: vec![longest()], skipped: None };
        store(&place.file, &snapshot).unwrap();
        assert_eq!(place.file.load().unwrap(), Some(snapshot));
    }

    #[test]
    fn that_is_no_instance_is_skipped_counted_and_the_first_is_named() {
        let good = r#"{"service":"goods","id":"1","value":"10.0.0.5:80","lease":1,"revision":1}"#;
        for (bad, reason) in [
            (good.replace("10.0.0.5:80", "10.0.0.5"), r#""10.0.0.5" is not an address"#),
            (good.replace("10.0.0.5", "224.0.0.1"), "224.0.0.1:80 can never be a backend: it is multicast"),
            (good.replace("goods", "go/ods"), r#""go/ods" is not a name"#),
            (good.replace("\"1\"", "\"\""), r#""" is not a name"#),
            (good.replace("\"lease\":1,", ""), "missing field `lease`"),
            (good.replace("lease", "least"), "unknown field `least`"),
            (good.replace("\"lease\":1", "\"lease\":1.5"), "invalid type"),
            (format!("{good}{good}"), "trailing characters"),
            (String::new(), "EOF"),
            ("[".repeat(10_000), "invalid type"),
        ] {
            let place = Place::new();
            let text = sealed("revision=1 instances=4", &format!("{good}\n{bad}\n{bad}\n{good}\n"));
            fs::write(place.path("snapshot"), text).unwrap();
            let snapshot = place.file.load().unwrap().unwrap();
            assert_eq!(snapshot.instances.len(), 2, "{bad}");
            let SkippedLines { count, first } = snapshot.skipped.unwrap();
            assert!(count == 2 && first.starts_with("line 3: ") && first.contains(reason), "{first}");
            assert_eq!(place.names(), ["snapshot"], "it is not set aside");
        }
    }

    #[test]
    fn that_is_no_instance_is_not_skipped_in_a_file_that_is_damaged() {
        let mut text = encoded(&small());
        let at = text.iter().rposition(|byte| *byte == b'5').unwrap();
        text[at] = b'x';
        assert!(matches!(Place::new().fault_of(&text), Fault::Checksum { .. }));
    }

    #[test]
    fn for_which_there_is_no_room_is_left_out_and_the_first_ones_are_kept() {
        let snapshot = times(9);
        let whole = encoded(&snapshot).len() as u64;
        let line = encoded(&times(9)).split(|byte| *byte == b'\n').nth(1).unwrap().len() as u64 + 1;
        for (most, kept) in [(whole, 9), (whole - 1, 8), (whole - line, 8), (whole - line - 1, 7), (0, 0)] {
            let mut text = Cursor::new(Vec::new());
            let stored = encode(&mut text, 9, snapshot.instances.clone(), most).unwrap();
            assert_eq!(stored, Stored { without_room: 9 - kept }, "{most} of {whole} bytes");
            let read = decode(&*text.into_inner()).unwrap();
            assert_eq!(read.instances, snapshot.instances[..kept]);
        }
    }

    #[test]
    fn that_has_no_end_is_not_read_to_the_end() {
        let endless =
            BufReader::new(Cursor::new(sealed("revision=1 instances=1", "")).chain(io::repeat(b'x')));
        let Err(ReadError::Fault(fault)) = decode(endless) else { panic!() };
        assert!(matches!(fault, Fault::LineTooLong(2)), "{fault}");
        let Err(ReadError::Fault(fault)) = decode(BufReader::new(io::repeat(b'x'))) else { panic!() };
        assert!(matches!(fault, Fault::LineTooLong(1)), "{fault}");
    }
}

mod a_file_that_is_not_whole {
    use super::*;

    #[test]
    fn is_noticed_wherever_it_ends() {
        let place = Place::new();
        let whole = encoded(&small());
        for length in 0..whole.len() {
            place.fault_of(&whole[..length]);
        }
        assert!(matches!(place.fault_of(b""), Fault::NotASnapshot));
        assert!(matches!(place.fault_of(&whole[..whole.len() - 1]), Fault::Cut(3)));
        let lines = whole.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
        assert!(matches!(place.fault_of(&lines[..2].concat()), Fault::Count { expected: 2, found: 1 }));
    }

    #[test]
    fn is_noticed_whichever_bit_changed() {
        let place = Place::new();
        let whole = encoded(&small());
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            place.fault_of(&flipped);
        }
    }

    #[test]
    fn is_noticed_by_its_checksum_if_by_nothing_else() {
        let text = String::from_utf8(encoded(&small())).unwrap();
        let fault = Place::new().fault_of(text.replace("10.0.0.5", "10.0.0.6").as_bytes());
        let Fault::Checksum { expected, found } = &fault else { panic!("{fault}") };
        assert!(text.contains(&format!("crc32={expected}")) && format!("{found:08x}") != *expected);
        // The same number written in another way.
        let fault = Place::new().fault_of(text.replace(expected, &expected.to_uppercase()).as_bytes());
        assert!(matches!(fault, Fault::Checksum { .. }), "{fault}");
    }

    #[test]
    fn has_lines_that_were_added() {
        let place = Place::new();
        let whole = encoded(&small());
        let line = whole.split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
        let fault = place.fault_of(&[&whole, line].concat());
        assert!(matches!(fault, Fault::Count { expected: 2, found: 3 }), "{fault}");
        place.fault_of(&[&whole, &b"\n"[..]].concat());
    }

    #[test]
    fn is_told_with_its_names_old_and_new() {
        let place = Place::new();
        fs::write(place.path("snapshot"), "version: 1\n").unwrap();
        let told = place.file.load().unwrap_err().to_string();
        let (path, aside) = (place.path("snapshot"), place.path("snapshot.corrupt"));
        let expected = format!(
            "the snapshot {} is not a snapshot: its first line does not start as one: it was renamed to {}, and the gateway starts without it",
            path.display(),
            aside.display()
        );
        assert_eq!(told, expected);
        assert!(place.file.load().unwrap().is_none(), "the next start finds none");
    }

    #[test]
    fn is_told_as_well_if_it_cannot_be_renamed() {
        let place = Place::new();
        fs::write(place.path("snapshot"), "version: 1\n").unwrap();
        fs::create_dir(place.path("snapshot.corrupt")).unwrap();
        let error = place.file.load().unwrap_err();
        assert!(matches!(error, LoadError::NotSetAside { fault: Fault::NotASnapshot, .. }), "{error}");
        assert!(error.to_string().contains("snapshot.corrupt"), "{error}");
        store(&place.file, &small()).unwrap();
        assert_eq!(place.file.load().unwrap(), Some(small()));
    }

    #[test]
    fn may_be_of_another_version() {
        let place = Place::new();
        for rest in ["crc32=00000000 revision=1 instances=0\n", "sha256=00 {}\nwhatever\n"] {
            let fault = place.fault_of(format!("leaseway-snapshot version=2 {rest}").as_bytes());
            assert!(matches!(fault, Fault::Version(2)), "{fault}");
            assert_eq!(fault.to_string(), "has the format's version 2; this gateway reads version 1");
        }
    }

    #[test]
    fn is_not_read_at_all_if_it_is_too_large() {
        let place = Place::new();
        let file = fs::File::create(place.path("snapshot")).unwrap();
        // A hole: no byte of it is on the disk.
        file.set_len(MAX_SIZE + 1).unwrap();
        let error = place.file.load().unwrap_err();
        let LoadError::SetAside { fault, .. } = error else { panic!("{error}") };
        assert!(matches!(fault, Fault::TooLarge(size) if size == MAX_SIZE + 1), "{fault}");
    }

    proptest! {
        #[test]
        fn never_makes_it_panic(bytes in vec(any::<u8>(), 0..200), counts in ".{0,40}", lines in "(?s).{0,80}") {
            for bytes in [bytes, sealed(&counts, &lines), sealed("revision=1 instances=1", &lines)] {
                match decode(&bytes[..]) {
                    Ok(read) => prop_assert!(read.instances.is_empty() && read.skipped.is_some()),
                    Err(error) => prop_assert!(matches!(error, ReadError::Fault(_)), "{error}"),
                }
            }
        }
    }
}

mod a_name {
    use super::*;

    #[test]
    fn that_nothing_has_is_no_error() {
        assert!(Place::new().file.load().unwrap().is_none());
        assert!(File::new("/nowhere/at/all".into()).load().unwrap().is_none());
    }

    #[test]
    fn that_is_a_directory_is_left_as_it_is() {
        let place = Place::new();
        fs::create_dir(place.path("snapshot")).unwrap();
        assert!(matches!(place.file.load(), Err(LoadError::NotAFile(_))));
        let error = store(&place.file, &small()).unwrap_err();
        assert!(matches!(error, StoreError::Io { attempt: "rename the temporary file to", .. }), "{error}");
        assert_eq!(place.names(), ["snapshot"], "and no temporary file stays behind");
    }

    /// A FIFO stands for devices and sockets too: none of them is on this machine for us to rename.
    #[test]
    fn that_is_a_fifo_is_never_waited_for_nor_renamed() {
        let place = Place::new();
        mkfifo(&place.path("snapshot"), Mode::S_IRWXU).unwrap();
        let error = place.file.load().unwrap_err();
        assert!(matches!(error, LoadError::NotAFile(_)), "{error}");
        assert_eq!(place.names(), ["snapshot"]);
    }

    /// Any user can make a file in /tmp.
    #[test]
    fn of_a_file_that_another_user_can_have_written_is_not_read() {
        assert!(is_trusted(0, 0o100644, 7) && is_trusted(7, 0o100600, 7) && is_trusted(7, 0o100660, 7));
        assert!(!is_trusted(8, 0o100600, 7) && !is_trusted(8, 0o100600, 0) && !is_trusted(7, 0o100602, 7));
        let place = Place::new();
        store(&place.file, &small()).unwrap();
        fs::set_permissions(place.path("snapshot"), Permissions::from_mode(0o666)).unwrap();
        let error = place.file.load().unwrap_err();
        assert!(matches!(error, LoadError::Foreign(_)), "{error}");
        assert_eq!(place.names(), ["snapshot"]);
        store(&place.file, &small()).unwrap();
        assert_eq!(place.file.load().unwrap(), Some(small()), "ours again");
    }

    /// What it led to is left as it is: the rename takes the link's own place.
    #[test]
    fn that_is_a_link_is_followed_by_a_load_and_replaced_by_a_store() {
        let place = Place::new();
        let elsewhere = File::new(place.path("elsewhere"));
        store(&elsewhere, &Snapshot { revision: 1, ..small() }).unwrap();
        symlink("elsewhere", place.path("snapshot")).unwrap();
        assert_eq!(place.file.load().unwrap().unwrap().revision, 1);
        store(&place.file, &small()).unwrap();
        assert!(fs::symlink_metadata(place.path("snapshot")).unwrap().is_file());
        assert_eq!(place.file.load().unwrap(), Some(small()));
        assert_eq!(elsewhere.load().unwrap().unwrap().revision, 1);
    }

    #[test]
    fn of_the_temporary_file_is_never_a_link_to_somewhere_else() {
        let place = Place::new();
        symlink("victim", place.path("snapshot.tmp")).unwrap();
        assert!(store(&place.file, &small()).is_err());
        assert_eq!(place.names(), ["snapshot.tmp"], "the link's end is not made either");
        fs::write(place.path("victim"), "untouched").unwrap();
        assert!(store(&place.file, &small()).is_err());
        assert_eq!(fs::read_to_string(place.path("victim")).unwrap(), "untouched");
    }

    #[test]
    fn in_a_directory_that_is_missing_cannot_be_written() {
        let place = Place::new();
        let error = store(&File::new(place.path("missing/snapshot")), &small()).unwrap_err();
        let path = place.path("missing/snapshot.tmp");
        let expected = format!(
            "cannot make the snapshot's temporary file {}: No such file or directory",
            path.display()
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    /// Root writes everywhere: the case cannot be made for it.
    #[test]
    fn in_a_directory_that_we_may_not_write_to_keeps_its_former_file() {
        let place = Place::new();
        store(&place.file, &Snapshot { revision: 1, ..small() }).unwrap();
        fs::set_permissions(place.directory.path(), Permissions::from_mode(0o500)).unwrap();
        let stored = store(&place.file, &small());
        fs::set_permissions(place.directory.path(), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(stored.is_ok(), geteuid().is_root());
        let revision = if stored.is_ok() { 812 } else { 1 };
        assert_eq!(place.file.load().unwrap().unwrap().revision, revision);
    }
}

mod writers {
    use super::*;

    #[test]
    fn that_crashed_before_the_rename_leave_nothing_that_matters() {
        let place = Place::new();
        store(&place.file, &Snapshot { revision: 1, ..small() }).unwrap();
        let whole = encoded(&small());
        for written in [&whole[..], &whole[..20], &[whole.repeat(3)].concat()] {
            fs::write(place.path("snapshot.tmp"), written).unwrap();
            assert_eq!(place.file.load().unwrap().unwrap().revision, 1);
            store(&place.file, &Snapshot { revision: 1, ..small() }).unwrap();
            assert_eq!(place.names(), ["snapshot"]);
            assert_eq!(place.file.load().unwrap().unwrap().revision, 1);
        }
    }

    #[test]
    fn leave_the_file_to_the_one_that_is_writing_it() {
        let place = Place::new();
        let writing = place.file.open_alone(&place.path("snapshot.tmp")).unwrap();
        let error = store(&place.file, &small()).unwrap_err();
        assert!(matches!(error, StoreError::Busy(_)), "{error}");
        drop(writing);
        store(&place.file, &small()).unwrap();
    }

    #[test]
    fn that_got_hold_of_a_finished_file_do_not_touch_it() {
        let place = Place::new();
        let temporary = place.path("snapshot.tmp");
        let opened = fs::File::create(&temporary).unwrap();
        assert!(is_at(&opened, &temporary).unwrap());
        store(&place.file, &small()).unwrap();
        assert!(!is_at(&opened, &temporary).unwrap(), "renamed");
        fs::write(&temporary, "").unwrap();
        assert!(!is_at(&opened, &temporary).unwrap(), "renamed, and begun anew by another");
    }

    #[test]
    fn that_run_side_by_side_never_show_a_reader_half_a_file() {
        let place = Arc::new(Place::new());
        store(&place.file, &times(1)).unwrap();
        // Who finds the other one writing tries again.
        let writer = |first: i64| {
            let place = Arc::clone(&place);
            let write = move |n| while store(&place.file, &times(first + n)).is_err() {};
            thread::spawn(move || (0..50).for_each(write))
        };
        let writers = [writer(0), writer(100)];
        while !writers.iter().all(thread::JoinHandle::is_finished) {
            let Snapshot { revision, instances, .. } = place.file.load().unwrap().unwrap();
            assert_eq!(i64::try_from(instances.len()), Ok(revision));
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(place.names(), ["snapshot"]);
    }
}
