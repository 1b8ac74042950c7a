use super::*;
use crate::config::{self, Config, Environment};
use crate::directory::{self, Endpoint, Writer};
use crate::gateway::cause::Ending;
use crate::gateway::fixture::{NOWHERE, get};
use crate::gateway::retry::Replay;
use crate::gateway::{Gateway, resend, sticky};
use crate::head::tests::head;
use crate::health::findings::{self, Found};
use crate::health::probers::Probers;
use crate::logging::{Form, Output};
use crate::metrics::Metrics;
use crate::site::{Action, Asked, Carried, Current, Draft, Ends, Materials, Site};
use crate::traffic::ejection::Failure;
use http::Method;
use registry::contract::{Instance, Record};
use registry::watch::Update;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

const MS: Duration = Duration::from_millis(1);

/// A gateway with a route to `goods` and `next`.
struct Bench {
    gateway: Gateway,
    materials: Materials,
    config: config::Gateway,
    writer: Writer,
    found: UnboundedReceiver<Found>,
    now: Instant,
}

/// Who took a request, and the cookie that its answer sets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    service: String,
    instance: String,
    cookie: Option<String>,
}

impl Bench {
    /// The services have these weights. They have two instances each, `a` and `b`.
    fn new(weights: [u16; 2], sticky: bool) -> Self {
        Self::with(weights, sticky, "{}")
    }

    fn with(weights: [u16; 2], sticky: bool, services: &str) -> Self {
        let text = format!(
            "version: 1\ngateway:\n  listen: [\"127.0.0.1:1\"]\n  registry: {{endpoints: [\"http://127.0.0.1:2\"]}}\n  \
             routes: [{{path: /goods, service: goods}}, {{path: /next, service: next}}]\n  services: {services}\n"
        );
        let config = Config::parse(&text, "conf.yaml", &Environment::of_this_process()).unwrap().gateway;
        let (directory, writer) = directory::new(["goods", "next"]);
        let (findings, found) = findings::channel();
        let metrics = Arc::new(Metrics::new().unwrap());
        let materials = Materials {
            directory: directory.clone(),
            findings,
            stall_watch: Arc::default(),
            probers: Probers::new(),
            metrics: metrics.clone(),
            key: config::StickyKey(Arc::new([7; 32])),
        };
        let site = Arc::new(Current::new(Site::default()));
        let gateway = Gateway::new(site, directory, metrics, Arc::default(), Output::new(Form::Json, false));
        let mut bench = Self { gateway, materials, config, writer, found, now: Instant::now() };
        bench.config.routes[0].sticky = sticky.then(|| config::Sticky { cookie: "lw".into(), key: None });
        bench.reload(weights);
        bench.register(&[("goods", "a", 1), ("goods", "b", 1), ("next", "a", 1), ("next", "b", 1)]);
        bench
    }

    /// The services have these weights from now on.
    fn reload(&mut self, weights: [u16; 2]) {
        let shares = ["goods", "next"].into_iter().zip(weights);
        let shares = shares.map(|(service, weight)| config::Share { service: service.into(), weight });
        self.config.routes[0].action = config::Action::Forward(shares.collect());
        let (services, serving) = (self.materials.directory.services(), self.gateway.site.get());
        let ends = Ends::next((&self.config.listen, &self.config.services), &serving).unwrap();
        let services = (&*services, &Carried::default());
        let draft = Draft::new(&self.config, ends, services, &serving, &self.materials).unwrap();
        self.gateway.site = Arc::new(Current::new(draft.site));
    }

    /// These instances are registered, with these weights, and no others.
    fn register(&mut self, instances: &[(&str, &str, u16)]) {
        let instance = |(service, id, weight): &(&str, &str, u16)| Instance {
            service: (*service).into(),
            id: (*id).into(),
            record: Record { weight: *weight, ..Record::new(([10, 0, 0, 1], 80).into()) },
            lease: 7,
            revision: 1,
        };
        let instances = instances.iter().map(instance).collect();
        self.writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 1 }, self.now);
        for (name, service) in self.materials.directory.services().iter() {
            for entry in service.endpoints().entries() {
                // Only those that have vanished are taken out.
                self.writer.remove(name, &entry.endpoint.instance);
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        while let Ok(Found { endpoint, finding }) = self.found.try_recv() {
            self.writer.judged(&endpoint, finding, self.now);
        }
        self.now += 1_000 * MS;
        self.writer.publish(|| self.now);
    }

    fn endpoint(&self, service: &str, instance: &str) -> Arc<Endpoint> {
        let endpoints = self.materials.directory.service(service).unwrap().endpoints().clone();
        let entry = endpoints.entries().iter().find(|entry| &*entry.endpoint.instance == instance);
        entry.unwrap().endpoint.clone()
    }

    fn route(&self) -> Arc<Route> {
        let head = get();
        self.gateway.site.get().route(&Asked::new(&head, "/goods")).unwrap().clone()
    }

    /// Ejects an instance, so long ago.
    fn eject(&mut self, service: &str, instance: &str, ago: Duration) {
        let endpoint = self.endpoint(service, instance);
        let place = usize::from(service == "next");
        let ejected = Instant::now() - ago;
        let route = self.route();
        let Action::Split(split) = &route.action else { panic!("it leads to one service") };
        split.shares()[place].target.health.failed(&endpoint, Failure::Refused, ejected);
        self.publish();
    }

    /// The status with which such a request is declined.
    fn declined(&self, cookie: Option<&str>) -> Option<u16> {
        self.receive(cookie).err().map(|answer| answer.status)
    }

    fn receive(&self, cookie: Option<&str>) -> Result<Request, Answer> {
        let cookie = cookie.map(|value| format!("a=1; lw={value}").into_bytes());
        let fields: Vec<_> = cookie.iter().map(|value| ("cookie", &value[..])).collect();
        let mut fields = fields;
        fields.push(("host", b"a"));
        let mut request = self.gateway.request(Instant::now());
        self.gateway.receive(&mut request, &head(Method::GET, "/goods", &fields), NOWHERE)?;
        Ok(request)
    }

    /// A request with this cookie that comes so many seconds from now.
    fn receive_in(&self, seconds: u64, method: Method, cookie: &str) -> Request {
        let cookie = format!("lw={cookie}").into_bytes();
        let head = head(method, "/goods", &[("host", b"a"), ("cookie", &cookie)]);
        let mut request = self.gateway.request(Instant::now());
        request.begin(&head, NOWHERE);
        let route = request.find_route(&Asked::new(&head, "/goods")).unwrap();
        let state = GatewayState { in_flight: 1, directory: &self.materials.directory };
        admit(&mut request, route, &head, state, Instant::now() + Duration::from_secs(seconds)).unwrap();
        request
    }

    /// Who takes a request with this cookie.
    fn send(&self, cookie: Option<&str>) -> Taken {
        taken(&self.receive(cookie).unwrap())
    }

    /// The cookie of a client that has come to this service.
    fn client_of(&self, service: &str) -> Taken {
        (0..1_000).map(|_| self.send(None)).find(|taken| taken.service == service).unwrap()
    }
}

fn taken(request: &Request) -> Taken {
    let cookie = sticky::cookie(request).map(|cookie| {
        let cookie = cookie.to_str().unwrap().strip_prefix("lw=").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    });
    let endpoint = &request.attempt().unwrap().endpoint;
    let service = request.target().unwrap().service.name();
    assert_eq!(*service, endpoint.service, "its line in the log names who took it");
    Taken { service: (**service).to_owned(), instance: (*endpoint.instance).to_owned(), cookie }
}

#[test]
fn services_get_their_shares_and_no_cookie_is_set_on_a_route_that_is_not_sticky() {
    let bench = Bench::new([90, 10], false);
    fastrand::seed(7);
    let all: Vec<_> = (0..10_000).map(|_| bench.send(Some("1.a.b"))).collect();
    let goods = all.iter().filter(|taken| taken.service == "goods").count();
    assert!((8_900..9_100).contains(&goods), "{goods} of 10,000");
    assert!(all.iter().all(|taken| taken.cookie.is_none()));
}

#[test]
fn a_service_of_weight_0_gets_nothing() {
    let bench = Bench::new([0, 1], false);
    assert!((0..100).all(|_| bench.send(None).service == "next"));
}

#[test]
fn a_service_without_an_endpoint_leaves_its_requests_to_the_others() {
    let mut bench = Bench::new([99, 1], false);
    bench.register(&[("goods", "a", 0), ("next", "a", 1)]);
    assert!((0..100).all(|_| bench.send(None).service == "next"), "all of the other drain");
    bench.register(&[("next", "a", 0)]);
    let mut request = bench.gateway.request(Instant::now());
    let declined =
        bench.gateway.receive(&mut request, &head(Method::GET, "/goods", &[("host", b"a")]), NOWHERE);
    assert_eq!(declined.unwrap_err().status, 503);
    assert!(request.target().is_some() && request.error().is_some(), "its line names who was drawn first");
}

#[test]
fn a_weight_of_0_gets_nothing_even_if_nobody_else_is_there() {
    let mut bench = Bench::new([1, 0], false);
    bench.register(&[("next", "a", 1)]);
    assert_eq!(bench.declined(None), Some(503));
}

#[test]
fn a_service_that_is_full_declines_and_leaves_nothing_to_the_others() {
    for limits in ["{service: 1}", "{endpoint: 1}"] {
        let mut bench = Bench::with([1_000, 1], false, &format!("{{goods: {{limits: {limits}}}}}"));
        bench.register(&[("goods", "a", 1), ("next", "a", 1)]);
        fastrand::seed(7);
        let held = bench.receive(None).unwrap();
        assert_eq!(taken(&held).service, "goods");
        assert_eq!(bench.declined(None), Some(503), "{limits}");
        drop(held);
        assert_eq!(bench.send(None).service, "goods");
    }
}

#[test]
fn a_client_gets_a_cookie_once_and_never_moves() {
    let bench = Bench::new([90, 10], true);
    fastrand::seed(7);
    let mut new = 0;
    for _ in 0..1_000 {
        let first = bench.send(None);
        new += u32::from(first.service == "next");
        let same = Taken { cookie: None, ..first.clone() };
        assert!((0..20).all(|_| bench.send(first.cookie.as_deref()) == same));
    }
    assert!((70..130).contains(&new), "{new} of 1,000 clients");
}

#[test]
fn a_client_whose_instance_is_not_well_moves_within_its_service_and_gets_another_cookie() {
    for (what, change) in [
        ("gone", (|bench| bench.register(&[("goods", "a", 1), ("next", "b", 1)])) as fn(&mut Bench)),
        ("draining", |bench| bench.register(&[("goods", "a", 1), ("goods", "b", 0), ("next", "b", 1)])),
        ("ejected", |bench| bench.eject("goods", "b", Duration::ZERO)),
    ] {
        let mut bench = Bench::new([50, 50], true);
        let client = std::iter::repeat_with(|| bench.client_of("goods")).find(|c| c.instance == "b").unwrap();
        change(&mut bench);
        for _ in 0..20 {
            let moved = bench.send(client.cookie.as_deref());
            assert_eq!((&*moved.service, &*moved.instance), ("goods", "a"), "{what}");
            assert!(moved.cookie.is_some(), "{what}");
            assert_eq!(bench.send(moved.cookie.as_deref()).cookie, None, "{what}");
        }
    }
}

#[test]
fn a_client_leaves_its_service_only_if_that_has_no_endpoint_or_no_weight_any_more() {
    let mut bench = Bench::new([1, 1], true);
    let client = bench.client_of("goods");
    bench.register(&[("next", "a", 1)]);
    let moved = bench.send(client.cookie.as_deref());
    assert!(moved.service == "next" && moved.cookie.is_some());
    bench.register(&[("goods", "a", 1), ("goods", "b", 1), ("next", "a", 1)]);
    assert_eq!(bench.send(moved.cookie.as_deref()).service, "next", "it does not come back");
    bench.reload([65_535, 1]);
    assert!((0..20).all(|_| bench.send(moved.cookie.as_deref()).service == "next"), "a weight is enough");
    bench.reload([1, 0]);
    let moved = bench.send(moved.cookie.as_deref());
    assert!(moved.service == "goods" && moved.cookie.is_some());
}

#[test]
fn what_was_computed_of_instances_lasts_over_a_reload() {
    let mut bench = Bench::new([1, 1], true);
    let before = bench.route();
    bench.reload([1, 2]);
    let after = bench.route();
    let (Action::Split(before), Action::Split(after)) = (&before.action, &after.action) else { panic!() };
    assert!(after.sticky.as_ref().unwrap().shares_with(before.sticky.as_ref().unwrap()));
}

#[test]
fn a_client_tries_no_ejected_instance_out_while_its_own_is_well() {
    let mut bench = Bench::new([1, 1], true);
    let client = std::iter::repeat_with(|| bench.client_of("goods")).find(|c| c.instance == "a").unwrap();
    bench.eject("goods", "b", 600 * MS);
    assert!((0..20).all(|_| bench.send(client.cookie.as_deref()).instance == "a"));
    let tries = (0..200)
        .map(|_| bench.send(None))
        .find(|taken| (&*taken.service, &*taken.instance) == ("goods", "b"));
    assert_eq!(tries.expect("somebody tries it out").cookie, None, "no cookie leads to one that is ejected");
}

#[test]
fn an_ejected_instance_comes_back_by_clients_alone_that_are_at_home_elsewhere() {
    let mut bench = Bench::new([1, 0], true);
    let client = std::iter::repeat_with(|| bench.send(None)).find(|client| client.instance == "a").unwrap();
    let cookie = client.cookie.unwrap();
    bench.eject("goods", "b", Duration::ZERO);
    let goes = |seconds, method| taken(&bench.receive_in(seconds, method, &cookie));
    assert_eq!(goes(9, Method::GET).instance, "a", "somebody may come yet who is new");
    assert_eq!(goes(11, Method::POST).instance, "a", "it could not be sent again");
    let mut trial = bench.receive_in(11, Method::GET, &cookie);
    assert_eq!((&*taken(&trial).instance, taken(&trial).cookie), ("b", None), "its client keeps its cookie");
    assert_eq!(goes(11, Method::GET).instance, "a", "one is enough");
    trial.begin_attempt().unwrap();
    trial.attempt_mut().unwrap().answered(200, Instant::now());
    bench.gateway.finish(&mut trial, &get(), (200, 5), None, bench.now);
    bench.publish();
    assert!((0..100).any(|_| bench.send(None).instance == "b"), "it is used again");
    assert_eq!(bench.send(Some(&cookie)).instance, "a");
}

#[test]
fn a_client_whose_request_was_a_trial_that_failed_is_answered_at_home() {
    let mut bench = Bench::new([1, 0], true);
    bench.register(&["a", "b", "c", "d", "e", "f"].map(|instance| ("goods", instance, 1)));
    let client = std::iter::repeat_with(|| bench.send(None)).find(|client| client.instance == "a").unwrap();
    bench.eject("goods", "b", Duration::ZERO);
    let mut request = bench.receive_in(11, Method::GET, client.cookie.as_deref().unwrap());
    assert_eq!(taken(&request).instance, "b");
    request.begin_attempt().unwrap();
    let replay = Replay { idempotent: true, whole: true, unanswered: true };
    assert!(resend::goes_again(
        &mut request,
        &get(),
        (Ending::Refused, "as it was".into()),
        replay,
        bench.now
    ));
    assert_eq!((&*taken(&request).instance, taken(&request).cookie), ("a", None), "of five that are well");
}

#[test]
fn a_client_whose_instance_is_full_goes_to_another_for_once() {
    let bench = Bench::with([1, 1], true, "{goods: {limits: {endpoint: 1}}}");
    let client = bench.client_of("goods");
    let held = bench.receive(client.cookie.as_deref()).unwrap();
    let other = bench.receive(client.cookie.as_deref()).unwrap();
    let [here, there] = [&held, &other].map(taken);
    assert_eq!((&here.instance, &here.cookie), (&client.instance, &None));
    assert!(there.service == "goods" && there.instance != client.instance);
    assert_eq!(there.cookie, None, "it keeps what it has");
    assert_eq!(bench.declined(client.cookie.as_deref()), Some(503), "all are full");
    drop(held);
    assert_eq!(bench.send(client.cookie.as_deref()).instance, client.instance);
}

#[test]
fn a_client_keeps_its_cookie_when_a_request_is_answered_elsewhere_while_its_instance_is_well() {
    let mut bench = Bench::new([1, 1], true);
    let client = bench.client_of("goods");
    let mut request = bench.receive(client.cookie.as_deref()).unwrap();
    request.begin_attempt().unwrap();
    let replay = Replay { idempotent: true, whole: true, unanswered: true };
    assert!(resend::goes_again(&mut request, &get(), (Ending::Broke, "as it was".into()), replay, bench.now));
    let again = taken(&request);
    assert!(again.service == "goods" && again.instance != client.instance);
    assert_eq!(again.cookie, None);
    bench.eject("goods", &client.instance, Duration::ZERO);
    let again = taken(&request).cookie;
    assert!(again.is_some(), "it was ejected meanwhile");
    assert_eq!(bench.send(again.as_deref()).cookie, None);
}

#[test]
fn the_first_cookie_of_ours_counts() {
    let bench = Bench::new([1, 1], true);
    let client = bench.client_of("next");
    let cookie = format!("lw=1.0000000000000000.0000000000000000; lw={}", client.cookie.unwrap());
    let fields = [("host", &b"a"[..]), ("cookie", cookie.as_bytes())];
    let mut request = bench.gateway.request(Instant::now());
    bench.gateway.receive(&mut request, &head(Method::GET, "/goods", &fields), NOWHERE).unwrap();
    assert_eq!((taken(&request).instance, taken(&request).cookie), (client.instance, None));
}

#[test]
fn while_all_are_ejected_and_used_all_the_same_no_cookie_leads_to_one() {
    let mut bench = Bench::new([1, 1], true);
    let client = bench.client_of("goods");
    for instance in ["a", "b"] {
        bench.eject("goods", instance, Duration::ZERO);
    }
    for _ in 0..20 {
        let served = bench.send(client.cookie.as_deref());
        assert_eq!((&*served.service, served.cookie), ("goods", None));
    }
    assert_eq!(bench.client_of("goods").cookie, None, "who is new gets one when somebody is well again");
    assert!(bench.client_of("next").cookie.is_some());
}
