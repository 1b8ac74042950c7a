//! What a proxy takes of the machine: the CPU time and the memory of its process and of all that it has started.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// Linux reports process times in hundredths of a second on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);

/// CPU time since the processes began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) kernel: Duration,
}

impl Cpu {
    /// What was taken since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            kernel: self.kernel.saturating_sub(before.kernel),
        }
    }
}

/// Of a process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Resident now; what processes share is divided among them (proportional set size).
    Proportional,
    /// Resident now.
    Resident,
    /// The most that was ever resident.
    Peak,
}

impl Memory {
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Proportional => ("smaps_rollup", "Pss:"),
            Self::Resident => ("status", "VmRSS:"),
            Self::Peak => ("status", "VmHWM:"),
        }
    }
}

/// The CPU time of a process and of all that it has started.
///
/// # Errors
/// When it is gone.
pub(crate) fn cpu(root: u32) -> Result<Cpu> {
    let mut total = Cpu::default();
    for process in tree(root)? {
        total.user += process.cpu.user;
        total.kernel += process.cpu.kernel;
    }
    Ok(total)
}

/// The memory, in bytes, of a process and of all that it has started.
///
/// # Errors
/// When it is gone.
pub(crate) fn memory(root: u32, kind: Memory) -> Result<u64> {
    let (file, line) = kind.place();
    let of = |id| bytes(&read(id, file)?, line);
    let each = tree(root)?.into_iter().map(|process| match of(process.id) {
        // A child that has ended meanwhile has none.
        Err(_) if process.id != root => Ok(0),
        found => found,
    });
    each.sum()
}

/// The processes that a process has started, and those that these have.
///
/// # Errors
/// When it is gone.
pub(crate) fn started_by(root: u32) -> Result<Vec<Pid>> {
    let others = tree(root)?.into_iter().filter(|process| process.id != root);
    others.map(|process| Ok(Pid::from_raw(i32::try_from(process.id)?))).collect()
}

/// A line of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    id: u32,
    parent: u32,
    cpu: Cpu,
}

/// The process and all that it has started, of all there are.
fn tree(root: u32) -> Result<Vec<Stat>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let name = entry?.file_name();
        // One that has ended meanwhile is none of those that matter.
        if let Some(id) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(text) = read(id, "stat")
        {
            all.push(stat(&text)?);
        }
    }
    let found = below(root, &all);
    anyhow::ensure!(!found.is_empty(), "process {root} has ended");
    Ok(found)
}

/// The processes that descend from `root`, and itself.
fn below(root: u32, all: &[Stat]) -> Vec<Stat> {
    let mut found: Vec<Stat> = all.iter().copied().filter(|process| process.id == root).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.id) {
        found.extend(all.iter().filter(|process| process.parent == parent && process.id != parent));
        next += 1;
    }
    found
}

fn read(id: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{id}/{file}");
    fs::read_to_string(&path).with_context(|| format!("reading {path}"))
}

/// proc(5): the second field, in parentheses, may hold spaces and parentheses; the 4th is the parent, the 14th and 15th
/// are the ticks in user mode and in the kernel.
fn stat(text: &str) -> Result<Stat> {
    let parse = || {
        let (id, _) = text.split_once(' ')?;
        let (_, after_name) = text.rsplit_once(')')?;
        let mut fields = after_name.split_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut ticks = fields.skip(9).map(|field| field.parse::<u32>().ok());
        let cpu = Cpu { user: TICK * ticks.next()??, kernel: TICK * ticks.next()?? };
        Some(Stat { id: id.parse().ok()?, parent, cpu })
    };
    parse().with_context(|| format!("/proc/PID/stat is not as proc(5) says: {text:?}"))
}

/// The value of a line such as `VmRSS:    1234 kB`.
fn bytes(text: &str, line: &str) -> Result<u64> {
    let kibibytes = text.lines().find_map(|found| found.strip_prefix(line)?.trim().strip_suffix(" kB"));
    let kibibytes = kibibytes.with_context(|| format!("no line {line} in what /proc says:\n{text}"))?;
    Ok(kibibytes.parse::<u64>().with_context(|| format!("{line} {kibibytes:?} is no number"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u32, parent: u32) -> Stat {
        Stat { id, parent, cpu: Cpu::default() }
    }

    #[test]
    fn user_and_kernel_time_are_told_apart_whatever_the_name_is() {
        let text = "77 (a) b (c) S 12 77 77 0 -1 4194560 1 2 3 4 150 275 8 9 20 0 1 0 5 6 7";
        let cpu = Cpu { user: Duration::from_millis(1500), kernel: Duration::from_millis(2750) };
        assert_eq!(stat(text).unwrap(), Stat { id: 77, parent: 12, cpu });
        assert!(stat("77 (a) S 12").unwrap_err().to_string().contains("proc(5)"));
    }

    #[test]
    fn a_line_of_status_is_found_by_its_whole_name() {
        let text = "VmHWMx:\t 9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes(text, "VmHWM:").unwrap(), 2048 * 1024);
        assert_eq!(bytes(text, "VmRSS:").unwrap(), 1024 * 1024);
        assert!(bytes(text, "Pss:").is_err());
        assert!(bytes("Pss: many kB", "Pss:").is_err());
    }

    #[test]
    fn grandchildren_count_and_strangers_do_not() {
        let all = [process(0, 0), process(5, 1), process(7, 5), process(8, 7), process(9, 1), process(6, 9)];
        let ids: Vec<_> = below(5, &all).iter().map(|process| process.id).collect();
        assert_eq!(ids, [5, 7, 8]);
        assert!(below(4, &all).is_empty());
        assert_eq!(below(0, &all).len(), 1, "a process that is its own parent ends the search");
    }

    #[test]
    fn a_process_that_was_started_is_found_until_it_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = started_by(std::process::id()).unwrap();
        assert!(found.iter().any(|id| id.as_raw().cast_unsigned() == child.id()), "{found:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(started_by(child.id()).is_err());
    }

    #[test]
    fn this_process_is_measured() {
        let own = std::process::id();
        for kind in [Memory::Proportional, Memory::Resident, Memory::Peak] {
            assert!(memory(own, kind).unwrap() > 100_000, "{kind:?}");
        }
        let before = cpu(own).unwrap();
        assert!(cpu(own).unwrap().since(before).user < Duration::from_secs(60));
        assert!(cpu(u32::MAX).is_err());
    }

    #[test]
    fn times_are_differences() {
        let at = |user, kernel| Cpu { user: TICK * user, kernel: TICK * kernel };
        assert_eq!(at(30, 50).since(at(10, 20)), at(20, 30));
    }
}
