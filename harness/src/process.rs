//! A child process whose output is kept and can be awaited.

use std::{
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
pub use nix::sys::signal::Signal;
use nix::{
    sys::{
        signal::kill,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::{sync::watch, time::timeout};

use crate::{
    built,
    output::{Output, Source},
};

/// Linux reports process times in hundredths of a second on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);

/// What becomes of the process's stdout. Its stderr is always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdout {
    /// Kept line by line.
    #[default]
    Kept,
    /// Goes to /dev/null: for measurements of what the process itself costs.
    Discarded,
}

/// A running child. Dropping it kills it (SIGKILL, by its id).
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    ended: watch::Receiver<bool>,
}

/// The path of a binary of this workspace: in `LEASEWAY_BIN_DIR` if that is set, else beside the
/// running test executable, if it is what its sources say now.
///
/// # Errors
/// When it has not been built, or not since its sources changed.
pub fn binary(name: &str) -> Result<PathBuf> {
    let chosen = std::env::var_os("LEASEWAY_BIN_DIR").map(PathBuf::from);
    let is_chosen = chosen.is_some();
    let path = chosen.map_or_else(target_directory, Ok)?.join(name);
    if !path.is_file() {
        bail!("no {}: run `cargo build --workspace` first", path.display());
    }
    if !is_chosen {
        built::check(&path)?;
    }
    Ok(path)
}

fn target_directory() -> Result<PathBuf> {
    let test = std::env::current_exe().context("finding the running test's own path")?;
    let mut directory = test.parent().context("the running test has no directory")?;
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory = directory.parent().context("`deps` has no parent")?;
    }
    Ok(directory.to_owned())
}

impl Process {
    /// Starts a binary of this workspace, found as [`binary`] says.
    ///
    /// # Errors
    /// When it has not been built or cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(binary(name)?);
        command.args(arguments).envs(environment.iter().copied());
        Self::start(command, Stdout::Kept)
    }

    /// Starts any command.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, stdout: Stdout) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(match stdout {
            Stdout::Kept => Stdio::piped(),
            Stdout::Discarded => Stdio::null(),
        });
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;

        let output = Arc::new(Output::default());
        if let Some(stdout) = child.stdout.take() {
            output.read(Source::Stdout, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            output.read(Source::Stderr, stderr);
        }
        let ended = watch_end(pid_of(&child));
        Ok(Self { name, child, output, ended })
    }

    /// The process id. It stays this process's own until [`Process::wait_exit`] returns.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(pid_of(&self.child), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Freezes it (SIGSTOP) and waits until it stands still: its connections stay open and nothing answers. The
    /// signal alone only asks, and the process may do something more before each of its threads has stopped.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let (id, either) = (Id::Pid(pid_of(&self.child)), WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED);
        match waitid(id, either | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Stopped(..)) => Ok(()),
            Ok(other) => bail!("{} was to stand still: {other:?}\n{}", self.name, self.tail()),
            Err(error) => Err(error).with_context(|| format!("waiting until {} stands still", self.name)),
        }
    }

    /// Ends a [`Process::freeze`] (SIGCONT).
    ///
    /// # Errors
    /// When the process is gone.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Waits until the process has ended and all its output is in.
    ///
    /// # Errors
    /// When it has not ended within `within`; the error shows its last lines.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(|ended| *ended);
        if timeout(within, ended).await.is_err() {
            bail!("{} still runs after {within:?}\n{}", self.name, self.tail());
        }
        // A grandchild may hold the pipe open: what it still writes is not ours to wait for.
        let _ = timeout(within, self.output.ended()).await;
        self.child.wait().with_context(|| format!("collecting {}", self.name))
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Every line so far, of stdout and stderr, in the order of their arrival.
    pub fn lines(&self) -> Vec<String> {
        self.lines_since(0)
    }

    /// How many lines have come: a place for [`Process::lines_since`].
    pub fn line_count(&self) -> usize {
        self.output.count()
    }

    /// The lines that came after the first `count`.
    pub fn lines_since(&self, count: usize) -> Vec<String> {
        self.output.since(count)
    }

    /// The lines of stderr alone.
    pub fn stderr(&self) -> Vec<String> {
        self.output.of(Source::Stderr)
    }

    /// The first line, of those that came and those that will come, which `wanted` accepts.
    ///
    /// # Errors
    /// When there is none within `within`, or the process ended without it; the error shows its last lines.
    pub async fn wait_for_line(&self, wanted: impl Fn(&str) -> bool, within: Duration) -> Result<String> {
        self.wait_for_line_since(0, wanted, within).await
    }

    /// As [`Process::wait_for_line`], of the lines after the first `count`.
    ///
    /// # Errors
    /// As [`Process::wait_for_line`].
    pub async fn wait_for_line_since(
        &self,
        count: usize,
        wanted: impl Fn(&str) -> bool,
        within: Duration,
    ) -> Result<String> {
        match timeout(within, self.output.find_since(count, wanted)).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("{} ended without the awaited line\n{}", self.name, self.tail()),
            Err(_) => bail!("no awaited line of {} within {within:?}\n{}", self.name, self.tail()),
        }
    }

    /// The CPU time that the process's threads have taken so far, user and system, to 10 ms.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // The name in parentheses may hold spaces; utime and stime are the 14th and 15th field of proc(5).
        let (_, after_name) = stat.rsplit_once(')').context("no `)` in /proc/PID/stat")?;
        let ticks: Vec<u32> =
            after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(TICK * ticks.iter().sum())
    }

    /// The resident memory in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_memory(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever resident, or was since [`Process::forget_peak_memory`], in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn peak_memory(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Has [`Process::peak_memory`] begin anew.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn forget_peak_memory(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.pid());
        // proc(5): 5 resets the peak resident set size.
        fs::write(&path, "5").with_context(|| format!("writing {path}"))
    }

    fn memory(&self, line: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let kibibytes = status
            .lines()
            .find_map(|found| found.strip_prefix(line)?.trim().strip_suffix(" kB"))
            .with_context(|| format!("no {line} in {path}"))?;
        Ok(kibibytes.parse::<u64>()? * 1024)
    }

    /// The last lines, for error messages.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way it is collected, so that its ports are free.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Becomes true when the process has ended. It is not collected (WNOWAIT), so its id cannot pass to
/// another process while somebody may still send it a signal.
fn watch_end(pid: Pid) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    thread::spawn(move || {
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        sender.send_replace(true);
    });
    receiver
}
