//! The machine that is measured on: its cores, its limits, and what is said of it beside the figures.

use std::{fs, process::Command, time::SystemTime};

use anyhow::{Context, Result, ensure};

/// The proxy's core, and that of the load and of the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) proxy: usize,
    pub(crate) load: usize,
}

/// What is said of it beside the figures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) kernel: String,
}

impl Cores {
    /// Pins this process, and with it the load and the backend, to their core.
    ///
    /// # Errors
    /// When there is no such core.
    pub(crate) fn pin(self) -> Result<()> {
        ensure!(self.proxy != self.load, "the proxy and the load need a core each");
        let own = std::process::id().to_string();
        run("taskset", &["--all-tasks", "--cpu-list", "--pid", &self.load.to_string(), &own])
            .with_context(|| format!("pinning the load to core {}: are there two?", self.load))?;
        Ok(())
    }
}

/// Raises the limit of open files of this process and of those that it starts.
///
/// # Errors
/// When it cannot have `needed`.
pub(crate) fn raise_open_files(needed: u64) -> Result<()> {
    let own = std::process::id().to_string();
    let set = |limit: u64| run("prlimit", &["--pid", &own, &format!("--nofile={limit}:{limit}")]);
    let limits = || open_files(&fs::read_to_string("/proc/self/limits")?);
    let (_, hard) = limits()?;
    // Only root may raise the hard limit. All may raise the soft one to it.
    if hard >= needed || set(needed).is_err() {
        set(hard)?;
    }
    let (soft, _) = limits()?;
    ensure!(
        soft >= needed,
        "{needed} open files are needed, and {soft} are allowed: raise the hard limit (`ulimit -Hn`; as root, \
         `prlimit --pid $$ --nofile={needed}`), or leave out the cases that need them"
    );
    Ok(())
}

/// The soft and the hard limit, of /proc/PID/limits. `unlimited` is as many as fit.
fn open_files(limits: &str) -> Result<(u64, u64)> {
    let number = |word: Option<&str>| match word? {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    };
    let parse = || {
        let mut words =
            limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace();
        Some((number(words.next())?, number(words.next())?))
    };
    parse().context("/proc/self/limits says nothing of open files")
}

impl Machine {
    /// Of this machine, now. What it does not tell is left empty.
    pub(crate) fn look() -> Self {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let (date, _) = date.split_once('T').unwrap_or((&date, ""));
        let source = env!("CARGO_MANIFEST_DIR");
        let commit = run("git", &["-C", source, "describe", "--always", "--dirty", "--exclude=*"]);
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            date: date.to_owned(),
            commit: commit.unwrap_or_default(),
            processor: processor_in(&processor),
            kernel: run("uname", &["-sr"]).unwrap_or_default(),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let commit = if self.commit.is_empty() { String::new() } else { format!("commit {}", self.commit) };
        let parts = [&self.date, &commit, &self.processor, &self.kernel];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }
}

/// The model of the first processor, and how many there are.
fn processor_in(cpuinfo: &str) -> String {
    let value = |line: &str, name: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    let model = cpuinfo.lines().find_map(|line| value(line, "model name"));
    let count = cpuinfo.lines().filter(|line| value(line, "processor").is_some()).count();
    match (model, count) {
        (_, 0) => String::new(),
        (Some(model), count) => format!("{model}, {count} cores"),
        (None, count) => format!("{count} cores"),
    }
}

/// What a program prints.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    ensure!(output.status.success(), "{program}: {}", said(&output.stderr));
    Ok(said(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_what_the_kernel_says() {
        let limits = "Limit       Soft Limit  Hard Limit  Units\nMax processes  1  2  processes\n\
            Max open files            1024                 unlimited            files     \n";
        assert_eq!(open_files(limits).unwrap(), (1024, u64::MAX));
        assert!(open_files("Max processes 1 2").is_err());
    }

    #[test]
    fn more_files_than_there_can_be_are_refused_and_the_way_out_is_named() {
        let told = raise_open_files(u64::MAX).unwrap_err().to_string();
        assert!(told.contains("ulimit -Hn"), "{told}");
        let now = || open_files(&fs::read_to_string("/proc/self/limits").unwrap()).unwrap();
        let (_, hard) = now();
        raise_open_files(10).unwrap();
        assert_eq!(now(), (hard, hard), "never lowered");
    }

    #[test]
    fn the_machine_is_said_in_one_line() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n";
        let machine = Machine {
            date: "2026-11-30".to_owned(),
            commit: String::new(),
            processor: processor_in(cpuinfo),
            kernel: "Linux 6.18".to_owned(),
        };
        assert_eq!(machine.line(), "2026-11-30, AMD EPYC, 2 cores, Linux 6.18");
        assert_eq!(processor_in("processor\t: 0\n"), "1 cores");
        assert_eq!(processor_in(""), "");
        assert!(Machine::look().date.len() == 10);
    }
}
