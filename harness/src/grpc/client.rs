//! A client that sees frames' fate: resets with their codes, trailers, the end of the connection.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, anyhow};
use bytes::{Bytes, BytesMut};
use h2::{
    Reason, RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use hyper::{HeaderMap, Request};
use tokio::{net::TcpStream, sync::watch, task::AbortHandle, time::timeout};

use super::{
    Cut, GRPC, Message, Messages, framed,
    script::fields,
    stream::{receive, send},
};
use crate::link::Link;

/// Bounds every wait for an answer's end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of HTTP/2. Dropping it closes it.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Bytes>,
    /// Scheme and authority.
    origin: String,
    driver: AbortHandle,
    /// How the connection has ended, once it has.
    end: watch::Receiver<Option<Result<(), Cut>>>,
}

/// What a client sends of a call.
#[derive(Debug)]
pub struct Upload(SendStream<Bytes>);

/// What comes back.
#[derive(Debug)]
pub struct Download {
    answer: Answer,
    messages: Messages,
}

#[derive(Debug)]
enum Answer {
    Awaited(ResponseFuture),
    Begun(u16, HeaderMap, RecvStream),
    Cut(Cut),
}

/// How a call has ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The status of HTTP; 0: there was no head.
    pub http: u16,
    /// The head's fields.
    pub head: HeaderMap,
    /// What came of the body and was not taken before.
    pub body: Bytes,
    /// The trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// How it was cut off, if it was.
    pub cut: Option<Cut>,
}

impl Outcome {
    /// A field of the trailers; of an answer without them, of the head.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref().unwrap_or(&self.head).get(name)?.to_str().ok()
    }

    /// A field of the head.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)?.to_str().ok()
    }

    /// What `grpc-status` says.
    pub fn status(&self) -> Option<&str> {
        self.last("grpc-status")
    }

    /// Whether the status is in the head, and nothing came after it.
    pub fn is_trailers_only(&self) -> bool {
        self.head.contains_key("grpc-status") && self.trailers.is_none() && self.body.is_empty()
    }

    /// The messages, which must have come whole.
    ///
    /// # Errors
    /// When the body ends within one.
    pub fn messages(&self) -> Result<Vec<Message>> {
        let mut messages = Messages::default();
        messages.push(&self.body);
        let found = messages.by_ref().collect();
        anyhow::ensure!(messages.is_between(), "the body ends within a message: {self:?}");
        Ok(found)
    }

    /// Which instance has answered.
    pub fn served_by(&self) -> Option<&str> {
        self.header("x-served-by")
    }
}

impl Client {
    /// Opens a connection in clear, by prior knowledge.
    ///
    /// # Errors
    /// When the connect fails, or the other side speaks no HTTP/2.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        Self::over(stream, format!("http://{address}")).await
    }

    /// Goes on with a connection that is open. The origin is scheme and authority of its requests.
    ///
    /// # Errors
    /// When the other side speaks no HTTP/2.
    pub async fn over(stream: impl Into<Link>, origin: impl Into<String>) -> Result<Self> {
        Self::with(&client::Builder::new(), stream, origin).await
    }

    /// The same, with settings of its own: windows, limits.
    ///
    /// # Errors
    /// As [`Client::over`].
    pub async fn with(
        builder: &client::Builder,
        stream: impl Into<Link>,
        origin: impl Into<String>,
    ) -> Result<Self> {
        let link = stream.into();
        link.tcp().set_nodelay(true)?;
        let mut builder = builder.clone();
        builder.max_header_list_size(4 << 20);
        let (sender, connection) = builder.handshake(link).await.context("beginning with HTTP/2")?;
        let (ended, end) = watch::channel(None);
        let driver = tokio::spawn(async move {
            ended.send_replace(Some(connection.await.map_err(Cut::from)));
        });
        Ok(Self { sender, origin: origin.into(), driver: driver.abort_handle(), end })
    }

    /// Begins a call of this method, `/package.Service/Method`, with these fields.
    ///
    /// # Errors
    /// When the connection takes none.
    pub async fn call(&self, path: &str, pairs: &[(&str, &str)]) -> Result<(Upload, Download)> {
        let request = Request::post(format!("{}{path}", self.origin)).body(())?;
        self.begin(request, &fields([("te", "trailers"), ("content-type", GRPC)]), pairs, false).await
    }

    /// A call of one message, to its end.
    ///
    /// # Errors
    /// When the connection takes none, or it does not end in time.
    pub async fn unary(&self, path: &str, pairs: &[(&str, &str)], message: &[u8]) -> Result<Outcome> {
        let (mut upload, download) = self.call(path, pairs).await?;
        let sent = upload.send_all(framed(message), true);
        let (_, outcome) = tokio::join!(sent, download.outcome());
        outcome
    }

    /// Begins any request: `GET /path`.
    ///
    /// # Errors
    /// When the connection takes none.
    pub async fn request(
        &self,
        line: &str,
        pairs: &[(&str, &str)],
        ends: bool,
    ) -> Result<(Upload, Download)> {
        let (method, path) = line.split_once(' ').context("a method and a path")?;
        let uri = format!("{}{path}", self.origin);
        let request = Request::builder().method(method).uri(uri).body(())?;
        self.begin(request, &HeaderMap::new(), pairs, ends).await
    }

    /// Any request with a body, to the end of its answer.
    ///
    /// # Errors
    /// As [`Client::unary`].
    pub async fn send(&self, line: &str, pairs: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Outcome> {
        let body = body.into();
        let (mut upload, download) = self.request(line, pairs, body.is_empty()).await?;
        if body.is_empty() {
            return download.outcome().await;
        }
        let (_, outcome) = tokio::join!(upload.send_all(body, true), download.outcome());
        outcome
    }

    async fn begin(
        &self,
        mut request: Request<()>,
        fixed: &HeaderMap,
        pairs: &[(&str, &str)],
        ends: bool,
    ) -> Result<(Upload, Download)> {
        request.headers_mut().extend(fixed.clone());
        for (name, value) in &fields(pairs.iter().copied()) {
            request.headers_mut().append(name, value.clone());
        }
        let ready = timeout(PATIENCE, self.sender.clone().ready()).await;
        let mut sender =
            ready.context("the connection takes no more requests")?.map_err(|error| refused(&error))?;
        let (answer, upload) = sender.send_request(request, ends).map_err(|error| refused(&error))?;
        let download = Download { answer: Answer::Awaited(answer), messages: Messages::default() };
        Ok((Upload(upload), download))
    }

    /// How many streams the other side lets it have at a time, as far as is known.
    pub fn streams(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// Waits until the connection has ended; says how.
    ///
    /// # Errors
    /// When it does not within `within`.
    pub async fn wait_end(&self, within: Duration) -> Result<Result<(), Cut>> {
        let mut end = self.end.clone();
        let ended = timeout(within, end.wait_for(Option::is_some)).await;
        let ended = ended.with_context(|| format!("the connection is open after {within:?}"))??.clone();
        ended.context("it has ended, and not said how")
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }
}

fn refused(error: &h2::Error) -> anyhow::Error {
    anyhow!("no request can be begun: {error}")
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Upload {
    /// Sends a message.
    ///
    /// # Errors
    /// When the stream was cut off.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), Cut> {
        self.send_all(framed(message), false).await
    }

    /// Sends bytes as they are, and perhaps the end.
    ///
    /// # Errors
    /// When the stream was cut off.
    pub async fn send_all(&mut self, bytes: Bytes, ends: bool) -> Result<(), Cut> {
        send(&mut self.0, bytes, ends).await
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// When the stream was cut off.
    pub fn finish(&mut self) -> Result<(), Cut> {
        Ok(self.0.send_data(Bytes::new(), true)?)
    }

    /// The same, with trailers.
    ///
    /// # Errors
    /// When the stream was cut off.
    pub fn finish_with(&mut self, pairs: &[(&str, &str)]) -> Result<(), Cut> {
        Ok(self.0.send_trailers(fields(pairs.iter().copied()))?)
    }

    /// Leaves the call.
    pub fn reset(&mut self, reason: Reason) {
        self.0.send_reset(reason);
    }
}

impl Download {
    /// Waits for the head of the answer: its status and its fields.
    ///
    /// # Errors
    /// When the stream is cut off before.
    pub async fn head(&mut self) -> Result<(u16, HeaderMap), Cut> {
        if let Answer::Awaited(answer) = &mut self.answer {
            self.answer = match answer.await {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    Answer::Begun(head.status.as_u16(), head.headers, body)
                }
                Err(error) => Answer::Cut(error.into()),
            };
        }
        match &self.answer {
            Answer::Begun(status, fields, _) => Ok((*status, fields.clone())),
            Answer::Cut(cut) => Err(cut.clone()),
            Answer::Awaited(_) => Err(Cut::Broken("the head was not awaited".to_owned())),
        }
    }

    /// The next message; none at the end of them.
    ///
    /// # Errors
    /// When the stream is cut off before, or nothing comes in time.
    pub async fn message(&mut self) -> Result<Option<Message>> {
        let next = async {
            self.head().await.map_err(|cut| anyhow!("no head: {cut:?}"))?;
            let Answer::Begun(_, _, body) = &mut self.answer else { return Ok(None) };
            loop {
                if let Some(message) = self.messages.next() {
                    return Ok(Some(message));
                }
                match receive(body).await.map_err(|cut| anyhow!("no message: {cut:?}"))? {
                    Some(bytes) => self.messages.push(&bytes),
                    None => return Ok(None),
                }
            }
        };
        timeout(PATIENCE, next).await.context("no message in time")?
    }

    /// Everything that is still to come.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn outcome(self) -> Result<Outcome> {
        self.outcome_within(PATIENCE).await
    }

    /// The same, within this time.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn outcome_within(self, within: Duration) -> Result<Outcome> {
        timeout(within, self.ended())
            .await
            .with_context(|| format!("the answer has no end within {within:?}"))
    }

    async fn ended(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        match self.head().await {
            Ok((status, fields)) => (outcome.http, outcome.head) = (status, fields),
            Err(cut) => outcome.cut = Some(cut),
        }
        let Answer::Begun(_, _, mut stream) = self.answer else { return outcome };
        let mut body = BytesMut::new();
        outcome.cut = loop {
            match receive(&mut stream).await {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break None,
                Err(cut) => break Some(cut),
            }
        };
        if outcome.cut.is_none() {
            match stream.trailers().await {
                Ok(trailers) => outcome.trailers = trailers,
                Err(error) => outcome.cut = Some(error.into()),
            }
        }
        outcome.body = body.freeze();
        outcome
    }
}
