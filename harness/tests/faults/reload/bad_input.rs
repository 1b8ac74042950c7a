//! What is bad, large, or far too often: the work is bounded, and the newest good file serves.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    load::Load,
    process::Signal,
    stack::{GatewayOptions, file},
    wait::eventually,
};
use tokio::time::{sleep, sleep_until};

use super::{APPLIED, Fixture, MISTAKE, REFUSED, two};
use crate::{PATIENCE, assert_none_failed};

/// The largest file that is taken.
const SIZE: usize = 4 << 20;
/// The newest good file is to serve within 3 s of the last change; asserted at ten times that.
const NEWEST: Duration = Duration::from_secs(30);

async fn serving() -> Result<(Fixture, Backend)> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let backend = fixture.backend("goods", "1", Reply::ok("hello")).await?;
    Ok((fixture, backend))
}

/// A file with comments up to this size.
fn padded(text: &str, size: usize) -> String {
    let mut padded = text.to_owned();
    while padded.len() + 80 < size {
        padded += "# 3456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789\n";
    }
    let rest = size - padded.len();
    padded + &"#".repeat(rest)
}

/// Does this for some seconds under load, and returns what CPU time that took beyond the load's own.
async fn cost_under_load(
    fixture: &Fixture,
    meanwhile: impl AsyncFn(Instant) -> Result<()>,
) -> Result<Duration> {
    const LASTS: Duration = Duration::from_secs(3);
    let load = Load::get(fixture.gateway.address(), "/goods").rate(200);
    let process = fixture.gateway.process();
    let idle = process.cpu_time()?;
    assert_none_failed(&load.run_for(LASTS).await);
    let alone = process.cpu_time()? - idle;

    let (before, running) = (process.cpu_time()?, load.start());
    meanwhile(Instant::now() + LASTS).await?;
    assert_none_failed(&running.stop().await);
    Ok((process.cpu_time()? - before).saturating_sub(alone))
}

#[tokio::test]
async fn a_file_that_is_swapped_a_hundred_times_a_second_costs_little_and_the_newest_serves() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let good = [fixture.text(&two())?, fixture.text(&GatewayOptions::default())?];
    let files = [good[0].as_str(), "gateway: [", good[1].as_str(), "version: 2"];
    let swap = async |until: Instant| {
        for swaps in 0_u64.. {
            fixture.put(files[swaps as usize % files.len()])?;
            if Instant::now() > until {
                ensure!(swaps > 100, "the file was swapped {swaps} times only");
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    let cost = cost_under_load(&fixture, swap).await?;
    let newest = fixture.text(&two().set("gateway/trace_header", "x-newest"))?;
    fixture.put(&newest)?;
    let last = Instant::now();
    fixture.wait_applied(&newest).await?;
    ensure!(last.elapsed() < NEWEST, "the newest file served after {:?}", last.elapsed());
    println!("swapped for three seconds: {cost:?} of CPU; the newest after {:?}", last.elapsed());
    assert!(fixture.gateway.get("/goods").await?.header("x-newest").is_some());
    // Three looks, of a file that is read and hashed.
    assert!(cost < Duration::from_millis(1_500), "it cost {cost:?} of CPU in three seconds");
    Ok(())
}

#[tokio::test]
async fn a_storm_of_hangups_costs_a_bounded_time_and_the_newest_file_serves() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let files = [fixture.text(&two())?, fixture.text(&GatewayOptions::default())?];
    let storm = async |until: Instant| {
        let mut sent = 0_u64;
        while Instant::now() < until {
            fixture.put(&files[sent as usize / 50 % 2])?;
            for _ in 0..50 {
                fixture.gateway.process().signal(Signal::SIGHUP)?;
                sent += 1;
            }
            sleep(Duration::from_millis(25)).await;
        }
        ensure!(sent > 2_000, "only {sent} signals were sent");
        Ok(())
    };
    let cost = cost_under_load(&fixture, storm).await?;
    let newest = fixture.text(&two().set("gateway/trace_header", "x-newest"))?;
    fixture.put(&newest)?;
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    let last = Instant::now();
    fixture.wait_applied(&newest).await?;
    ensure!(last.elapsed() < NEWEST, "the newest file served after {:?}", last.elapsed());
    let applied = fixture.said(0, APPLIED).len();
    println!(
        "a storm of three seconds: {cost:?} of CPU; {applied} applied; the newest after {:?}",
        last.elapsed()
    );
    assert!(cost < Duration::from_secs(3), "it cost {cost:?} of CPU in three seconds");
    Ok(())
}

#[tokio::test]
async fn a_file_of_a_mebibyte_is_applied_and_one_byte_more_is_refused() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let largest = padded(&fixture.text(&two())?, SIZE);
    assert_eq!(largest.len(), SIZE);
    fixture.put(&largest)?;
    fixture.wait_applied(&largest).await?;
    assert_eq!(fixture.status("/other").await?, 503);
    let serving = fixture.gateway.config().await?;

    fixture.overwrite(&(largest + "#"))?;
    let rejected = fixture.wait_rejection(serde_json::Value::is_object).await?;
    assert!(rejected["mistakes"][0].is_string(), "{rejected}");
    assert_eq!(fixture.gateway.config().await?["revision"], serving["revision"]);
    assert_eq!(fixture.status("/goods").await?, 200);
    Ok(())
}

#[tokio::test]
async fn of_a_mebibyte_of_mistakes_what_is_told_is_bounded() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let load = Load::get(fixture.gateway.address(), "/goods").rate(100).start();
    let mut text = fixture.text(&GatewayOptions::default())?;
    while text.len() + 40 < SIZE {
        text += &format!("    - {{ path: {}, service: goods }}\n", text.len());
    }
    fixture.put(&text)?;
    fixture.wait_rejected(&text).await?;
    let shown = fixture.gateway.admin("/readyz").await?.body.len();
    // What a probe reads every few seconds. The log has all of them.
    assert!(shown < 100_000, "/readyz has {shown} bytes");
    assert!(!fixture.wait_said(0, MISTAKE).await?.is_empty());
    assert_none_failed(&load.stop().await);
    Ok(())
}

#[tokio::test]
async fn a_mebibyte_of_brackets_or_of_nothing_is_refused() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let deep = "[".repeat(SIZE);
    let braces = "{a: ".repeat(SIZE / 4);
    let steps: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for text in
        [deep.as_str(), &braces, &steps, &"\0".repeat(SIZE), &"- ".repeat(SIZE / 2), &"a".repeat(SIZE), ""]
    {
        fixture.put(text)?;
        fixture.gateway.process().signal(Signal::SIGHUP)?;
        fixture.wait_rejected(text).await?;
        assert_eq!(fixture.status("/goods").await?, 200);
    }
    Ok(())
}

#[tokio::test]
async fn anchors_that_explode_are_refused_at_once() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", "));
    }
    text += &fixture.text(&GatewayOptions::default())?;
    let before = fixture.gateway.process().cpu_time()?;
    fixture.put(&text)?;
    let begun = Instant::now();
    let rejected = fixture.wait_rejected(&text).await?;
    assert!(rejected["mistakes"][0].is_string(), "{rejected}");
    assert!(begun.elapsed() < NEWEST);
    assert_eq!(fixture.wait_said(0, REFUSED).await?.len(), 1);
    let cost = fixture.gateway.process().cpu_time()? - before;
    assert!(cost < Duration::from_secs(3), "{cost:?} of CPU");
    assert_eq!(fixture.status("/goods").await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_text_is_refused() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    std::fs::write(fixture.gateway.file(), b"version: 1\n\xff\xfe")?;
    let rejected = fixture.wait_rejection(serde_json::Value::is_object).await?;
    assert!(rejected["mistakes"][0].as_str().is_some_and(|told| told.contains(":2")), "{rejected}");
    assert_eq!(fixture.status("/goods").await?, 200);
    Ok(())
}

/// Two looks agree on each good file by chance, if at all; what is refused is told, each time anew, and not more often
/// than it is looked at.
#[tokio::test]
async fn files_that_are_bad_in_turn_are_told_no_more_often_than_they_are_looked_at() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    let mut number = 0;
    while tokio::time::Instant::now() < until {
        number += 1;
        fixture.put(&format!("version: {}", 2 + number))?;
        sleep_until(tokio::time::Instant::now() + Duration::from_millis(20)).await;
    }
    let told = fixture.said(0, REFUSED).len();
    assert!(told <= 7, "{told} were told in five seconds");
    let good = fixture.text(&two())?;
    fixture.put(&good)?;
    eventually("the good one serves", PATIENCE, async || {
        let config = fixture.gateway.config().await?;
        ensure!(config["revision"] == file::revision(&good) && config.get("rejected").is_none(), "{config}");
        Ok(())
    })
    .await
}
