//! How a file is changed, and when the change is applied.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use harness::{
    backend::Reply,
    process::Signal,
    stack::{GatewayOptions, file, file::ConfigMap},
};
use tokio::time::sleep;

use super::{APPLIED, Fixture, LOOK, SEVERAL_LOOKS, UNCHANGED, two};

/// A gateway with a route to `goods` alone, beside which `other` is registered, and a file with a route to that too.
async fn before_a_change() -> Result<(Fixture, harness::backend::Backend, String)> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let other = fixture.backend("other", "1", Reply::ok("other")).await?;
    assert_eq!(fixture.status("/other").await?, 404);
    let text = fixture.text(&two())?;
    Ok((fixture, other, text))
}

/// It serves, and one line tells of it.
async fn assert_applied_once(fixture: &Fixture, text: &str) -> Result<()> {
    fixture.wait_applied(text).await?;
    assert_eq!(fixture.status("/other").await?, 200);
    let told = fixture.wait_said(0, APPLIED).await?;
    assert_eq!(told.len(), 1, "{told:#?}");
    let [revision, routes, services] = ["revision", "routes", "services"].map(|field| &told[0][field]);
    assert_eq!((revision, routes, services), (&file::revision(text).into(), &2.into(), &2.into()));
    assert_eq!(told[0]["level"], "INFO");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_renamed_into_its_place_is_applied_by_itself() -> Result<()> {
    let (fixture, _other, text) = before_a_change().await?;
    let before = fixture.gateway.config().await?;
    fixture.put(&text)?;
    assert_applied_once(&fixture, &text).await?;
    let after = fixture.gateway.config().await?;
    assert!(before["loaded"].as_str() < after["loaded"].as_str(), "{before} {after}");
    assert!(before.get("rejected").is_none() && after.get("rejected").is_none(), "{before} {after}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_applied_by_itself() -> Result<()> {
    let (fixture, _other, text) = before_a_change().await?;
    fixture.overwrite(&text)?;
    assert_applied_once(&fixture, &text).await
}

#[tokio::test]
async fn a_file_that_an_editor_removes_and_writes_anew_is_applied_by_itself() -> Result<()> {
    let (fixture, _other, text) = before_a_change().await?;
    fs::remove_file(fixture.gateway.file())?;
    fixture.overwrite(&text)?;
    assert_applied_once(&fixture, &text).await
}

#[tokio::test]
async fn a_config_map_whose_link_is_swapped_is_applied_by_itself() -> Result<()> {
    let (fixture, _other, text) = before_a_change().await?;
    let mut mounted = ConfigMap::mount(&fixture.gateway.file())?;
    mounted.replace(&text)?;
    assert_applied_once(&fixture, &text).await?;
    // And back: the directory that it was read from before is gone.
    let back = fixture.text(&GatewayOptions::default())?;
    mounted.replace(&back)?;
    fixture.wait_applied(&back).await?;
    assert_eq!(fixture.status("/other").await?, 404);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_touched_or_replaced_by_its_like_changes_nothing() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let before = fixture.gateway.config().await?;
    let text = fs::read_to_string(fixture.gateway.file())?;
    fixture.put(&text)?;
    sleep(SEVERAL_LOOKS).await;
    assert_eq!(fixture.gateway.config().await?, before);
    assert_eq!(fixture.said(0, APPLIED).len() + fixture.said(0, UNCHANGED).len(), 0);
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    assert_eq!(fixture.wait_said(0, UNCHANGED).await?[0]["level"], "INFO");
    assert_eq!(fixture.gateway.config().await?, before);
    assert_eq!(fixture.said(0, APPLIED).len(), 0);
    Ok(())
}

#[tokio::test]
async fn where_watching_is_off_a_hangup_alone_applies_a_file() -> Result<()> {
    let off = GatewayOptions::default().set("gateway/reload", "off");
    let fixture = Fixture::start(&off).await?;
    let before = fixture.gateway.config().await?;
    let text = fixture.text(&two().set("gateway/reload", "off"))?;
    fixture.put(&text)?;
    sleep(SEVERAL_LOOKS).await;
    assert_eq!(fixture.gateway.config().await?, before);
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    fixture.wait_applied(&text).await?;
    assert_ne!(fixture.status("/other").await?, 404);

    // A file may turn watching on, and off.
    fixture.gateway.reload(&two()).await?;
    let on = fixture.text(&GatewayOptions::default())?;
    fixture.put(&on)?;
    fixture.wait_applied(&on).await?;
    fixture.gateway.reload(&off).await?;
    fixture.put(&on)?;
    sleep(SEVERAL_LOOKS).await;
    assert_eq!(fixture.gateway.config().await?["revision"], file::revision(&fixture.text(&off)?));
    Ok(())
}

#[tokio::test]
async fn of_a_file_that_grows_no_beginning_is_applied() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let mut options = GatewayOptions::default();
    for number in 0..8 {
        options = options.route(&format!("/more-{number}"), "goods");
    }
    // On a busy machine a piece may come so late that the file says the same for two looks.
    for attempt in 0..5 {
        options = options.set("gateway/max_requests", 100 + attempt);
        let before = fixture.gateway.process().line_count();
        let text = fixture.text(&options)?;
        let longest = grow(&fixture, &text).await?;
        fixture.wait_applied(&text).await?;
        if longest < LOOK.mul_f32(0.7) {
            let told = fixture.wait_said(before, APPLIED).await?;
            assert_eq!(told.len(), 1, "{told:#?}");
            return Ok(());
        }
    }
    panic!("the machine is too busy for this test");
}

/// Writes it route by route, so that each piece is a configuration; returns the longest time between two pieces.
async fn grow(fixture: &Fixture, text: &str) -> Result<Duration> {
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    for end in lines.len() - 8..=lines.len() {
        fixture.overwrite(&lines[..end].concat())?;
        sleep(LOOK / 2).await;
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    Ok(longest)
}
