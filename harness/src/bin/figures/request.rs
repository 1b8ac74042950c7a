//! What a request takes of the gateway: instructions and allocations, counted by callgrind, which are the same whatever
//! else the machine does. Fails if it takes more than it may.
//!
//! A GET with an answer of 60 bytes on connections that stay, with all that is on by default: a request id, its line in the
//! log, metrics. One thread, one route, one instance, a release build. So the code of the kernel is not counted, nor what
//! several threads do to one another.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    load::Load,
    process::{Process, Signal},
    stack::{Gateway, GatewayOptions},
};
use serde_json::json;
use tempfile::tempdir;

use crate::{bare::start_backends, heading, row};

/// One run sends so many, the other so many: what starting and stopping cost cancels out.
const REQUESTS: [u64; 2] = [2_000, 8_000];
const PATIENCE: Duration = Duration::from_secs(120);

/// What a request may take: some more than it does, as compilers differ a little, and as it depends on how many of the
/// connections the gateway finds ready at once. Whoever makes it cheaper lowers the bound.
const CASES: [Case; 2] = [
    Case { connections: 64, instructions: 18_400.0, allocations: 3.0 },
    Case { connections: 1, instructions: 21_800.0, allocations: 3.0 },
];

struct Case {
    connections: usize,
    instructions: f64,
    allocations: f64,
}

/// What was counted from start to end.
#[derive(Clone, Copy)]
struct Counts {
    instructions: u64,
    allocations: u64,
}

pub(crate) async fn show() -> Result<()> {
    let backends = start_backends().await?;
    heading(&format!("what a request takes: {} requests against {}", REQUESTS[0], REQUESTS[1]));
    for Case { connections, instructions, allocations } in CASES {
        let [few, many] = [
            run(&backends, connections, REQUESTS[0]).await?,
            run(&backends, connections, REQUESTS[1]).await?,
        ];
        let each = |of: fn(Counts) -> u64| (of(many) - of(few)) as f64 / (REQUESTS[1] - REQUESTS[0]) as f64;
        let found = (each(|counts| counts.instructions), each(|counts| counts.allocations));
        let name = format!("over {connections} connections");
        row(
            &name,
            format!(
                "{:.0} instructions of {instructions}, {:.2} allocations of {allocations}",
                found.0, found.1
            ),
        );
        ensure!(
            found.0 <= instructions && found.1 <= allocations,
            "a request takes more than it may: see docs/figures.md"
        );
    }
    Ok(())
}

async fn run(backends: &[SocketAddr], connections: usize, requests: u64) -> Result<Counts> {
    let directory = tempdir()?;
    let file = directory.path().join("callgrind.out");
    let wrapper = ["valgrind", "--tool=callgrind"].map(str::to_owned);
    let wrapper = wrapper.into_iter().chain([format!("--callgrind-out-file={}", file.display())]);
    let instance = backends.first().context("no backend")?.to_string();
    let options = GatewayOptions::default()
        .set("threads", 1)
        .set("gateway/services/goods/addresses", json!([instance]))
        .discard_log()
        .under(wrapper);
    let mut gateway = Gateway::start_with_registry(options).await.context("starting it under valgrind")?;
    let outcome = Load::get(gateway.address(), "/goods").connections(connections).run_count(requests).await;
    ensure!(outcome.failed + outcome.refused == 0, "requests failed: {:?}", outcome.errors);
    gateway.process().signal(Signal::SIGINT)?;
    gateway.wait_exit(PATIENCE).await?;
    let profile = std::fs::read_to_string(&file).context("reading what callgrind has found")?;
    Ok(Counts { instructions: collected(gateway.process())?, allocations: allocations(&profile)? })
}

/// The total that callgrind prints at the end: `==1234== Collected : 56789`.
pub(crate) fn collected(process: &Process) -> Result<u64> {
    let lines = process.stderr();
    let total = lines.iter().find_map(|line| line.split_once("Collected :"));
    let (_, total) = total.with_context(|| format!("callgrind printed no total\n{}", process.tail()))?;
    Ok(total.trim().parse()?)
}

/// How often the allocator was called for memory: the calls of its functions by any others. (A profile gives each function
/// a number where it names it first: `fn=(7) main`, `cfn=(7)`.)
fn allocations(profile: &str) -> Result<u64> {
    let mut names = HashMap::new();
    let (mut is_within, mut is_called, mut count) = (false, false, 0);
    for line in profile.lines() {
        if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            let is_allocator = *names.entry(number).or_insert_with(|| is_allocator(name));
            if line.starts_with('c') { is_called = is_allocator } else { is_within = is_allocator }
        } else if let Some(calls) = line.strip_prefix("calls=")
            && is_called
            && !is_within
        {
            let (calls, _) = calls.split_once(' ').context("a call without a place")?;
            count += calls.parse::<u64>()?;
        }
    }
    ensure!(count > 0, "callgrind found no call of the allocator");
    Ok(count)
}

/// What gives memory, of mimalloc.
fn is_allocator(name: &str) -> bool {
    let name = name.split('\'').next().unwrap_or_default();
    ["mi_malloc", "mi_zalloc", "mi_calloc", "mi_realloc", "mi_heap_malloc", "mi_heap_realloc"]
        .iter()
        .any(|function| name.starts_with(function))
}
