//! The backend misbehaves as it is told, and no otherwise.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Behaviour, Connections, Reply},
    http::{Connection, Request, get, raw},
    load::Load,
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Long enough to see that nothing comes.
const QUIET: Duration = Duration::from_millis(300);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

fn request() -> Result<Request<Bytes>> {
    Ok(Request::get("/").body(Bytes::new())?)
}

/// Sends a request and reads until the connection ends; what came, and how it ended.
async fn read_to_the_end(address: SocketAddr) -> Result<(String, io::Result<()>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(GET).await?;
    let mut came = Vec::new();
    let end = timeout(10 * SECOND, stream.read_to_end(&mut came)).await.context("it never ended")?;
    Ok((String::from_utf8(came)?, end.map(drop)))
}

async fn wait_open(backend: &Backend, open: usize) -> Result<()> {
    let what = format!("{open} connections are open");
    eventually(&what, 10 * SECOND, async || {
        ensure!(backend.connections().open == open, "{:?}", backend.connections());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_dead_one_refuses_drops_its_connections_and_comes_back_at_its_address() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("alive")).await?;
    let mut kept = Connection::open(backend.address()).await?;
    kept.send(request()?).await?;
    for _ in 0..3 {
        backend.behave(Behaviour::Refuse).await?;
        let refused = TcpStream::connect(backend.address()).await.map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
        assert_eq!(backend.connections().open, 0);
        assert!(kept.send(request()?).await.is_err());
        backend.behave(Behaviour::Usual).await?;
        assert_eq!(get(backend.address(), "/").await?.text(), "alive");
        kept = Connection::open(backend.address()).await?;
        kept.send(request()?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_frozen_one_accepts_and_reads_nothing_and_then_goes_on_with_what_it_has() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("late")).await?;
    let mut old = TcpStream::connect(backend.address()).await?;
    wait_open(&backend, 1).await?;
    backend.behave(Behaviour::Freeze).await?;
    let mut fresh = TcpStream::connect(backend.address()).await?;
    let mut byte = [0];
    for stream in [&mut old, &mut fresh] {
        stream.write_all(GET).await?;
        assert!(timeout(QUIET, stream.read_exact(&mut byte)).await.is_err(), "it answered");
    }
    assert_eq!((backend.count(), backend.connections().accepted), (0, 2));
    backend.behave(Behaviour::Usual).await?;
    for stream in [&mut old, &mut fresh] {
        timeout(10 * SECOND, stream.read_exact(&mut byte)).await.context("it stayed frozen")??;
    }
    assert_eq!(backend.count(), 2);
    Ok(())
}

#[tokio::test]
async fn one_that_freezes_while_a_request_is_out_answers_it_when_it_goes_on() -> Result<()> {
    let backend = Backend::start("a", Reply::After(50 * MS, Box::new(Reply::ok("late")))).await?;
    let asked = tokio::spawn(get(backend.address(), "/"));
    backend.wait_count(1, 10 * SECOND).await?;
    backend.behave(Behaviour::Freeze).await?;
    sleep(QUIET).await;
    assert!(!asked.is_finished(), "a frozen backend answered");
    backend.behave(Behaviour::Usual).await?;
    assert_eq!(asked.await??.text(), "late");
    Ok(())
}

#[tokio::test]
async fn one_that_never_answers_reads_and_records() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    backend.behave(Behaviour::Always(Reply::Hang)).await?;
    let answer = raw(backend.address(), GET, QUIET).await?;
    assert!(answer.bytes.is_empty() && !answer.closed);
    assert_eq!(backend.count(), 1);
    backend.behave(Behaviour::Usual).await?;
    assert_eq!(get(backend.address(), "/").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn it_closes_resets_or_falls_silent_within_an_answer() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    let half = Bytes::from("half");
    backend.script([Reply::Break(8, half.clone()), Reply::Reset(8, half.clone()), Reply::Stall(8, half)]);
    let is_half = |text: &str| text.contains("content-length: 8") && text.ends_with("\r\n\r\nhalf");

    let (text, end) = read_to_the_end(backend.address()).await?;
    assert!(is_half(&text) && end.is_ok(), "{text} {end:?}");

    let (text, end) = read_to_the_end(backend.address()).await?;
    let end = end.map_err(|error| error.kind());
    assert!(is_half(&text) && end == Err(io::ErrorKind::ConnectionReset), "{text} {end:?}");

    let answer = raw(backend.address(), GET, QUIET).await?;
    assert!(is_half(&answer.text()) && !answer.closed, "{answer:?}");
    assert_eq!(backend.count(), 3);
    Ok(())
}

#[tokio::test]
async fn it_resets_right_after_the_head() -> Result<()> {
    let backend = Backend::start("a", Reply::Reset(5, Bytes::new())).await?;
    let (text, end) = read_to_the_end(backend.address()).await?;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n"), "{text}");
    assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    Ok(())
}

#[tokio::test]
async fn what_exceeds_the_promise_is_sent_all_the_same_and_the_connection_goes_on() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("next")).await?;
    backend.script([Reply::Excess(5, Bytes::from("12345surplus"))]);
    let mut stream = TcpStream::connect(backend.address()).await?;
    stream.write_all(GET).await?;
    let mut came = Vec::new();
    while !came.ends_with(b"content-length: 5\r\nx-served-by: a\r\n\r\n12345surplus") {
        let read = timeout(10 * SECOND, stream.read_buf(&mut came)).await??;
        ensure!(read > 0, "closed after {:?}", String::from_utf8_lossy(&came));
    }
    stream.write_all(GET).await?;
    came.clear();
    while !came.ends_with(b"\r\n\r\nnext") {
        let read = timeout(10 * SECOND, stream.read_buf(&mut came)).await??;
        ensure!(read > 0, "closed after {:?}", String::from_utf8_lossy(&came));
    }
    let connections: Vec<_> = backend.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0]);
    Ok(())
}

#[tokio::test]
async fn it_answers_before_the_body_has_come() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("patient")).await?;
    let head = b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    let answer = raw(backend.address(), head, QUIET).await?;
    assert_eq!((answer.status(), backend.count()), (None, 0), "it waits for the body otherwise");
    backend.script([Reply::Early(Box::new(Reply::status(507)))]);
    let answer = raw(backend.address(), head, 10 * SECOND).await?;
    assert_eq!((answer.status(), answer.closed), (Some(507), true));
    backend.behave(Behaviour::Always(Reply::Early(Box::new(Reply::status(413))))).await?;
    let answer = raw(backend.address(), head, 10 * SECOND).await?;
    assert_eq!((answer.status(), answer.closed), (Some(413), true));
    assert_eq!((backend.last()?.target.as_str(), backend.last()?.body.len()), ("/upload", 0));
    Ok(())
}

#[tokio::test]
async fn an_early_reply_in_a_script_waits_for_its_turn() -> Result<()> {
    let backend = Backend::start("a", Reply::Echo).await?;
    backend.script([Reply::status(201), Reply::Early(Box::new(Reply::status(202)))]);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(get(backend.address(), "/").await?.status);
    }
    assert_eq!(statuses, [201, 202, 200]);
    Ok(())
}

/// The statuses of a hundred requests to one that fails half of them.
async fn half(backend: &Backend, seed: u64) -> Result<Vec<u16>> {
    backend.behave(Behaviour::Sometimes { share: 0.5, seed, reply: Reply::status(503) }).await?;
    let mut connection = Connection::open(backend.address()).await?;
    let mut statuses = Vec::new();
    for _ in 0..100 {
        statuses.push(connection.send(request()?).await?.status);
    }
    Ok(statuses)
}

#[tokio::test]
async fn it_fails_half_of_the_requests_and_the_same_ones_for_the_same_seed() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    let first = half(&backend, 7).await?;
    assert_eq!(half(&backend, 7).await?, first);
    assert_ne!(half(&backend, 8).await?, first);
    let failed = first.iter().filter(|status| **status == 503).count();
    // Five standard deviations.
    assert!((25..=75).contains(&failed), "{failed} of 100");
    Ok(())
}

#[tokio::test]
async fn what_is_scripted_goes_before_the_behaviour() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    backend.behave(Behaviour::Always(Reply::status(503))).await?;
    backend.script([Reply::status(204)]);
    assert_eq!(get(backend.address(), "/").await?.status, 204);
    assert_eq!(get(backend.address(), "/").await?.status, 503);
    Ok(())
}

#[tokio::test]
async fn it_is_ten_times_slower() -> Result<()> {
    let backend = Backend::start("a", Reply::After(30 * MS, Box::new(Reply::ok("")))).await?;
    backend.behave(Behaviour::Slow(10)).await?;
    let asked = Instant::now();
    get(backend.address(), "/").await?;
    assert!(asked.elapsed() >= 300 * MS, "{:?}", asked.elapsed());
    backend.behave(Behaviour::Usual).await?;
    let asked = Instant::now();
    get(backend.address(), "/").await?;
    assert!(asked.elapsed() < 300 * MS, "{:?}", asked.elapsed());
    Ok(())
}

#[tokio::test]
async fn idle_connections_are_closed_at_random_and_no_answer_is_cut() -> Result<()> {
    let backend =
        Backend::start("a", Reply::After(30 * MS, Box::new(Reply::ok("x".repeat(100_000))))).await?;
    let mut kept = Connection::open(backend.address()).await?;
    kept.send(request()?).await?;
    sleep(QUIET).await;
    assert!(kept.is_open().await, "it closes without having been told");

    backend.behave(Behaviour::CloseIdle { within: 150 * MS, seed: 1 }).await?;
    wait_open(&backend, 0).await?;
    // The client repeats what a closed connection took with it before any answer byte; nothing else may
    // go wrong.
    let outcome = Load::get(backend.address(), "/").rate(100).connections(10).run_for(2 * SECOND).await;
    assert_eq!((outcome.failed, outcome.status(200)), (0, outcome.sent), "{:?}", outcome.errors);
    let accepted = backend.connections().accepted as u64;
    // Some 70 ms lie between an answer and the next request of its connection: about half survive them.
    assert!((20..outcome.sent - 20).contains(&accepted), "{accepted} for {} requests", outcome.sent);
    Ok(())
}

#[tokio::test]
async fn a_connection_is_not_idle_while_its_answer_is_taken_slowly() -> Result<()> {
    // More than the sockets' buffers hold.
    const BODY: usize = 20_000_000;
    let backend = Backend::start("a", Reply::ok(vec![b'x'; BODY])).await?;
    backend.behave(Behaviour::CloseIdle { within: 10 * MS, seed: 5 }).await?;
    let mut stream = TcpStream::connect(backend.address()).await?;
    stream.write_all(GET).await?;
    sleep(QUIET).await;
    let mut came = Vec::new();
    timeout(10 * SECOND, stream.read_to_end(&mut came)).await.context("it never ended")??;
    assert!(came.len() > BODY, "cut after {} bytes", came.len());
    Ok(())
}

#[tokio::test]
async fn pauses_are_drawn_anew_for_each_connection() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    backend.behave(Behaviour::CloseIdle { within: SECOND / 2, seed: 3 }).await?;
    let mut lives = Vec::new();
    for _ in 0..6 {
        let mut connection = Connection::open(backend.address()).await?;
        connection.send(request()?).await?;
        let answered = Instant::now();
        wait_open(&backend, 0).await?;
        lives.push(answered.elapsed());
    }
    let (least, most) = (lives.iter().min(), lives.iter().max());
    assert!(most > least.map(|least| *least + 50 * MS).as_ref(), "{lives:?}");
    Ok(())
}

#[tokio::test]
async fn connections_are_counted() -> Result<()> {
    let backend = Backend::start("a", Reply::ok("")).await?;
    assert_eq!(backend.connections(), Connections { accepted: 0, open: 0 });
    let kept = Connection::open(backend.address()).await?;
    get(backend.address(), "/").await?;
    wait_open(&backend, 1).await?;
    assert_eq!(backend.connections().accepted, 2);
    drop(kept);
    wait_open(&backend, 0).await
}
