//! Clients that take what they can, and what is left to others.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use embedded_registry::{Server, Settings, door, first_revision};
use etcd_client::{Client, Error, GetOptions, PutOptions, Txn, TxnOp, WatchOptions};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::subject::{Embedded, PATIENCE, client};

const MEBIBYTE: usize = 1024 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// HTTP/2 by hand: what no client does.
struct ByHand(TcpStream);

impl ByHand {
    async fn connect(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(PREFACE).await?;
        Ok(Self(stream))
    }

    /// Begins a call on a stream.
    async fn call(&mut self, stream: u32, path: &str) -> Result<()> {
        self.begin(stream, path, b"").await
    }

    /// The same, of messages that may be compressed, as may what is answered.
    async fn call_in_gzip(&mut self, stream: u32, path: &str) -> Result<()> {
        self.begin(stream, path, b"\0\x0dgrpc-encoding\x04gzip\0\x14grpc-accept-encoding\x04gzip").await
    }

    async fn begin(&mut self, stream: u32, path: &str, more: &[u8]) -> Result<()> {
        let length = u8::try_from(path.len())?;
        // As the static table has them: POST, http, :path, :authority; then a name of our own, and content-type.
        let mut head = vec![0x83, 0x86, 0x04, length];
        head.extend(path.as_bytes());
        head.extend(b"\x01\x09localhost");
        head.extend(b"\0\x02te\x08trailers");
        head.extend(b"\x0f\x10\x10application/grpc");
        head.extend(more);
        self.frame(1, 4, stream, &head).await
    }

    /// The first piece of what is answered on a stream.
    async fn first_data(&mut self, stream: u32) -> Result<Vec<u8>> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await?;
            let [a, b, c, kind, _, of @ ..] = head;
            let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c]))?];
            self.0.read_exact(&mut payload).await?;
            if kind == 0 && u32::from_be_bytes(of) == stream {
                return Ok(payload);
            }
        }
    }

    async fn data(&mut self, stream: u32, bytes: &[u8]) -> Result<()> {
        self.frame(0, 0, stream, bytes).await
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        let mut frame = u32::try_from(payload.len())?.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        Ok(self.0.write_all(&frame).await?)
    }

    /// Reads until the connection is closed.
    async fn read_to_end(&mut self) {
        // It may be broken off as well as closed.
        let _ = self.0.read_to_end(&mut Vec::new()).await;
    }
}

/// The beginning of a message of so many bytes.
fn prefix(bytes: usize) -> Vec<u8> {
    [&[0][..], &u32::try_from(bytes).expect("it is short").to_be_bytes()].concat()
}

#[track_caller]
fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> Code {
    match answer {
        Err(Error::GRpcStatus(status)) => status.code(),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// How long a silent client is waited for. With the clock paused, time passes as soon as everybody waits.
async fn closed_after(mut connection: ByHand) -> Result<Duration> {
    let start = Instant::now();
    timeout(Duration::from_secs(3600), connection.read_to_end()).await.context("it is not closed")?;
    Ok(start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_at_first_has_5_seconds() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    for silent in [&b""[..], b"P", PREFACE.split_at(30).0, b"POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\n"]
    {
        let mut stream = TcpStream::connect(registry.address).await?;
        stream.write_all(silent).await?;
        let waited = closed_after(ByHand(stream)).await?;
        assert!((4..8).contains(&waited.as_secs()), "{silent:?}: {waited:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_is_asked_to_go_and_comes_back_unharmed() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let idle = ByHand::connect(registry.address).await?;
    // It answers neither pings nor the request to go.
    let waited = closed_after(idle).await?;
    assert!(waited < Duration::from_secs(240), "{waited:?}");

    let mut client = registry.client().await?;
    for _ in 0..5 {
        client.put("key", "value", None).await?;
        sleep(Duration::from_secs(600)).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_ends() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut slow = ByHand::connect(registry.address).await?;
    slow.call(1, "/etcdserverpb.KV/Put").await?;
    slow.data(1, &prefix(MEBIBYTE)).await?;
    let mut answer = vec![0; 64 * 1024];
    let mut heard: Vec<u8> = Vec::new();
    let listening = async {
        // HPACK may compress what is said, but the stream's end is a frame of its own kind.
        while !heard.windows(9).any(|frame| frame[3] == 3 && frame[5..] == [0, 0, 0, 1]) {
            let bytes = slow.0.read(&mut answer).await?;
            ensure!(bytes > 0, "the connection ended");
            heard.extend(&answer[..bytes]);
        }
        Ok(())
    };
    timeout(Duration::from_secs(60), listening).await.context("it goes on")??;
    assert_eq!(registry.observer().counts().refused.get("too slow"), Some(&1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_that_do_not_come_leave_room_for_small_ones() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut client = registry.client().await?;
    let lease = client.lease_grant(60, None).await?.id();
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await?;
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut connection = ByHand::connect(registry.address).await?;
        for stream in 0..10 {
            connection.call(2 * stream + 1, "/etcdserverpb.KV/Put").await?;
            connection.data(2 * stream + 1, &prefix(2 * MEBIBYTE)).await?;
        }
        slow.push(connection);
    }
    // Ten of theirs leave 4 MiB of the 64, and this one needs more.
    harness::wait::eventually("they have taken it", PATIENCE, async || {
        let large = client.put("large", vec![b'x'; 1_450 * 1024], None).await;
        ensure!(large.is_err(), "there is room still");
        assert_eq!(code(large), Code::ResourceExhausted);
        Ok(())
    })
    .await?;
    for _ in 0..100 {
        client.put("small", "value", Some(PutOptions::new().with_lease(lease))).await?;
    }
    keeper.keep_alive().await?;
    ensure!(kept.message().await?.context("no answer")?.ttl() == 60);
    drop(slow);
    harness::wait::eventually("room comes back", PATIENCE, async || {
        Ok(client.put("large", vec![b'x'; MEBIBYTE], None).await?)
    })
    .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_an_answer_is_closed_and_its_room_comes_back() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut client = registry.client().await?;
    client.put("k", vec![b'x'; MEBIBYTE], None).await?;
    let mut slow = ByHand::connect(registry.address).await?;
    for stream in 0..40 {
        slow.call(2 * stream + 1, "/etcdserverpb.KV/Range").await?;
        // The key `k`, and the end of the stream.
        slow.frame(0, 1, 2 * stream + 1, b"\0\0\0\0\x03\x0a\x01k").await?;
    }
    sleep(Duration::from_millis(1)).await;
    // Small ones go on, and another large one comes once the slow client is gone.
    client.put("small", "value", None).await?;
    let answer =
        timeout(Duration::from_secs(120), client.get("k", None)).await.context("no room comes back")??;
    assert_eq!(answer.kvs()[0].value().len(), MEBIBYTE);
    timeout(Duration::from_secs(120), slow.read_to_end()).await.context("it is not closed")?;
    Ok(())
}

/// A client that comes in by a door.
async fn through(door: embedded_registry::Door) -> Result<Client> {
    let connector = InMemory(door);
    let channel: Channel = Endpoint::from_static("http://gateway").connect_with_connector(connector).await?;
    Ok(Client::from_channel(etcd_client::Channel::Tonic(channel), None).await?)
}

struct InMemory(embedded_registry::Door);

impl tonic::codegen::Service<tonic::codegen::http::Uri> for InMemory {
    type Response = hyper_util::rt::TokioIo<tokio::io::DuplexStream>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::codegen::http::Uri) -> Self::Future {
        let entered = self.0.enter().ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into());
        std::future::ready(entered.map(hyper_util::rt::TokioIo::new))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_gets_in_when_strangers_have_everything() -> Result<()> {
    let settings =
        Settings { max_connections: 2, max_watch_streams: 2, max_watches: 2, ..Settings::default() };
    let listener = Server::bind(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    let (door, visitors) = door();
    assert!(door.enter().is_none(), "nobody is behind it yet");
    let server = Server::new(settings, first_revision(std::time::SystemTime::now())).admit(visitors);
    let serving = tokio::spawn(server.serve(listener, std::future::pending()));

    let mut watches = Vec::new();
    for _ in 0..2 {
        watches.push(client(address).await?.watch("key", None).await?);
    }
    for watch in &mut watches {
        ensure!(watch.message().await?.context("the stream ended")?.created());
    }
    let mut gateway = timeout(PATIENCE, through(door.clone())).await??;
    let options = WatchOptions::new().with_prefix();
    let mut watch = timeout(PATIENCE, gateway.watch("", Some(options))).await??;
    ensure!(watch.message().await?.context("the stream ended")?.created());
    gateway.put("key", "value", None).await?;
    assert_eq!(watch.message().await?.context("the stream ended")?.events().len(), 1);
    let lease = gateway.lease_grant(60, None).await?.id();
    gateway.lease_revoke(lease).await?;

    serving.abort();
    let _ = serving.await;
    assert!(door.enter().is_none(), "nobody is behind it any more");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_take_all_places_leave_others_what_a_registrar_needs() -> Result<()> {
    let settings = Settings { max_watch_streams: 16, ..Settings::default() };
    let registry = Embedded::start(settings)?;
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let mut connection = ByHand::connect(registry.address).await?;
        for stream in 0..10 {
            connection.call(2 * stream + 1, "/etcdserverpb.Lease/LeaseKeepAlive").await?;
        }
        greedy.push(connection);
    }
    harness::wait::eventually("all places are taken", PATIENCE, async || {
        let refused = registry.observer().counts().refused;
        ensure!(refused.values().sum::<u64>() >= 20 * 10 - 20 - 16, "{refused:?}");
        Ok(())
    })
    .await?;
    let mut client = registry.client().await?;
    let lease = client.lease_grant(60, None).await?.id();
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await?;
    client.put("key", "", Some(PutOptions::new().with_lease(lease))).await?;
    keeper.keep_alive().await?;
    ensure!(kept.message().await?.context("no answer")?.ttl() == 60);
    // A second stream is one too many.
    assert_eq!(code(client.watch("key", None).await.map(drop)), Code::ResourceExhausted);
    let read = crate::json::post(registry.address, "/v3/kv/range", r#"{"key":"a2V5"}"#);
    assert_eq!(read.await?.status, 200);
    drop(greedy);
    harness::wait::eventually("places come back", PATIENCE, async || {
        Ok(client.clone().watch("key", None).await.map(drop)?)
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_in_parallel_all_come_in_their_turn() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut client = registry.client().await?;
    for n in 0..3 {
        client.put(format!("key{n}"), vec![b'x'; MEBIBYTE], None).await?;
    }
    let prefix = || Some(GetOptions::new().with_prefix());
    let all = join_all((0..40).map(|_| {
        let mut client = client.clone();
        async move { client.get("key", prefix()).await }
    }));
    for answer in timeout(PATIENCE, all).await? {
        assert_eq!(answer?.kvs().len(), 3);
    }
    let txn = Txn::new().and_then([TxnOp::get("key0", None), TxnOp::put("key0", "", None)]);
    let answers = client.txn(txn).await?;
    assert_eq!(answers.op_responses().len(), 2, "a write is done once, however often its answer is tried");
    assert_eq!(client.get("key0", None).await?.kvs()[0].version(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_not_compressed() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut client = registry.client().await?;
    for n in 0..2 {
        client.put(format!("key{n}"), vec![b'x'; 600 * 1024], None).await?;
    }
    let mut sent = ByHand::connect(registry.address).await?;
    // How long the message is that is answered, and whether it is compressed.
    let mut answered = async |stream: u32, request: &[u8]| {
        sent.call_in_gzip(stream, "/etcdserverpb.KV/Range").await?;
        sent.frame(0, 1, stream, &[&prefix(request.len()), request].concat()).await?;
        let message = sent.first_data(stream).await?;
        let (compressed, length) = message.split_first().context("no message")?;
        anyhow::Ok((*compressed, u32::from_be_bytes(length[..4].try_into()?)))
    };
    let one = answered(1, b"\x0a\x04key0").await?;
    assert!(one.0 == 1 && one.1 < 10_000, "{one:?}");
    let both = answered(3, b"\x0a\x04key0\x12\x04key9").await?;
    assert!(both.0 == 0 && both.1 > 1_200_000, "{both:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_of_a_stream_is_refused() -> Result<()> {
    let registry = Embedded::start(Settings::default())?;
    let mut stream = registry.client().await?.watch("key", None).await?;
    ensure!(stream.message().await?.context("the stream ended")?.created());
    stream.watch("k".repeat(17 * 1024), None).await?;
    let refusal = code(stream.message().await);
    assert_eq!(refusal, Code::ResourceExhausted);
    let body = format!(r#"{{"create_request":{{"key":"{}"}}}}"#, "AAAA".repeat(17 * 1024));
    assert_eq!(crate::json::post(registry.address, "/v3/watch", body).await?.status, 413);
    Ok(())
}
