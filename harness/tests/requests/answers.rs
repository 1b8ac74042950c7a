//! Answers of the gateway's own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    etcd::key,
    http::{Answer, Connection, Request, raw},
    ports::free_address,
    stack::{Carrier, Gateway, GatewayOptions, Services},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Fixture, assert_own_answer, malformed::PATIENCE};

#[tokio::test]
async fn no_route_is_404_and_no_endpoint_is_503() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    assert_own_answer(&fixture.gateway.get("/nowhere").await?, 404)?;

    let unavailable = fixture.gateway.get("/goods").await?;
    assert_own_answer(&unavailable, 503)?;
    assert_eq!(unavailable.header("retry-after"), Some("1"));
    Ok(())
}

/// What an answer of the gateway's own says, which names neither an instance nor an address.
fn message(answer: &Answer) -> Result<String> {
    let json = answer.json()?;
    let message = json["message"].as_str().context("no message")?.to_owned();
    assert!(!message.contains("127.0.0.1") && !message.contains("the-instance"), "{message}");
    Ok(message)
}

#[tokio::test]
async fn a_503_names_its_service_and_says_what_it_lacks() -> Result<()> {
    let options = GatewayOptions::default().route("/full", "full").route("/draining", "draining");
    let options = options
        .set("gateway/services/goods/limits", json!({ "service": 1 }))
        .set("gateway/services/full/limits", json!({ "endpoint": 1 }));
    let fixture = Fixture::start(options).await?;
    let get = async |path: &str| message(&fixture.gateway.get(path).await?);
    assert_eq!(get("/goods").await?, "service goods: no endpoint is registered");

    let draining = json!({ "address": "127.0.0.1:9", "weight": 0 }).to_string();
    fixture.etcd.put(&key("draining", "the-instance"), draining).await?;
    fixture.gateway.wait_instances("draining", &["the-instance"]).await?;
    let unusable = "service draining: endpoints are registered, but none takes requests: each is draining or \
                    cannot be connected to";
    assert_eq!(get("/draining").await?, unusable);

    for (service, full) in [
        ("goods", "service goods: too many requests of the service are in flight at the moment"),
        ("full", "service full: each endpoint that is well has too many requests in flight at the moment"),
    ] {
        let backend = Backend::start("a", Reply::Hang).await?;
        fixture.register(service, &[&backend]).await?;
        let (address, path) = (fixture.gateway.address(), format!("/{service}"));
        let waits = tokio::spawn({
            let path = path.clone();
            async move { harness::http::get(address, &path).await }
        });
        backend.wait_count(1, PATIENCE).await?;
        assert_eq!(get(&path).await?, full);
        waits.abort();
    }
    Ok(())
}

#[tokio::test]
async fn a_503_before_the_registry_was_read_says_so() -> Result<()> {
    let nobody = format!("http://{}", free_address()?);
    let gateway = Gateway::launch(&nobody, GatewayOptions::default()).await?;
    let answer = gateway.get("/goods").await?;
    assert_own_answer(&answer, 503)?;
    let unread = "service goods: the registry has not been read yet, so no endpoint is known";
    assert_eq!(message(&answer)?, unread);
    Ok(())
}

#[tokio::test]
async fn a_502_and_a_504_name_their_service_and_the_log_says_why_without_labels() -> Result<()> {
    let fixture =
        Fixture::start(GatewayOptions::default().set("gateway/timeouts/first_byte", "300ms")).await?;
    fixture.etcd.put(&key("goods", "the-instance"), free_address()?.to_string()).await?;
    fixture.gateway.wait_instances("goods", &["the-instance"]).await?;
    let dead = fixture.gateway.get("/goods").await?;
    assert_eq!((dead.status, message(&dead)?.as_str()), (502, "service goods: no endpoint could be reached"));
    let error = "the endpoint: connect refused: ";
    let line = fixture.gateway.process().wait_for_line(|line| line.contains(error), PATIENCE).await?;
    for label in ["context:", "cause:", "Peer:", "ConnectRefused"] {
        assert!(!line.contains(label), "{label} is in {line}");
    }

    let silent = Backend::start("a", Reply::Hang).await?;
    fixture.etcd.put(&key("goods", "the-instance"), silent.address().to_string()).await?;
    let late = |services: &Services| services.endpoints("goods")[0].address == silent.address().to_string();
    fixture.gateway.wait_services(late).await?;
    let late = fixture.gateway.get("/goods").await?;
    let told = "service goods: the endpoint did not answer in time";
    assert_eq!((late.status, message(&late)?.as_str()), (504, told));
    Ok(())
}

#[tokio::test]
async fn an_answer_of_its_own_keeps_the_connection() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let mut connection = Connection::open(fixture.gateway.address()).await?;
    for (path, status) in [("/nowhere", 404), ("/goods", 503), ("/nowhere", 404)] {
        for request in
            [Request::get(path).body(Bytes::new())?, Request::post(path).body(Bytes::from("body"))?]
        {
            assert_own_answer(&connection.send(request).await?, status)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_502() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    fixture.etcd.put(&key("goods", "dead"), free_address()?.to_string()).await?;
    fixture.gateway.wait_instances("goods", &["dead"]).await?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 502)?;
    assert_own_answer(&fixture.send(Request::post("/goods").body(Bytes::from("x"))?).await?, 502)
}

#[tokio::test]
async fn an_instance_that_never_answers_is_504() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default().set("gateway/timeouts/idle", "300ms")).await?;
    let backend = Backend::start("a", Reply::Hang).await?;
    fixture.register("goods", &[&backend]).await?;
    for request in
        [Request::get("/goods").body(Bytes::new())?, Request::post("/goods").body(Bytes::from("x"))?]
    {
        let begin = Instant::now();
        assert_own_answer(&fixture.send(request).await?, 504)?;
        let took = begin.elapsed();
        assert!((Duration::from_millis(250)..Duration::from_secs(5)).contains(&took), "{took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_breaks_off_before_a_byte_is_502() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let backend = Backend::start("a", Reply::Drop).await?;
    fixture.register("goods", &[&backend]).await?;
    assert_own_answer(&fixture.send(Request::post("/goods").body(Bytes::from("x"))?).await?, 502)?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 502)
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_off_for_the_client_too() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    backend.script([Reply::Break(100, Bytes::from("half"))]);
    let request = b"GET /goods HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw(fixture.gateway.address(), request, PATIENCE).await?;
    // Pingora drops what came at the same moment as the failure: all of it, if the machine is busy.
    let is_dropped = Carrier::tested() == Carrier::Pingora && answer.text().is_empty();
    if !is_dropped {
        assert_eq!((answer.status(), answer.answers()), (Some(200), 1), "{}", answer.text());
        assert!(answer.text().ends_with("half"), "no second answer is appended: {}", answer.text());
    }
    assert!(answer.closed);
    assert_eq!(backend.count(), 1, "an answer that has begun is not tried again");
    Ok(())
}

/// Sends the head of a POST of this many bytes and then a byte now and then, and reads until the answer's
/// head is whole.
async fn trickle(address: SocketAddr, length: usize) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").as_bytes())
        .await?;
    let (mut reader, mut writer) = stream.split();
    let write = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<Result<String>>().await
    };
    let read = async {
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            anyhow::ensure!(reader.read_buf(&mut answer).await? > 0, "closed before an answer");
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            answer = read => answer,
            never = write => never,
        }
    })
    .await?
}

#[tokio::test]
async fn an_answer_of_its_own_does_not_wait_for_a_slow_body() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let begin = Instant::now();
    let answer = trickle(fixture.gateway.address(), 1_000_000).await?;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    Ok(())
}

#[tokio::test]
async fn an_upload_ends_with_the_requests_whole_time() -> Result<()> {
    let routes = json!([{ "path": "/goods", "service": "goods", "timeouts": { "total": "500ms" } }]);
    let fixture = Fixture::start(GatewayOptions::default().set("gateway/routes", routes)).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    let answer = trickle(fixture.gateway.address(), 1_000_000).await?;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_stalls_is_not_blamed_on_an_instance_of_little_patience() -> Result<()> {
    let timeouts = json!({ "first_byte": "400ms", "idle": "400ms" });
    let routes = json!([{ "path": "/goods", "service": "goods", "timeouts": timeouts }]);
    let fixture = Fixture::start(GatewayOptions::default().set("gateway/routes", routes)).await?;
    let backend = Backend::start("a", Reply::ok("")).await?;
    fixture.register("goods", &[&backend]).await?;
    let head = b"POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = raw(fixture.gateway.address(), head, PATIENCE).await?;
    assert_eq!(answer.status(), Some(408), "{}", answer.text());
    Ok(())
}

#[tokio::test]
async fn who_sends_a_large_body_in_vain_is_told_so() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let post = || {
        let mut request = b"POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n".to_vec();
        request.resize(request.len() + 5_000_000, b'x');
        request
    };
    let unavailable = raw(fixture.gateway.address(), &post(), PATIENCE).await?;
    assert_eq!(unavailable.status(), Some(503), "{}", unavailable.text());
    fixture.etcd.put(&key("goods", "dead"), free_address()?.to_string()).await?;
    fixture.gateway.wait_instances("goods", &["dead"]).await?;
    let unreachable = raw(fixture.gateway.address(), &post(), PATIENCE).await?;
    // Pingora cannot keep a client's connection when an instance has failed; of ours nothing is left to be read.
    let is_closed = Carrier::either(false, true);
    assert_eq!((unreachable.status(), unreachable.closed), (Some(502), is_closed), "{}", unreachable.text());
    Ok(())
}
