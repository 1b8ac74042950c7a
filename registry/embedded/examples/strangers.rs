//! What clients can do that take whatever they can: to the registry's memory, and to another client's keep-alives.
//!
//! `cargo run --release -p embedded-registry --example strangers [PART OF A CASE'S NAME]`
//!
//! Each case has a registry of its own, in a process of its own, which is this program too.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{
    env, fs,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use embedded_registry::{Server, Settings, first_revision};
use etcd_client::{Client, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, WatchOptions, WatchStream};
use futures_util::future::{BoxFuture, join_all, try_join_all};
use harness::{
    ports::free_address,
    process::{Process, Stdout},
    quantile::quantile,
    wait::eventually,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use tonic::transport::Endpoint;

const KEYS: usize = 100_000;
const WATCHES: usize = 10_000;
const CONNECTIONS: usize = 100;
/// Calls at a time on one connection.
const CALLS: usize = 100;
/// The largest value, but for its key and what is around it.
const LARGE: usize = 1_500_000;
/// Between two keep-alives.
const PAUSE: Duration = Duration::from_millis(10);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

type Case = for<'a> fn(SocketAddr, &'a Keeper) -> BoxFuture<'a, Result<()>>;

const CASES: &[(&str, Case)] = &[
    ("nothing", |address, keeper| Box::pin(nothing(address, keeper))),
    ("transactions of 100 gets of 1 MiB", |address, keeper| Box::pin(hundred_gets(address, keeper))),
    ("1,000 idle connections", |address, keeper| Box::pin(idle_connections(address, keeper))),
    ("100 connections with 100 puts of 1.5 MB each", |address, keeper| Box::pin(large_puts(address, keeper))),
    ("100 connections with 40 gets of 1 MiB that are not read", |address, keeper| {
        Box::pin(unread_answers(address, keeper))
    }),
    ("100 connections with 100 counts of 100,000 keys each", |address, keeper| {
        Box::pin(counts(address, keeper))
    }),
    ("10,000 watches on all of 100,000 keys that are deleted at once", |address, keeper| {
        Box::pin(delete_all(address, keeper))
    }),
    ("10,000 watches that each of 100 puts concerns", |address, keeper| Box::pin(fan_out(address, keeper))),
    ("10,000 watches on ranges of their own, and 10,000 puts", |address, keeper| {
        Box::pin(own_ranges(address, keeper))
    }),
    ("a lease of 100,000 keys that is revoked", |address, keeper| Box::pin(revoke(address, keeper))),
    ("10,000 watches that catch up with 10,000 revisions", |address, keeper| {
        Box::pin(catch_up(address, keeper))
    }),
    ("a compaction of 10,000 revisions", |address, keeper| Box::pin(compaction(address, keeper))),
];

fn main() -> Result<()> {
    let argument = env::args().nth(1).unwrap_or_default();
    let runtime =
        |threads| tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match argument.parse() {
        // On one thread, as in the gateway: that of `block_on` is another one.
        Ok(address) => runtime(1)?.block_on(async { tokio::spawn(serve(address)).await? }),
        Err(_) => runtime(2)?.block_on(measure_all(&argument)),
    }
}

/// All cases, or those whose names have this in them.
async fn measure_all(only: &str) -> Result<()> {
    println!("case | resident memory before, at most, MiB | keep-alives, p50, latest, ms");
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(only)) {
        measure(name, *case).await.with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

async fn serve(address: SocketAddr) -> Result<()> {
    let server = Server::new(Settings::default(), first_revision(SystemTime::now()));
    Ok(server.serve(Server::bind(address)?, std::future::pending()).await?)
}

async fn measure(name: &str, case: Case) -> Result<()> {
    let address = free_address()?;
    let mut command = Command::new(env::current_exe()?);
    command.arg(address.to_string());
    let registry = Process::start(command, Stdout::Kept)?;
    let serves = async || Ok(connect(address).await?.get("any", None).await?);
    eventually("the registry serves", Duration::from_secs(30), serves).await?;
    let before = memory(registry.pid(), "VmRSS")?;
    let keeper = Keeper::start(address)?;
    case(address, &keeper).await?;
    let (kept, p50, latest) = keeper.stop()?;
    let most = memory(registry.pid(), "VmHWM")?;
    println!("{name} | {before} {most} | {kept} {p50:.1} {latest:.0}");
    Ok(())
}

fn memory(process: u32, what: &str) -> Result<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(what)).context("no such line")?;
    let kibibytes: usize = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kibibytes / 1024)
}

/// A client that keeps a lease alive, on a thread of its own, while something happens.
struct Keeper {
    looks: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<Vec<Duration>>>,
}

impl Keeper {
    fn start(address: SocketAddr) -> Result<Self> {
        let (looks, stops) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (looks, stops) = (looks.clone(), stops.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(keep(address, &looks, &stops))
            }
        });
        Ok(Self { looks, stops, thread })
    }

    /// From now on it counts how long each keep-alive takes.
    fn look(&self) {
        self.looks.store(true, Ordering::Relaxed);
    }

    fn stop(self) -> Result<(usize, f64, f64)> {
        self.stops.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().map_err(|_| anyhow::anyhow!("the keeper panicked"))??;
        times.sort_unstable();
        let at = |share| quantile(&times, share).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        Ok((times.len(), at(0.5), at(1.0)))
    }
}

async fn keep(address: SocketAddr, looks: &AtomicBool, stops: &AtomicBool) -> Result<Vec<Duration>> {
    let mut client = connect(address).await?;
    let lease = client.lease_grant(60, None).await?.id();
    let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
    let mut times = Vec::new();
    while !stops.load(Ordering::Relaxed) {
        let start = Instant::now();
        keeper.keep_alive().await?;
        ensure!(answers.message().await?.context("the stream ended")?.ttl() == 60, "the lease is gone");
        if looks.load(Ordering::Relaxed) {
            times.push(start.elapsed());
        }
        sleep(PAUSE).await;
    }
    Ok(times)
}

async fn nothing(_: SocketAddr, keeper: &Keeper) -> Result<()> {
    keeper.look();
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

async fn hundred_gets(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    let mut client = connect(address).await?;
    client.put("key", vec![b'x'; 1 << 20], None).await?;
    keeper.look();
    for _ in 0..20 {
        join_all((0..8).map(|_| {
            let mut client = client.clone();
            // Refused, or as large as an answer may be.
            let gets = (0..100).map(|_| TxnOp::get("key", None)).collect::<Vec<_>>();
            async move { client.txn(Txn::new().and_then(gets)).await.map(drop) }
        }))
        .await;
    }
    Ok(())
}

async fn idle_connections(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    keeper.look();
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(PREFACE).await?;
        idle.push(stream);
    }
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

async fn large_puts(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    let clients = try_join_all((0..CONNECTIONS).map(|_| connect(address))).await?;
    keeper.look();
    let value: Arc<[u8]> = vec![b'x'; LARGE].into();
    join_all(clients.iter().enumerate().flat_map(|(n, client)| {
        let value = value.clone();
        (0..CALLS).map(move |call| {
            let (mut client, value) = (client.clone(), value.clone());
            // Refused for the most part.
            async move { client.put(format!("{n}/{call}"), &*value, None).await.map(drop) }
        })
    }))
    .await;
    Ok(())
}

async fn unread_answers(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    connect(address).await?.put("k", vec![b'x'; 1 << 20], None).await?;
    keeper.look();
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(PREFACE).await?;
        for call in 0..40_u32 {
            stream.write_all(&get_by_hand(2 * call + 1)).await?;
        }
        all.push(stream);
    }
    sleep(Duration::from_secs(5)).await;
    Ok(())
}

/// A range of the key `k`, as frames of HTTP/2.
fn get_by_hand(stream: u32) -> Vec<u8> {
    let mut head = b"\x83\x86\x04\x16/etcdserverpb.KV/Range\x01\x09localhost\0\x02te\x08trailers".to_vec();
    head.extend(b"\x0f\x10\x10application/grpc");
    let frame = |kind, flags, payload: &[u8]| {
        let head = [&[0, 0, payload.len() as u8, kind, flags][..], &stream.to_be_bytes()].concat();
        [&head, payload].concat()
    };
    [frame(1, 4, &head), frame(0, 1, b"\0\0\0\0\x03\x0a\x01k")].concat()
}

async fn counts(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    fill(address, 0).await?;
    let clients = try_join_all((0..CONNECTIONS).map(|_| connect(address))).await?;
    keeper.look();
    let flood = join_all(clients.iter().flat_map(|client| {
        (0..CALLS).map(move |_| {
            let mut client = client.clone();
            async move {
                let all = GetOptions::new().with_prefix().with_count_only();
                let counts = (0..9).map(|_| TxnOp::get("key", Some(all.clone()))).collect::<Vec<_>>();
                client.txn(Txn::new().and_then(counts)).await.map(drop)
            }
        })
    }));
    // They would take an hour.
    let _ = tokio::time::timeout(Duration::from_secs(10), flood).await;
    Ok(())
}

async fn delete_all(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    fill(address, 0).await?;
    let watches = watches(address, |_| ("key".to_owned(), WatchOptions::new().with_prefix())).await?;
    keeper.look();
    connect(address).await?.delete("key", Some(DeleteOptions::new().with_prefix())).await?;
    sleep(Duration::from_secs(5)).await;
    drop(watches);
    Ok(())
}

async fn fan_out(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    let watches = watches(address, |_| ("key".to_owned(), WatchOptions::new().with_prefix())).await?;
    keeper.look();
    let mut client = connect(address).await?;
    for n in 0..100 {
        client.put(format!("key{n}"), "", None).await?;
    }
    sleep(Duration::from_secs(5)).await;
    drop(watches);
    Ok(())
}

async fn own_ranges(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    let watches = watches(address, |n| (format!("key{n:06}"), WatchOptions::new().with_range("x"))).await?;
    keeper.look();
    let mut client = connect(address).await?;
    let start = Instant::now();
    for n in 0..10_000 {
        // Before all of the ranges.
        client.put(format!("kex{n}"), "", None).await?;
    }
    println!("{:.0} puts a second beside them", 10_000.0 / start.elapsed().as_secs_f64());
    drop(watches);
    Ok(())
}

async fn revoke(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    let mut client = connect(address).await?;
    let lease = client.lease_grant(600, None).await?.id();
    fill(address, lease).await?;
    keeper.look();
    client.lease_revoke(lease).await?;
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

async fn catch_up(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    let mut client = connect(address).await?;
    let first = client.put("key", "", None).await?.header().context("no header")?.revision();
    let clients = try_join_all((0..8).map(|_| connect(address))).await?;
    try_join_all((0..64).map(|caller| {
        let mut client = clients[caller % 8].clone();
        async move {
            for n in 0..150 {
                client.put(format!("key{n}"), "", None).await?;
            }
            anyhow::Ok(())
        }
    }))
    .await?;
    keeper.look();
    let from = || WatchOptions::new().with_prefix().with_start_revision(first);
    // Each is read from its beginning: who takes nothing for half a minute is closed.
    let watching: Vec<_> = (0..100).map(|n| tokio::spawn(read(clients[n % 8].clone(), from()))).collect();
    sleep(Duration::from_secs(10)).await;
    for watching in watching {
        ensure!(!watching.is_finished(), "a stream ended");
        watching.abort();
    }
    Ok(())
}

/// Reads a hundred watches of one stream.
async fn read(mut client: Client, options: WatchOptions) -> Result<()> {
    let mut watch = client.watch("key", Some(options.clone())).await?;
    for _ in 1..100 {
        watch.watch("key", Some(options.clone())).await?;
    }
    while watch.message().await?.is_some() {}
    Ok(())
}

async fn compaction(address: SocketAddr, keeper: &Keeper) -> Result<()> {
    fill(address, 0).await?;
    let mut client = connect(address).await?;
    client.delete("key", Some(DeleteOptions::new().with_prefix())).await?;
    fill(address, 0).await?;
    let last = client.put("last", "", None).await?.header().context("no header")?.revision();
    keeper.look();
    client.compact(last, None).await?;
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// A hundred thousand keys.
async fn fill(address: SocketAddr, lease: i64) -> Result<()> {
    const CALLERS: usize = 64;
    let clients = try_join_all((0..8).map(|_| connect(address))).await?;
    try_join_all((0..CALLERS).map(|caller| {
        let mut client = clients[caller % 8].clone();
        async move {
            for n in (caller..KEYS).step_by(CALLERS) {
                let options = PutOptions::new().with_lease(lease);
                client.put(format!("key{n:06}"), "10.0.0.1:80", Some(options)).await?;
            }
            anyhow::Ok(())
        }
    }))
    .await?;
    Ok(())
}

/// Ten thousand watches, a hundred to a stream.
async fn watches(
    address: SocketAddr,
    of: impl Fn(usize) -> (String, WatchOptions),
) -> Result<Vec<WatchStream>> {
    const PER_STREAM: usize = 100;
    let mut streams = Vec::new();
    let mut client = connect(address).await?;
    for stream in 0..WATCHES / PER_STREAM {
        let (key, options) = of(stream * PER_STREAM);
        let mut watch = client.watch(key, Some(options)).await?;
        for n in 1..PER_STREAM {
            let (key, options) = of(stream * PER_STREAM + n);
            watch.watch(key, Some(options)).await?;
        }
        streams.push(watch);
    }
    for stream in &mut streams {
        let mut created = 0;
        while created < PER_STREAM {
            created += usize::from(stream.message().await?.context("the stream ended")?.created());
        }
    }
    Ok(streams)
}

/// etcd-client's own connector would leave Nagle's algorithm on: 40 ms for each call.
async fn connect(address: SocketAddr) -> Result<Client> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    Ok(Client::from_channel(etcd_client::Channel::Tonic(channel), None).await?)
}
