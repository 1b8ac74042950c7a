//! Prints the gateway's figures, each beside its control, and fails when a count is not what it must be.
//!
//! `figures` measures everything (some twenty minutes; release builds); `figures PART...` only some of
//! it; `figures --short` takes fewer rounds and leaves the gateway's own cost out.
//!
//! Counts are asserted. Times and percentages are printed as median [min - max] of five rounds, and
//! asserted only at ten times their goal: they depend on the machine and on what else it does.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

mod balance;
mod bare;
mod cost;
mod departures;
mod instructions;
mod outage;
mod propagation;
mod spread;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};

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
}

const FULL: Scale =
    Scale { rounds: 5, changes: 300, outage: Duration::from_secs(30), calm: Duration::from_secs(3) };
const SHORT: Scale =
    Scale { rounds: 1, changes: 20, outage: Duration::from_secs(5), calm: Duration::from_secs(1) };

/// What can be measured. The first four are counted; the last two need release builds.
const PARTS: [&str; 6] = ["balance", "propagation", "departures", "outage", "cost", "instructions"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (scale, parts) = match arguments.as_slice() {
        [] => (FULL, PARTS.to_vec()),
        [short] if short == "--short" => (SHORT, PARTS[..4].to_vec()),
        chosen => (FULL, chosen.iter().map(String::as_str).collect()),
    };
    for part in parts {
        match part {
            "balance" => balance::show().await?,
            "propagation" => propagation::show(scale).await?,
            "departures" => departures::show(scale).await?,
            "outage" => outage::show(scale).await?,
            "cost" => cost::show().await?,
            "instructions" => instructions::show().await?,
            unknown => bail!("unknown argument {unknown:?}: expected --short or some of {PARTS:?}"),
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
