//! The load client counts as its definition says, and the backend does as it is told.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    http::{self, Connection, Request, raw},
    load::Load,
    ports::free_address,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn every_request_is_answered_and_accounted_for() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    let outcome = Load::get(backend.address(), "/x?y=1").connections(4).run_count(200).await;
    assert_eq!((outcome.sent, outcome.failed, outcome.refused, outcome.repeated), (200, 0, 0, 0));
    assert_eq!((outcome.status(200), outcome.instance("a"), backend.count()), (200, 200, 200));
    assert!(outcome.latency(0.5) > Duration::ZERO && outcome.latency(0.5) <= outcome.latency(1.0));
    let last = backend.last()?;
    assert_eq!((last.method.as_str(), last.target.as_str()), ("GET", "/x?y=1"));
    assert!(backend.requests().iter().all(|request| request.connection < 4), "connections are re-used");
    Ok(())
}

#[tokio::test]
async fn a_rate_is_kept_and_posts_carry_their_body() -> Result<()> {
    let backend = Backend::start("a", Reply::Echo).await?;
    let load = Load::post(backend.address(), "/", "body").rate(200).connections(4);
    let outcome = load.run_for(SECOND).await;
    assert!((190..=202).contains(&outcome.sent), "{} sent", outcome.sent);
    assert_eq!(outcome.status(200), outcome.sent);
    assert_eq!(backend.last()?.body, "body");
    Ok(())
}

#[tokio::test]
async fn a_slow_answer_makes_what_waited_behind_it_late() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    backend.script([Reply::After(SECOND / 2, Box::new(Reply::ok("")))]);
    let outcome = Load::get(backend.address(), "/").rate(100).connections(1).run_for(SECOND).await;
    // Some 50 requests were due while the first was out; each waited, the first of them longest.
    assert!(outcome.latency(0.75) > SECOND / 8, "the queue does not show: {:?}", outcome.latency(0.75));
    Ok(())
}

#[tokio::test]
async fn a_5xx_fails_and_a_404_does_not() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    backend.script([Reply::status(503), Reply::status(404), Reply::status(500)]);
    let outcome = Load::get(backend.address(), "/").connections(1).run_count(10).await;
    assert_eq!((outcome.sent, outcome.failed), (10, 2));
    assert_eq!((outcome.status(503), outcome.status(404), outcome.status(200)), (1, 1, 7));
    assert!(outcome.errors[0].contains("503"));
    Ok(())
}

#[tokio::test]
async fn a_connection_that_says_close_is_not_used_again() -> Result<()> {
    let close = Reply::Answer(200, vec![("connection", "close".to_owned())], Bytes::new());
    let backend = Backend::start("a", close).await?;
    let outcome = Load::get(backend.address(), "/").connections(1).run_count(5).await;
    assert_eq!((outcome.failed, outcome.repeated), (0, 0));
    let connections: Vec<_> = backend.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 2, 3, 4]);
    Ok(())
}

#[tokio::test]
async fn a_reused_connection_that_closes_before_any_byte_is_repeated_once() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    backend.script([Reply::ok(""), Reply::Drop, Reply::ok("")]);
    let outcome = Load::get(backend.address(), "/").connections(1).run_count(3).await;
    assert_eq!((outcome.sent, outcome.failed, outcome.repeated), (3, 0, 1));

    backend.script([Reply::ok(""), Reply::Drop, Reply::Drop]);
    let outcome = Load::get(backend.address(), "/").connections(1).run_count(3).await;
    assert_eq!(
        (outcome.sent, outcome.failed, outcome.repeated),
        (3, 1, 1),
        "the repetition is fresh: it counts"
    );
    Ok(())
}

#[tokio::test]
async fn a_fresh_connection_that_closes_or_an_answer_that_breaks_off_fails() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    backend.script([Reply::Drop, Reply::ok(""), Reply::Break(100, Bytes::from("half"))]);
    let outcome = Load::get(backend.address(), "/").connections(1).run_count(4).await;
    assert_eq!((outcome.sent, outcome.failed, outcome.repeated), (4, 2, 0), "{:?}", outcome.errors);
    Ok(())
}

#[tokio::test]
async fn a_head_that_breaks_off_is_a_failure_and_not_repeated() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
        let _ = stream.read(&mut buffer).await?;
        stream.write_all(b"HTTP/1.1 200").await
    });
    let outcome = Load::get(address, "/").connections(1).run_count(2).await;
    server.await??;
    assert_eq!((outcome.sent, outcome.failed, outcome.repeated), (2, 1, 0));
    Ok(())
}

#[tokio::test]
async fn a_refused_connect_is_counted_apart() -> Result<()> {
    let outcome = Load::get(free_address()?, "/").connections(1).run_count(3).await;
    assert_eq!((outcome.sent, outcome.failed, outcome.refused), (3, 0, 3));
    Ok(())
}

#[tokio::test]
async fn a_running_load_stops_when_told() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    let running = Load::get(backend.address(), "/").rate(100).connections(2).start();
    backend.wait_count(20, 20 * SECOND).await?;
    assert!(running.begun() >= 20);
    let outcome = running.stop().await;
    assert_eq!((outcome.failed, outcome.sent), (0, backend.count() as u64));
    Ok(())
}

#[tokio::test]
async fn a_broken_answer_shows_its_head_and_its_half() -> Result<()> {
    let backend = Backend::start("a", Reply::Break(100, Bytes::from("half"))).await?;
    let answer = raw(backend.address(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 5 * SECOND).await?;
    assert_eq!((answer.status(), answer.answers(), answer.closed), (Some(200), 1, true));
    assert!(answer.text().contains("content-length: 100") && answer.text().ends_with("\r\n\r\nhalf"));
    Ok(())
}

#[tokio::test]
async fn a_kept_open_answer_is_returned_when_the_time_is_up() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("whole")).await?;
    let answer = raw(backend.address(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", SECOND / 5).await?;
    assert!(!answer.closed && answer.text().ends_with("whole"));
    Ok(())
}

#[tokio::test]
async fn one_connection_carries_several_requests() -> Result<()> {
    let backend = Backend::start("a", Reply::Echo).await?;
    let mut connection = Connection::open(backend.address()).await?;
    for body in ["one", "two"] {
        let request = Request::put("/").header("x-test", "1").body(Bytes::from(body))?;
        assert_eq!(connection.send(request).await?.text(), body);
    }
    assert_eq!(backend.last()?.connection, 0);
    assert_eq!(backend.last()?.header("host"), Some(backend.address().to_string().as_str()));
    assert_eq!(http::get(backend.address(), "/").await?.header("x-served-by"), Some("a"));
    Ok(())
}

#[tokio::test]
async fn a_client_keeps_its_cookie_and_makes_room_for_the_next() -> Result<()> {
    let given = vec![("set-cookie", "a=7; Path=/".to_owned())];
    let first = Backend::start("a", Reply::ok("")).await?;
    first.script([Reply::Answer(200, given, Bytes::new())]);
    let outcome = Load::get(first.address(), "/").connections(1).clients_of(3).run_count(4).await;
    let sent: Vec<_> =
        first.requests().iter().map(|request| request.header("cookie").map(str::to_owned)).collect();
    let kept = Some("a=7".to_owned());
    assert_eq!(sent, [None, kept.clone(), kept, None]);
    assert_eq!((outcome.cookies, outcome.moved), (1, 0));
    Ok(())
}
