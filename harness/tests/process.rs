//! The harness's processes: output, signals, ends.

use std::{process::Command, time::Duration};

use anyhow::Result;
use harness::{
    process::{Process, Signal, Stdout, binary},
    wait::eventually,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Result<Process> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::start(command, Stdout::Kept)
}

#[tokio::test]
async fn lines_of_both_pipes_are_kept_and_can_be_awaited() -> Result<()> {
    let mut process =
        shell("echo one; echo two >&2; sleep 0.2; echo three; echo no newline at the end | tr -d '\\n'")?;
    assert_eq!(process.wait_for_line(|line| line.starts_with("th"), PATIENCE).await?, "three");
    assert!(process.wait_exit(PATIENCE).await?.success());
    let mut lines = process.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["no newline at the end", "one", "three", "two"]);
    assert_eq!(process.stderr(), ["two"]);
    assert_eq!(process.lines_since(3), ["no newline at the end"]);
    Ok(())
}

#[tokio::test]
async fn a_line_that_never_comes_is_an_error_that_shows_what_came() -> Result<()> {
    let ended = shell("echo something else")?;
    let error =
        ended.wait_for_line(|line| line == "this", PATIENCE).await.err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("ended") && error.contains("something else")));

    let silent = shell("exec sleep 30")?;
    let error =
        silent.wait_for_line(|_| true, Duration::from_millis(100)).await.err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("within 100ms")));
    Ok(())
}

#[tokio::test]
async fn only_later_lines_count_after_a_mark() -> Result<()> {
    let process = shell("echo same; sleep 0.2; echo same again; exec sleep 30")?;
    process.wait_for_line(|line| line == "same", PATIENCE).await?;
    let mark = process.line_count();
    let later = process.wait_for_line_since(mark, |line| line.starts_with("same"), PATIENCE).await?;
    assert_eq!(later, "same again");
    Ok(())
}

#[tokio::test]
async fn a_signal_arrives_and_the_exit_code_comes_back() -> Result<()> {
    let mut process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done")?;
    process.wait_for_line(|line| line == "ready", PATIENCE).await?;
    assert!(process.wait_exit(Duration::from_millis(100)).await.is_err());
    assert!(!process.has_ended());
    process.signal(Signal::SIGTERM)?;
    assert_eq!(process.wait_exit(PATIENCE).await?.code(), Some(7));
    assert!(process.has_ended());
    Ok(())
}

#[tokio::test]
async fn cpu_time_and_memory_are_those_of_the_process() -> Result<()> {
    let busy = shell("while :; do :; done")?;
    let idle = shell("exec sleep 30")?;
    eventually("the busy loop shows", PATIENCE, async || {
        anyhow::ensure!(busy.cpu_time()? >= Duration::from_millis(300));
        Ok(())
    })
    .await?;
    assert!(idle.cpu_time()? < Duration::from_millis(100));
    assert!((100_000..100_000_000).contains(&idle.resident_memory()?));
    Ok(())
}

#[tokio::test]
async fn a_dropped_process_is_dead() -> Result<()> {
    let process = shell("exec sleep 30")?;
    let path = format!("/proc/{}", process.pid());
    assert!(std::fs::exists(&path)?);
    drop(process);
    assert!(!std::fs::exists(&path)?);
    Ok(())
}

#[test]
fn a_binary_that_is_not_built_says_what_to_run() {
    let error = binary("no-such-binary").err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("cargo build --workspace")));
}
