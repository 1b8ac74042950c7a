//! A client's or an instance's side of a connection: sends in pieces, with pauses, and reads strictly.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::scenario::{Side, Tunnel};
use super::wire::{End, Reader};
use crate::link::Link;

/// Draws how much is sent at once, and how long it takes to the next piece.
#[derive(Debug)]
pub(super) struct Pace {
    rng: fastrand::Rng,
    /// So often it pauses at the most.
    pauses: u32,
    /// So many pieces are small at the most.
    small: u32,
}

impl Pace {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (pauses, small) = (rng.u32(..20), if rng.bool() { rng.u32(..400) } else { 0 });
        Self { rng, pauses, small }
    }

    async fn pause(&mut self) {
        if self.pauses > 0 && self.rng.u8(..4) == 0 {
            self.pauses -= 1;
            sleep(Duration::from_millis(self.rng.u64(..30))).await;
        }
    }

    fn piece(&mut self) -> usize {
        if self.small > 0 {
            self.small -= 1;
            return self.rng.usize(1..4);
        }
        1 << self.rng.usize(6..18)
    }
}

/// Sends bytes in pieces. False: the connection is broken.
pub(super) async fn send(to: &mut WriteHalf<Link>, mut bytes: &[u8], pace: &mut Pace) -> bool {
    while !bytes.is_empty() {
        pace.pause().await;
        let (piece, rest) = bytes.split_at(pace.piece().min(bytes.len()));
        if to.write_all(piece).await.is_err() {
            return false;
        }
        bytes = rest;
    }
    true
}

/// Reads some bytes. False: the connection has ended.
pub(super) async fn receive(from: &mut ReadHalf<Link>, reader: &mut Reader, pace: &mut Pace) -> bool {
    pace.pause().await;
    let mut room = [0; 4096];
    match from.read(&mut room).await {
        Ok(0) => reader.ended(End::Closed),
        Ok(count) => {
            reader.read(&room[..count]);
            return true;
        }
        Err(_) => reader.ended(End::Reset),
    }
    false
}

/// One side of a tunnel: says all that it has to say, and hears the other side to its end. False: it leaves before that.
pub(super) async fn tunnel(
    (side, plan, says): (Side, &Tunnel, &[u8]),
    (from, to): (&mut ReadHalf<Link>, &mut WriteHalf<Link>),
    reader: &mut Reader,
    [hears, speaks]: &mut [Pace; 2],
) -> bool {
    let heard = Notify::new();
    let hear = async {
        while receive(from, reader, hears).await {}
        heard.notify_one();
        Ok(())
    };
    let speak = async {
        if plan.first.is_some_and(|first| first != side) {
            heard.notified().await;
        }
        let leaves = plan.broken.filter(|(who, _)| *who == side);
        let count = leaves.map_or(says.len(), |(_, moment)| says.len() * moment / 1000);
        let is_open = send(to, &says[..count], speaks).await;
        if leaves.is_some() {
            return Err(());
        }
        if is_open {
            let _ = to.shutdown().await;
        }
        Ok(())
    };
    tokio::try_join!(hear, speak).is_ok()
}
