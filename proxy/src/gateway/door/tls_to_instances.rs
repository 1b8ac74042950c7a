//! What clients get whose service's instances speak TLS, by either carrier.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::{SslAcceptorBuilder, SslVersion};
use pingora::server::configuration::ServerConf;
use registry::contract::{Instance as Registration, Record};
use registry::watch::Update;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{Door, connection};
use crate::directory::Writer;
use crate::gateway::Gateway;
use crate::gateway::fixture::NOWHERE;
use crate::link::Link;
use crate::logging::{Form, Output};
use crate::site::{Current, Materials, Site, drafts};
use crate::tasks::now;
use crate::tls::fixture::{Instance, Realm};

/// No wait takes as long.
const LONG: Duration = Duration::from_secs(120);
const CARRIERS: [&str; 2] = ["ours", "pingora"];
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A door, and a service whose instances are at these addresses.
struct Bench {
    door: Arc<Door>,
    carrier: &'static str,
    current: Arc<Current>,
    materials: Materials,
    output: Arc<Output>,
    _writer: Writer,
}

impl Bench {
    /// `tls`: the service's section of that name.
    fn new(carrier: &'static str, tls: &str, addresses: &[SocketAddr]) -> Self {
        let config = config(carrier, tls);
        let (materials, mut writer) = drafts::bench(&config);
        register(&mut writer, addresses);
        let site = drafts::draft(&config, &Site::default(), &materials).site;
        let (current, output) = (Arc::new(Current::new(site)), Output::waiting(Form::Json));
        let Materials { directory, metrics, .. } = materials.clone();
        let gateway = Gateway::new(current.clone(), directory, metrics, Arc::default(), output.clone());
        let door = Arc::new(Door::new(gateway, &Arc::new(ServerConf::default())));
        tokio::spawn(door.carrier.sweeper.clone().run());
        Self { door, carrier, current, materials, output, _writer: writer }
    }

    fn reload(&self, tls: &str) {
        drafts::replace(&self.current, &config(self.carrier, tls), &self.materials);
    }

    fn client(&self) -> Link {
        let (ours, theirs) = Link::pair(64 << 10);
        tokio::spawn(connection::serve(self.door.clone(), ours, NOWHERE, self.door.unlimited()));
        theirs
    }

    /// What a client gets until the end.
    async fn got(&self, request: &str) -> String {
        let mut client = self.client();
        client
            .write_all(request.replace("\r\nHost", "\r\nConnection: close\r\nHost").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        let read = timeout(LONG, client.read_to_end(&mut answer)).await.expect("it does not end");
        let answer = String::from_utf8(answer).unwrap();
        if read.is_err() { answer + "!" } else { answer }
    }

    /// What a client is told that gets no answer of the instance, and what the log says of that.
    async fn failed(&self) -> (String, String) {
        let answer = self.got(GET).await;
        let status = answer.lines().find_map(|line| line.strip_prefix("Proxy-Status: leaseway; error="));
        let status = status.unwrap_or_else(|| panic!("{}: {answer}", self.carrier));
        assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
        let log = self.output.take_lines();
        (status.split(';').next().unwrap().to_owned(), log)
    }
}

fn config(carrier: &str, tls: &str) -> crate::config::Gateway {
    let services = format!("{{goods: {{tls: {tls}}}}}\n  http1: {carrier}\n  timeouts: {{connect: 1s}}");
    drafts::config("[{path: /, service: goods}]", &services)
}

fn register(writer: &mut Writer, addresses: &[SocketAddr]) {
    let instance = |address: &SocketAddr| Registration {
        service: "goods".into(),
        id: address.to_string().into(),
        record: Record::new(*address),
        lease: 7,
        revision: 1,
    };
    let instances = addresses.iter().map(instance).collect();
    writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 1 }, now());
    writer.publish(now);
}

fn trusting(realm: &Realm) -> String {
    format!("{{ca: {:?}}}", realm.ca())
}

#[tokio::test]
async fn an_instance_is_verified_by_its_address_or_by_the_name_that_is_given() {
    let realm = Realm::new("ours");
    let by_address = Instance::new(&realm.sign("127.0.0.1")).await;
    let by_name = Instance::new(&realm.sign("pay.example.net")).await;
    let named = format!("{{ca: {:?}, server_name: pay.example.net}}", realm.ca());
    for carrier in CARRIERS {
        for (instance, tls) in [(&by_address, &trusting(&realm)), (&by_name, &named)] {
            let bench = Bench::new(carrier, tls, &[instance.address]);
            let answer = bench.got(GET).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{carrier}, {tls}: {answer}");
        }
    }
}

#[tokio::test]
async fn who_is_not_trusted_gets_nothing_and_the_client_and_the_log_are_told_why() {
    let (realm, other) = (Realm::new("ours"), Realm::new("theirs"));
    let trusting = trusting(&realm);
    let named = format!("{{ca: {:?}, server_name: pay.example.net}}", realm.ca());
    for (certificate, tls, why) in [
        (other.sign("127.0.0.1"), &trusting, "is of no authority that is trusted"),
        (realm.sign("127.0.0.2"), &trusting, "is not for 127.0.0.1"),
        (realm.sign("shop.example.net"), &named, "is not for pay.example.net"),
        (realm.sign_expired("127.0.0.1"), &trusting, "has expired"),
    ] {
        let instance = Instance::new(&certificate).await;
        for carrier in CARRIERS {
            let (status, log) = Bench::new(carrier, tls, &[instance.address]).failed().await;
            assert_eq!(status, "tls_certificate_error", "{carrier}: {why}");
            assert!(log.contains("TLS handshake failed") || log.contains("invalid certificate"), "{log}");
            if carrier == "ours" {
                assert!(log.contains(&format!("its certificate {why}")), "{why}: {log}");
            }
            assert!(log.contains("\"handshake\""), "{log}");
        }
    }
}

#[tokio::test]
async fn whoever_is_not_to_be_verified_is_whoever_answers() {
    let other = Realm::new("theirs");
    let instance = Instance::new(&other.sign("shop.example.net")).await;
    for carrier in CARRIERS {
        let answer = Bench::new(carrier, "{verify: false}", &[instance.address]).got(GET).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{carrier}: {answer}");
    }
}

#[tokio::test]
async fn who_speaks_no_tls_or_nothing_at_all_fails_before_anything_is_sent() {
    let realm = Realm::new("ours");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (in_clear, silent) =
        (listener.local_addr().unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    for carrier in CARRIERS {
        let (status, log) = Bench::new(carrier, &trusting(&realm), &[in_clear]).failed().await;
        assert_eq!(status, "tls_protocol_error", "{carrier}");
        assert!(carrier != "ours" || log.contains("it does not speak TLS"), "{log}");
        let silent = silent.local_addr().unwrap();
        let (status, log) = Bench::new(carrier, &trusting(&realm), &[silent]).failed().await;
        assert_eq!(status, "connection_timeout", "{carrier}: {log}");
    }
}

#[tokio::test]
async fn one_whose_handshake_fails_costs_no_request_whatever_its_method() {
    let (realm, other) = (Realm::new("ours"), Realm::new("theirs"));
    let good = Instance::new(&realm.sign("127.0.0.1")).await;
    let bad = Instance::new(&other.sign("127.0.0.1")).await;
    for carrier in CARRIERS {
        for _ in 0..8 {
            let bench = Bench::new(carrier, &trusting(&realm), &[good.address, bad.address]);
            let answer = bench.got("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        }
    }
}

#[tokio::test]
async fn an_instance_is_shown_our_certificate_and_says_so_if_it_does_not_like_it() {
    let (realm, other) = (Realm::new("ours"), Realm::new("theirs"));
    let instance = Instance::demanding(&realm.sign("127.0.0.1"), &realm).await;
    let showing = |files: crate::config::CertificateFiles| {
        format!("{{ca: {:?}, cert: {:?}, key: {:?}}}", realm.ca(), files.cert, files.key)
    };
    for carrier in CARRIERS {
        let shown = instance.shown();
        let bench = Bench::new(carrier, &showing(realm.sign("gateway")), &[instance.address]);
        let answer = bench.got(GET).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{carrier}: {answer}");
        assert_eq!(instance.shown(), shown + 1);
        for tls in [trusting(&realm), showing(other.sign("gateway"))] {
            let (status, log) = Bench::new(carrier, &tls, &[instance.address]).failed().await;
            assert_eq!(status, "tls_alert_received", "{carrier}: {log}");
            assert!(log.contains("alert"), "{log}");
        }
    }
}

#[tokio::test]
async fn a_large_body_goes_both_ways() {
    let realm = Realm::new("ours");
    let instance = Instance::new(&realm.sign("127.0.0.1")).await;
    let body: String = (0..1_310_720).map(|n| format!("{n:07}\n")).collect();
    assert!(body.len() == 10 << 20);
    for carrier in CARRIERS {
        let bench = Bench::new(carrier, &trusting(&realm), &[instance.address]);
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = bench.got(&request).await;
        assert!(answer.split_once("\r\n\r\n").is_some_and(|(_, echo)| echo == body), "{carrier}");
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_off_does_not_look_whole() {
    let realm = Realm::new("ours");
    let instance = Instance::new(&realm.sign("127.0.0.1")).await;
    for carrier in CARRIERS {
        let bench = Bench::new(carrier, &trusting(&realm), &[instance.address]);
        let whole = bench.got("GET /ends HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(whole.contains("half of it") && whole.ends_with("\r\n0\r\n\r\n"), "{carrier}: {whole}");
        // The stream that Pingora reads takes any end for one that TLS has said.
        if carrier == "pingora" {
            continue;
        }
        let cut = bench.got("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(cut.starts_with("HTTP/1.1 200 ") && !cut.contains("\r\n0\r\n\r\n"), "{carrier}: {cut}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_until_tls_to_the_service_is_another() {
    let realm = Realm::new("ours");
    let instance = Instance::new(&realm.sign("127.0.0.1")).await;
    let copy = realm.ca().with_file_name("copy.pem");
    std::fs::copy(realm.ca(), &copy).unwrap();
    for carrier in CARRIERS {
        let bench = Bench::new(carrier, &trusting(&realm), &[instance.address]);
        let before = instance.handshakes();
        let handshakes = async || {
            let answer = bench.got(GET).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{carrier}: {answer}");
            instance.handshakes() - before
        };
        assert_eq!((handshakes().await, handshakes().await), (1, 1), "{carrier}: it is kept");
        bench.reload(&trusting(&realm));
        assert_eq!(handshakes().await, 1, "{carrier}: nothing is different");
        bench.reload(&format!("{{ca: {copy:?}}}"));
        assert_eq!((handshakes().await, handshakes().await), (2, 2), "{carrier}");
        let stranger = Realm::new("theirs");
        bench.reload(&trusting(&stranger));
        assert_eq!(bench.failed().await.0, "tls_certificate_error", "{carrier}");
    }
}

#[tokio::test]
async fn a_new_connection_goes_on_with_the_session_of_one_before_to_the_same_instance() {
    let realm = Realm::new("ours");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let certificate = realm.sign("127.0.0.1");
        let set = |builder: &mut SslAcceptorBuilder| builder.set_max_proto_version(Some(version)).unwrap();
        let instance = Instance::with(&certificate, set).await;
        let other = Instance::with(&certificate, set).await;
        let bench = Bench::new("ours", &trusting(&realm), &[instance.address, other.address]);
        // The instance is the one that ends, so that no connection is kept.
        let ask = async || {
            let answer = bench.got("GET /ends HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(answer.contains("half of it"), "{version:?}: {answer}");
        };
        let copy = realm.ca().with_file_name("copy.pem");
        std::fs::copy(realm.ca(), &copy).unwrap();
        for (full, ca) in [(1, realm.ca()), (2, copy)] {
            bench.reload(&format!("{{ca: {ca:?}}}"));
            let before = [instance.handshakes(), other.handshakes()];
            // One of them after the other, or by chance.
            while instance.handshakes() < before[0] + 2 || other.handshakes() < before[1] + 2 {
                ask().await;
            }
            for instance in [&instance, &other] {
                assert_eq!(instance.handshakes() - instance.resumed(), full, "{version:?}");
            }
        }
    }
}
