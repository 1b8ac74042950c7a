//! What a client's frames cost it, and what it earns. Pure: time is passed in.
//!
//! Each budget is beyond what an honest client needs, and below what an attack has to send to be one. What is cheap to ask for and
//! dear to do was found in 2019 (CVE-2019-9511 to 9518), 2023 (CVE-2023-44487), 2024 (CVE-2024-27316, 28182) and 2025
//! (CVE-2025-8671); the codec below bounds the memory that it takes, this bounds how often it is done.
//!
//! Not counted: HEADERS, which are requests, and bounded as those are (`coming` looks at how long their heads are); DATA that has any, since a call may stream small messages
//! as fast as it likes, and the codec bounds those that wait; PUSH_PROMISE, which ends the connection.

use std::time::Duration;

use super::bucket::Bucket;
use super::coming::{Coming, Excess};
use super::frames::{
    CONTINUATION, DATA, Frame, Frames, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};

/// A stream that is reset sooner was not opened to get an answer. (A deadline that short is possible: it costs, and is paid for by
/// the calls that keep it.)
const QUICK: Duration = Duration::from_millis(100);

/// Codes of a RST_STREAM by which a server says that the client broke the protocol: PROTOCOL_ERROR, FLOW_CONTROL_ERROR,
/// STREAM_CLOSED, FRAME_SIZE_ERROR (RFC 9113, 7).
const BROKEN: [u32; 4] = [0x1, 0x3, 0x5, 0x6];
const REFUSED_STREAM: u32 = 0x7;
/// Of GOAWAY: the codec has found that something is above its own bounds.
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Of what there is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flood {
    #[error("SETTINGS")]
    Settings,
    #[error("PING")]
    Ping,
    #[error("PRIORITY")]
    Priority,
    #[error("RST_STREAM, of streams that it has just opened")]
    Reset,
    #[error("frames that break the protocol so that their streams are reset")]
    MadeReset,
    #[error("HEADERS, of more streams than there may be at a time")]
    Refused,
    #[error("WINDOW_UPDATE, more than it was sent DATA to need them")]
    WindowUpdate,
    #[error("DATA that has none")]
    EmptyData,
    #[error("CONTINUATION, more than a head needs")]
    Continuation,
    #[error("trailers of a request, more than 8 KiB of them")]
    Trailers,
    #[error("a head that is too long, while too many of such come")]
    Head,
    #[error("GOAWAY")]
    Goaway,
    #[error("frames of unknown types")]
    Unknown,
    #[error("more than may wait at a time")]
    Codec,
}

impl Flood {
    /// Its name in metrics and logs.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Ping => "ping",
            Self::Priority => "priority",
            Self::Reset => "reset",
            Self::MadeReset => "made_reset",
            Self::Refused => "refused",
            Self::WindowUpdate => "window_update",
            Self::EmptyData => "empty_data",
            Self::Continuation => "continuation",
            Self::Trailers => "trailers",
            Self::Head => "head",
            Self::Goaway => "goaway",
            Self::Unknown => "unknown",
            Self::Codec => "codec",
        }
    }
}

impl From<Excess> for Flood {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Frames => Self::Continuation,
            Excess::Trailers => Self::Trailers,
        }
    }
}

/// A connection's ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    received: Frames,
    sent: Frames,
    budgets: Budgets,
    ages: Ages,
    /// The highest stream that the client has opened.
    newest: u32,
    coming: Coming,
    /// Pings that were sent and are not answered.
    pings: u32,
    /// Whether the client was told that this is the end.
    is_over: bool,
}

#[derive(Debug)]
struct Budgets {
    settings: Bucket,
    ping: Bucket,
    priority: Bucket,
    reset: Bucket,
    made_reset: Bucket,
    refused: Bucket,
    window_update: Bucket,
    empty_data: Bucket,
    goaway: Bucket,
    unknown: Bucket,
}

impl Budgets {
    const fn new() -> Self {
        Self {
            // Each changes the windows of all streams, and is answered (CVE-2019-9515). A client sends one, and again when it makes
            // its windows larger: gRPC's clients double them, from 64 KiB to 16 MiB, in the first seconds.
            settings: Bucket::new(50, 5),
            // Each is answered (CVE-2019-9512). A client that asks whether the connection is alive needs one a second at most. gRPC's
            // also measure by pings how fast they are sent to, one at a time: never more than frames with something for them.
            ping: Bucket::new(100, 10),
            // Ignored, but read (CVE-2019-9513). Browsers that have them send some per stream, and again for all streams when their
            // user looks at something else.
            priority: Bucket::new(500, 20),
            // What a reset stream has begun is work, and its place is free for the next (CVE-2023-44487). Who leaves a page
            // gives up all of its streams: 100 are all that there may be. Twice that, and a page every five seconds.
            reset: Bucket::new(200, 20),
            // The same by another way: the gateway is made to reset (CVE-2025-8671). An honest client breaks nothing, but what it
            // sends may meet a reset that is on its way.
            made_reset: Bucket::new(200, 5),
            // A client that does not know the bound yet may open as many as it likes in the first round trip.
            refused: Bucket::new(2000, 20),
            // A client of a window of 16 MiB that gives back 4 KiB at a time has 4,096 to send for it, and as many for the
            // connection; it earns them by what it is sent (CVE-2019-9511, 9517: those who earn none).
            window_update: Bucket::new(10_000, 100),
            // Nothing that has to be carried (CVE-2019-9518). Only END_STREAM is a reason to send one; that is not counted.
            empty_data: Bucket::new(50, 5),
            // One, or two: the first to say that one will come.
            goaway: Bucket::new(10, 1),
            // Ignored, but read. What browsers send to see that it is ignored, and PRIORITY_UPDATE (RFC 9218): as PRIORITY.
            unknown: Bucket::new(500, 20),
        }
    }
}

/// Which streams are known to be older than `QUICK`, by two notes of which was the newest.
#[derive(Debug, Default)]
struct Ages {
    /// This and those before it are.
    old: u32,
    /// This was the newest when the note was taken.
    noted: u32,
    at: Duration,
}

impl Ages {
    fn is_quick(&mut self, stream: u32, newest: u32, now: Duration) -> bool {
        if now.saturating_sub(self.at) >= QUICK {
            *self = Self { old: self.noted, noted: newest, at: now };
        }
        stream > self.old
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            received: Frames::of_client(),
            sent: Frames::of_server(),
            budgets: Budgets::new(),
            ages: Ages::default(),
            newest: 0,
            coming: Coming::default(),
            pings: 0,
            is_over: false,
        }
    }

    /// These bytes come from the client. The clock, since the connection's begin, is read for frames that cost.
    pub(super) fn receive(&mut self, mut bytes: &[u8], clock: impl Fn() -> Duration) -> Result<(), Flood> {
        while let Some(frame) = self.received.next(&mut bytes) {
            self.received(&frame, &clock)?;
        }
        Ok(())
    }

    /// These go to it.
    pub(super) fn send(&mut self, mut bytes: &[u8], clock: impl Fn() -> Duration) -> Result<(), Flood> {
        // All are looked at, so that it is known whether the last one is complete.
        let mut found = Ok(());
        while let Some(frame) = self.sent.next(&mut bytes) {
            found = found.and(self.sent(&frame, &clock));
        }
        found
    }

    /// The head that the client is sending.
    pub(super) fn coming(&mut self) -> &mut Coming {
        &mut self.coming
    }

    /// If GOAWAY may be sent now: the last stream that was opened.
    pub(super) fn last_stream(&self) -> Option<u32> {
        (self.sent.is_between() && !self.is_over).then_some(self.newest)
    }

    fn received(&mut self, frame: &Frame, clock: impl Fn() -> Duration) -> Result<(), Flood> {
        let Budgets { settings, ping, priority, window_update, empty_data, goaway, unknown, .. } =
            &mut self.budgets;
        let (bucket, flood) = match frame.kind {
            DATA if frame.is_empty() && !frame.ends_stream() => (empty_data, Flood::EmptyData),
            HEADERS => return self.head(frame),
            PRIORITY => (priority, Flood::Priority),
            RST_STREAM => return self.reset(frame.stream, clock()),
            SETTINGS if !frame.is_ack() => (settings, Flood::Settings),
            PING if frame.is_ack() && self.pings > 0 => {
                self.pings -= 1;
                return Ok(());
            }
            PING => (ping, Flood::Ping),
            GOAWAY => (goaway, Flood::Goaway),
            WINDOW_UPDATE => (window_update, Flood::WindowUpdate),
            CONTINUATION => return self.coming.go_on(frame).map_err(Flood::from),
            // The codec ends the connection for what is wrong of them.
            DATA | SETTINGS | PUSH_PROMISE => return Ok(()),
            _ => (unknown, Flood::Unknown),
        };
        if bucket.spend(clock()) { Ok(()) } else { Err(flood) }
    }

    fn head(&mut self, frame: &Frame) -> Result<(), Flood> {
        let is_trailers = frame.stream <= self.newest;
        self.opened(frame.stream);
        Ok(self.coming.begin(frame, is_trailers)?)
    }

    /// Some clients send a WINDOW_UPDATE for each stream that they open, and a few words of its priority.
    fn opened(&mut self, stream: u32) {
        if stream > self.newest {
            self.newest = stream;
            self.budgets.window_update.earn(1);
            self.budgets.priority.earn(4);
            self.budgets.unknown.earn(4);
        }
    }

    fn reset(&mut self, stream: u32, now: Duration) -> Result<(), Flood> {
        let is_free = !self.ages.is_quick(stream, self.newest, now);
        if is_free || self.budgets.reset.spend(now) { Ok(()) } else { Err(Flood::Reset) }
    }

    fn sent(&mut self, frame: &Frame, clock: impl Fn() -> Duration) -> Result<(), Flood> {
        let Budgets { ping, reset, made_reset, refused, window_update, .. } = &mut self.budgets;
        match frame.kind {
            DATA | HEADERS => {
                ping.earn(1);
                if frame.kind == DATA {
                    // One each for the stream and the connection, and more for those who read little at a time.
                    window_update.earn(2 + frame.length / 1024);
                }
                if frame.ends_stream() {
                    // Of three requests two may be in vain: a client that asks twice to see who answers first has one of two.
                    reset.earn(2);
                }
                Ok(())
            }
            PING if !frame.is_ack() => {
                self.pings = self.pings.saturating_add(1);
                Ok(())
            }
            RST_STREAM if BROKEN.contains(&frame.code()) && !made_reset.spend(clock()) => {
                Err(Flood::MadeReset)
            }
            GOAWAY if frame.code() == ENHANCE_YOUR_CALM => {
                self.is_over = true;
                Err(Flood::Codec)
            }
            RST_STREAM if frame.code() == REFUSED_STREAM && !refused.spend(clock()) => Err(Flood::Refused),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
