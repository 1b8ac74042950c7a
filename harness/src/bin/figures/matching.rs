//! What it takes to find the route of a request.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::process::binary;

use crate::{heading, row, spread::Spread};

const ROUNDS: usize = 5;
const LOOK_UPS: &str = "100000";
const ROUTES: [&str; 3] = ["10", "1000", "10000"];
/// Of an optimised build, at 10,000 routes.
const GOAL: f64 = 1_000.0;

pub(crate) fn show(with_instructions: bool) -> Result<()> {
    let program = binary("examples/match_instructions").context(
        "it is an example: `cargo build -p proxy --examples`, with --release or without as this is",
    )?;
    heading(&format!("the route of a request, of 100 hosts: {ROUNDS} rounds of {LOOK_UPS} look-ups"));
    for routes in ROUTES {
        let times = (0..ROUNDS).map(|_| nanoseconds(&program, routes)).collect::<Result<Vec<_>>>()?;
        let spread = Spread::of(" ns", times);
        row(&format!("{routes} routes"), spread.against(GOAL));
        ensure!(spread.median() < 10.0 * GOAL, "a look-up takes {spread}");
    }
    if with_instructions {
        let output = Command::new(program).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

fn nanoseconds(program: &std::path::Path, routes: &str) -> Result<f64> {
    let output = Command::new(program).args(["usual", routes, LOOK_UPS]).output()?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    ensure!(output.status.success(), "{}", said(&output.stderr));
    said(&output.stdout).parse().context("reading the time of a look-up")
}
