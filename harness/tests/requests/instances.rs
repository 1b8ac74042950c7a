//! Instances' answers, which are held against what was asked before a client sees them.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use harness::{
    stack::{Carrier, GatewayOptions},
    wire::{BrokenOff, Framing, Instance, Message, Wire},
};
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use super::{Fixture, malformed::PATIENCE};

/// A gateway over an instance that answers each request with the bytes that the test wants, and closes its side then.
struct Scripted {
    fixture: Fixture,
    instance: Instance,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    async fn start() -> Result<Self> {
        let answer = Arc::<Mutex<Vec<u8>>>::default();
        let script = Arc::clone(&answer);
        let instance = Instance::start(move |mut wire| {
            let script = Arc::clone(&script);
            async move {
                wire.request().await?;
                let answer = script.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // The gateway may have left already, having read enough.
                let _ = wire.send(answer).await;
                let _ = wire.finish().await;
                wire.rest().await?;
                Ok(())
            }
        })
        .await?;
        let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
        Ok(Self { fixture, instance, answer })
    }

    /// A connection of a client that has sent this request, which will be answered so.
    async fn ask(&self, request: &str, answer: impl Into<Vec<u8>>) -> Result<Wire> {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer.into();
        let mut wire = Wire::connect(self.fixture.gateway.address()).await?;
        wire.send(request).await?;
        Ok(wire)
    }

    /// What a GET gets, if it is whole.
    async fn get(&self, answer: impl Into<Vec<u8>>) -> Result<Message> {
        self.ask(GET, answer).await?.answer("GET").await
    }
}

const GET: &str = "GET /goods HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD_GET: &str = "GET /goods HTTP/1.0\r\nHost: a\r\n\r\n";

const TWO_LENGTHS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok";
const ODD_LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nok";
const EMPTY_LENGTH: &str = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";

fn is_broken_off<T>(read: &Result<T>) -> bool {
    read.as_ref().is_err_and(|error| error.is::<BrokenOff>())
}

#[tokio::test]
async fn an_answer_whose_head_is_no_answers_is_a_502_that_the_log_explains() -> Result<()> {
    let scripted = Scripted::start().await?;
    let head = "HTTP/1.1 200 OK\r\n";
    let long = "x".repeat(70_000);
    let many = "X: y\r\n".repeat(300);
    for answer in [
        format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk"),
        format!("{head}Content-Length: 2, 3\r\n\r\nokk"),
        format!("{head}Content-Length: two\r\n\r\nok"),
        format!("{head}Content-Length: -2\r\n\r\nok"),
        format!("{head}Content-Length: +2\r\n\r\nok"),
        format!("{head}Content-Length: 9223372036854775808\r\n\r\nok"),
        format!("{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: gzip\r\n\r\nok"),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("{head}X : y\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head}X: y\r\n z\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head} X: y\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head}X: y\0\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head}X: y\rz\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head}X\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head}X: y\nContent-Length: 2\r\n\r\nok"),
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned(),
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "no answer at all\r\n\r\n".to_owned(),
        format!("{head}X: {long}\r\nContent-Length: 2\r\n\r\nok"),
        format!("{head}{many}Content-Length: 2\r\n\r\nok"),
    ] {
        let answer_begin = answer[..answer.len().min(100)].escape_debug().to_string();
        if Carrier::tested() == Carrier::Pingora {
            // Its parser takes some of them, and writes them on: docs/http1.md, "What differs".
            let mut wire = scripted.ask(GET, answer).await?;
            wire.finish().await?;
            wire.rest().await?;
            assert_eq!(
                scripted.fixture.gateway.get("/nowhere").await?.status,
                404,
                "{answer_begin}: it serves on"
            );
            continue;
        }
        let got = scripted.get(answer).await?;
        assert_eq!(got.head.status(), 502, "{answer_begin}");
        let trace = got.head.get("trace_id").unwrap_or_default();
        let says = got.head.get("proxy-status").unwrap_or_default();
        assert!(says.contains("error=http_protocol_error"), "{answer_begin}: {says}");
        let process = scripted.fixture.gateway.process();
        let is_it = |line: &str| line.contains(trace) && line.contains("\"failed\"");
        let line: Value = serde_json::from_str(&process.wait_for_line(is_it, PATIENCE).await?)?;
        let told = line["failed"][0]["error"].as_str().or(line["error"].as_str()).unwrap_or_default();
        assert!(!told.is_empty(), "{answer_begin}: the log does not say what was wrong: {line}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_wrong_in_its_chunks_never_ends_as_if_it_were_whole() -> Result<()> {
    let scripted = Scripted::start().await?;
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for chunks in [
        format!("\r\n\r\n{poison}"),
        format!("2\r\nok\r\n\r\n\r\n{poison}"),
        "2\nok\r\n0\r\n\r\n".to_owned(),
        "2\r\nokk\r\n0\r\n\r\n".to_owned(),
        "2;x\ny\r\nok\r\n0\r\n\r\n".to_owned(),
        "2;\0\r\nok\r\n0\r\n\r\n".to_owned(),
        "x\r\nok\r\n0\r\n\r\n".to_owned(),
        "2\r\nok\r\n0\r\nX\r\n\r\n".to_owned(),
        "2\r\nok\r\n0\r\nX : y\r\n\r\n".to_owned(),
        "2\r\nok\r\n0\r\nX: y\n\r\n".to_owned(),
        // It ends where it must not.
        "2\r\nok\r\n".to_owned(),
        "2\r\no".to_owned(),
        "2\r\nok\r\n0\r\n".to_owned(),
    ] {
        let got =
            scripted.get(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")).await;
        let is_refused = got.as_ref().is_ok_and(|answer| answer.head.status() == 502);
        let is_lax = Carrier::tested() == Carrier::Pingora && got.is_ok();
        assert!(is_refused || is_broken_off(&got) || is_lax, "{chunks:?}: {got:?}");
        assert!(!got.is_ok_and(|answer| answer.text().contains("poison")), "{chunks:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_odd_and_clear_is_passed_on_as_it_should_be_written() -> Result<()> {
    let scripted = Scripted::start().await?;
    for (answer, status, body) in [
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.0 200 OK\r\n\r\nok", 200, "ok"),
        (TWO_LENGTHS, 200, "ok"),
        (ODD_LENGTH, 200, "ok"),
        ("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 299 Whatever is said\r\nContent-Length: 2\r\n\r\nok", 299, "ok"),
        ("HTTP/1.1 200 OK\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 200 OK\r\n\r\n", 200, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, "ok"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (EMPTY_LENGTH, 204, ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", 304, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", 200, "ok"),
    ] {
        if Carrier::tested() == Carrier::Pingora && [TWO_LENGTHS, ODD_LENGTH, EMPTY_LENGTH].contains(&answer)
        {
            // It writes them on as they are.
            continue;
        }
        let got = scripted.get(answer).await?;
        assert_eq!((got.head.status(), got.text().as_str()), (status, body), "{answer:?}");
        let version = Carrier::either("HTTP/1.1", &answer[..8]);
        assert!(
            got.head.start[0] == version || got.head.start[0] == "HTTP/1.1",
            "{answer:?}: {:?}",
            got.head
        );
    }
    assert_eq!(scripted.instance.failures(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn the_answer_to_a_head_has_a_length_and_no_body() -> Result<()> {
    let scripted = Scripted::start().await?;
    let head = "HEAD /goods HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let mut wire = scripted.ask(head, length).await?;
    let got = wire.answer("HEAD").await?;
    assert_eq!((got.head.get("content-length"), got.framing), (Some("5"), Framing::None));
    // Its body would be taken for the next answer.
    assert_eq!(wire.get("/nowhere", "").await?.head.status(), 404);
    Ok(())
}

#[tokio::test]
async fn fields_keep_their_case_their_order_and_their_number() -> Result<()> {
    let scripted = Scripted::start().await?;
    let fields = "X-B: 1\r\nx-a:2\r\nX-B:  3 \r\nX-EMPTY:\r\nx-Last: a, b\r\n";
    // Pingora puts those of one name beside each other.
    let in_order = ["X-B: 1", "x-a: 2", "X-B: 3", "X-EMPTY: ", "x-Last: a, b"];
    let expected = Carrier::either(in_order, ["X-B: 1", "X-B: 3", "x-a: 2", "X-EMPTY: ", "x-Last: a, b"]);
    let answer =
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: a\r\n{fields}Content-Length: 0\r\nset-cookie: b\r\n\r\n");
    let got = scripted.get(answer).await?;
    assert_eq!(got.head.fields.beginning("x-"), expected);
    assert_eq!(got.head.fields.beginning("set-"), ["Set-Cookie: a", "set-cookie: b"]);

    let instance = Instance::recording(super::answered).await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    wire.get("/goods", &format!("{fields}Cookie: a\r\ncookie: b\r\n")).await?;
    let arrived = instance.last()?.head.fields;
    let is_clients = |field: &String| !field.starts_with("X-Forwarded");
    let own: Vec<_> = arrived.beginning("x-").into_iter().filter(is_clients).collect();
    assert_eq!(own, expected);
    assert_eq!(arrived.beginning("cookie"), ["Cookie: a", "cookie: b"]);
    Ok(())
}

#[tokio::test]
async fn an_instances_date_stays_and_one_is_added_where_there_is_none() -> Result<()> {
    let scripted = Scripted::start().await?;
    assert!(scripted.get("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?.head.get("date").is_some());
    let date = "Tue, 15 Nov 1994 08:12:31 GMT";
    for version in ["1.0", "1.1"] {
        let got = scripted
            .get(format!("HTTP/{version} 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n"))
            .await?;
        // Pingora overwrites it.
        let stays = Carrier::either(true, false);
        assert_eq!(got.head.get("date") == Some(date), stays, "{:?}", got.head);
    }
    Ok(())
}

/// A client of HTTP/1.0 could take one for its answer: RFC 9110, 15.2.
#[tokio::test]
async fn what_comes_before_an_answer_reaches_those_who_know_it() -> Result<()> {
    let scripted = Scripted::start().await?;
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut wire = scripted.ask(GET, answer).await?;
    let hints = wire.answer("GET").await?;
    assert_eq!((hints.head.status(), hints.head.get("link")), (103, Some("</a>")));
    assert_eq!(wire.answer("GET").await?.head.status(), 102);
    assert_eq!(wire.answer("GET").await?.text(), "ok");

    if Carrier::tested() == Carrier::Ours {
        // Pingora passes them on to everybody.
        let mut old = scripted.ask(OLD_GET, answer).await?;
        let got = old.answer("GET").await?;
        assert_eq!((got.head.status(), got.text().as_str()), (200, "ok"));
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_never_comes_to_its_answer_is_given_up() -> Result<()> {
    let scripted = Scripted::start().await?;
    let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000);
    let answer = format!("{many}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut wire = scripted.ask(GET, answer).await?;
    let mut interim = 0;
    let last = loop {
        let got = wire.answer("GET").await?.head.status();
        if got >= 200 {
            break got;
        }
        interim += 1;
    };
    // Pingora does not count them.
    assert_eq!((interim <= 16, last), Carrier::either((true, 502), (false, 200)), "{interim} went before it");
    Ok(())
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_502_and_takes_no_place() -> Result<()> {
    let scripted = Scripted::start().await?;
    let ask = "GET /goods HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (what, request, answer) in [
        ("not asked", GET, agree),
        (
            "Upgrade without Connection is no asking",
            "GET /goods HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            agree,
        ),
        ("HTTP/1.0 has no upgrades", &ask.replace("1.1", "1.0"), agree),
        ("another protocol than asked", ask, &agree.replace("websocket", "other")),
        ("no protocol", ask, &agree.replace("Upgrade: websocket\r\n", "")),
        (
            "a length",
            ask,
            &agree.replace("\r\n\r\n", "\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ),
    ] {
        for _ in 0..5 {
            let got = scripted.ask(request, answer).await?.answer("GET").await;
            let status = got.as_ref().map_or(0, |answer| answer.head.status());
            assert_eq!(status, 502, "{what}: {got:?}");
        }
    }
    harness::wait::eventually("nothing is in flight", PATIENCE, async || {
        let flying = scripted.fixture.gateway.metric("leaseway_requests_in_flight", &[]).await?;
        ensure!(flying == 0.0, "{flying} are");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_or_broken_off_at_the_client_too() -> Result<()> {
    let body = "x".repeat(100_000);
    let expected = body.clone();
    let instance = Instance::start(move |mut wire| {
        let body = body.clone();
        async move {
            let breaks = wire.request().await?.head.target().contains("broken");
            wire.send(format!("HTTP/1.1 200 OK\r\n\r\n{body}")).await?;
            if breaks {
                wire.reset()
            } else {
                wire.finish().await?;
                wire.rest().await.map(drop)
            }
        }
    })
    .await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    for version in ["1.1", "1.0"] {
        for target in ["/goods/whole", "/goods/broken"] {
            let mut wire = Wire::connect(fixture.gateway.address()).await?;
            wire.send(format!("GET {target} HTTP/{version}\r\nHost: a\r\n\r\n")).await?;
            let got = wire.answer("GET").await;
            let is_whole = got.as_ref().is_ok_and(|answer| answer.text() == expected);
            // Of HTTP/1.0 the end of the connection is all that there is to tell: Pingora closes it in either case.
            let is_told = Carrier::tested() == Carrier::Ours || version == "1.1";
            assert!(is_whole == (target == "/goods/whole") || !is_told, "{target} of {version}: {got:?}");
        }
    }
    Ok(())
}

/// Says more than its answer with each: at once, or a little later. To the end of the connection. Whether it was later.
async fn poisons(mut wire: Wire) -> Result<bool> {
    let mut is_late = false;
    while let Some(request) = wire.next_request().await? {
        let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        is_late = request.head.target().contains("late");
        // The gateway may have closed it, rightly.
        let sent =
            if is_late { wire.send(answer).await } else { wire.send(format!("{answer}{poison}")).await };
        tokio::task::yield_now().await;
        if sent.is_err() || is_late && wire.send(poison).await.is_err() {
            break;
        }
    }
    Ok(is_late)
}

/// What an instance says unasked is nobody's answer: its connection is used no more.
#[tokio::test]
async fn what_follows_an_answer_is_not_the_next_ones() -> Result<()> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let instance = Instance::start(move |wire| {
        let tell = tell.clone();
        async move {
            let was_late = poisons(wire).await?;
            // A connection is over when the gateway has closed it, too.
            if was_late { Ok(tell.send(())?) } else { Ok(()) }
        }
    })
    .await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for _ in 0..50 {
        assert_eq!(wire.get("/goods/at-once", "").await?.text(), "ok");
    }
    for _ in 0..20 {
        assert_eq!(wire.get("/goods/late", "").await?.text(), "ok");
        timeout(PATIENCE, told.recv()).await.context("its connection is kept")?;
    }
    Ok(())
}
#[tokio::test]
async fn trailers_reach_the_client_but_for_those_that_belong_in_a_head() -> Result<()> {
    let scripted = Scripted::start().await?;
    let trailers = "X-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\nx-sum: 2\r\n";
    let answer =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{trailers}\r\n");
    let got = scripted.get(answer.clone()).await?;
    let expected: &[&str] = Carrier::either(&["X-Sum: 1", "x-sum: 2"], &[]);
    assert_eq!(
        (got.text().as_str(), got.trailers.beginning("").as_slice()),
        ("ok", &expected.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()[..])
    );
    assert_eq!(scripted.ask(OLD_GET, answer).await?.answer("GET").await?.text(), "ok");
    Ok(())
}
