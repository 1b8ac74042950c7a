//! etcd's own command line, on a real etcd and on the embedded registry: the same output, the same errors.

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use harness::{
    process::{Process, Signal, Stdout},
    wait::eventually,
};

use tokio::task::spawn_blocking;

use crate::{
    python,
    subject::{PATIENCE, Release, Subject},
};

/// What is typed, one after another. `@N` is the N-th revision from the start on, `%` the lease that was
/// granted last, and what follows ` < ` is the input.
const SCRIPT: &[&str] = &[
    "put key first",
    "put key second --prev-kv",
    "put other value",
    "get key",
    "get key -w fields",
    "get --prefix k",
    "get --prefix -w fields o",
    "get --from-key key --keys-only",
    "get --prefix --order=DESCEND --sort-by=VALUE \"\"",
    "get --prefix --limit=1 \"\"",
    "get --rev=@1 key",
    "get --rev=@9 key",
    "get \"\"",
    "get missing",
    "put \"\" value",
    "put --ignore-value key",
    "put --ignore-value missing",
    "put --ignore-lease missing value",
    "put --lease=77 key value",
    "del missing",
    "del --prev-kv other",
    "txn < mod(\"key\") > \"0\"\n\nput key third\nget key\ndel other\n\nget other\n\n",
    "txn < version(\"missing\") > \"0\"\n\nput key never\n\nget key\nget --prefix o\n\n",
    "txn < \n\nput key one\nput key two\n\n\n",
    "txn < value(\"key\") = \"third\"\n\nput key fourth\n\n\n",
    "lease grant 60",
    "put --lease=% leased/a 1",
    "lease timetolive --keys %",
    "put --lease=% leased/b 2",
    "lease list",
    "lease keep-alive --once %",
    "lease revoke %",
    "get --prefix leased/",
    "lease revoke %",
    "lease timetolive --keys %",
    "lease keep-alive --once %",
    "lease grant 9000000001",
    "lease list",
    "compaction @4",
    "compaction @4",
    "compaction @99",
    "get --rev=@3 key",
    "watch --rev=@2 key",
    "lock name echo held",
    "endpoint health",
    "endpoint status",
    "member list",
    "alarm list",
    "--user root:root get key",
];

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_says_the_same() -> Result<()> {
    let (mut embedded, mut etcd) = (Shell::open(Release::Embedded).await?, Shell::open(Release::V3_4).await?);
    for line in SCRIPT {
        let (embedded, etcd) = (embedded.run(line)?, etcd.run(line)?);
        ensure!(embedded == etcd, "$ etcdctl {line}\nthe embedded registry: {embedded:#?}\netcd: {etcd:#?}");
        println!("$ etcdctl {line}\n{}", embedded.lines.join("\n"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_watches_the_same() -> Result<()> {
    let (mut embedded, mut etcd) = (Shell::open(Release::Embedded).await?, Shell::open(Release::V3_4).await?);
    for shell in [&mut embedded, &mut etcd] {
        for line in ["put k/a 1", "put k/b 2", "put elsewhere 3", "del k/a", "put k/a 4"] {
            shell.run(line)?;
        }
    }
    let (embedded, etcd) = (embedded.watch().await?, etcd.watch().await?);
    assert_eq!(embedded, etcd);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_keeps_a_lease_alive_until_it_is_revoked() -> Result<()> {
    // Most of it is waiting.
    tokio::try_join!(keep_alive(Release::Embedded), keep_alive(Release::V3_4))?;
    Ok(())
}

async fn keep_alive(release: Release) -> Result<()> {
    let mut shell = Shell::open(release).await?;
    shell.run("lease grant 2")?;
    shell.run("put --lease=% key value")?;
    let mut keeper = shell.start(&["lease", "keep-alive", &shell.lease])?;
    // A third of the TTL lies between two: by the fifth, the lease has outlived its TTL.
    for kept in 0..5 {
        let is_kept = |line: &str| line.ends_with("keepalived with TTL(2)");
        keeper.wait_for_line_since(kept, is_kept, PATIENCE).await?;
    }
    assert_eq!(shell.run("get --print-value-only key")?.lines, ["value"]);
    shell.run("lease revoke %")?;
    keeper.wait_for_line(|line| line.ends_with("expired or revoked."), PATIENCE).await?;
    ensure!(keeper.wait_exit(PATIENCE).await?.success(), "{}", keeper.tail());
    assert_eq!(shell.run("get key")?.lines, [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_embedded_registry_has_not_says_so() -> Result<()> {
    let mut shell = Shell::open(Release::Embedded).await?;
    let lines = [
        "user list",
        "role list",
        "auth enable",
        "member add other --peer-urls=http://127.0.0.1:1",
        "member remove 656d626564646564",
        "defrag",
        "endpoint hashkv",
        "move-leader 656d626564646564",
    ];
    for line in lines {
        let said = shell.run(line)?;
        assert_ne!(said.code, Some(0), "{line}");
        let text = said.lines.join("\n");
        assert!(text.contains("Leaseway's embedded registry"), "{line}: {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_through_a_url_wants_an_etcdctl_that_sends_a_host() -> Result<()> {
    let subject = Subject::start(Release::Embedded).await?;
    let newer = spawn_blocking(|| python::binary("etcdctl")).await??;
    let address = subject.address().to_string();
    let said = |etcdctl: &Path, endpoint: &str, line: &str| -> Result<(bool, String)> {
        let mut command = Command::new(etcdctl);
        command.env("ETCDCTL_API", "3").args(["--endpoints", endpoint]).args(line.split(' '));
        let output = command.output()?;
        Ok((output.status.success(), String::from_utf8([output.stdout, output.stderr].concat())?))
    };
    let url = format!("http://{address}");
    for endpoint in [&address, &url] {
        let (succeeds, text) = said(&newer, endpoint, "endpoint status --cluster")?;
        ensure!(succeeds && text.contains("leaseway"), "{text}");
        for line in ["endpoint hashkv --cluster", "defrag --cluster", "move-leader 656d626564646564"] {
            let (succeeds, text) = said(&newer, endpoint, line)?;
            ensure!(!succeeds && text.contains("Leaseway's embedded registry"), "{line}: {text}");
        }
    }
    // As docs/embedded.md says of 3.4.
    for (endpoint, line) in [(&url, "endpoint status"), (&address, "endpoint status --cluster")] {
        let (succeeds, text) = said(Path::new("etcdctl"), endpoint, line)?;
        ensure!(!succeeds && text.contains("PROTOCOL_ERROR"), "{line}: {text}");
    }
    Ok(())
}

/// An etcdctl that speaks to one registry.
struct Shell {
    subject: Subject,
    /// The newest revision at the start.
    base: i64,
    /// The lease that was granted last.
    lease: String,
}

/// What etcdctl printed, without what is its registry's own.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    lines: Vec<String>,
}

impl Shell {
    async fn open(release: Release) -> Result<Self> {
        let subject = Subject::start(release).await?;
        let base = subject.client().await?.get("none", None).await?.header().context("no header")?.revision();
        Ok(Self { subject, base, lease: "0".to_owned() })
    }

    fn run(&mut self, line: &str) -> Result<Said> {
        let (typed, input) = line.split_once(" < ").unwrap_or((line, ""));
        let arguments: Vec<_> = typed.split(' ').map(|argument| self.expand(argument)).collect();
        let pipe = Stdio::piped;
        let mut child = self.command(&arguments).stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn()?;
        child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let printed = String::from_utf8([output.stdout, output.stderr].concat())?;
        if let Some(granted) = printed.strip_prefix("lease ").and_then(|rest| rest.split_once(" granted")) {
            self.lease = granted.0.to_owned();
        }
        let lines = printed.lines().map(|line| self.plain(typed, line)).collect::<Result<_>>()?;
        Ok(Said { code: output.status.code(), lines })
    }

    /// What a watch from the first revision on prints of what has happened.
    async fn watch(&self) -> Result<Vec<String>> {
        let from = format!("--rev={}", self.base + 1);
        let mut watch = self.start(&["watch", "--prefix", "--prev-kv", &from, "k/"])?;
        // A deletion is three lines, with the previous pair; a first put three, too.
        let lines = eventually("four events are printed", PATIENCE, async || {
            let lines = watch.lines();
            ensure!(lines.len() >= 14, "{lines:?}");
            Ok(lines)
        });
        let lines = lines.await?;
        watch.signal(Signal::SIGTERM)?;
        watch.wait_exit(PATIENCE).await?;
        Ok(lines)
    }

    fn start(&self, arguments: &[&str]) -> Result<Process> {
        Process::start(self.command(arguments), Stdout::Kept)
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.subject.address()));
        command.args(arguments);
        command
    }

    fn expand(&self, argument: &str) -> String {
        match argument.split_once('@') {
            Some((option, revision)) => {
                format!("{option}{}", self.base + revision.parse::<i64>().unwrap_or_default())
            }
            None if argument == "\"\"" => String::new(),
            None => argument.replace('%', &self.lease),
        }
    }

    /// A line without revisions' offset, ids, addresses and times.
    fn plain(&self, typed: &str, line: &str) -> Result<String> {
        if let Ok(serde_json::Value::Object(log)) = serde_json::from_str(line) {
            return Ok(format!("log: {}", log.get("error").context("a log line without an error")?));
        }
        if typed.starts_with("endpoint status") || typed.starts_with("member list") {
            // Ids, versions and sizes are each one's own; what is left is whether it leads and learns.
            let fields: Vec<_> = line.split(", ").collect();
            let flags: Vec<_> =
                fields.iter().filter(|field| ["true", "false", "started"].contains(field)).collect();
            return Ok(format!("{} fields, {flags:?}", fields.len()));
        }
        let since_start = |revision: &str| anyhow::Ok(format!("@{}", revision.parse::<i64>()? - self.base));
        Ok(match line.split_once(" : ").or_else(|| line.split_once("revision ")) {
            Some((name @ ("\"ClusterID\"" | "\"MemberID\"" | "\"RaftTerm\""), _)) => name.to_owned(),
            Some((name, revision)) if name.ends_with("Revision\"") || name == "compacted " => {
                format!("{name} {}", since_start(revision)?)
            }
            _ => {
                let words = line.split(' ').map(|word| if is_lease(word) { "LEASE" } else { word });
                let line = words.collect::<Vec<_>>().join(" ");
                let line = line.replace(&self.subject.address().to_string(), "ADDRESS");
                // What was left of the lease is known to the second, how long health took is not.
                let line = line.replace("remaining(59s)", "remaining(60s)");
                line.split(": took").next().unwrap_or_default().to_owned()
            }
        })
    }
}

fn is_lease(word: &str) -> bool {
    word.len() == 16 && word.chars().all(|letter| letter.is_ascii_hexdigit())
}
