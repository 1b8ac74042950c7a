//! Services that are routed, and routed no more, while discovery runs.

use super::*;

/// A policy for a service that no route named before.
fn policy_of(service: &str) -> Vec<(Arc<str>, Policy)> {
    vec![(service.into(), Policy::default())]
}

#[tokio::test]
async fn who_is_registered_can_be_sent_to_when_his_service_is_routed() -> Result<()> {
    let [a, b, c] = three();
    let mut fixture = Fixture::with(config::Guard::default(), &[a]).await?;
    let other = |instance: Instance| Instance { service: "other".into(), ..instance };
    fixture.put(&other(b)).await?;
    fixture.put(&other(c)).await?;
    eventually("both are known", PATIENCE, async || {
        let known = fixture.directory.service("other").context("no service")?.endpoints().entries().len();
        ensure!(known == 2, "{known}");
        Ok(())
    })
    .await?;
    let routed = fixture.routing.begin(policy_of("other")).await.context("it has ended")?;
    let service = routed.get("other").context("it is routed")?;
    assert!(service.is_routed() && service.endpoints().total() == 2);
    let found = fixture.directory.service("other").context("it is there")?;
    assert!(Arc::ptr_eq(service, &found));
    let again = fixture.routing.begin(policy_of("other")).await.context("it has ended")?;
    assert!(again.get("other").is_some_and(|again| Arc::ptr_eq(again, service)));
    Ok(())
}

#[tokio::test]
async fn services_are_routed_before_the_registry_is_heard_and_not_after_the_end() -> Result<()> {
    let (_listener, mut other) = alive("a")?;
    other.service = "other".into();
    let (_directory, path) = stored(&[other, dead("b")?])?;
    // The first: nothing is read, the second: the snapshot is, the third: it is not shown yet.
    let mut fixtures = vec![Fixture::start(guard(SHORT, HOUR), None)?];
    fixtures.push(Fixture::start_in_turn(guard(SHORT, HOUR), Some(path.clone()), Turn::IfLate)?);
    fixtures.push(Fixture::start_in_turn(guard(SHORT, HOUR), Some(path), Turn::First)?);
    for fixture in &mut fixtures {
        let routed = tokio::time::timeout(PATIENCE, fixture.routing.begin(policy_of("other"))).await?;
        assert!(routed.context("it has ended")?.contains_key("other"));
        fixture.running.abort();
        let ended = (&mut fixture.running).await;
        assert!(ended.is_err() && fixture.routing.begin(policy_of("other")).await.is_none());
        tokio::time::timeout(PATIENCE, fixture.routing.settle(Vec::new(), vec!["other".into()], PATIENCE))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_stale_is_probed_when_its_service_is_routed() -> Result<()> {
    let (listener, mut other) = alive("a")?;
    other.service = "other".into();
    let (_directory, path) = stored(&[other])?;
    let mut fixture = Fixture::start(guard(SHORT, HOUR), Some(path))?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    assert!(!was_connected(&listener)?);
    let service = |fixture: &Fixture| fixture.directory.service("other").context("it is shown");
    for _ in 0..2 {
        fixture.routing.begin(policy_of("other")).await.context("it has ended")?;
        eventually("its probe has passed", PATIENCE, async || {
            let entries = service(&fixture)?.endpoints().entries().to_vec();
            ensure!(
                entries.iter().all(|e| e.standing == Standing::Stale(ProbeResult::Passed)),
                "{entries:?}"
            );
            Ok(())
        })
        .await?;
        fixture.routing.settle(Vec::new(), vec!["other".into()], PATIENCE).await;
        let entries = service(&fixture)?.endpoints().entries().to_vec();
        assert!(entries.iter().all(|e| e.standing == Standing::Stale(ProbeResult::Pending)), "{entries:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_held_leaves_with_the_last_route_of_its_service() -> Result<()> {
    let (listener, a) = alive("a")?;
    let (_b, b) = alive("b")?;
    let mut fixture = Fixture::with(guard(SHORT, HOUR), &[a, b.clone()]).await?;
    fixture.delete(&["a", "b"]).await?;
    fixture.until_held(2).await?;
    fixture.put(&b).await?;
    fixture.until_held(1).await?;
    let held = fixture.directory.service("goods").context("it is there")?;
    fixture.routing.settle(Vec::new(), vec!["goods".into(), "unknown".into()], PATIENCE).await;
    fixture.until_held(0).await?;
    let entries = fixture.entries();
    assert_eq!(entries.iter().map(|e| &*e.endpoint.instance).collect::<Vec<_>>(), ["b"]);
    assert_eq!(held.endpoints().entries().len(), 2, "who holds it goes on with what it had");
    // A probe may be on its way; none comes after it.
    tokio::time::sleep(2 * SHORT).await;
    while was_connected(&listener)? {}
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(!was_connected(&listener)?);
    Ok(())
}

/// Of a service at this name.
fn named(name: &str) -> Policy {
    let addresses = vec![config::GivenAddress::parse(name).unwrap()];
    Policy { addresses: Some(addresses.into()), ..Policy::default() }
}

#[tokio::test]
async fn a_service_at_a_name_is_served_when_the_name_is_resolved_or_could_not_be() -> Result<()> {
    let fixture = Fixture::with(guard(SHORT, HOUR), &[]).await?;
    for (name, found) in [("localhost:80", true), ("nobody.invalid:80", false)] {
        let routed = fixture.routing.begin(vec![(name.into(), named(name))]).await.context("it has ended")?;
        assert_eq!(!routed[name].endpoints().entries().is_empty(), found, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn it_is_ready_when_the_names_of_the_start_are_resolved() -> Result<()> {
    let old = directory::with_routed([("old", named("localhost:80"))]);
    let mut fixture =
        Fixture::start_with(old, guard(SHORT, HOUR), (None, Turn::IfLate), Adopting::default())?;
    fixture.list(&[]).await?;
    tokio::time::timeout(PATIENCE, &mut fixture.ready).await??;
    let old = fixture.directory.service("old").context("no service")?;
    assert!(!old.endpoints().entries().is_empty());
    Ok(())
}
