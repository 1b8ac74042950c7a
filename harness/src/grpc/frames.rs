//! Frames of HTTP/2 as bytes (RFC 9113, section 4.1), for what no library would do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::timeout,
};

/// Bounds every wait for a frame.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a client begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// RST_STREAM.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Of DATA and HEADERS.
const END_STREAM: u8 = 0x1;
/// Of SETTINGS and PING.
const ACK: u8 = 0x1;
/// Of HEADERS.
const END_HEADERS: u8 = 0x4;

impl Frame {
    /// SETTINGS of nothing.
    pub fn settings() -> Self {
        Self { kind: kind::SETTINGS, flags: 0, stream: 0, payload: Vec::new() }
    }

    /// GOAWAY without an error.
    pub fn go_away(last_stream: u32) -> Self {
        let payload = [last_stream.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        Self { kind: kind::GOAWAY, flags: 0, stream: 0, payload }
    }

    /// An answer of gRPC that ends well and has no messages.
    pub fn ok(stream: u32) -> Self {
        Self::head(stream, &[(":status", "200"), ("content-type", super::GRPC), ("grpc-status", "0")], true)
    }

    /// A head, each field literal (RFC 7541, section 6.2.2). Names and values are shorter than 127 bytes.
    pub fn head(stream: u32, fields: &[(&str, &str)], ends: bool) -> Self {
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        let field = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        Self { kind: kind::HEADERS, flags, stream, payload: fields.iter().flat_map(field).collect() }
    }

    /// Whether its stream ends with it.
    pub fn ends(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & END_STREAM != 0
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }
}

/// A connection of frames, after its beginning.
#[derive(Debug)]
pub struct FrameWire(TcpStream);

impl FrameWire {
    /// Takes a client's beginning, and answers it.
    ///
    /// # Errors
    /// When it begins otherwise.
    pub async fn accept(mut stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        let mut preface = [0; 24];
        timeout(PATIENCE, stream.read_exact(&mut preface)).await.context("no preface in time")??;
        ensure!(preface == PREFACE, "no preface: {}", preface.escape_ascii());
        let mut wire = Self(stream);
        wire.send(&Frame::settings()).await?;
        Ok(wire)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, frame: &Frame) -> Result<()> {
        self.0.write_all(&frame.bytes()).await.context("writing a frame")
    }

    /// The next frame that is about a stream, or GOAWAY; none at the end. SETTINGS and PING are answered. It may be idle
    /// for as long as it likes.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            let Some(mut frame) = self.read().await? else { return Ok(None) };
            let asks = matches!(frame.kind, kind::SETTINGS | kind::PING);
            if asks && frame.flags & ACK == 0 {
                frame.flags = ACK;
                if frame.kind == kind::SETTINGS {
                    frame.payload.clear();
                }
                self.send(&frame).await?;
            } else if frame.kind == kind::GOAWAY || frame.stream > 0 {
                return Ok(Some(frame));
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Frame>> {
        let mut head = [0; 9];
        if self.0.read_exact(&mut head).await.is_err() {
            return Ok(None);
        }
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.context("reading a frame")?;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Ok(Some(Frame { kind, flags, stream, payload }))
    }
}

/// A backend whose every connection is served by a function of the test's. Dropping it closes its port.
#[derive(Debug)]
pub struct FrameBackend {
    address: SocketAddr,
    server: AbortHandle,
}

impl FrameBackend {
    /// Does this with each connection.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start<F>(serve: impl Fn(FrameWire) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding a port for frames")?;
        let address = listener.local_addr()?;
        let accept = async move {
            let serve = Arc::new(serve);
            while let Ok((stream, _)) = listener.accept().await {
                let serve = Arc::clone(&serve);
                tokio::spawn(async move { serve(FrameWire::accept(stream).await?).await });
            }
        };
        Ok(Self { address, server: tokio::spawn(accept).abort_handle() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FrameBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}
