//! HTTP/2, where ALPN has agreed on it: what it shares with HTTP/1, and what is its own.

use std::{convert::Infallible, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use harness::{
    backend::Reply,
    certificates::{Authority, Wanted},
    http::{Connection, Request},
    link::TlsClient,
    stack::{Carrier, Gateway, GatewayOptions},
    wait::eventually,
};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpSocket},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{PATIENCE, Place, REFUSED, SHOP, get, get_with, proxy_protocol::VERSION_1, tls, wait_metric};

const REQUESTS: &str = "leaseway_requests_total";
const IN_FLIGHT: &str = "leaseway_requests_in_flight";
/// A balancer.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// No window, and no buffer of the kernel's, holds as much.
const LARGE: usize = 32 << 20;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A client whose requests need not come to an end.
struct Client {
    sender: http2::SendRequest<Body>,
    driver: AbortHandle,
}

impl Client {
    async fn connect(place: &Place) -> Result<Self> {
        let link = place.http2()?.connect(place.door).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(link)).await?;
        Ok(Self { sender, driver: tokio::spawn(connection).abort_handle() })
    }

    /// The status of the answer, which came whole.
    async fn ask(&self, line: &str, fields: &[(&str, &str)], body: Body) -> Result<u16> {
        let (method, path) = line.split_once(' ').context("a method and a path")?;
        let mut request = Request::builder().method(method).uri(format!("https://{SHOP}{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone();
        let answered = async {
            sender.ready().await?;
            let answer = sender.send_request(request.body(body)?).await?;
            let status = answer.status().as_u16();
            answer.into_body().collect().await?;
            anyhow::Ok(status)
        };
        timeout(PATIENCE, answered).await.context("no answer in time")?
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body of which no more comes than this.
fn stalling(begin: &'static [u8]) -> Body {
    let begin = stream::iter([Ok(Frame::data(Bytes::from_static(begin)))]);
    StreamBody::new(begin.chain(stream::pending())).boxed_unsync()
}

impl Place {
    fn http2(&self) -> Result<TlsClient> {
        Ok(self.client()?.speaking_http2())
    }

    fn http2_listener(&self) -> Result<Value> {
        Ok(tls(&[&self.shop()?]))
    }

    fn http2_options(&self) -> Result<GatewayOptions> {
        Ok(self.options(self.http2_listener()?))
    }

    /// A gateway whose clients may be silent within a body for so long.
    async fn impatient(&self, body: &str, write: &str) -> Result<Gateway> {
        let timeouts = json!({ "body": body, "write": write, "first_byte": "3s", "idle": "3s" });
        Gateway::start_with_registry(self.http2_options()?.set("gateway/timeouts", timeouts)).await
    }
}

#[tokio::test]
async fn a_request_that_is_answered_ends_though_its_body_does_not() -> Result<()> {
    let place = Place::new().await?;
    let gateway = place.impatient("300ms", "300ms").await?;
    let client = Client::connect(&place).await?;
    for status in [413, 401] {
        place.backend.script([Reply::Early(Box::new(Reply::status(status)))]);
        assert_eq!(client.ask("POST /goods", &[], stalling(b"some")).await?, status);
    }
    wait_metric(&gateway, IN_FLIGHT, &[], 0.0).await?;
    for status in ["413", "401"] {
        wait_metric(&gateway, REQUESTS, &[&format!("status=\"{status}\"")], 1.0).await?;
    }
    // Pingora's carrier waits for the rest of the body; ours is done when the answer is complete.
    let said = Carrier::either("\"endpoint_ms\"", "the client was silent");
    let is_told = |line: &str| line.contains("\"status\":413") && line.contains(said);
    gateway.process().wait_for_line(is_told, PATIENCE).await?;
    assert_eq!(client.ask("GET /goods", &[], whole("")).await?, 200, "its connection serves on");
    Ok(())
}

#[tokio::test]
async fn a_client_that_stalls_within_a_body_is_to_blame_and_not_its_instance() -> Result<()> {
    let place = Place::new().await?;
    let gateway = place.impatient("300ms", "300ms").await?;
    let client = Client::connect(&place).await?;
    for _ in 0..6 {
        let asked = client.ask("POST /goods", &[], stalling(b"some")).await;
        ensure!(!matches!(asked, Ok(status) if status != 408), "{asked:?}");
    }
    wait_metric(&gateway, REQUESTS, &["status=\"408\""], 6.0).await?;
    wait_metric(&gateway, IN_FLIGHT, &[], 0.0).await?;
    assert_eq!(gateway.metric("leaseway_ejections_total", &[]).await?, 0.0);
    assert_eq!(client.ask("GET /goods", &[], whole("")).await?, 200, "its connection serves on");
    Ok(())
}

/// Then nothing is read of that body, and as soon as the window of the connection is full, no other one comes.
#[tokio::test]
async fn a_client_is_not_to_blame_for_an_instance_that_takes_its_time() -> Result<()> {
    let place = Place::new().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let options = place
        .http2_options()?
        .route("/slow", "slow")
        .set("gateway/services/slow/addresses", json!([listener.local_addr()?.to_string()]));
    let timeouts = json!({ "body": "200ms", "write": "10s" });
    let _gateway = Gateway::start_with_registry(options.set("gateway/timeouts", timeouts)).await?;
    let instance = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        sleep(Duration::from_secs(2)).await;
        copy(&mut (&mut stream).take(LARGE as u64), &mut sink()).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
        copy(&mut stream, &mut sink()).await
    });
    let client = Client::connect(&place).await?;
    let another = async {
        sleep(Duration::from_secs(1)).await;
        client.ask("POST /goods", &[], whole(vec![b'b'; 1 << 20])).await
    };
    let (slow, other) = tokio::join!(client.ask("POST /slow", &[], whole(vec![b'a'; LARGE])), another);
    assert_eq!((slow?, other?), (200, 200));
    instance.abort();
    Ok(())
}

#[tokio::test]
async fn who_gives_a_request_up_has_left_it() -> Result<()> {
    let place = Place::new().await?;
    place.backend.script([Reply::Hang]);
    let gateway = Gateway::start_with_registry(place.http2_options()?).await?;
    let client = Client::connect(&place).await?;
    tokio::select! {
        answered = client.ask("GET /goods", &[], Empty::new().boxed_unsync()) => panic!("{answered:?}"),
        came = place.backend.wait_count(1, PATIENCE) => came?,
    }
    wait_metric(&gateway, IN_FLIGHT, &[], 0.0).await?;
    gateway.process().wait_for_line(|line| line.contains("\"status\":0,"), PATIENCE).await?;
    assert_eq!(client.ask("GET /goods", &[], whole("")).await?, 200);
    Ok(())
}

/// RFC 9113, 8.2.3.
#[tokio::test]
async fn cookies_in_several_fields_reach_the_instance_in_one() -> Result<()> {
    let place = Place::new().await?;
    let routes =
        json!([{ "match": { "path": "/goods", "cookies": { "b": "2", "c": "3" } }, "service": "goods" }]);
    let options = place.http2_options()?.set("gateway/routes", routes);
    let _gateway = Gateway::start_with_registry(options).await?;
    let mut connection = Connection::open_tls(place.door, &place.http2()?).await?;
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    assert_eq!(get_with(&mut connection, &crumbs).await?.status, 200);
    assert_eq!(place.backend.last()?.header("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(get_with(&mut connection, &[("cookie", "b=2; c=3")]).await?.status, 200);
    assert_eq!(place.backend.last()?.header("cookie"), Some("b=2; c=3"));
    Ok(())
}

#[tokio::test]
async fn a_client_whose_requests_are_not_valid_fills_no_log() -> Result<()> {
    let place = Place::new().await?;
    let gateway = Gateway::start_with_registry(place.http2_options()?).await?;
    let client = Client::connect(&place).await?;
    // Another host than that of the URI. Beyond 32 of them Pingora breaks the connection off; ours serves on.
    let mut refused = 0;
    while refused < 100
        && let Ok(status) = client.ask("GET /goods", &[("host", "other.example")], whole("")).await
    {
        assert_eq!(status, 400);
        refused += 1;
    }
    assert_eq!(refused == 100, Carrier::either(true, false), "{refused} were answered");
    assert_eq!(Client::connect(&place).await?.ask("GET /goods", &[], whole("")).await?, 200);
    gateway.process().wait_for_line(|line| line.contains("\"status\":200"), PATIENCE).await?;
    let lines = gateway.process().lines();
    assert!(!lines.iter().any(|line| line.contains("downstream h2 connection")), "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn the_instance_hears_who_has_shown_a_certificate_and_nothing_else() -> Result<()> {
    const XFCC: &str = "x-forwarded-client-cert";
    let (place, clients) = (Place::new().await?, Authority::new("Clients")?);
    let mut listener = place.http2_listener()?;
    listener["tls"]["client"] =
        json!({ "ca": place.file("clients.pem", clients.pem())?, "mode": "optional" });
    let _gateway = place.gateway(listener).await?;
    let alice = clients.sign(&Wanted::named(&["alice.example"]).uri("spiffe://example/alice"))?;
    let shown = TlsClient::showing(place.authority.pem(), &alice)?.asking_for(SHOP).speaking_http2();
    let forged = "Hash=00;Subject=\"CN=root\";URI=spiffe://example/root";
    for (client, is_known) in [(place.http2()?, false), (shown, true)] {
        let mut connection = Connection::open_tls(place.door, &client).await?;
        for _ in 0..2 {
            let forged = [(XFCC, forged), ("x_forwarded_client_cert", forged)];
            assert_eq!(get_with(&mut connection, &forged).await?.status, 200);
            let arrived = place.backend.last()?;
            assert!(!arrived.headers.contains_key("x_forwarded_client_cert"));
            let told: Vec<_> = arrived.headers.get_all(XFCC).iter().collect();
            assert_eq!(told.len(), usize::from(is_known), "{told:?}");
            let hash = format!("Hash={}", alice.fingerprint()?);
            assert!(told.iter().all(|told| told.to_str().is_ok_and(|told| told.contains(&hash))), "{told:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_balancer_names_the_client_of_each_request() -> Result<()> {
    let place = Place::new().await?;
    let mut listener = place.http2_listener()?;
    listener["proxy_protocol"] = json!({ "from": [FRONT] });
    let _gateway = place.gateway(listener).await?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((FRONT, 0).into())?;
    let mut stream = socket.connect(place.door).await?;
    stream.write_all(VERSION_1.as_bytes()).await?;
    let link = place.http2()?.over(stream).await?;
    let mut connection = Connection::over(link, place.door).await?;
    for _ in 0..2 {
        assert_eq!(get_with(&mut connection, &[("x-forwarded-for", "203.0.113.9")]).await?.status, 200);
        let arrived = place.backend.last()?;
        assert_eq!(arrived.header("x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(arrived.header("x-forwarded-proto"), Some("https"));
    }
    Ok(())
}

#[tokio::test]
async fn a_large_body_goes_there_and_back() -> Result<()> {
    let place = Place::new().await?;
    place.backend.script([Reply::Echo]);
    let _gateway = Gateway::start_with_registry(place.http2_options()?).await?;
    let mut connection = Connection::open_tls(place.door, &place.http2()?).await?;
    let sent: Bytes = (0..1_u32 << 18).flat_map(u32::to_be_bytes).collect();
    let request = Request::post("/goods").header("host", SHOP).body(sent.clone())?;
    let answer = timeout(PATIENCE, connection.send(request)).await??;
    assert_eq!(answer.status, 200);
    assert!(answer.body == sent, "{} bytes of {}", answer.body.len(), sent.len());
    Ok(())
}

#[tokio::test]
async fn a_connection_that_ends_gives_its_place_back() -> Result<()> {
    let place = Place::new().await?;
    let options = place.http2_options()?.set("gateway/connections/per_address", 2);
    let gateway = Gateway::start_with_registry(options).await?;
    let served = async || {
        let mut connection = Connection::open_tls(place.door, &place.http2()?).await?;
        ensure!(get(&mut connection).await?.status == 200);
        anyhow::Ok(connection)
    };
    let first = served().await?;
    let _second = served().await?;
    assert!(served().await.is_err());
    wait_metric(&gateway, REFUSED, &["reason=\"per_address\""], 1.0).await?;
    drop(first);
    eventually("its place is free", PATIENCE, async || served().await.map(drop)).await
}

#[tokio::test]
async fn a_kept_connection_goes_on_over_a_reload() -> Result<()> {
    let place = Place::new().await?;
    let gateway = Gateway::start_with_registry(place.http2_options()?).await?;
    let mut kept = Connection::open_tls(place.door, &place.http2()?).await?;
    assert_eq!(get(&mut kept).await?.status, 200);
    let elsewhere =
        json!([{ "path": "/goods", "answer": { "status": 202 } }, { "path": "/", "service": "goods" }]);
    gateway.reload(&place.http2_options()?.set("gateway/routes", elsewhere)).await?;
    assert_eq!(get(&mut kept).await?.status, 202);
    Ok(())
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_the_gateway_stops() -> Result<()> {
    let place = Place::new().await?;
    place.backend.script([Reply::After(Duration::from_secs(1), Box::new(Reply::ok("late")))]);
    let mut gateway = Gateway::start_with_registry(place.http2_options()?).await?;
    let mut connection = Connection::open_tls(place.door, &place.http2()?).await?;
    let stopped = async {
        place.backend.wait_count(1, PATIENCE).await?;
        gateway.stop(PATIENCE).await
    };
    let (answer, ended) = tokio::join!(get(&mut connection), stopped);
    let answer = answer?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    assert!(ended?.success());
    Ok(())
}
