//! A relay over TCP that can be told to do what a bad network does.
//!
//! What it holds back is not lost: bytes that a network drops are sent again by TCP once it heals. So a
//! connection that outlives a fault goes on where it was.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use crate::ports::free_address;

/// The largest piece that is read at once, in bytes.
const PIECE: usize = 16 * 1024;
/// How many pieces are under way in each direction of a connection before no more are read.
const UNDER_WAY: usize = 64;
/// A throttled direction writes this often in a second.
const WRITES_PER_SECOND: u32 = 20;

/// What a relay does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards at once.
    Pass,
    /// Resets every connection, and each new one.
    Cut,
    /// Keeps connections and accepts new ones, and forwards nothing: packets are dropped.
    BlackHole,
    /// As a black hole, but what goes this way passes.
    HalfOpen(Way),
    /// Forwards each piece after `fixed` and up to `jitter` more.
    Delay {
        /// At least.
        fixed: Duration,
        /// At most this much longer, at random.
        jitter: Duration,
    },
    /// Forwards this many bytes a second, each way of each connection.
    Throttle {
        /// Bytes a second, at least 20.
        rate: u32,
    },
}

/// A direction through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From who connected.
    ToTarget,
    /// To who connected.
    ToClient,
}

/// A running relay. Dropping it resets its connections and closes its port.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: watch::Sender<State>,
    counts: Arc<Counts>,
    server: AbortHandle,
}

/// What every connection follows.
#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    /// How often all connections were reset: a connection that finds another number than at its start ends,
    /// however soon the next mode came.
    resets: u64,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Relay {
    /// Starts one on a free port that passes all to `target`.
    ///
    /// # Errors
    /// When it finds no free port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = loop {
            match TcpListener::bind(free_address()?).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => break bound.context("binding a relay's port")?,
            }
        };
        let address = listener.local_addr()?;
        let (state, follower) = watch::channel(State { mode: Mode::Pass, resets: 0 });
        let counts = Arc::new(Counts::default());
        let server = tokio::spawn(serve(listener, target, follower, Arc::clone(&counts))).abort_handle();
        Ok(Self { address, state, counts, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this from now on, with the connections that are open too.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| {
            state.mode = mode;
            state.resets += u64::from(mode == Mode::Cut);
        });
    }

    /// Resets every open connection once; new ones are served as before.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// How many connections it has accepted so far, those that it reset at once among them.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.reset();
        self.server.abort();
    }
}

async fn serve(
    listener: TcpListener,
    target: SocketAddr,
    state: watch::Receiver<State>,
    counts: Arc<Counts>,
) {
    // Aborting this task drops the set, and that aborts every connection.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        let open = Open::new(&counts);
        let state = state.clone();
        connections.spawn(async move {
            let _open = open;
            relay(client, target, state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a connection as open as long as it lives.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    // Closed without more ado, a connection is reset. Only a clean end is told to the other side as one,
    // and that is done when it comes.
    let _ = client.set_zero_linger();
    let State { mode, resets } = *state.borrow_and_update();
    if mode == Mode::Cut {
        return;
    }
    let mut resetting = state.clone();
    tokio::select! {
        _ = resetting.wait_for(|state| state.resets != resets) => {}
        // An error is that of a connection that broke: now the other one does too.
        _ = forward(&mut client, target, state) => {}
    }
}

async fn forward(
    client: &mut TcpStream,
    target: SocketAddr,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    // A handshake takes both ways.
    passing(&mut state, Way::ToTarget).await?;
    passing(&mut state, Way::ToClient).await?;
    let mut server = TcpStream::connect(target).await?;
    server.set_zero_linger()?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pump(from_client, to_server, Way::ToTarget, state.clone()),
        pump(from_server, to_client, Way::ToClient, state.clone()),
    )?;
    Ok(())
}

/// Forwards one way until its end, and the end.
async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    way: Way,
    state: watch::Receiver<State>,
) -> io::Result<()> {
    let (sender, pieces) = mpsc::channel(UNDER_WAY);
    let write = write_pieces(pieces, to, way, state.clone());
    // A failure to write ends it, whatever is still to be read.
    let read = async {
        read_pieces(from, sender, state).await;
        Ok(())
    };
    tokio::try_join!(write, read)?;
    Ok(())
}

/// Bytes, or the reset that ends them, and when they may go on.
type Piece = (Instant, io::Result<Bytes>);

async fn read_pieces(mut from: ReadHalf<'_>, pieces: mpsc::Sender<Piece>, state: watch::Receiver<State>) {
    let mut buffer = vec![0; PIECE];
    let mut due = Instant::now();
    loop {
        let read = from.read(&mut buffer).await;
        // A piece never overtakes the one before it.
        due = due.max(Instant::now() + state.borrow().mode.delay());
        let piece = read.map(|length| Bytes::copy_from_slice(&buffer[..length]));
        let is_last = piece.as_ref().map_or(true, Bytes::is_empty);
        if pieces.send((due, piece)).await.is_err() || is_last {
            return;
        }
    }
}

async fn write_pieces(
    mut pieces: mpsc::Receiver<Piece>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    while let Some((due, piece)) = pieces.recv().await {
        sleep_until(due).await;
        passing(&mut state, way).await?;
        let mut piece = piece?;
        while !piece.is_empty() {
            let mode = passing(&mut state, way).await?;
            let (now, pause) = mode.portion(piece.len());
            to.write_all(&piece.split_to(now)).await?;
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }
    to.shutdown().await
}

/// Waits until what goes this way passes.
async fn passing(state: &mut watch::Receiver<State>, way: Way) -> io::Result<Mode> {
    let state = state.wait_for(|state| state.mode.passes(way)).await;
    state.map(|state| state.mode).map_err(|_| io::Error::other("the relay was dropped"))
}

impl Mode {
    fn passes(self, way: Way) -> bool {
        match self {
            Self::Pass | Self::Delay { .. } | Self::Throttle { .. } => true,
            Self::Cut | Self::BlackHole => false,
            Self::HalfOpen(open) => open == way,
        }
    }

    fn delay(self) -> Duration {
        match self {
            Self::Delay { fixed, jitter } => fixed + jitter.mul_f64(fastrand::f64()),
            _ => Duration::ZERO,
        }
    }

    /// How much of `length` bytes is written now, and how long to wait afterwards.
    fn portion(self, length: usize) -> (usize, Duration) {
        match self {
            Self::Throttle { rate } => {
                let now = length.min((rate / WRITES_PER_SECOND).max(1) as usize);
                (now, Duration::from_secs_f64(now as f64 / f64::from(rate.max(1))))
            }
            _ => (length, Duration::ZERO),
        }
    }
}
