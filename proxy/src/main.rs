//! Arguments -> configuration -> run.

use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Parser;
use nix::sys::prctl::set_thp_disable;
use proxy::cli::Arguments;
use proxy::config::{Config, Environment, LogFormat, Purpose};
use proxy::explain::{self, Question};
use proxy::logging::{Form, Output};
use proxy::server::{self, blocked, run_files};
use proxy::site::{Source, check_certificates};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a process ends with that was asked about a request which no route takes.
const UNTAKEN: u8 = 2;

fn main() -> ExitCode {
    decline_huge_pages();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(said) => return say(&said),
    };
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln(&error);
            ExitCode::FAILURE
        }
    }
}

/// The allocator asks for huge pages, and the kernel makes and clears one while a request waits for it: that took up to 9 ms.
/// Small pages cost a request some half a microsecond. (A kernel that cannot decline them goes on as before. To have those
/// of the start, and decline what would come later, was measured: it saves nothing.)
fn decline_huge_pages() {
    let _ = set_thp_disable(true);
}

/// Help, the version, or what is wrong with the arguments. (By itself clap would end with `UNTAKEN` then.)
fn say(said: &clap::Error) -> ExitCode {
    // Whoever reads it may have had enough.
    _ = said.print();
    if said.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    blocked::block().context("cannot block signals")?;
    let environment = Environment { daemon: arguments.daemon, ..Environment::of_this_process() };
    let purpose = if arguments.test { Purpose::Test } else { Purpose::Start };
    let loaded = Source::new(arguments.conf.clone(), environment).load(purpose)?;
    let config = &loaded.config;
    if arguments.test {
        config.remarks.iter().for_each(|remark| eprintln(&anyhow!("{remark}")));
        let remarks = check_certificates(config).with_context(|| format!("{}", arguments.conf.display()))?;
        remarks.into_iter().for_each(|remark| eprintln(&anyhow!(remark)));
        if let Some(remark) = run_files::foresee(config, arguments)? {
            eprintln(&anyhow!("{remark}"));
        }
        eprintln(&anyhow!("{}: valid", arguments.conf.display()));
        return tell(config, arguments);
    }
    let is_daemon = arguments.daemon || config.server.daemon;
    if is_daemon && config.server.daemon_wait_for_ready {
        blocked::leave_to_daemon().context("cannot unblock a signal")?;
    }
    let output = output(config, is_daemon);
    output.install().map_err(|error| anyhow!("cannot set up the log: {error}"))?;
    log_panics();
    config.remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    // A panic while starting ends the process like any other error.
    let outcome = catch_unwind(AssertUnwindSafe(|| server::run(loaded, arguments, output.clone())));
    output.flush();
    outcome.map_err(|_| anyhow!("the gateway panicked while it started; see its log"))??;
    Ok(ExitCode::SUCCESS)
}

/// Says what is asked of a valid configuration beside that it is one.
fn tell(config: &Config, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.routes {
        print(&explain::table(config))?;
    }
    let Some(request) = &arguments.request else { return Ok(ExitCode::SUCCESS) };
    let question = Question::parse(request, &arguments.headers, arguments.client.as_deref());
    let question = question.with_context(|| format!("cannot match {request:?}"))?;
    let explanation = explain::explain(config, &question);
    print(&explanation.to_string())?;
    Ok(if explanation.is_taken { ExitCode::SUCCESS } else { ExitCode::from(UNTAKEN) })
}

/// Prints what was asked for. Whoever reads it may have had enough.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}

fn output(config: &Config, is_daemon: bool) -> Arc<Output> {
    let form = match config.gateway.log {
        LogFormat::Json => Form::Json,
        LogFormat::Text => Form::Text,
        LogFormat::Auto => Form::of(&std::io::stdout()),
    };
    Output::new(form, is_daemon && config.server.error_log.is_some())
}

/// A panic is a line in the log, like everything else.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        tracing::error!(location, message, "panic");
    }));
}

#[expect(clippy::print_stderr, reason = "the one place where a person is told why there is no gateway")]
fn eprintln(error: &anyhow::Error) {
    eprintln!("proxy: {error:#}");
}
