//! A connection of raw bytes, by either side.

use std::{
    error::Error,
    fmt, fs,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Head, Message, Read};
use crate::{
    link::{Link, TlsClient},
    wait::eventually,
};

/// Bounds every wait for the other side.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection on which raw bytes are sent, and what comes is read strictly.
#[derive(Debug)]
pub struct Wire {
    stream: Link,
    /// What came and was not read as a message yet.
    come: Vec<u8>,
    end: Option<End>,
}

/// How the other side ended a connection, or its own direction of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a FIN: nothing more comes.
    Closed,
    /// With a reset.
    Reset,
}

/// The connection ended where a message had not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff(pub End);

impl fmt::Display for BrokenOff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "broken off ({:?})", self.0)
    }
}

impl Error for BrokenOff {}

impl Wire {
    /// Opens one.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        Self::over(stream)
    }

    /// Opens one under TLS.
    ///
    /// # Errors
    /// When nobody listens there, or the handshake fails.
    pub async fn connect_tls(address: SocketAddr, client: &TlsClient) -> Result<Self> {
        Self::over(client.connect(address).await.with_context(|| format!("shaking hands with {address}"))?)
    }

    /// Goes on with a connection that is open.
    ///
    /// # Errors
    /// When it is closed already.
    pub fn over(stream: impl Into<Link>) -> Result<Self> {
        let stream = stream.into();
        stream.tcp().set_nodelay(true)?;
        Ok(Self { stream, come: Vec::new(), end: None })
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        sent.context("the other side does not read")?.context("writing raw bytes")
    }

    /// Waits until the other side, which is on this machine, has read all that was sent.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_read(&self) -> Result<()> {
        let (ours, theirs) = (self.stream.tcp().local_addr()?, self.stream.tcp().peer_addr()?);
        eventually("all that was sent is read", PATIENCE, async || {
            let [unsent, unread] = queues(ours, theirs)?;
            ensure!(unsent == 0 && unread == 0, "{unsent} bytes are on their way, and {unread} are not read");
            Ok(())
        })
        .await
    }

    /// Says that nothing more comes from this side (FIN).
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn finish(&mut self) -> Result<()> {
        self.stream.shutdown().await.context("closing one direction")
    }

    /// Breaks the connection (RST).
    ///
    /// # Errors
    /// When it is broken already.
    pub fn reset(self) -> Result<()> {
        self.stream.tcp().set_zero_linger().context("breaking the connection")
    }

    /// A request's head, and not a byte of its body.
    ///
    /// # Errors
    /// When none comes in time, or it is not valid.
    pub async fn request_head(&mut self) -> Result<Head> {
        self.whole("a request's head", |come, _| Head::request(come)).await
    }

    /// A whole request.
    ///
    /// # Errors
    /// When none comes in time, or it is not valid.
    pub async fn request(&mut self) -> Result<Message> {
        self.whole("a request", |come, _| Message::request(come)).await
    }

    /// The body of a request whose head was read, and the whole request with it.
    ///
    /// # Errors
    /// When it does not come in time, or is not valid.
    pub async fn body_of(&mut self, head: &Head) -> Result<Message> {
        self.whole("a request's body", |come, _| Message::of_head(head, come)).await
    }

    /// A whole request, which gets its 100 if it waits for one; none when the connection ends before the first byte of
    /// one.
    ///
    /// # Errors
    /// When it ends within one, or one is not valid. It may be idle for as long as it likes.
    pub async fn next_request(&mut self) -> Result<Option<Message>> {
        while self.come.is_empty() {
            if self.read_once().await == 0 {
                return Ok(None);
            }
        }
        let head = self.request_head().await?;
        if head.fields.lists("expect", "100-continue") {
            self.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        self.body_of(&head).await.map(Some)
    }

    /// An answer's head, and not a byte of its body.
    ///
    /// # Errors
    /// When none comes in time, or it is not valid.
    pub async fn answer_head(&mut self) -> Result<Head> {
        self.whole("an answer's head", |come, _| Head::answer(come)).await
    }

    /// A whole answer, be it an interim one, to a request of this method.
    ///
    /// # Errors
    /// When none comes in time, it is not valid, or it is broken off.
    pub async fn answer(&mut self, method: &str) -> Result<Message> {
        self.whole("an answer", |come, end| Message::answer(come, method, end == Some(End::Closed))).await
    }

    /// Sends a GET with these fields and returns its whole answer.
    ///
    /// # Errors
    /// As [`Wire::answer`].
    pub async fn get(&mut self, target: &str, fields: &str) -> Result<Message> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await?;
        self.answer("GET").await
    }

    /// Exactly so many bytes.
    ///
    /// # Errors
    /// When they do not come in time.
    pub async fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let taken = |come: &[u8], _| Ok(come.get(..count).map(|bytes| (bytes.to_vec(), count)));
        self.whole("raw bytes", taken).await
    }

    /// Everything to the end of this text, which is awaited.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn until(&mut self, text: &str) -> Result<Vec<u8>> {
        let text = text.as_bytes();
        let taken = |come: &[u8], _| {
            let at = come.windows(text.len()).position(|window| window == text);
            Ok(at.map(|at| (come[..at + text.len()].to_vec(), at + text.len())))
        };
        self.whole("raw text", taken).await
    }

    /// What else comes, and how it ends.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn rest(&mut self) -> Result<(Vec<u8>, End)> {
        let ended = timeout(PATIENCE, async { while self.read_once().await > 0 {} }).await;
        ensure!(ended.is_ok(), "it does not end: {}", self.come.escape_ascii());
        Ok((std::mem::take(&mut self.come), self.end.context("it has not ended")?))
    }

    /// Whether nothing comes for this time: no byte, no end.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.come.is_empty() && timeout(time, self.read_once()).await.is_err()
    }

    async fn whole<T>(&mut self, what: &str, read: impl Fn(&[u8], Option<End>) -> Read<T>) -> Result<T> {
        let wait = async {
            loop {
                let shown =
                    || format!("{what}, {} bytes: {}", self.come.len(), begin(&self.come).escape_ascii());
                if let Some((value, length)) = read(&self.come, self.end).with_context(shown)? {
                    self.come.drain(..length);
                    return Ok(value);
                }
                if let Some(end) = self.end {
                    return Err(anyhow::Error::new(BrokenOff(end)).context(shown()));
                }
                self.read_once().await;
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(read) => read,
            Err(_) => bail!("no whole {what} in time: {}", begin(&self.come).escape_ascii()),
        }
    }

    /// How many bytes came; at the end none.
    async fn read_once(&mut self) -> usize {
        match self.stream.read_buf(&mut self.come).await {
            Ok(0) => self.end = self.end.or(Some(End::Closed)),
            Ok(count) => return count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.end = Some(End::Reset),
        }
        0
    }
}

/// How many bytes that one side has sent are on their way, and how many the other has got and not read (proc_net_tcp(5)).
fn queues(from: SocketAddr, to: SocketAddr) -> Result<[usize; 2]> {
    let table = fs::read_to_string("/proc/net/tcp").context("reading the table of connections")?;
    let [from, to] = [from, to].map(|address| match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()),
        IpAddr::V6(_) => String::new(),
    });
    let of = |local: &str, remote: &str| {
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut rows = rows.filter(|row| row.get(1..3) == Some(&[local, remote]));
        let row = rows.next().with_context(|| format!("no connection from {local} to {remote}"))?;
        let (sent, came) = row.get(4).and_then(|queues| queues.split_once(':')).context("no queues")?;
        anyhow::Ok((usize::from_str_radix(sent, 16)?, usize::from_str_radix(came, 16)?))
    };
    Ok([of(&from, &to)?.0, of(&to, &from)?.1])
}

/// Enough of it to be shown.
fn begin(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(1_000)]
}
