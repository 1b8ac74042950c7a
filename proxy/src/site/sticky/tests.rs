use super::*;
use crate::directory::{self, Directory, Writer};
use proptest::prelude::*;
use registry::contract::{Instance, Record};
use registry::watch::Update;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn sticky(key: &[u8]) -> Sticky {
    sticky_beside(&mut KnownServices::default(), key)
}

fn sticky_beside(known: &mut KnownServices, key: &[u8]) -> Sticky {
    let config = config::Sticky { cookie: "lw".into(), key: None };
    let services = ["goods", "carts"].map(Arc::from);
    Sticky::new(&config, &config::StickyKey(key.into()), services.into_iter(), known).unwrap()
}

/// The services `goods` and `carts`, of whose endpoints nothing is known yet.
struct Bench {
    directory: Arc<Directory>,
    writer: Writer,
    now: Instant,
}

impl Bench {
    fn new(instances: &[&str]) -> Self {
        let (directory, writer) = directory::new(["goods", "carts"]);
        let mut bench = Self { directory, writer, now: Instant::now() };
        bench.has(instances);
        bench
    }

    /// These are the instances of both services from now on.
    fn has(&mut self, instances: &[&str]) {
        let instance = |service: &str, id: &str| Instance {
            service: service.into(),
            id: id.into(),
            record: Record::new(([10, 0, 0, 1], 80).into()),
            lease: 7,
            revision: 1,
        };
        let instances =
            ["goods", "carts"].iter().flat_map(|service| instances.iter().map(|id| instance(service, id)));
        let update = Update::Reset { instances: instances.collect(), refused: Vec::new(), revision: 1 };
        self.now += Duration::from_secs(1);
        self.writer.stage(update, self.now);
        for (name, service) in self.directory.services().iter() {
            for entry in service.endpoints().entries() {
                // Only those that have vanished are taken out.
                self.writer.remove(name, &entry.endpoint.instance);
            }
        }
        self.writer.publish(|| self.now);
    }

    /// The instance of this service that a cookie tells.
    fn find(&self, sticky: &Sticky, service: &str, cookie: &str) -> Option<Arc<str>> {
        let endpoints = self.directory.service(service).unwrap().endpoints().clone();
        let found = sticky.find(sticky.remembered(cookie.as_bytes())?, &endpoints);
        found.map(|entry| entry.endpoint.instance.clone())
    }
}

/// The cookie's value in a `Set-Cookie`.
fn value(sticky: &Sticky, service: &str, instance: &str) -> String {
    let line = sticky.set_cookie(service, instance, false).unwrap();
    let value = line.to_str().unwrap().strip_prefix("lw=").unwrap();
    value.strip_suffix("; Path=/; HttpOnly; SameSite=Lax").unwrap().to_owned()
}

#[test]
fn a_cookie_leads_back_to_its_service_and_instance_and_names_neither() {
    let (sticky, bench) = (sticky(&[7; 32]), Bench::new(&["a", "b", "10.0.0.1:80"]));
    for (place, service) in ["goods", "carts"].into_iter().enumerate() {
        for instance in ["a", "b", "10.0.0.1:80"] {
            let cookie = value(&sticky, service, instance);
            assert!(cookie.len() == 35 && !cookie.contains(service) && !cookie.contains("10.0"), "{cookie}");
            assert_eq!(sticky.remembered(cookie.as_bytes()).unwrap().service, place);
            assert_eq!(bench.find(&sticky, service, &cookie).as_deref(), Some(instance));
        }
    }
    assert_eq!(sticky.set_cookie("others", "a", false), None, "the route does not lead there");
    let secure = sticky.set_cookie("goods", "a", true).unwrap();
    assert!(secure.to_str().unwrap().ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"));
}

#[test]
fn whoever_has_the_key_agrees_and_nobody_else() {
    let (ours, same, other) = (sticky(&[7; 32]), sticky(&[7; 32]), sticky(&[8; 32]));
    let cookie = value(&ours, "goods", "a");
    assert_eq!(value(&same, "goods", "a"), cookie);
    assert_eq!(Bench::new(&["a"]).find(&same, "goods", &cookie).as_deref(), Some("a"));
    assert_eq!(other.remembered(cookie.as_bytes()), None);
}

#[test]
fn a_cookie_is_looked_up_among_the_endpoints_as_they_are_now() {
    let (sticky, mut bench) = (sticky(&[7; 32]), Bench::new(&["b", "d"]));
    let [a, b, d] = ["a", "b", "d"].map(|instance| value(&sticky, "goods", instance));
    assert_eq!(bench.find(&sticky, "goods", &b).as_deref(), Some("b"));
    assert_eq!(bench.find(&sticky, "goods", &a), None);
    bench.has(&["a", "c", "d"]);
    assert_eq!(bench.find(&sticky, "goods", &a).as_deref(), Some("a"));
    assert_eq!(bench.find(&sticky, "goods", &d).as_deref(), Some("d"), "at another place than before");
    bench.has(&[]);
    bench.has(&["b"]);
    assert_eq!(bench.find(&sticky, "goods", &d), None);
    assert_eq!(bench.find(&sticky, "goods", &b).as_deref(), Some("b"));
}

#[test]
fn what_was_computed_of_instances_is_not_computed_again_and_endpoints_are_not_kept_for_it() {
    let (secret, mut bench) = (sticky(&[7; 32]).secret, Bench::new(&["a", "b", "c"]));
    let asked = std::cell::RefCell::new(Vec::new());
    let tag = |instance: &str| {
        asked.borrow_mut().push(instance.to_owned());
        secret.instance("goods", instance).ok()
    };
    let endpoints = |bench: &Bench| bench.directory.service("goods").unwrap().endpoints().clone();
    let former = endpoints(&bench);
    let places = Places::new(&former, None, tag);
    bench.has(&["a", "c", "d"]);
    let places = Places::new(&endpoints(&bench), Some(&places), tag);
    assert_eq!(*asked.borrow(), ["a", "b", "c", "d"]);
    assert!(places.are_of(&endpoints(&bench)) && !places.are_of(&former));
    let gone = Arc::downgrade(&former);
    drop(former);
    assert_eq!(gone.strong_count(), 0);
}

#[test]
fn routes_of_one_key_and_the_next_site_share_what_was_computed() {
    let mut known = KnownServices::default();
    let [ours, same, other] = [7, 7, 8].map(|byte| sticky_beside(&mut known, &[byte; 32]));
    let next = sticky_beside(&mut KnownServices::of([&ours, &other].into_iter()), &[7; 32]);
    for (sticky, is_shared) in [(&same, true), (&next, true), (&other, false)] {
        assert_eq!(ours.shares_with(sticky), is_shared);
    }
}

#[test]
fn places_are_made_once_however_many_ask_at_the_same_time() {
    let (sticky, bench) = (sticky(&[7; 32]), Bench::new(&["a", "b", "c"]));
    let endpoints = bench.directory.service("goods").unwrap().endpoints().clone();
    let (made, known) = (AtomicUsize::new(0), &sticky.services[0]);
    let tag = |instance: &str| {
        made.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        sticky.secret.instance("goods", instance).ok()
    };
    let b = sticky.secret.instance("goods", "b").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(known.place(b, &endpoints, tag), Some(1)));
        }
    });
    assert_eq!(made.into_inner(), 3);
}

#[test]
fn two_of_ten_thousand_names_do_not_have_one_tag() {
    let secret = sticky(&[7; 32]).secret;
    let mut tags: Vec<_> = (0..10_000).map(|n| secret.instance("goods", &n.to_string()).unwrap()).collect();
    tags.sort_unstable();
    assert!(tags.windows(2).all(|pair| pair[0] != pair[1]));
}

proptest! {
    #[test]
    fn any_bytes_in_a_cookie_are_no_cookie_of_ours(bytes: Vec<u8>) {
        prop_assert_eq!(sticky(&[7; 32]).remembered(&bytes), None);
    }

    #[test]
    fn a_cookie_with_one_other_byte_is_that_of_nobody(at in 0_usize..35, byte: u8) {
        let (sticky, bench) = (sticky(&[7; 32]), Bench::new(&["a"]));
        let cookie = value(&sticky, "goods", "a");
        let mut changed = cookie.clone().into_bytes();
        changed[at] = byte;
        let endpoints = bench.directory.service("goods").unwrap().endpoints().clone();
        let found = sticky.remembered(&changed).and_then(|client| sticky.find(client, &endpoints));
        prop_assert_eq!(found.is_some(), changed == cookie.as_bytes());
    }
}
