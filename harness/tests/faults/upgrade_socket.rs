//! Others at the place of the upgrade socket, who want the listening sockets at the next SIGQUIT.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use harness::{
    http,
    ports::free_address,
    process::{Process, Signal, Stdout, binary},
    stack::write_configuration,
    wait::eventually,
};
use nix::{sys::signal::kill, unistd::Pid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, daemon::Daemon};

/// A user who is not the test's; as root one can make him the owner of something.
const ANOTHER: u32 = 65534;

fn allow(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("chmod {}", path.display()))
}

/// Whether SIGQUIT has lost its default effect, from proc(5).
fn catches_quit(process: &Process) -> Result<bool> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("no SigCgt")?;
    Ok(u64::from_str_radix(mask.trim(), 16)? & 1 << (Signal::SIGQUIT as u32 - 1) != 0)
}

/// A machine on which a gateway is configured, with a session's run directory of its own.
struct Machine {
    directory: TempDir,
    listen: String,
    configuration: Value,
}

impl Machine {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let listen = free_address()?.to_string();
        let configuration = json!({
            "version": 1,
            "gateway": {
                "listen": [listen],
                "admin": "off",
                "registry": { "endpoints": ["http://127.0.0.1:1"] },
                "routes": [{ "path": "/goods", "service": "goods" }],
            },
        });
        Ok(Self { directory, listen, configuration })
    }

    /// The same with a registry in the gateway: it is soon ready.
    fn with_registry() -> Result<Self> {
        let mut machine = Self::new()?;
        let registry = free_address()?.to_string();
        machine.configuration["gateway"]["registry"] = json!({ "embedded": { "listen": registry } });
        Ok(machine)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The run directory that the gateway chooses by itself.
    fn run_directory(&self) -> PathBuf {
        self.at("leaseway")
    }

    fn start(&self, flags: &[&str]) -> Result<Process> {
        let file = self.at("pingora.yaml");
        write_configuration(&file, &self.configuration)?;
        let mut command = std::process::Command::new(binary("proxy")?);
        command.arg("-c").arg(file).args(flags).env("XDG_RUNTIME_DIR", self.directory.path());
        command.env_remove("RUNTIME_DIRECTORY").env_remove("STATE_DIRECTORY");
        Process::start(command, Stdout::Kept)
    }

    /// Its exit status, and all that it said.
    async fn run(&self, flags: &[&str]) -> Result<(Option<i32>, String)> {
        let mut process = self.start(flags)?;
        let status = process.wait_exit(PATIENCE).await?;
        Ok((status.code(), process.lines().join("\n")))
    }

    /// Starts it, and waits until it answers, though it knows of no instance.
    async fn serving(&self) -> Result<Process> {
        let process = self.start(&[])?;
        let serves = eventually("it answers, and takes signals", PATIENCE, async || {
            ensure!(catches_quit(&process)?, "SIGQUIT would still kill it");
            self.answers().await
        });
        serves.await.with_context(|| process.tail())?;
        Ok(process)
    }

    /// Waits until a new process asks for the sockets.
    async fn wait_awaited(&self) -> Result<()> {
        let socket = self.run_directory().join("upgrade.sock");
        eventually("a successor waits", PATIENCE, async || {
            ensure!(socket.exists(), "there is no upgrade socket");
            Ok(())
        })
        .await
    }

    async fn answers(&self) -> Result<()> {
        http::get(self.listen.parse()?, "/goods").await?;
        Ok(())
    }

    /// Sends SIGQUIT, and waits until it is refused. Nobody has come to `intruder` then, and requests go on.
    async fn assert_hands_nothing_over(
        &self,
        process: &Process,
        intruder: Option<&UnixListener>,
        why: &str,
    ) -> Result<()> {
        let before = process.line_count();
        process.signal(Signal::SIGQUIT)?;
        let refused = |line: &str| line.contains("told to hand over, but") && line.contains("serving on");
        let line = process.wait_for_line_since(before, refused, PATIENCE).await?;
        assert!(line.contains("ERROR") && line.contains(why), "{why:?} is not in: {line}");
        if let Some(intruder) = intruder {
            intruder.set_nonblocking(true)?;
            let came = intruder.accept().map(drop).map_err(|error| error.kind());
            assert_eq!(came, Err(ErrorKind::WouldBlock), "somebody came to the intruder");
        }
        self.answers().await
    }
}

/// Places of an upgrade socket that a start must refuse, and why.
fn unsafe_places(machine: &Machine) -> Result<Vec<(PathBuf, String)>> {
    let (open, shared) = (machine.at("open"), machine.at("shared"));
    for directory in [&open, &shared, &shared.join("ours")] {
        fs::create_dir(directory)?;
    }
    allow(&open, 0o777)?;
    allow(&shared, 0o777)?;
    allow(&shared.join("ours"), 0o700)?;
    let foreign = machine.at("foreign");
    fs::create_dir(&foreign)?;
    allow(&foreign, 0o700)?;
    // Who cannot give a directory away takes root's.
    let foreign = if chown(&foreign, Some(ANOTHER), None).is_ok() { foreign } else { PathBuf::from("/") };
    let owner = fs::metadata(&foreign)?.uid();
    Ok(vec![
        (open.join("s"), format!("{} has mode 0777, with which others can enter it", open.display())),
        (shared.join("ours/s"), format!("{} belongs to user id", shared.display())),
        (foreign.join("s"), format!("{} belongs to user id {owner}, not to", foreign.display())),
    ])
}

#[tokio::test]
async fn an_upgrade_socket_where_others_can_put_one_is_refused_by_check_start_and_upgrade() -> Result<()> {
    let mut machine = Machine::new()?;
    for (socket, why) in unsafe_places(&machine)? {
        machine.configuration["upgrade_sock"] = json!(socket);
        for flags in [&["-t"][..], &[], &["-u"], &["-t", "-d"]] {
            let (code, output) = machine.run(flags).await?;
            assert_eq!(code, Some(1), "{flags:?}: {output}");
            assert!(output.contains(&format!("upgrade_sock: {why}")), "{flags:?}: {output}");
            assert!(!socket.exists());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_daemons_pid_file_where_others_can_put_one_is_refused() -> Result<()> {
    let mut machine = Machine::new()?;
    let place = machine.at("run");
    fs::create_dir(&place)?;
    machine.configuration["pid_file"] = json!(place.join("pid"));
    for mode in [0o777, 0o1777] {
        allow(&place, mode)?;
        for flags in [&["-d"][..], &["-t", "-d"]] {
            let (code, output) = machine.run(flags).await?;
            assert_eq!(code, Some(1), "{flags:?}: {output}");
            assert!(output.contains("pid_file: ") && output.contains("others can change"), "{output}");
        }
        assert_eq!(machine.run(&["-t"]).await?.0, Some(0), "nobody else writes one");
    }
    allow(&place, 0o755)?;
    assert_eq!(machine.run(&["-t", "-d"]).await?.0, Some(0));
    Ok(())
}

/// As root this is a daemon that becomes another user; whoever else runs the test stays who he is.
#[tokio::test]
async fn a_daemon_has_its_socket_in_its_users_directory_and_root_its_pid_file_beside_that() -> Result<()> {
    let mut machine = Machine::with_registry()?;
    // Where the daemon's user finds his directory.
    allow(machine.directory.path(), 0o755)?;
    let is_root = fs::metadata(machine.directory.path())?.uid() == 0;
    if is_root {
        machine.configuration["user"] = json!("nobody");
    }
    machine.configuration["error_log"] = json!(machine.at("log"));
    let pid_file = machine.at(if is_root { "leaseway.pid" } else { "leaseway/leaseway.pid" });
    let start = async |flags: &[&str]| {
        let _ = fs::remove_file(&pid_file);
        let (code, output) = machine.run(flags).await?;
        assert_eq!(code, Some(0), "{output}");
        let written = async || Ok(Daemon(fs::read_to_string(&pid_file)?.trim().parse()?));
        eventually("there is a pid file", PATIENCE, written).await
    };

    let old = start(&["-d"]).await?;
    eventually("the daemon answers", PATIENCE, async || machine.answers().await).await?;
    let (run, process) = (fs::metadata(machine.run_directory())?, fs::metadata(format!("/proc/{}", old.0))?);
    assert_eq!((run.uid(), run.mode() & 0o7777), (process.uid(), 0o700));
    assert_ne!(run.uid(), 0, "the gateway is not root");

    let _new = start(&["-d", "-u"]).await?;
    machine.wait_awaited().await?;
    kill(Pid::from_raw(old.0), Signal::SIGQUIT)?;
    eventually("the old one ends", PATIENCE, async || {
        let log = fs::read_to_string(machine.at("log"))?;
        ensure!(log.contains("\"message\":\"stopped\""), "{log}");
        Ok(())
    })
    .await?;
    machine.answers().await
}

#[tokio::test]
async fn every_start_makes_the_run_directory_before_others_can() -> Result<()> {
    let machine = Machine::new()?;
    let (code, output) = machine.run(&["-t"]).await?;
    assert_eq!(code, Some(0), "{output}");
    assert!(!machine.run_directory().exists(), "a check changes nothing");
    let process = machine.serving().await?;
    assert_eq!(fs::metadata(machine.run_directory())?.mode() & 0o7777, 0o700);
    assert!(!process.lines().join("\n").contains("cannot be upgraded"), "{}", process.tail());
    Ok(())
}

/// A check tells of the run directory, an upgrade and a daemon do not start, and another start is warned and hands
/// nothing to who listens at the upgrade socket.
async fn assert_cannot_be_upgraded(machine: &Machine, told: &str) -> Result<()> {
    let intruder = UnixListener::bind(machine.run_directory().join("upgrade.sock"))?;
    let (why, told) = (told, format!("cannot use the run directory: {told}"));
    let (code, output) = machine.run(&["-t"]).await?;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(&told) && output.contains("cannot be upgraded"), "{output}");
    for flags in [&["-u"][..], &["-d"], &["-t", "-u"], &["-t", "-d"]] {
        let (code, output) = machine.run(flags).await?;
        assert_eq!(code, Some(1), "{flags:?}: {output}");
        assert!(output.contains(&told), "{flags:?}: {output}");
    }
    let process = machine.serving().await?;
    let warned = |line: &str| line.contains("WARN") && line.contains(&told) && line.contains("upgrade_sock");
    process.wait_for_line(warned, PATIENCE).await?;
    machine.assert_hands_nothing_over(&process, Some(&intruder), why).await
}

#[tokio::test]
async fn a_run_directory_that_another_user_has_made_is_told_and_nothing_is_handed_over() -> Result<()> {
    let machine = Machine::new()?;
    fs::create_dir(machine.run_directory())?;
    allow(&machine.run_directory(), 0o777)?;
    let _ = chown(machine.run_directory(), Some(ANOTHER), None);
    assert_cannot_be_upgraded(&machine, &format!("{} ", machine.run_directory().display())).await
}

#[tokio::test]
async fn a_run_directory_in_whose_place_others_can_put_another_is_told_and_nothing_is_handed_over()
-> Result<()> {
    let machine = Machine::new()?;
    fs::create_dir(machine.run_directory())?;
    allow(&machine.run_directory(), 0o700)?;
    allow(machine.directory.path(), 0o777)?;
    let told = format!("{} belongs to user id", machine.directory.path().display());
    assert_cannot_be_upgraded(&machine, &told).await
}

#[tokio::test]
async fn a_gateway_without_a_place_for_a_run_directory_serves_and_is_not_upgraded() -> Result<()> {
    let machine = Machine::new()?;
    // As where nothing can be made.
    fs::write(machine.run_directory(), "")?;
    let process = machine.serving().await?;
    process.wait_for_line(|line| line.contains("this gateway cannot be upgraded"), PATIENCE).await?;
    machine.assert_hands_nothing_over(&process, None, "is not a directory").await?;
    let (code, output) = machine.run(&["-u"]).await?;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("cannot use the run directory"), "{output}");
    Ok(())
}

#[tokio::test]
async fn a_link_in_the_place_of_the_socket_gets_nothing() -> Result<()> {
    let machine = Machine::new()?;
    let process = machine.serving().await?;
    let (socket, elsewhere) = (machine.run_directory().join("upgrade.sock"), machine.at("elsewhere"));
    let intruder = UnixListener::bind(&elsewhere)?;
    symlink(&elsewhere, &socket)?;
    machine.assert_hands_nothing_over(&process, Some(&intruder), "is not a socket").await
}

/// Only root can make it: as another user this test fails, and says why.
#[tokio::test]
async fn a_socket_of_another_user_gets_nothing() -> Result<()> {
    let machine = Machine::new()?;
    let process = machine.serving().await?;
    let socket = machine.run_directory().join("upgrade.sock");
    let intruder = UnixListener::bind(&socket)?;
    chown(&socket, Some(ANOTHER), None)
        .context("this test gives a socket to another user: run it as root")?;
    let why = format!("belongs to user id {ANOTHER}, not to");
    machine.assert_hands_nothing_over(&process, Some(&intruder), &why).await
}

#[tokio::test]
async fn a_place_that_is_opened_while_the_gateway_runs_gets_nothing_until_it_is_closed() -> Result<()> {
    let machine = Machine::with_registry()?;
    let mut process = machine.serving().await?;
    let socket = machine.run_directory().join("upgrade.sock");
    let intruder = UnixListener::bind(&socket)?;
    allow(&machine.run_directory(), 0o755)?;
    machine.assert_hands_nothing_over(&process, Some(&intruder), "has mode 0755").await?;
    allow(&machine.run_directory(), 0o700)?;
    allow(machine.directory.path(), 0o777)?;
    machine.assert_hands_nothing_over(&process, Some(&intruder), "others can change what is in it").await?;
    allow(machine.directory.path(), 0o700)?;
    drop(intruder);
    fs::remove_file(&socket)?;

    let successor = machine.start(&["-u"])?;
    machine.wait_awaited().await.with_context(|| successor.tail())?;
    process.signal(Signal::SIGQUIT)?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(0), "{}", process.tail());
    machine.answers().await?;
    assert!(!successor.has_ended(), "{}", successor.tail());
    Ok(())
}
