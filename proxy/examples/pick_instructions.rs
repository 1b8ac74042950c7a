//! How many instructions a choice takes, counted by callgrind: the same whatever else the machine does.
//! (An optimised build: `cargo run --release --package proxy --example pick_instructions`.)
//!
//! With a policy, a number of endpoints and how many choices: does just that, to be counted.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use proxy::balance::{self, Choice};
use proxy::config::{Balance, HashKey};
use proxy::directory::{self, Endpoints, Plan, Policy};
use registry::contract::{Instance, Record};
use registry::watch::Update;

const POLICIES: [&str; 5] = ["random", "round_robin", "least_request", "ewma", "hash"];
const ENDPOINTS: [u32; 3] = [10, 1_000, 100_000];
const CHOICES: u64 = 10_000;
/// The function whose instructions are counted, with all that it calls.
const COUNTED: &str = "*pick_instructions::choose*";

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => show(),
        [policy, endpoints, choices] => {
            let endpoints = publish(policy, endpoints.parse()?)?;
            choose(&endpoints, choices.parse()?);
            Ok(())
        }
        _ => bail!("give nothing, or a policy, a number of endpoints and a number of choices"),
    }
}

fn show() -> Result<()> {
    println!("instructions for a choice, {CHOICES} choices; weights from 1 to 3");
    println!("  {:14}{:>16}{:>16}{:>16}", "policy", "10 endpoints", "1,000", "100,000");
    for policy in POLICIES {
        let counts = ENDPOINTS.map(|endpoints| count(policy, endpoints));
        let [few, some, many] = counts;
        println!("  {policy:14}{:>16.0}{:>16.0}{:>16.0}", few?, some?, many?);
    }
    Ok(())
}

/// Runs this very program under callgrind.
fn count(policy: &str, endpoints: u32) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(std::env::current_exe()?)
        .args([policy, &endpoints.to_string(), &CHOICES.to_string()])
        .output()
        .context("no valgrind on PATH? `make setup` or `apt-get install valgrind` installs it")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{policy} of {endpoints} failed:\n{report}");
    let total = report.lines().find_map(|line| line.split_once("Collected :"));
    let (_, total) = total.with_context(|| format!("callgrind printed no total:\n{report}"))?;
    let total: u64 = total.trim().parse()?;
    ensure!(total > CHOICES, "callgrind did not find {COUNTED}");
    Ok(total as f64 / CHOICES as f64)
}

/// Chooses so often, each time for another key and with another chance.
#[inline(never)]
fn choose(endpoints: &Endpoints, choices: u64) {
    let now = Instant::now();
    for n in 0..choices {
        let number = directory::mix(n);
        let choice = Choice { tried: &[], chance: number, now, key: number, limit: None };
        black_box(balance::pick(black_box(endpoints), &choice));
    }
}

/// A service with so many endpoints, each of which has answered.
fn publish(policy: &str, endpoints: u32) -> Result<Arc<Endpoints>> {
    let policy = Policy { balance: policy_named(policy)?, ..Policy::default() };
    let (directory, mut writer) = directory::with_routed([("goods", policy)]);
    let instances = (0..endpoints).map(instance).collect();
    writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 1 }, Instant::now());
    let begun = Instant::now();
    writer.publish(Instant::now);
    println!("published in {:?}", begun.elapsed());
    let endpoints = Arc::clone(&directory.service("goods").context("it is pinned")?.endpoints());
    for (n, entry) in (1..).zip(endpoints.entries()) {
        entry.endpoint.traffic.latency.record(Duration::from_millis(n % 50), Instant::now());
    }
    if let Plan::Hash(hashing) = endpoints.plan() {
        while !hashing.is_built() {
            thread::sleep(Duration::from_millis(1));
        }
        println!("the ring is there after {:?}", begun.elapsed());
    }
    Ok(endpoints)
}

fn policy_named(name: &str) -> Result<Balance> {
    Ok(match name {
        "random" => Balance::Random,
        "round_robin" => Balance::RoundRobin,
        "least_request" => Balance::LeastRequest,
        "ewma" => Balance::Ewma,
        "hash" => Balance::Hash(HashKey::Client),
        _ => bail!("there are {}", POLICIES.join(", ")),
    })
}

fn instance(number: u32) -> Instance {
    let weight = (number % 3 + 1) as u16;
    let record = Record { weight, ..Record::new((number.to_be_bytes(), 80).into()) };
    let (service, id) = ("goods".into(), format!("{number:06}").into());
    Instance { service, id, record, lease: 0, revision: 1 }
}
