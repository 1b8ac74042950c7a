//! The faults of the registry, of backends and of the gateway itself, done to real processes, and what they
//! cost.
//!
//! `chaos` does all of them; `chaos --short` a form for `make test`; `chaos storm --minutes 60` one of them,
//! at length. Counts are asserted. A time is printed beside its goal, and fails at ten times that.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

mod access_log;
mod backends;
mod changes;
mod clients;
mod cold;
mod compaction;
mod context;
mod difference;
mod embedded;
mod gateway;
mod half_open;
mod hostile;
mod idle;
mod large;
mod measured;
mod members;
mod outage;
mod registrars;
mod relayed;
mod restart;
mod restored;
mod storm;
mod tokens;
mod wiped;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use futures_util::future::join_all;

use clients::Abuse;
use context::{Context, FULL, SHORT, Scale};
use measured::Measured;

/// Does to etcd, the network, the data and backends what they do by themselves, and measures what it costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// A form that takes two or three minutes, without times that a debug build cannot have.
    #[arg(long)]
    short: bool,
    /// The seed of all chance, as an earlier run printed it.
    #[arg(long)]
    seed: Option<u64>,
    /// How long each storm lasts.
    #[arg(long)]
    minutes: Option<u64>,
    /// What to do; all by default.
    cases: Vec<Case>,
}

/// What has the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Registry,
    Backends,
    Gateway,
    Clients,
    /// Everything.
    Storm,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    Outage,
    Members,
    Restart,
    Compaction,
    HalfOpen,
    Wiped,
    Restored,
    Tokens,
    Cold,
    Changes,
    Registrars,
    Hostile,
    Rolling,
    Killed,
    Stopped,
    Flaky,
    Failing,
    Slow,
    Reused,
    Reloaded,
    Terminated,
    Upgraded,
    EmbeddedKilled,
    EmbeddedUpgraded,
    Readers,
    SlowHeads,
    BigHeads,
    SlowBodies,
    Large,
    Idle,
    Storm,
}

impl Case {
    fn subject(self) -> Subject {
        match self {
            Self::Rolling
            | Self::Killed
            | Self::Stopped
            | Self::Flaky
            | Self::Failing
            | Self::Slow
            | Self::Reused => Subject::Backends,
            Self::Reloaded
            | Self::Terminated
            | Self::Upgraded
            | Self::EmbeddedKilled
            | Self::EmbeddedUpgraded => Subject::Gateway,
            Self::Readers
            | Self::SlowHeads
            | Self::BigHeads
            | Self::SlowBodies
            | Self::Large
            | Self::Idle => Subject::Clients,
            Self::Storm => Subject::Storm,
            _ => Subject::Registry,
        }
    }

    /// What is done.
    fn title(self) -> &'static str {
        match self {
            Self::Outage => "all of etcd dead under load",
            Self::Members => "one of three members killed, stopped, cut off, one after the other",
            Self::Restart => "gateway restarted while etcd is dead",
            Self::Compaction => "compaction during a partition",
            Self::HalfOpen => "half-open connection (packets dropped)",
            Self::Wiped => "prefix wiped by mistake; every lease revoked at once",
            Self::Restored => "data directory of an older backup restored; etcd emptied",
            Self::Tokens => {
                "tokens of 5 s, the stream cut after each expiry; password and role changed twice; simple and JWT"
            }
            Self::Cold => "many keys, cold start",
            Self::Changes => "a storm of changes, in transactions of 100",
            Self::Registrars => "many registrars, etcd restarted empty",
            Self::Hostile => "hostile records of every kind, by a user with names of its own",
            Self::Rolling => "rolling restart of all goods with SIGTERM, GET and POST",
            Self::Killed => "`kill -9` of one of the goods",
            Self::Stopped => "SIGSTOP of one of the goods",
            Self::Flaky => "one answers 50 % 503, which is retried",
            Self::Failing => "all fail",
            Self::Slow => "one is ten times slower, `ewma`",
            Self::Reused => "an address re-used by another service",
            Self::Reloaded => "reloads between two files that differ in routes, rules and a service",
            Self::Terminated => "SIGTERM of the gateway under load",
            Self::Upgraded => "`-u` upgrades of the gateway under load",
            Self::EmbeddedKilled => "embedded registry: `kill -9` of the gateway and a start",
            Self::EmbeddedUpgraded => "embedded registry: `-u` upgrades under load",
            Self::Readers => "clients that ask for 10 MB and never read",
            Self::SlowHeads => "clients that send their heads byte by byte",
            Self::BigHeads => "clients that send heads of 1 MB",
            Self::SlowBodies => "clients that send their bodies byte by byte",
            Self::Large => {
                "bodies of 2 GiB up and down, with a length and in chunks, read quickly and slowly"
            }
            Self::Idle => "connections without a request",
            Self::Storm => "random faults with the auditor on",
        }
    }

    /// What it must show.
    fn goal(self) -> &'static str {
        match self {
            Self::Outage => "0 failed; changes made after its return arrive within 2 s",
            Self::Members => "0 failed; a change arrives within 10 s while it lasts",
            Self::Restart => "serves in under 1 s",
            Self::Compaction => "0 failed; converged within 2 s of a working connection",
            Self::HalfOpen => "noticed within 15 s",
            Self::Wiped => "0 failed; alarm; all up again within 5 s of the registrars' return",
            Self::Restored => "converged within 5 s",
            Self::Tokens => "no missed event",
            Self::Cold => "list to ready under 3 s; under 300 MB resident",
            Self::Changes => {
                "0 lost; last change seen within 250 ms; CPU; p99 beside the same load without it"
            }
            Self::Registrars => "all back within 15 s",
            Self::Hostile => "at most 64 MB more resident; services of others unharmed; p99 unchanged",
            Self::Rolling => "0 failed",
            Self::Killed => {
                "0 failed GETs; failed POSTs at most those in flight; no attempt but trials 100 ms after a refusal"
            }
            Self::Stopped => "under 1 % take longer than 2 s, none than 3 s; back within 5 s of SIGCONT",
            Self::Flaky => "under 2 % of its failures reach a client",
            Self::Failing => "no total ejection; errors at once, not timeouts",
            Self::Slow => "p99 within 1.5x of the run without it",
            Self::Reused => "0 misrouted after the event arrived",
            Self::Reloaded => {
                "0 failed, 0 answered by a mixture; memory flat after the first 50; endpoints as they were"
            }
            Self::Terminated => "0 failed; exit within 2 s of the last request",
            Self::Upgraded => "0 failed",
            Self::EmbeddedKilled => "0 failed once it listens; every goods registered again within 3 s",
            Self::EmbeddedUpgraded => {
                "0 failed; no connection to the registry refused; every goods registered again within 3 s"
            }
            Self::Readers | Self::SlowHeads | Self::BigHeads | Self::SlowBodies => {
                "at most 40 MB more resident; 0 of others failed"
            }
            Self::Large => "every byte arrives; at most 4 MB more resident",
            Self::Idle => {
                "at most 4 KB each; 0 of others failed; all are closed by `keepalive`, and by SIGTERM"
            }
            Self::Storm => "0 differences after quiescence; 0 failed",
        }
    }

    async fn run(self, context: &Context, measured: &mut Measured) -> Result<()> {
        match self {
            Self::Outage => outage::run(context, measured).await,
            Self::Members => members::run(context, measured).await,
            Self::Restart => restart::run(context, measured).await,
            Self::Compaction => compaction::run(context, measured).await,
            Self::HalfOpen => half_open::run(context, measured).await,
            Self::Wiped => wiped::run(context, measured).await,
            Self::Restored => restored::run(context, measured).await,
            Self::Tokens => tokens::run(context, measured).await,
            Self::Cold => cold::run(context, measured).await,
            Self::Changes => changes::run(context, measured).await,
            Self::Registrars => registrars::run(context, measured).await,
            Self::Hostile => hostile::run(context, measured).await,
            Self::Rolling => backends::rolling::run(context, measured).await,
            Self::Killed => backends::killed::run(context, measured).await,
            Self::Stopped => backends::stopped::run(context, measured).await,
            Self::Flaky => backends::flaky::run(context, measured).await,
            Self::Failing => backends::failing::run(context, measured).await,
            Self::Slow => backends::slow::run(context, measured).await,
            Self::Reused => backends::reused::run(context, measured).await,
            Self::Reloaded => gateway::reloaded::run(context, measured).await,
            Self::Terminated => gateway::terminated::run(context, measured).await,
            Self::Upgraded => gateway::upgraded::run(context, measured).await,
            Self::EmbeddedKilled => embedded::killed::run(context, measured).await,
            Self::EmbeddedUpgraded => embedded::upgraded::run(context, measured).await,
            Self::Readers => clients::run(Abuse::Readers, context, measured).await,
            Self::SlowHeads => clients::run(Abuse::SlowHeads, context, measured).await,
            Self::BigHeads => clients::run(Abuse::BigHeads, context, measured).await,
            Self::SlowBodies => clients::run(Abuse::SlowBodies, context, measured).await,
            Self::Large => large::run(context, measured).await,
            Self::Idle => idle::run(context, measured).await,
            Self::Storm => storm::run(context, measured).await,
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<()> {
    let mut scale = if arguments.short { SHORT } else { FULL };
    if let Some(minutes) = arguments.minutes {
        scale.storm = Duration::from_secs(60 * minutes);
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}: `--seed {seed}` draws the same faults again");
    let cases = if arguments.cases.is_empty() { Case::value_variants().to_vec() } else { arguments.cases };
    let rows = if arguments.short {
        side_by_side(&cases, scale, seed).await
    } else {
        in_turn(&cases, scale, seed).await
    };
    show(&rows)
}

/// What came of a case.
struct Row {
    case: Case,
    measured: Measured,
    failure: Option<anyhow::Error>,
}

async fn in_turn(cases: &[Case], scale: Scale, seed: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    for &case in cases {
        rows.push(row(case, scale, seed).await);
    }
    rows
}

/// The subjects beside each other: their cases wait for most of their time.
async fn side_by_side(cases: &[Case], scale: Scale, seed: u64) -> Vec<Row> {
    let subjects = [Subject::Registry, Subject::Backends, Subject::Gateway, Subject::Clients, Subject::Storm];
    let rows = subjects.map(async |subject| {
        let cases: Vec<_> = cases.iter().copied().filter(|case| case.subject() == subject).collect();
        in_turn(&cases, scale, seed).await
    });
    join_all(rows).await.into_iter().flatten().collect()
}

async fn row(case: Case, scale: Scale, seed: u64) -> Row {
    let name = case.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let context = Context::new(name, scale, seed);
    let mut measured = Measured::default();
    context.say("begins");
    let failure = case.run(&context, &mut measured).await.err();
    match &failure {
        None => context.say(format_args!("ends: {measured}")),
        Some(error) => context.say(format_args!("FAILED: {error:#}")),
    }
    Row { case, measured, failure }
}

fn show(rows: &[Row]) -> Result<()> {
    println!("\n| case | must show | measured |\n|---|---|---|");
    for Row { case, measured, failure } in rows {
        let (title, must) = (case.title(), case.goal());
        let failed = if failure.is_some() { "**FAILED**; " } else { "" };
        println!("| {title} | {must} | {failed}{measured} |");
    }
    let failed: Vec<_> = rows.iter().filter(|row| row.failure.is_some()).map(|row| row.case).collect();
    if !failed.is_empty() {
        bail!("{failed:?}");
    }
    Ok(())
}
