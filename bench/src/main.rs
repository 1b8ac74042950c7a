//! Leaseway beside other proxies: each alone on one core, under the same loads, in turn, round after round.
//!
//! `bench` measures everything (two hours; release builds) and writes bench/results; `bench CASE...` only some
//! of it, and `--only NAME` only some proxies: both print, and write nothing unless `--results` says where. `--short`
//! shows that everything works, with whatever is installed.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

mod abuse;
mod backend;
mod calls;
mod case;
mod chart;
mod flood;
mod head;
mod http2;
mod load;
mod machine;
mod markdown;
mod measure;
mod peer;
mod results;
mod spread;
mod stream;
mod usage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::{
    backend::Backend,
    case::{Case, FULL, SHORT, Scale},
    machine::{Cores, Machine},
    measure::Figures,
    peer::{Found, Identity, Place, Running},
    results::{Proxy, Results},
};

const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results");
/// Descriptors beside those of a case's connections, on both of their sides: of the load, of the pools, of files.
const OTHER_FILES: u64 = 2048;

/// Leaseway beside other proxies.
#[derive(Debug, Parser)]
struct Arguments {
    /// One round of tiny loads: it shows that everything works, and measures nothing.
    #[arg(long)]
    short: bool,
    /// How many rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only the proxies whose names contain this; several times for several.
    #[arg(long)]
    only: Vec<String>,
    /// The core of the proxy.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// The core of the load and of the backend.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Stop each proxy by SIGTERM and wait for its end, so that one that counts what it runs can write that down.
    #[arg(long)]
    stop: bool,
    /// Where to write the results. By default bench/results, if all is measured.
    #[arg(long)]
    results: Option<PathBuf>,
    /// What to measure, by name; `loads`; `abuse`: the clients that behave badly. All by default.
    cases: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: &Arguments) -> Result<()> {
    let cores = Cores { proxy: arguments.core, load: arguments.load_core };
    let mut scale = if arguments.short { SHORT } else { FULL };
    scale.rounds = arguments.rounds.unwrap_or(scale.rounds);
    ensure!(scale.rounds > 0, "no rounds were asked for");
    let is_measured = arguments.short || !cfg!(debug_assertions);
    ensure!(is_measured, "only release builds are measured: `make bench`; --short takes any");
    let cases = Case::chosen(&arguments.cases)?;
    cores.pin()?;
    machine::raise_open_files(files(&cases, scale))?;
    let (found, missing) = peer::find(&arguments.only)?;
    let mut results = Results::new(Machine::look(), scale, cases);
    results.missing = missing;
    results.proxies = found.iter().map(shown).collect();
    let (backend, identity) = (Backend::start().await?, Identity::make()?);
    let place = Place {
        core: cores.proxy,
        backends: &backend.addresses,
        call_backends: &backend.calls,
        identity: &identity,
        is_stopped: arguments.stop,
    };
    measure_all(&mut results, &found, &backend, place).await;
    let page = markdown::page(&results);
    if arguments.short {
        println!("{} cases, {} proxies, {} missing", results.cases.len(), found.len(), results.missing.len());
    } else {
        println!("\n{page}");
    }
    let is_all = !arguments.short && arguments.only.is_empty() && arguments.cases.is_empty();
    let directory = arguments.results.clone().or_else(|| is_all.then(|| RESULTS.into()));
    if let Some(directory) = directory {
        write(&directory, &page, &results)?;
    }
    ensure!(results.failures.is_empty(), "{} measurements failed, see above", results.failures.len());
    ensure!(arguments.short || !found.is_empty(), "no proxy was there");
    Ok(())
}

fn shown(found: &Found) -> Proxy {
    let peer = found.peer;
    Proxy { name: peer.name, version: found.version.clone(), duties: peer.duties, cases: peer.cases }
}

/// As many as a proxy may have: two for each connection that reaches the backend.
fn files(cases: &[Case], scale: Scale) -> u64 {
    let each = |case: &Case| {
        let sides = if case.reaches_the_backend() { 2 } else { 1 };
        (scale.connections(case.connections()) * sides) as u64
    };
    cases.iter().map(each).max().unwrap_or(0) + OTHER_FILES
}

/// Every case of every proxy, round after round. A proxy is started for each of them, and is alone.
async fn measure_all(results: &mut Results, found: &[Found], backend: &Backend, place: Place<'_>) {
    let (rounds, cases) = (results.scale.rounds, results.cases.clone());
    for round in 0..rounds {
        for &case in &cases {
            // Who goes first changes, so that a machine that slows down favours none.
            let turns = found.iter().cycle().skip(round % found.len().max(1)).take(found.len());
            for proxy in turns.filter(|proxy| proxy.peer.cases.has(case)) {
                let name = proxy.peer.name;
                if rounds > 1 {
                    println!("round {} of {rounds}: {}, {name}", round + 1, case.name());
                }
                match measure_one(case, proxy, place, backend, results.scale).await {
                    Ok(figures) => results.add(case, name, round, figures),
                    Err(error) => {
                        let failure = format!("{name}, {}, round {}: {error:#}", case.name(), round + 1);
                        println!("failed: {failure}");
                        results.failures.push(failure);
                    }
                }
            }
        }
    }
}

async fn measure_one(
    case: Case,
    proxy: &Found,
    place: Place<'_>,
    backend: &Backend,
    scale: Scale,
) -> Result<Figures> {
    let mut running = Running::start(proxy, place, case).await?;
    let measured = measure::measure(case, &running, backend, scale).await;
    let measured = measured.with_context(|| format!("its last lines: {:?}", running.process.tail()))?;
    if place.is_stopped {
        running.stop().await?;
    }
    Ok(measured)
}

fn write(directory: &Path, page: &str, results: &Results) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    write("latest.md", page)?;
    write("latest.json", &format!("{}\n", serde_json::to_string_pretty(&results.json())?))?;
    if let Some(svg) = chart::svg(results) {
        write("latest.svg", &svg)?;
    }
    println!("written to {}", directory.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The topmost first.
    const ORDER: &[&str] = &[
        "chart", "markdown", "results", "measure", "abuse", "peer", "case", "calls", "flood", "load",
        "http2", "stream", "backend", "head", "machine", "spread", "usage",
    ];

    #[test]
    fn a_module_uses_only_those_that_come_after_it_in_the_order() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(harness::rooms::check(&src, ORDER), [""; 0]);
    }
}
