//! Who sends them, and who reads them.

use std::{fmt, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, body::Incoming, client::conn::http1 as client, header::HOST,
    server::conn::http1 as server, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::sleep,
};

use super::pattern::{Check, Pattern};

/// A slow reader rests so long each time it has read so much: it reads less than half of what the other side could send.
const REST: Duration = Duration::from_millis(2);
const REST_EACH: u64 = 512 << 10;

/// One of the ways a body can take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    is_up: bool,
    has_length: bool,
    is_slow: bool,
}

impl Exchange {
    pub(super) fn all() -> Vec<Self> {
        let either = [true, false];
        let ways = either.into_iter().flat_map(|is_up| either.map(|has_length| (is_up, has_length)));
        ways.flat_map(|(is_up, has_length)| [false, true].map(|is_slow| Self { is_up, has_length, is_slow }))
            .collect()
    }

    /// By which path the instance knows it.
    fn path(self, length: u64) -> String {
        let framing = if self.has_length { "length" } else { "chunked" };
        let pace = if self.is_slow { "slow" } else { "quick" };
        format!("/goods/{framing}/{pace}/{length}")
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_up { "up" } else { "down" };
        let framing = if self.has_length { "with a length" } else { "in chunks" };
        let pace = if self.is_slow { ", read slowly" } else { "" };
        write!(formatter, "{way}, {framing}{pace}")
    }
}

/// Answers a GET with a body as its path says, and reads that of a POST. Dropping it closes its port.
#[derive(Debug)]
pub(super) struct Instance {
    address: SocketAddr,
    server: AbortHandle,
}

impl Instance {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding an instance's port")?;
        let address = listener.local_addr()?;
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                // An error closes the connection: the client sees it.
                let serving =
                    server::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(serving);
            }
        };
        Ok(Self { address, server: tokio::spawn(accept).abort_handle() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A POST whose body does not come as its path says gets no answer.
async fn answer(request: Request<Incoming>) -> Result<Response<Pattern>> {
    let path = request.uri().path().to_owned();
    let [_, _, framing, pace, length] = path.split('/').collect::<Vec<_>>()[..] else { bail!("{path}?") };
    let length = length.parse()?;
    if request.method() == Method::GET {
        return Ok(Response::new(Pattern::new(length, framing == "length")));
    }
    let has_length = request.headers().contains_key("content-length");
    ensure!(has_length == (framing == "length"), "a body came with another framing than it was sent with");
    let count = read(request.into_body(), pace == "slow").await?;
    ensure!(count == length, "{count} bytes of {length} came");
    Ok(Response::new(Pattern::new(0, true)))
}

/// Reads it to its end, and holds it against what was to come. Returns how long it was.
async fn read(mut body: Incoming, is_slow: bool) -> Result<u64> {
    let (mut check, mut rest_at) = (Check::default(), REST_EACH);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.context("the body is broken off")?.data_ref() {
            check.take(data)?;
        }
        if is_slow && check.count() >= rest_at {
            rest_at += REST_EACH;
            sleep(REST).await;
        }
    }
    Ok(check.count())
}

/// A connection of a client's.
pub(super) struct Client {
    sender: client::SendRequest<Pattern>,
    driver: AbortHandle,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        // Its errors reach the sender of the request that they break.
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Self { sender, driver })
    }

    /// Sends or asks for a body of this length.
    ///
    /// # Errors
    /// When not all of it arrives, or something else does.
    pub(super) async fn perform(mut self, exchange: Exchange, length: u64) -> Result<()> {
        let (method, body) = if exchange.is_up {
            (Method::POST, Pattern::new(length, exchange.has_length))
        } else {
            (Method::GET, Pattern::new(0, true))
        };
        let request =
            Request::builder().method(method).uri(exchange.path(length)).header(HOST, "a").body(body)?;
        let answer = self.sender.send_request(request).await.with_context(|| exchange.to_string())?;
        ensure!(answer.status() == 200, "{exchange}: {}", answer.status());
        let has_length = answer.headers().contains_key("content-length");
        let expected = if exchange.is_up { 0 } else { length };
        ensure!(has_length == (exchange.is_up || exchange.has_length), "{exchange}: another framing came");
        let count = read(answer.into_body(), exchange.is_slow).await.with_context(|| exchange.to_string())?;
        ensure!(count == expected, "{exchange}: {count} bytes of {expected} came");
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
