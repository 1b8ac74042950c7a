//! Prints the gateway's figures, each beside its control, and fails when a count is not what it must be.
//!
//! `figures` measures everything (half an hour; release builds); `figures PART...` only some of
//! it; `figures --short` takes fewer rounds, and leaves the gateway's own cost out unless it is asked for.
//!
//! Counts are asserted. Times and percentages are printed as median [min - max] of five rounds, and
//! asserted only at ten times their goal: they depend on the machine and on what else it does.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

mod balance;
mod bare;
mod certificates;
mod cost;
mod departures;
mod grpc;
mod instructions;
mod matching;
mod outage;
mod propagation;
mod reload;
mod request;
mod split;
mod spread;
mod sse;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// Prints the gateway's figures, each beside its control.
#[derive(Debug, Parser)]
struct Arguments {
    /// Fewer rounds, and only what debug builds can show.
    #[arg(long)]
    short: bool,
    /// What to measure; all by default.
    parts: Vec<Part>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Rounds of what costs seconds each. Below five no time is printed, only counts.
    rounds: usize,
    /// Puts, and as many deletes, in each of the five rounds of propagation.
    changes: usize,
    /// How long etcd is dead.
    outage: Duration,
    /// How long a load runs before and after a fault, and as a control.
    calm: Duration,
    /// Requests that are split.
    split: u64,
}

const FULL: Scale = Scale {
    rounds: 5,
    changes: 300,
    outage: Duration::from_secs(30),
    calm: Duration::from_secs(3),
    split: 100_000,
};
const SHORT: Scale = Scale {
    rounds: 1,
    changes: 20,
    outage: Duration::from_secs(5),
    calm: Duration::from_secs(1),
    split: 5_000,
};

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Balance,
    Split,
    Propagation,
    Sse,
    Departures,
    Grpc,
    Outage,
    Reload,
    Certificates,
    Matching,
    Cost,
    Instructions,
    Request,
}

/// The rest is about what the gateway itself costs, and needs release builds.
const IN_SHORT: [Part; 10] = [
    Part::Balance,
    Part::Split,
    Part::Propagation,
    Part::Sse,
    Part::Departures,
    Part::Grpc,
    Part::Outage,
    Part::Reload,
    Part::Certificates,
    Part::Matching,
];

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
async fn run(Arguments { short, parts }: Arguments) -> Result<()> {
    let (scale, all) = if short { (SHORT, IN_SHORT.as_slice()) } else { (FULL, Part::value_variants()) };
    for part in if parts.is_empty() { all } else { &parts } {
        match part {
            Part::Balance => balance::show().await?,
            Part::Split => split::show(scale).await?,
            Part::Propagation => propagation::show(scale).await?,
            Part::Sse => sse::show(scale).await?,
            Part::Departures => departures::show(scale).await?,
            Part::Grpc => grpc::show(scale).await?,
            Part::Outage => outage::show(scale).await?,
            Part::Reload => reload::show(scale).await?,
            Part::Certificates => certificates::show(scale).await?,
            Part::Matching => matching::show(!short)?,
            Part::Cost => cost::show().await?,
            Part::Instructions => instructions::show().await?,
            Part::Request => request::show().await?,
        }
    }
    Ok(())
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("  {name:<44} {value}");
}
