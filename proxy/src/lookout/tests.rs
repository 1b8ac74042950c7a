use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn claims(listeners: &[(&str, &'static str)], endpoints: &[&str]) -> Claims {
    Claims {
        listeners: listeners.iter().map(|(address, why)| (address.parse().unwrap(), *why)).collect(),
        endpoints: endpoints.iter().map(|endpoint| host_and_port(endpoint).unwrap()).collect(),
    }
}

fn machine(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn why(reserved: &Reserved, address: &str) -> Option<String> {
    reserved.refusal(address.parse().unwrap()).map(|refusal| refusal.to_string())
}

#[test]
fn a_listener_reserves_its_address_and_a_wildcard_each_of_the_machine() {
    let claims = claims(
        &[
            ("10.0.0.5:8080", LISTEN),
            ("0.0.0.0:8081", LISTEN),
            ("[::]:8082", LISTEN),
            ("127.0.0.1:9090", ADMIN),
        ],
        &[],
    );
    let reserved = claims.reserved(&machine(&["10.0.0.5", "2001:db8::5"]), []);
    for (address, expected) in [
        ("10.0.0.5:8080", Some(LISTEN)),
        ("127.0.0.1:8080", None),
        ("10.0.0.6:8080", None),
        ("10.0.0.5:8081", Some(LISTEN)),
        ("127.9.9.9:8081", Some(LISTEN)),
        ("[::1]:8081", Some(LISTEN)),
        ("[2001:db8::5]:8081", Some(LISTEN)),
        ("10.0.0.6:8081", None),
        ("10.0.0.5:8082", Some(LISTEN)),
        ("127.0.0.1:8082", Some(LISTEN)),
        ("127.0.0.1:9090", Some(ADMIN)),
        ("127.0.0.2:9090", None),
        ("10.0.0.5:9090", None),
        ("10.0.0.5:80", None),
    ] {
        let expected = expected.map(|why| format!("it {why}"));
        assert_eq!(why(&reserved, address), expected, "{address}");
    }
    assert!(why(&reserved, "[64:ff9b::10.0.0.5]:8080").is_some_and(|why| why.contains("carries 10.0.0.5")));
}

#[test]
fn a_registry_elsewhere_reserves_its_addresses_and_one_that_is_here_each_of_the_machine() {
    let here = machine(&["10.0.0.5", "2001:db8::5"]);
    let reserved = |address: &str| claims(&[], &[]).reserved(&here, [address.parse().unwrap()]);
    let elsewhere = reserved("10.0.0.9:2379");
    assert_eq!(why(&elsewhere, "10.0.0.9:2379"), Some(format!("it {REGISTRY}")));
    assert_eq!(why(&elsewhere, "127.0.0.1:2379"), None);
    for address in ["127.0.0.1:2379", "0.0.0.0:2379", "[::1]:2379", "10.0.0.5:2379", "[::ffff:10.0.0.5]:2379"]
    {
        let reserved = reserved(address);
        for other in ["127.0.0.2:2379", "10.0.0.5:2379", "[2001:db8::5]:2379", "[::1]:2379"] {
            assert!(why(&reserved, other).is_some(), "{other} beside {address}");
        }
        assert_eq!(why(&reserved, "10.0.0.6:2379"), None);
        assert_eq!(why(&reserved, "10.0.0.5:2381"), None);
    }
}

#[test]
fn etcds_members_are_not_open_to_clients_either() {
    let here = machine(&["10.0.0.5"]);
    let registry = ["10.0.0.9:2379", "127.0.0.1:12379"].map(|address| address.parse().unwrap());
    let reserved = claims(&[], &[]).reserved(&here, registry);
    for address in ["10.0.0.9:2380", "127.0.0.1:2380", "10.0.0.5:2380"] {
        assert_eq!(why(&reserved, address), Some(format!("it {PEERS}")), "{address}");
    }
    assert_eq!(why(&reserved, "10.0.0.6:2380"), None);
    let embedded = claims(&[("127.0.0.1:2379", EMBEDDED)], &[]).reserved(&here, []);
    assert_eq!(why(&embedded, "127.0.0.1:2380"), None);
}

#[test]
fn an_address_that_a_name_has_no_more_is_remembered_for_a_while() {
    let (mut names, begin) = (Resolved::default(), Instant::now());
    let etcd = ("etcd".to_owned(), 2379);
    let shown = |names: &Resolved| names.addresses().map(|address| address.to_string()).collect::<Vec<_>>();
    let addresses = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
    names.resolved(&etcd, addresses(&["10.0.0.1:2379"]), begin);
    names.resolved(&etcd, addresses(&["10.0.0.2:2379"]), begin + REMEMBERED / 2);
    assert_eq!(shown(&names), ["10.0.0.1:2379", "10.0.0.2:2379"]);
    names.resolved(&etcd, addresses(&["10.0.0.2:2379"]), begin + REMEMBERED);
    assert_eq!(shown(&names), ["10.0.0.2:2379"]);
}

/// A machine that a test changes.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// None: it cannot be told.
    addresses: Option<Vec<IpAddr>>,
    /// None: the resolver is down.
    etcd: Option<SocketAddr>,
    hangs: bool,
}

#[async_trait]
impl Machine for Fake {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.0.lock().unwrap().addresses.clone().ok_or_else(|| io::ErrorKind::Other.into())
    }

    async fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        if host == "nowhere" || self.0.lock().unwrap().hangs {
            std::future::pending::<()>().await;
        }
        let etcd = self.0.lock().unwrap().etcd;
        etcd.map(|address| vec![address]).ok_or_else(|| io::ErrorKind::Other.into())
    }
}

/// A lookout that runs on such a machine, and how often it said that something has changed.
fn start(claims: Claims, fake: &Fake) -> (Reservations, FirstLook, Arc<AtomicUsize>) {
    let (lookout, reservations, first_look) = Lookout::over(claims, fake.clone());
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = changes.clone();
    tokio::spawn(lookout.run(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    (reservations, first_look, changes)
}

#[tokio::test(start_paused = true)]
async fn what_a_name_stands_for_is_known_after_the_first_look_and_is_no_change() {
    let fake = Fake::default();
    fake.0.lock().unwrap().etcd = Some("10.0.0.9:2379".parse().unwrap());
    let begun = Instant::now();
    let (reserved, first_look, changes) = start(claims(&[], &["http://etcd:2379"]), &fake);
    first_look.over().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(why(&reserved.borrow(), "10.0.0.9:2379").is_some());
    sleep(3 * REST).await;
    assert_eq!(changes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_resolves_keeps_no_other_from_being_known_and_no_list_waiting() {
    let fake = Fake::default();
    fake.0.lock().unwrap().etcd = Some("10.0.0.9:2379".parse().unwrap());
    let endpoints = ["http://nowhere:2379", "http://etcd:2379"];
    let (reserved, first_look, changes) = start(claims(&[], &endpoints), &fake);
    sleep(Duration::from_millis(1)).await;
    assert!(why(&reserved.borrow(), "10.0.0.9:2379").is_some());
    timeout(2 * HEAD_START, first_look.over()).await.unwrap();
    fake.0.lock().unwrap().etcd = Some("10.0.0.8:2379".parse().unwrap());
    sleep(2 * REST).await;
    assert!(why(&reserved.borrow(), "10.0.0.8:2379").is_some());
    assert_eq!(changes.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_link_local_addresses_of_containers_are_no_change() {
    let fake = Fake::default();
    fake.0.lock().unwrap().addresses = Some(machine(&["10.0.0.5"]));
    let (_reserved, _, changes) = start(claims(&[("0.0.0.0:8080", LISTEN)], &[]), &fake);
    sleep(REST / 2).await;
    fake.0.lock().unwrap().addresses = Some(machine(&["10.0.0.5", "fe80::1", "169.254.7.7"]));
    sleep(2 * REST).await;
    assert_eq!(changes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_follows_the_interfaces_and_stays_where_they_cannot_be_read() {
    let fake = Fake::default();
    fake.0.lock().unwrap().addresses = Some(machine(&["10.0.0.5"]));
    let (reserved, _, changes) = start(claims(&[("0.0.0.0:8080", LISTEN)], &[]), &fake);
    let is_reserved = |address: &str| why(&reserved.borrow(), address).is_some();
    assert!(is_reserved("10.0.0.5:8080") && !is_reserved("10.0.0.6:8080"));
    fake.0.lock().unwrap().addresses = Some(machine(&["10.0.0.6"]));
    sleep(2 * REST).await;
    assert!(!is_reserved("10.0.0.5:8080") && is_reserved("10.0.0.6:8080"));
    fake.0.lock().unwrap().addresses = None;
    sleep(2 * REST).await;
    assert!(is_reserved("10.0.0.6:8080"));
    assert_eq!(changes.load(Ordering::Relaxed), 1, "what is as it was is no change");
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_follows_the_registrys_name_and_stays_where_nobody_resolves_it() {
    let fake = Fake::default();
    let (reserved, _, changes) = start(claims(&[], &["http://etcd:2379"]), &fake);
    let is_reserved = || why(&reserved.borrow(), "10.0.0.9:2379").is_some();
    sleep(REST).await;
    assert!(!is_reserved());
    fake.0.lock().unwrap().etcd = Some("10.0.0.9:2379".parse().unwrap());
    sleep(2 * REST).await;
    assert!(is_reserved());
    for hangs in [true, false] {
        *fake.0.lock().unwrap() = State { hangs, ..State::default() };
        sleep(2 * REMEMBERED).await;
        assert!(is_reserved(), "hangs: {hangs}");
    }
    assert_eq!(changes.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_no_names_are_known_from_the_start() {
    let text = r#"
version: 1
gateway:
  listen: ["127.0.0.1:8080"]
  registry: { endpoints: ["http://10.0.0.9:2379", "http://[2001:db8::9]:2379", "http://localhost:2380"] }
  routes: [{ path: /goods, service: goods }]
"#;
    let environment = config::Environment::of_this_process();
    let config = config::Config::parse(text, "test.yaml", &environment).unwrap();
    let (_lookout, reserved, _) = Lookout::new(&config.gateway, Fake::default());
    for address in
        ["10.0.0.9:2379", "[2001:db8::9]:2379", "127.0.0.1:2380", "127.0.0.1:8080", "127.0.0.1:9090"]
    {
        assert!(why(&reserved.borrow(), address).is_some(), "{address}");
    }
}

#[tokio::test]
async fn this_machine_has_addresses_and_knows_itself_by_name() {
    assert!(ThisMachine.addresses().unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
    let found = ThisMachine.resolve("localhost", 80).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
    assert!(!found.is_empty());
}

#[test]
fn what_cannot_be_read_stays_refused_and_is_told_when_that_changes() {
    let fake = Fake::default();
    let told = |lookout: &Lookout<Fake>| lookout.unread.is_some();
    let (mut lookout, ..) = Lookout::over(claims(&[("0.0.0.0:80", LISTEN)], &[]), fake.clone());
    assert!(told(&lookout));
    fake.0.lock().unwrap().addresses = Some(vec!["10.0.0.7".parse().unwrap()]);
    assert!(lookout.look() && !told(&lookout));
    fake.0.lock().unwrap().addresses = None;
    assert!(!lookout.look() && told(&lookout), "the address stays refused");
}
