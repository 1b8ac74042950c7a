//! The same random operations on a real etcd and on the embedded registry: equal answers, equal events.
//! Offsets of revisions, and times, aside.

mod json;
mod operation;
mod pair;
mod side;

use std::{cell::RefCell, env, thread};

use anyhow::{Context, Result, bail};
use operation::Operation;
use pair::Pair;
use proptest::{
    collection::vec,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use tokio::runtime::Builder;

use crate::subject::Release;

const OPERATIONS: usize = 50;
/// With each release of etcd: together a thousand. `LEASEWAY_SEQUENCES` asks for another number.
const SEQUENCES: u32 = 500;
/// As JSON.
const JSON_SEQUENCES: u32 = 100;
/// How many pairs of registries are compared at the same time, per release: an etcd waits for its disk.
const PAIRS: u32 = 2;

#[test]
fn random_operations_are_answered_as_by_debians_etcd() -> Result<()> {
    compare_with(Release::V3_4)
}

#[test]
fn random_operations_are_answered_as_by_pypis_etcd() -> Result<()> {
    compare_with(Release::V3_5)
}

#[test]
fn random_operations_as_json_are_answered_as_by_pypis_etcd() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let pair = RefCell::new(runtime.block_on(json::Pair::start(Release::V3_5))?);
    let sequences = sequences(JSON_SEQUENCES)?;
    run(sequences, |operations| runtime.block_on(pair.borrow_mut().compare(operations)))?;
    println!("{sequences} sequences of {OPERATIONS} operations as JSON: no difference from etcd 3.5");
    Ok(())
}

fn compare_with(release: Release) -> Result<()> {
    let sequences = sequences(SEQUENCES)?;
    let run = || compare_sequences(release, sequences.div_ceil(PAIRS));
    let outcomes: Vec<Result<()>> = thread::scope(|scope| {
        let pairs: Vec<_> = (0..PAIRS).map(|_| scope.spawn(run)).collect();
        pairs.into_iter().map(|pair| pair.join().expect("a pair does not panic")).collect()
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    println!("{sequences} sequences of {OPERATIONS} operations: no difference from etcd {release:?}");
    Ok(())
}

fn compare_sequences(release: Release, sequences: u32) -> Result<()> {
    // On one thread: most of the work is the transport's, and handing it from thread to thread would double it.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let pair = RefCell::new(runtime.block_on(Pair::start(release))?);
    run(sequences, |operations| runtime.block_on(pair.borrow_mut().compare(operations)))
}

/// How many sequences are wanted.
fn sequences(by_default: u32) -> Result<u32> {
    match env::var("LEASEWAY_SEQUENCES") {
        Ok(sequences) => sequences.parse().context("LEASEWAY_SEQUENCES is no number"),
        Err(_) => Ok(by_default),
    }
}

/// Compares sequences; of one with a difference, the shortest that has it is told.
fn run(sequences: u32, compare: impl Fn(&[Operation]) -> Result<()>) -> Result<()> {
    let config =
        Config { cases: sequences, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let outcome = TestRunner::new(config).run(&vec(operation::operation(), OPERATIONS), |operations| {
        compare(&operations).map_err(|difference| TestCaseError::fail(format!("{difference:#}")))
    });
    match outcome {
        Err(TestError::Fail(difference, operations)) => {
            let operations: String = operations.iter().map(|operation| format!("\n{operation:?}")).collect();
            bail!("{difference}\nby the shortest sequence that was found:{operations}")
        }
        other => Ok(other?),
    }
}
