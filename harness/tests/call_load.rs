//! The load of gRPC's calls counts as its definition says.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    grpc::{Act, CallLoad, Calls, GrpcBackend, Reason, Step},
    ports::free_address,
};
use tokio::time::sleep;

const PATH: &str = "/test.Echo/Unary";
const SECOND: Duration = Duration::from_secs(1);

fn load(backend: &GrpcBackend) -> CallLoad {
    CallLoad::new(backend.address(), PATH).rate(100)
}

/// So many calls ended well, by this one instance, and no other.
fn assert_all_ended_well(calls: &Calls) {
    assert_eq!((calls.failures(), calls.refused()), (Vec::new(), 0));
    assert_eq!(calls.instance("a"), calls.count());
}

#[tokio::test]
async fn calls_of_each_kind_come_at_their_rate_over_all_connections() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let calls = load(&backend).also("x-kind", "b").run_for(SECOND).await?;
    assert!((95..=101).contains(&calls.count()), "{} calls", calls.count());
    assert_all_ended_well(&calls);
    assert_eq!((calls.connections, backend.connections().accepted), (10, 10));
    let marked = backend.calls().iter().filter(|call| call.header("x-kind") == Some("b")).count();
    assert_eq!(marked, calls.only(|call| call.kind == 1).count());
    assert!(marked.abs_diff(calls.count() / 2) <= 1, "{marked} of {}", calls.count());
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_not_answered_holds_no_other_up() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    backend.script([Act::default().wait(SECOND).and(Act::echo())]);
    let calls = load(&backend).run_for(SECOND / 2).await?;
    assert_all_ended_well(&calls);
    assert!(calls.count() > 40, "{} calls", calls.count());
    assert_eq!(calls.slower_than(SECOND / 2), 1);
    assert!(calls.took(0.9) < calls.took(1.0) && calls.took(1.0) >= SECOND);
    Ok(())
}

#[tokio::test]
async fn another_status_a_reset_and_a_broken_connection_are_failures() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let close = Act::default().step(Step::Read).step(Step::Close);
    backend.script([Act::status("14"), Act::reset(Reason::CANCEL), close]);
    let calls = load(&backend).run_for(SECOND / 2).await?;
    assert_eq!(calls.refused(), 0);
    let failures = calls.failures();
    for (failure, expected) in failures.iter().zip(["status 14", "Reset(CANCEL)", "Broken"]) {
        assert!(failure.contains(expected), "{failures:?}");
    }
    assert_eq!((failures.len(), calls.instance("a")), (3, calls.count() - 3));
    Ok(())
}

#[tokio::test]
async fn what_was_provably_not_begun_is_sent_again() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let end = Act::default().step(Step::GoAway).and(Act::echo());
    backend.script([Act::reset(Reason::REFUSED_STREAM), Act::echo(), end]);
    let calls = load(&backend).run_for(SECOND / 2).await?;
    assert_all_ended_well(&calls);
    assert_eq!((backend.count(), calls.connections), (calls.count() + 1, 11));
    Ok(())
}

#[tokio::test]
async fn whoever_refuses_connections_is_counted_apart() -> Result<()> {
    let calls = CallLoad::new(free_address()?, PATH).run_for(SECOND / 4).await?;
    assert!(calls.count() > 10 && calls.refused() == calls.count(), "{:?}", calls.failures());
    Ok(())
}

#[tokio::test]
async fn calls_are_told_apart_by_when_they_began() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let running = load(&backend).start();
    running.wait_begun(20, 10 * SECOND).await?;
    let middle = Instant::now();
    sleep(SECOND / 4).await;
    let calls = running.stop().await?;
    let [before, after] =
        [calls.only(|call| call.begun < middle), calls.only(|call| call.begun >= middle)].map(|c| c.count());
    ensure!(before >= 20 && after >= 10 && before + after == calls.count(), "{before} and {after}");
    Ok(())
}
