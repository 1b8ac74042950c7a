use std::pin::pin;
use std::sync::Mutex as Lock;

use futures_util::FutureExt;
use http::Method;
use registry::contract::{Instance, Record};
use registry::watch::{Change, Update};
use tempfile::TempDir;
use tokio::time::advance;

use super::*;
use crate::directory::{Given, GivenEndpoint, Writer};
use crate::head::tests::head;
use crate::site::drafts::{bench, config, draft};
use crate::site::{Action, Asked, Named, Route};
use crate::tls::fixture::Hanging;

/// After it an empty place is free.
const MINUTE: Duration = Duration::from_secs(60);

/// A site of one route to `goods` and one to whatever a path names.
struct Bench {
    replacement: Replacement,
    writer: Arc<Lock<Writer>>,
    revision: i64,
    /// What the writer takes for the time.
    now: Instant,
}

/// The configuration of a route to `goods`, and of one to the services that paths name: those of these names, and so
/// many at most.
fn by_path(allowed: &[&str], most: usize, services: &str) -> config::Gateway {
    let route = format!("{{path: \"/by/{{service}}\", services_allowed: {allowed:?}, max_services: {most}}}");
    config(&format!("[{{path: /goods, service: goods}}, {route}]"), services)
}

impl Bench {
    fn new(config: &config::Gateway) -> Self {
        let (materials, writer) = bench(config);
        let writer = Arc::new(Lock::new(writer));
        let draft = draft(config, &Site::default(), &materials);
        let (checked, _) = watch::channel(draft.checked);
        let current = Arc::new(Current::new(draft.site));
        let routing = Routing::of(writer.clone());
        let replacement = Replacement::new(config, (current, materials), routing, checked);
        Self { replacement, writer, revision: 1, now: Instant::now() }
    }

    fn site(&self) -> Arc<Site> {
        self.replacement.current.get()
    }

    fn hear(&mut self, update: Update) {
        self.now += Duration::from_secs(1);
        let mut writer = self.writer.lock().unwrap();
        for gone in writer.hear(update) {
            writer.remove(&gone.service, &gone.instance);
        }
        for _ in 0..3 {
            self.now += Duration::from_secs(1);
            writer.publish(|| self.now);
        }
    }

    /// The registry has these services, with an instance each.
    fn list(&mut self, services: &[&str]) {
        self.revision += 1;
        let instance = |service: &&str| Instance {
            service: (*service).into(),
            id: "a".into(),
            record: Record::new(([10, 0, 0, 1], 80).into()),
            lease: 7,
            revision: self.revision,
        };
        let instances = services.iter().map(instance).collect();
        self.hear(Update::Reset { instances, refused: Vec::new(), revision: self.revision });
    }

    async fn adopt(&mut self, services: &[&str]) {
        self.list(services);
        self.replacement.adopt().await;
    }

    fn route(&self, path: &'static str) -> Option<Arc<Route>> {
        self.site().route(&Asked::new(&head(Method::GET, path, &[]), path)).cloned()
    }

    /// Where the route by path leads with this path.
    fn named(&self, path: &'static str) -> Named {
        self.site().by_path[0].named(path)
    }

    /// Where a path leads; none: nowhere.
    fn target(&self, path: &'static str) -> Option<Arc<Target>> {
        match &self.route(path)?.action {
            Action::Forward(target) => Some(target.clone()),
            Action::ForwardByPath(by_path) => match by_path.named(path) {
                Named::Adopted(target) => Some(target),
                Named::Nobody | Named::NotKnown => None,
            },
            Action::Split(_) | Action::Redirect { .. } | Action::Answer(_) => None,
        }
    }

    fn left_out(&self) -> Vec<Arc<str>> {
        self.site().by_path[0].left_out()
    }

    fn is_routed(&self, service: &str) -> bool {
        self.replacement.materials.directory.service(service).is_some_and(|service| service.is_routed())
    }
}

#[tokio::test]
async fn whoever_registers_under_an_allowed_name_is_adopted_and_nobody_else() {
    let mut bench = Bench::new(&by_path(&["shop-*", "carts"], 9, "{}"));
    assert!(matches!(bench.named("/by/carts"), Named::NotKnown), "nobody has looked");
    bench.adopt(&["shop-a", "carts", "others"]).await;
    for (path, name) in [("/by/shop-a/7", Some("shop-a")), ("/by/carts", Some("carts")), ("/by/shop-b", None)]
    {
        assert_eq!(bench.target(path).map(|target| target.service.name().to_string()).as_deref(), name);
    }
    assert!(matches!(bench.named("/by/shop-b"), Named::Nobody));
    assert!(bench.is_routed("shop-a") && bench.is_routed("carts") && !bench.is_routed("others"));
    let service = bench.target("/by/carts").unwrap().service.clone();
    let known = bench.replacement.materials.directory.service("carts").unwrap();
    assert!(Arc::ptr_eq(&service, &known) && service.endpoints().entries().len() == 1);
}

/// The complaint apisix#12466: nothing that is there is made again.
#[tokio::test]
async fn a_storm_of_changes_and_an_adoption_make_no_route_again() {
    let mut bench = Bench::new(&by_path(&["shop-*"], 9, "{}"));
    bench.adopt(&["goods", "shop-a"]).await;
    let (site, goods) = (bench.site(), bench.target("/goods").unwrap());
    let routes: Vec<_> = site.routes().cloned().collect();
    let shop = bench.target("/by/shop-a").unwrap();
    for n in 0_u8..100 {
        let change = |service: &str, id: u8| {
            let record = Record::new(([10, 0, 1, id], 80).into());
            Change::Put(Instance { service: service.into(), id: "x".into(), record, lease: 7, revision: 9 })
        };
        let changes = vec![change("goods", n), change("shop-a", n)];
        bench.hear(Update::Apply { changes, revision: 9 });
    }
    bench.adopt(&["goods", "shop-a", "shop-b", "shop-c"]).await;
    assert!(bench.target("/by/shop-c").is_some());
    let now = bench.site();
    assert!(Arc::ptr_eq(&now, &site));
    assert!(now.routes().zip(&routes).all(|(now, before)| Arc::ptr_eq(now, before)));
    assert!(Arc::ptr_eq(&bench.target("/goods").unwrap(), &goods));
    assert!(Arc::ptr_eq(&bench.target("/by/shop-a").unwrap(), &shop), "nor is what was adopted before");
}

#[tokio::test(start_paused = true)]
async fn one_whose_last_instance_leaves_stays_until_its_place_is_needed() {
    let mut bench = Bench::new(&by_path(&["shop-*"], 2, "{}"));
    bench.adopt(&["shop-a", "shop-b"]).await;
    bench.adopt(&["shop-a", "shop-b", "shop-c"]).await;
    assert_eq!(bench.left_out(), ["shop-c".into()]);
    assert!(!bench.is_routed("shop-c") && bench.site().left_out() == 1);
    bench.adopt(&["shop-b"]).await;
    assert!(bench.target("/by/shop-a").is_some(), "to be answered with 503");
    bench.adopt(&["shop-b", "shop-c"]).await;
    assert!(bench.target("/by/shop-a").is_some() && bench.left_out() == ["shop-c".into()], "it may restart");
    advance(MINUTE).await;
    bench.replacement.adopt().await;
    assert!(bench.target("/by/shop-a").is_none() && bench.target("/by/shop-c").is_some());
    assert!(!bench.is_routed("shop-a") && bench.left_out().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_another_route_leads_to_is_shared_and_outlives_its_adoption() {
    let mut bench = Bench::new(&by_path(&["go*", "shop-*"], 1, "{}"));
    bench.adopt(&["goods"]).await;
    let [a, b] = ["/goods", "/by/goods"].map(|path| bench.target(path).unwrap());
    assert!(Arc::ptr_eq(&a.health, &b.health) && Arc::ptr_eq(&a.metrics, &b.metrics));
    bench.adopt(&[]).await;
    advance(MINUTE).await;
    bench.adopt(&["shop-a"]).await;
    assert!(bench.target("/by/goods").is_none() && bench.is_routed("goods"));
}

#[tokio::test]
async fn a_reload_keeps_those_that_are_still_allowed_and_lets_the_others_go() {
    let mut bench = Bench::new(&by_path(&["shop-*"], 9, "{}"));
    bench.adopt(&["shop-a", "shop-b", "carts"]).await;
    let before = bench.target("/by/shop-a").unwrap();
    let endpoint = before.service.endpoints().entries()[0].endpoint.clone();
    let rules = "{shop-a: {limits: {endpoint: 7}}}";
    bench.replacement.replace(&by_path(&["shop-a", "carts"], 9, rules)).await.unwrap();
    let after = bench.target("/by/shop-a").unwrap();
    assert!(Arc::ptr_eq(&before.health, &after.health) && Arc::ptr_eq(&before.metrics, &after.metrics));
    assert!(Arc::ptr_eq(&after.service.endpoints().entries()[0].endpoint, &endpoint));
    assert_eq!(after.limits.endpoint.unwrap().get(), 7, "by its new rules");
    assert!(bench.target("/by/carts").is_some(), "who is allowed from now on is there at once");
    assert!(bench.target("/by/shop-b").is_none() && !bench.is_routed("shop-b"));

    let to_goods = config("[{path: /goods, service: goods}, {path: /by, service: shop-a}]", "{}");
    bench.replacement.replace(&to_goods).await.unwrap();
    let named = bench.target("/by").unwrap();
    assert!(Arc::ptr_eq(&named.health, &before.health), "also where a route names it now");
    assert!(!bench.is_routed("carts"));
    bench.replacement.replace(&by_path(&["shop-*"], 9, "{}")).await.unwrap();
    assert!(Arc::ptr_eq(&bench.target("/by/shop-a").unwrap().health, &before.health), "and back again");
}

#[tokio::test(start_paused = true)]
async fn those_that_are_adopted_are_checked_where_the_configuration_says_so() {
    let services = "{goods: {check: {probe: tcp}}, shop-b: {check: {probe: tcp}}}";
    let mut bench = Bench::new(&by_path(&["shop-*"], 1, services));
    let checked = |bench: &Bench| {
        let checked = bench.replacement.checked.borrow().clone();
        checked.iter().map(|checked| checked.service().name().to_string()).collect::<Vec<_>>()
    };
    bench.adopt(&["shop-a"]).await;
    assert_eq!(checked(&bench), ["goods"]);
    bench.adopt(&[]).await;
    advance(MINUTE).await;
    bench.adopt(&["shop-b"]).await;
    assert_eq!(checked(&bench), ["goods", "shop-b"]);
    bench.adopt(&[]).await;
    advance(MINUTE).await;
    bench.adopt(&["shop-a"]).await;
    assert_eq!(checked(&bench), ["goods"]);
}

#[tokio::test]
async fn a_service_whose_addresses_are_given_is_adopted_when_they_are_known_and_needs_no_other_route() {
    let services = "{old: {addresses: [\"10.0.0.9:80\"]}}";
    let bench = Bench::new(&by_path(&["old"], 9, services));
    assert!(bench.is_routed("old"));
    let endpoints = vec![GivenEndpoint { id: "a".into(), address: ([10, 0, 0, 9], 80).into(), host: None }];
    let given = Given { service: "old".into(), endpoints, is_whole: true };
    bench.writer.lock().unwrap().give(given, Instant::now());
    bench.replacement.adopt().await;
    assert!(bench.target("/by/old").is_some());
    bench.replacement.replace(&by_path(&["shop-*"], 9, "{}")).await.unwrap();
    assert!(!bench.is_routed("old"));
}

#[tokio::test]
async fn who_registered_first_is_adopted_and_who_has_a_name_that_no_path_has_is_not() {
    let mut bench = Bench::new(&by_path(&["shop-*"], 1, "{}"));
    let registered = [("shop-a", 9), ("shop-b", 8), ("shop-%41", 5), ("shop- a", 6), ("shop-\u{fc}", 7)];
    let instance = |(service, revision): (&str, i64)| Instance {
        service: service.into(),
        id: "a".into(),
        record: Record::new(([10, 0, 0, 1], 80).into()),
        lease: 7,
        revision,
    };
    let instances = registered.map(instance).into();
    bench.hear(Update::Reset { instances, refused: Vec::new(), revision: 9 });
    bench.replacement.adopt().await;
    assert!(bench.target("/by/shop-b").is_some());
    assert_eq!(bench.left_out(), ["shop-a".into()]);
}

/// What was routed for the snapshot's sake.
#[tokio::test]
async fn a_service_that_is_routed_and_not_adopted_at_the_first_look_is_routed_no_more() {
    let mut bench = Bench::new(&by_path(&["shop-*"], 9, "{}"));
    let snapshots = ["shop-a", "shop-gone"].map(|name| (name.into(), Policy::default()));
    bench.writer.lock().unwrap().route(snapshots);
    bench.replacement.adopt().await;
    assert!(bench.is_routed("shop-a"), "nobody knows yet who is there");
    let service = bench.replacement.materials.directory.service("shop-a").unwrap();
    bench.adopt(&["shop-a"]).await;
    assert!(Arc::ptr_eq(&bench.target("/by/shop-a").unwrap().service, &service));
    assert!(bench.is_routed("shop-a") && bench.is_routed("goods") && !bench.is_routed("shop-gone"));
}

#[tokio::test]
async fn what_is_routed_for_the_snapshots_sake_goes_where_no_route_adopts_any_more() {
    let bench = Bench::new(&by_path(&["shop-*"], 9, "{}"));
    bench.writer.lock().unwrap().route([("shop-a".into(), Policy::default())]);
    bench.replacement.replace(&config("[{path: /goods, service: goods}]", "{}")).await.unwrap();
    assert!(!bench.is_routed("shop-a") && bench.is_routed("goods"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_hangs_keeps_the_site_as_it_is_and_nobody_from_being_adopted() {
    let mut bench = Bench::new(&by_path(&["shop-*"], 9, "{}"));
    let directory = TempDir::new().unwrap();
    let ca = directory.path().join("ca.pem");
    let file = Hanging::at(&ca);
    let next = by_path(&["shop-*"], 9, &format!("{{goods: {{tls: {{ca: {ca:?}}}}}}}"));
    let former = bench.site();
    bench.list(&["shop-a"]);
    for _ in 0..2 {
        let mut replace = pin!(bench.replacement.replace(&next));
        assert!(replace.as_mut().now_or_never().is_none());
        bench.replacement.adopt().await;
        assert!(bench.target("/by/shop-a").is_some());
        advance(PATIENCE).await;
        assert!(matches!(replace.await, Err(ReplaceError::Hangs)));
    }
    assert!(Arc::ptr_eq(&former, &bench.site()));
    file.end();
    let error = bench.replacement.replace(&next).await.unwrap_err();
    assert!(matches!(error, ReplaceError::Draft(DraftError::Tls(..))), "{error}");
}
