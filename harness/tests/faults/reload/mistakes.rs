//! Files that cannot be taken: the gateway serves on with the one before, and tells once.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use harness::{
    backend::{Backend, Reply},
    http::get,
    process::Signal,
    stack::{GatewayOptions, file},
    wait::eventually,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{APPLIED, Fixture, MISTAKE, REFUSED, SEVERAL_LOOKS, UNCHANGED, UNREADABLE, goods_with, two};
use crate::PATIENCE;

const SUCCESSFUL: &str = "leaseway_config_last_reload_successful";
const AT: &str = "leaseway_config_last_reload_success_timestamp_seconds";

/// Whether a reload went well, and when the last one did, and the revision, in `/metrics`.
async fn metrics(fixture: &Fixture) -> Result<(f64, f64, String)> {
    let text = fixture.gateway.admin("/metrics").await?.text();
    let infos: Vec<_> = text.lines().filter(|line| line.starts_with("leaseway_config_info{")).collect();
    ensure!(infos.len() == 1 && infos[0].ends_with("} 1"), "{infos:?}");
    let hash = infos[0].split('"').nth(1).unwrap_or_default().to_owned();
    for name in [SUCCESSFUL, AT] {
        ensure!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "/metrics shows no {name}");
    }
    Ok((fixture.gateway.metric(SUCCESSFUL, &[]).await?, fixture.gateway.metric(AT, &[]).await?, hash))
}

/// A gateway before `goods`, and what a client has from it.
async fn serving() -> Result<(Fixture, Backend)> {
    let fixture = Fixture::start(&GatewayOptions::default()).await?;
    let backend = fixture.backend("goods", "1", Reply::ok("hello")).await?;
    Ok((fixture, backend))
}

#[tokio::test]
async fn of_a_file_with_mistakes_nothing_is_taken_and_all_are_told_once() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let (before, measured) = (fixture.gateway.config().await?, metrics(&fixture).await?);
    assert_eq!((measured.0, &measured.2), (1.0, &before["revision"].as_str().unwrap_or_default().to_owned()));
    let bad = goods_with(json!({ "path": "/goods/*", "tmeouts": {} }))
        .set("gateway/trace_header", "x-new")
        .set("gateway/max_requests", 0);
    let text = fixture.text(&bad)?;
    fixture.put(&text)?;
    let rejected = fixture.wait_rejected(&text).await?;
    let mistakes: Vec<_> = rejected["mistakes"].as_array().into_iter().flatten().collect();
    assert_eq!(mistakes.len(), 3, "{rejected}");
    for named in ["gateway.routes[0].path: ", "gateway.routes[0].tmeouts: ", "gateway.max_requests: "] {
        let has = |mistake: &&&Value| mistake.as_str().is_some_and(|text| text.contains(named));
        assert_eq!(mistakes.iter().filter(has).count(), 1, "{named} {rejected}");
    }
    let line = text.lines().position(|line| line.contains("tmeouts")).map_or(0, |at| at + 1);
    let place = format!("pingora.yaml:{line}: gateway.routes[0].tmeouts: ");
    assert!(rejected.to_string().contains(&place), "{place} is not in {rejected}");
    assert!(rejected["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{rejected}");

    // Told once, not at each look.
    sleep(SEVERAL_LOOKS).await;
    let told = fixture.said(0, REFUSED);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["level"], &told[0]["mistakes"]), (&json!("ERROR"), &json!(3)));
    assert_eq!(told[0]["revision"], file::revision(&text));
    let lines = fixture.said(0, MISTAKE);
    assert_eq!(lines.iter().map(|line| &line["mistake"]).collect::<Vec<_>>(), mistakes);
    assert!(lines.iter().all(|line| line["level"] == "ERROR"));

    // The site before serves, and is what is shown.
    let answer = fixture.gateway.get("/goods").await?;
    assert!(answer.status == 200 && answer.header("trace_id").is_some(), "{:?}", answer.headers);
    let after = fixture.gateway.config().await?;
    assert_eq!((&after["revision"], &after["loaded"]), (&before["revision"], &before["loaded"]));
    assert_eq!(metrics(&fixture).await?, (0.0, measured.1, measured.2));
    assert_eq!(fixture.said(0, APPLIED).len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_rejection_is_over_when_a_good_file_is_applied() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    fixture.put("version: 2")?;
    fixture.wait_rejected("version: 2").await?;
    let since = metrics(&fixture).await?.1;
    let good = fixture.text(&two())?;
    fixture.put(&good)?;
    fixture.wait_applied(&good).await?;
    assert!(fixture.gateway.config().await?.get("rejected").is_none());
    let (successful, at, revision) = metrics(&fixture).await?;
    assert!(successful == 1.0 && at > since, "{successful} at {at}, {since} before");
    assert_eq!(revision, file::revision(&good));
    Ok(())
}

#[tokio::test]
async fn a_rejection_is_over_when_the_file_says_again_what_serves() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let (before, good) = (fixture.gateway.config().await?, fs::read_to_string(fixture.gateway.file())?);
    // Once by itself, and once when it is told.
    for told in [false, true] {
        fixture.put("version: 2")?;
        fixture.wait_rejected("version: 2").await?;
        assert_eq!(metrics(&fixture).await?.0, 0.0);
        fixture.put(&good)?;
        if told {
            fixture.gateway.process().signal(Signal::SIGHUP)?;
        }
        fixture.wait_rejection(Value::is_null).await?;
        assert_eq!(metrics(&fixture).await?.0, 1.0);
        assert_eq!(fixture.gateway.config().await?, before, "nothing was loaded anew");
    }
    Ok(())
}

/// What is done to the file, and taken back.
async fn assert_told_once_and_again(
    harm: impl Fn(&Fixture) -> Result<()>,
    repair: impl Fn(&Fixture, &str) -> Result<()>,
) -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let (before, good) = (fixture.gateway.config().await?, fs::read_to_string(fixture.gateway.file())?);
    harm(&fixture)?;
    let rejected = fixture.wait_rejection(Value::is_object).await?;
    assert!(rejected.get("revision").is_none() && rejected["mistakes"][0].is_string(), "{rejected}");
    sleep(SEVERAL_LOOKS).await;
    let told = fixture.said(0, UNREADABLE);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0]["level"] == "ERROR" && told[0]["error"].is_string(), "{told:#?}");
    assert_eq!(fixture.status("/goods").await?, 200);
    assert_eq!(metrics(&fixture).await?.0, 0.0);

    repair(&fixture, &good)?;
    assert_eq!(fixture.wait_said(0, UNCHANGED).await?[0]["level"], "INFO");
    fixture.wait_rejection(Value::is_null).await?;
    assert_eq!(metrics(&fixture).await?.0, 1.0);
    assert_eq!(fixture.gateway.config().await?, before);
    assert_eq!(fixture.said(0, APPLIED).len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_removed_file_is_told_once_and_the_site_before_serves() -> Result<()> {
    let remove = |fixture: &Fixture| Ok(fs::remove_file(fixture.gateway.file())?);
    assert_told_once_and_again(remove, Fixture::put).await
}

/// As what a user may not read; who tests as root may read everything.
#[tokio::test]
async fn a_directory_in_the_place_of_the_file_is_told_once_and_the_site_before_serves() -> Result<()> {
    let replace = |fixture: &Fixture| {
        fs::remove_file(fixture.gateway.file())?;
        Ok(fs::create_dir(fixture.gateway.file())?)
    };
    let repair = |fixture: &Fixture, good: &str| {
        fs::remove_dir(fixture.gateway.file())?;
        fixture.put(good)
    };
    assert_told_once_and_again(replace, repair).await
}

#[tokio::test]
async fn a_hangup_without_a_file_is_told_at_once_and_not_again() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let (before, good) = (fixture.gateway.config().await?, fs::read_to_string(fixture.gateway.file())?);
    fs::remove_file(fixture.gateway.file())?;
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    fixture.wait_said(0, UNREADABLE).await?;
    sleep(SEVERAL_LOOKS).await;
    assert_eq!(fixture.said(0, UNREADABLE).len(), 1);
    fixture.put(&good)?;
    fixture.wait_rejection(Value::is_null).await?;
    assert_eq!(fixture.gateway.config().await?, before);
    Ok(())
}

#[tokio::test]
async fn a_file_that_was_missed_and_is_back_before_the_next_look_is_no_longer_missed() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let good = fs::read_to_string(fixture.gateway.file())?;
    fs::remove_file(fixture.gateway.file())?;
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    fixture.wait_rejection(Value::is_object).await?;
    fixture.put(&good)?;
    fixture.wait_rejection(Value::is_null).await?;
    assert_eq!(metrics(&fixture).await?.0, 1.0);
    Ok(())
}

#[tokio::test]
async fn where_watching_is_off_a_file_that_is_missed_is_applied_when_it_is_there() -> Result<()> {
    let fixture = Fixture::start(&GatewayOptions::default().set("gateway/reload", "off")).await?;
    fs::remove_file(fixture.gateway.file())?;
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    fixture.wait_rejection(Value::is_object).await?;
    let good = fixture.text(&two())?;
    fixture.put(&good)?;
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    fixture.wait_applied(&good).await?;
    assert!(fixture.gateway.config().await?.get("rejected").is_none());
    Ok(())
}

#[tokio::test]
async fn what_a_running_process_cannot_take_over_is_refused_by_name() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    let (before, address) = (fixture.gateway.config().await?, fixture.gateway.address());
    let mut configuration = fixture.gateway.configuration(&two());
    configuration["threads"] = json!(3);
    configuration["gateway"]["log"] = json!("text");
    configuration["gateway"]["admin"] = json!("off");
    configuration["gateway"]["registry"]["audit"] = json!("2m");
    let text = file::yaml(&configuration)?;
    fixture.put(&text)?;
    let rejected = fixture.wait_rejected(&text).await?;
    let mistakes = rejected["mistakes"].as_array().map_or(0, Vec::len);
    assert_eq!(mistakes, 1, "{rejected}");
    let told = rejected["mistakes"][0].as_str().unwrap_or_default();
    assert!(told.contains("needs an upgrade (-u) or a restart"), "{told}");
    for key in ["threads", "gateway.log", "gateway.admin", "gateway.registry"] {
        assert!(told.contains(key), "{key} is not in {told}");
    }
    assert!(!told.contains("gateway.listen") && !told.contains("routes"), "{told}");
    // Nothing of it is applied.
    assert_eq!(fixture.status("/other").await?, 404);
    assert_eq!(get(address, "/goods").await?.status, 200);
    assert_eq!(fixture.gateway.config().await?["revision"], before["revision"]);
    // The log is still written as it was.
    assert_eq!(fixture.wait_said(0, MISTAKE).await?.len(), 1);
    Ok(())
}

/// Whoever opens it waits until somebody writes.
#[tokio::test]
async fn a_pipe_in_the_place_of_the_file_blocks_nothing() -> Result<()> {
    let (mut fixture, _backend) = serving().await?;
    let path = fixture.gateway.file();
    fs::remove_file(&path)?;
    let made = std::process::Command::new("mkfifo").arg(&path).status()?;
    ensure!(made.success(), "mkfifo failed");
    sleep(2 * super::LOOK).await;
    fixture.gateway.process().signal(Signal::SIGHUP)?;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(fixture.status("/goods").await?, 200);
    let good = fixture.text(&two())?;
    fixture.put(&good)?;
    fixture.wait_applied(&good).await?;

    fs::remove_file(&path)?;
    let made = std::process::Command::new("mkfifo").arg(&path).status()?;
    ensure!(made.success(), "mkfifo failed");
    sleep(2 * super::LOOK).await;
    assert_eq!(fixture.gateway.stop(PATIENCE).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_mistake_in_the_place_of_another_is_told_too() -> Result<()> {
    let (fixture, _backend) = serving().await?;
    for text in ["version: 2", "version: 3"] {
        fixture.put(text)?;
        fixture.wait_rejected(text).await?;
    }
    eventually("both are told", PATIENCE, async || {
        let told = fixture.said(0, REFUSED);
        ensure!(told.len() == 2, "{told:#?}");
        Ok(())
    })
    .await
}
