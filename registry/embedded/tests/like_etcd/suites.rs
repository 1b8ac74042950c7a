//! The tests that two clients of other people carry in their source packages, python-etcd3 and aetcd: what passes
//! on real etcds passes on the embedded registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use tokio::task::spawn_blocking;

use crate::{
    python,
    subject::{Release, Subject},
};

/// The tests of one client.
struct Suite {
    /// Where its source package is unpacked.
    directory: &'static str,
    /// How many tests there are at least.
    tests: usize,
    /// What passes nowhere in this environment, and why.
    nowhere: &'static [(&'static str, &'static str)],
    /// What passes on etcds alone, and why.
    etcd_alone: &'static [(&'static str, &'static str)],
}

const CLUSTER: &str = "it wants a cluster of three, and stops two of them";
const ALARM: &str = "it raises an alarm";
const HASH: &str = "it wants a hash of what is stored";
const SNAPSHOT: &str = "it wants a snapshot";

const SUITES: &[Suite] = &[
    Suite {
        directory: "etcd3-0.12.0",
        tests: 80,
        nowhere: &[
            ("test_etcd3.py::TestEtcd3::test_get_key_serializable", CLUSTER),
            ("test_etcd3.py::TestEtcd3::test_get_prefix_serializable", CLUSTER),
            ("test_etcd3.py::TestEtcd3::test_member_list", CLUSTER),
            ("test_etcd3.py::TestClient::test_user_pwd_auth", "it replaces a module by a name of Python 2"),
        ],
        etcd_alone: &[
            ("test_etcd3.py::TestAlarms::test_create_alarm_all_members", ALARM),
            ("test_etcd3.py::TestAlarms::test_create_alarm_specific_member", ALARM),
            ("test_etcd3.py::TestAlarms::test_disarm_alarm", ALARM),
            ("test_etcd3.py::TestAlarms::test_list_alarms", ALARM),
            ("test_etcd3.py::TestEtcd3::test_hash", HASH),
            ("test_etcd3.py::TestEtcd3::test_snapshot", SNAPSHOT),
        ],
    },
    Suite {
        directory: "aetcd-1.0.0",
        tests: 90,
        nowhere: &[
            ("test_cluster.py::test_member_list", CLUSTER),
            ("test_kv.py::test_get_key_with_serializable", CLUSTER),
        ],
        etcd_alone: &[
            ("test_auth.py::test_auth", "it makes users, and turns authentication on"),
            ("test_maintenance.py::test_create_alarm_all_members", ALARM),
            ("test_maintenance.py::test_create_alarm_specific_member", ALARM),
            ("test_maintenance.py::test_disarm_alarm", ALARM),
            ("test_maintenance.py::test_list_alarms", ALARM),
            ("test_maintenance.py::test_hash", HASH),
            ("test_maintenance.py::test_snapshot", SNAPSHOT),
        ],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_tests_pass_as_on_etcd() -> Result<()> {
    let (python, sources) = spawn_blocking(python::suites).await??;
    // Side by side: most of it is waiting.
    let releases = [Release::Embedded, Release::V3_4, Release::V3_5];
    let each = SUITES.iter().flat_map(|suite| releases.map(|release| (suite, release)));
    let runs = each.map(|(suite, release)| check(suite, release, &python, &sources));
    let outcomes = join_all(runs).await.into_iter();
    let failures: Vec<_> = outcomes.filter_map(|outcome| Some(format!("{:#}", outcome.err()?))).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

/// Twice at most: these tests sleep for fixed times, which may be too short on a busy machine.
async fn check(suite: &'static Suite, release: Release, python: &Path, sources: &Path) -> Result<()> {
    match check_once(suite, release, python, sources).await {
        Ok(()) => Ok(()),
        Err(error) => {
            println!("{error:#}\nOnce more:");
            check_once(suite, release, python, sources).await
        }
    }
}

/// The suite has a registry of its own: it deletes all keys.
async fn check_once(suite: &'static Suite, release: Release, python: &Path, sources: &Path) -> Result<()> {
    let subject = Subject::start_small(release).await?;
    let (address, python) = (subject.address(), python.to_owned());
    let directory = sources.join(suite.directory);
    let (outcomes, said) = spawn_blocking(move || run(&python, &directory, address)).await??;
    let name = suite.directory;
    ensure!(
        outcomes.len() >= suite.tests,
        "{name} has only {} tests on {release:?}:\n{said}",
        outcomes.len()
    );
    let passes = |outcome: &String| outcome == "passed";
    let not_passed: BTreeSet<&str> =
        outcomes.iter().filter(|(_, outcome)| !passes(outcome)).map(|(test, _)| test.as_str()).collect();
    let here = if release == Release::Embedded { suite.etcd_alone } else { &[] };
    let expected: BTreeSet<&str> = suite.nowhere.iter().chain(here).map(|(test, _)| *test).collect();
    ensure!(
        not_passed == expected,
        "{name} on {release:?}: fail and should not: {:?}; pass and should not: {:?}\n{said}",
        not_passed.difference(&expected).collect::<Vec<_>>(),
        expected.difference(&not_passed).collect::<Vec<_>>(),
    );
    println!("{name} on {release:?}: {} of {} tests pass", outcomes.len() - not_passed.len(), outcomes.len());
    Ok(())
}

/// What became of each test, and what was printed.
fn run(python: &Path, suite: &Path, registry: SocketAddr) -> Result<(BTreeMap<String, String>, String)> {
    let own = tempfile::tempdir()?;
    let outcomes = own.path().join("outcomes");
    let path: [PathBuf; 2] = [suite.to_owned(), python::directory_of_scripts()];
    let url = format!("http://{registry}");
    let ran = Command::new(python)
        .current_dir(suite)
        // Without the packages' own settings: they ask for plugins that have nothing to do with this.
        .args(["-m", "pytest", "-c", "/dev/null", "--rootdir=.", "-p", "no:cacheprovider"])
        .args(["-p", "one_registry", "-o", "asyncio_mode=auto", "-q", "tests"])
        .env("PYTHONPATH", env::join_paths(path)?)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HYPOTHESIS_STORAGE_DIRECTORY", own.path().join("hypothesis"))
        // The generated code of python-etcd3 is older than what protobuf's faster kind takes.
        .env("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
        .env("ETCDCTL_API", "3")
        .env("TEST_ETCD_VERSION", "v3.4.23")
        .env("PYTHON_ETCD_HTTP_URL", &url)
        .env("TEST_ETCD_HTTP_URL", &url)
        .env("REGISTRY_PORT", registry.port().to_string())
        .env("OUTCOMES", &outcomes)
        .output()
        .context("running pytest")?;
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    let outcomes =
        fs::read_to_string(&outcomes).with_context(|| format!("pytest did not end well:\n{said}"))?;
    let outcomes = outcomes.lines().filter_map(|line| line.split_once(' '));
    Ok((outcomes.map(|(outcome, test)| (test.to_owned(), outcome.to_owned())).collect(), said))
}
