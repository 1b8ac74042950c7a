//! What becomes of the snapshot, and what of it is shown.

use super::*;

#[tokio::test]
async fn a_start_without_the_registry_serves_what_can_be_reached_of_the_snapshot() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a.clone(), dead("b")?])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    assert_eq!((fixture.directory.is_stale(), fixture.directory.is_synced()), (true, false));
    assert!(fixture.shows_metric("leaseway_stale 1")?);
    // Ready means probed: nothing that can be reached is refused from here on.
    let standings: Vec<_> = fixture.entries().iter().map(|e| e.standing).collect();
    assert_eq!(standings, [Standing::Stale(ProbeResult::Passed), Standing::Stale(ProbeResult::Failed)]);
    let id = fixture.entry("a").context("not there")?.endpoint.id;

    let (_c, c) = alive("c")?;
    fixture.list(&[a, c]).await?;
    fixture.until_standing("a", Standing::Registered).await?;
    fixture.until_standing("c", Standing::Registered).await?;
    fixture.until_gone("b").await?;
    assert_eq!(fixture.entry("a").context("not there")?.endpoint.id, id, "it keeps its connections");
    assert_eq!((fixture.directory.is_stale(), fixture.directory.is_synced()), (false, true));
    assert!(fixture.shows_metric("leaseway_stale 0")?);
    Ok(())
}

/// Routes by path adopt it a moment later: too late, if the registry's list without it has come before.
#[tokio::test]
async fn a_service_of_the_snapshot_that_is_to_be_adopted_is_probed_and_held_like_others() -> Result<()> {
    let (_listener, instance) = alive("a")?;
    let other = Instance { service: "other".into(), ..instance };
    let (_directory, path) = stored(std::slice::from_ref(&other))?;
    let adopting = Adopting::new(|instances| {
        instances.iter().map(|instance| (instance.service.clone(), Policy::default())).collect()
    });
    let goods = directory::new(["goods"]);
    let mut fixture = Fixture::start_with(goods, guard(SHORT, HOUR), (Some(path), Turn::First), adopting)?;
    fixture.list(&[]).await?;
    fixture.until_held(1).await?;
    let other = fixture.directory.service("other").context("no service")?;
    eventually("it is probed", PATIENCE, async || {
        let standings: Vec<_> = other.endpoints().entries().iter().map(|entry| entry.standing).collect();
        ensure!(standings == [Standing::Suspect(ProbeResult::Passed)], "{standings:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_the_snapshot_nobody_is_connected_to_for_a_service_that_no_route_names() -> Result<()> {
    let (listener, instance) = alive("a")?;
    let other = Instance { service: "other".into(), ..instance };
    let (_goods, goods) = alive("b")?;
    let (_directory, path) = stored(&[other, goods])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    fixture.until_standing("b", Standing::Stale(ProbeResult::Passed)).await?;
    let shown = fixture.directory.service("other").context("it is shown")?.endpoints().entries().to_vec();
    assert_eq!(shown.len(), 1);
    assert!(shown.iter().all(|entry| entry.rank().is_none()), "nothing goes there");
    fixture.list(&[]).await?;
    fixture.until_held(1).await?;
    assert!(!was_connected(&listener)?);
    Ok(())
}

#[tokio::test]
async fn what_the_first_list_does_not_confirm_goes_through_the_guard() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    fixture.list(&[]).await?;
    fixture.until_held(1).await?;
    fixture.until_standing("a", Standing::Suspect(ProbeResult::Passed)).await
}

/// The list is there before the snapshot was read, as that of a registry in the same process is.
#[tokio::test]
async fn an_empty_registry_is_heard_after_the_snapshot_is_shown() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a.clone(), dead("b")?])?;
    let mut fixture = Fixture::start_in_turn(guard(SHORT, HOUR), Some(path), Turn::First)?;
    fixture.list(&[]).await?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    assert_eq!(fixture.entry("a").context("not there")?.rank(), Some(Rank::Second));
    fixture.until_held(1).await?;
    fixture.until_gone("b").await?;
    fixture.put(&a).await?;
    fixture.until_standing("a", Standing::Registered).await
}

#[tokio::test]
async fn an_empty_registry_without_a_snapshot_is_heard_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for path in [None, Some(directory.path().join("missing"))] {
        let mut fixture = Fixture::start_in_turn(guard(SHORT, HOUR), path, Turn::First)?;
        fixture.list(&[]).await?;
        tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    }
    Ok(())
}

#[tokio::test]
async fn a_stale_endpoint_that_comes_up_is_used_then() -> Result<()> {
    let a = dead("a")?;
    let (_directory, path) = stored(std::slice::from_ref(&a))?;
    let fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    fixture.until_standing("a", Standing::Stale(ProbeResult::Failed)).await?;
    let _listener = TcpListener::bind(a.record.address)?;
    fixture.until_standing("a", Standing::Stale(ProbeResult::Passed)).await
}

#[tokio::test]
async fn the_snapshot_is_not_read_once_the_registry_was_heard() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a])?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::start(guard(HOUR, HOUR), Some(path))?;
    fixture.list(&[b]).await?;
    fixture.status.send_modify(|status| status.failures += 1);
    fixture.until_standing("b", Standing::Registered).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fixture.entries().len(), 1);
    Ok(())
}

#[tokio::test]
async fn without_a_snapshot_or_with_an_empty_one_a_start_waits_for_the_registry() -> Result<()> {
    let (_directory, empty) = stored(&[])?;
    let missing = empty.with_extension("missing");
    for path in [empty, missing] {
        let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
        fixture.status.send_modify(|status| status.failures += 1);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!fixture.directory.is_filled() && fixture.ready.try_recv().is_err());
        fixture.list(&[]).await?;
        tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    }
    Ok(())
}

/// What the snapshot holds, by instance.
fn kept(path: &std::path::Path) -> Result<Vec<String>> {
    let snapshot = File::new(path.to_owned()).load()?.context("no snapshot")?;
    Ok(snapshot.instances.iter().map(|i| i.id.to_string()).collect())
}

async fn until_kept(path: &std::path::Path, expected: &[&str]) -> Result<()> {
    eventually(&format!("{expected:?} are kept"), PATIENCE, async || {
        let kept = kept(path)?;
        ensure!(kept == expected, "{kept:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_shown_is_written_and_what_is_held_stays_in_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("snapshot");
    let (listener, a) = alive("a")?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path.clone()))?;
    fixture.list(std::slice::from_ref(&a)).await?;
    until_kept(&path, &["a"]).await?;
    fixture.delete(&["a"]).await?;
    fixture.until_held(1).await?;
    // The next one is written because of b, and a is in it.
    fixture.put(&b).await?;
    until_kept(&path, &["a", "b"]).await?;
    drop(listener);
    until_kept(&path, &["b"]).await?;
    assert!(fixture.shows_metric("leaseway_snapshot_failures_total 0")?);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_nobody_confirmed_is_not_written_back() -> Result<()> {
    let (_a, a) = alive("a")?;
    let (_directory, path) = stored(&[a])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path.clone()))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    // Whoever writes now would undo this.
    File::new(path.clone()).store(4, [dead("z")?])?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(kept(&path)?, ["z"]);
    Ok(())
}

#[tokio::test]
async fn what_is_shown_is_written_before_the_process_ends() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("snapshot");
    let (_a, a) = alive("a")?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path.clone()))?;
    fixture.list(&[a]).await?;
    until_kept(&path, &["a"]).await?;
    let (_b, b) = alive("b")?;
    let (_c, c) = alive("c")?;
    // The second is shown a moment after the first.
    fixture.put(&b).await?;
    fixture.put(&c).await?;
    fixture.until_standing("c", Standing::Registered).await?;
    fixture.saver.save().await;
    assert_eq!(kept(&path)?, ["a", "b", "c"]);
    Ok(())
}

#[tokio::test]
async fn the_end_waits_for_nothing_where_there_is_nothing_to_write() -> Result<()> {
    let fixture = Fixture::with(config::Guard::default(), &three()).await?;
    let mut unheard = Fixture::start(config::Guard::default(), Some("/nowhere/at/all".into()))?;
    for saver in [&fixture.saver, &unheard.saver] {
        tokio::time::timeout(SHORT, saver.save()).await?;
    }
    unheard.running.abort();
    let ended = (&mut unheard.running).await;
    assert!(ended.is_err());
    tokio::time::timeout(SHORT, unheard.saver.save()).await?;
    Ok(())
}
