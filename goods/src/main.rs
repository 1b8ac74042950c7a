//! A demo backend: serves two paths and a gRPC service, and keeps itself registered.

mod cli;
mod grpc;
mod service;

use std::convert::Infallible;
use std::io::{self, Write, stdout};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use registry::contract::Record;
use registry::log_line::{Form, printable};
use registry::register::{Registrar, Registration};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tonic::body::Body;

use cli::{Arguments, Instead};
use grpc::Calls;
use service::{Goods, Manner};

/// How long the last requests may take after the drain time.
const LAST_REQUESTS: Duration = Duration::from_secs(10);
/// How long a connection may be open before its first request: nothing else bounds the bytes that tell HTTP/2 from HTTP/1.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stdout();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Instead::Call { to }) = &arguments.instead {
        return Ok(writeln!(stdout(), "{}", grpc::call(to).await?)?);
    }
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = arguments.address(listener.local_addr()?.port())?;
    let instance = arguments.instance()?;
    let registrar = register(&arguments, &instance, address)?;
    tracing::info!(listen = %arguments.listen, %address, instance, "serving");

    let manner = if arguments.echo { Manner::Echo } else { Manner::Demo };
    let calls = Calls::new(&instance).await;
    let answers = Arc::new(Answers { goods: Goods::new(instance, manner), calls });
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(&listener, &answers, &connections) => {}
        // Serves on while gateways learn that this instance leaves.
        left = leave(registrar, &answers.calls) => left?,
    }
    drop(listener);
    if tokio::time::timeout(LAST_REQUESTS, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests took longer than {LAST_REQUESTS:?}: leaving them");
    }
    tracing::info!("stopped");
    Ok(())
}

fn register(arguments: &Arguments, instance: &str, address: SocketAddr) -> anyhow::Result<Registrar> {
    let registration = Registration {
        service: arguments.service.clone(),
        instance: instance.to_owned(),
        record: Record::new(address),
        ttl: arguments.ttl,
        drain: arguments.drain,
    };
    let connection = arguments.connection()?;
    connection.exposed().iter().for_each(|exposed| tracing::warn!("{exposed}"));
    Ok(Registrar::start(connection, arguments.prefix.clone(), registration)?)
}

/// Waits for SIGTERM or SIGINT, then is no longer healthy, withdraws the registration and waits for the drain time.
async fn leave(registrar: Registrar, calls: &Calls) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("leaving");
    calls.leave().await;
    registrar.deregister().await;
    Ok(())
}

async fn accept(listener: &TcpListener, answers: &Arc<Answers>, connections: &GracefulShutdown) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, answers.clone(), connections),
            Err(error) => {
                // Out of file descriptors, say: those who wait are served when some are free again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What the instance answers, whichever protocol asks.
struct Answers {
    goods: Goods,
    calls: Calls,
}

impl Answers {
    async fn answer(&self, request: Request<Incoming>) -> hyper::Response<Body> {
        if Calls::is_call(request.headers()) {
            self.calls.answer(request).await
        } else {
            self.goods.answer(request).await.map(Body::new)
        }
    }
}

fn serve(stream: TcpStream, answers: Arc<Answers>, connections: &GracefulShutdown) {
    // An answer must not wait for the acknowledgement of the one before it.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(Notify::new());
    let first = asked.clone();
    let answer = service_fn(move |request| {
        asked.notify_one();
        let answers = answers.clone();
        async move { Ok::<_, Infallible>(answers.answer(request).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    let connection = server.serve_connection(TokioIo::new(stream), answer).into_owned();
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            },
            () = unasked(&first) => tracing::debug!("a connection brought no request in {FIRST_REQUEST:?}"),
        }
    });
}

/// Returns if the first request takes too long, else never.
async fn unasked(first: &Notify) {
    if tokio::time::timeout(FIRST_REQUEST, first.notified()).await.is_ok() {
        std::future::pending().await
    }
}

fn log_to_stdout() {
    let form = Form::of(&stdout());
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false);
    let lines = lines.with_writer(move || Lines(form));
    match form {
        Form::Text => lines.with_target(false).init(),
        Form::Json => lines.json().flatten_event(true).init(),
    }
}

/// Stdout, for lines in which others may have written something.
struct Lines(Form);

/// `tracing` hands over one event's line in one piece.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = printable(line.strip_suffix(b"\n").unwrap_or(line), self.0);
        stdout().write_all(&[&*shown, b"\n"].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tonic::transport::Endpoint;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    async fn answers() -> Arc<Answers> {
        let goods = Goods::new("goods-1".into(), Manner::Demo);
        Arc::new(Answers { goods, calls: Calls::new("goods-1").await })
    }

    /// Serves on a port of its own for as long as the test runs.
    async fn serving() -> (SocketAddr, Arc<Answers>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers().await;
        let served = answers.clone();
        tokio::spawn(async move { accept(&listener, &served, &GracefulShutdown::new()).await });
        (address, answers)
    }

    fn endpoint(address: SocketAddr) -> Endpoint {
        Endpoint::from_shared(format!("http://{address}")).unwrap()
    }

    #[tokio::test]
    async fn one_port_takes_grpc_and_http_1() {
        let (address, _answers) = serving().await;
        let answer = grpc::call(&endpoint(address)).await.unwrap();
        assert!(answer.contains(r#""served_by":"goods-1""#) && answer.contains(r#""code":0"#), "{answer}");

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ngoods"), "{answer}");
    }

    #[tokio::test]
    async fn its_health_is_not_serving_once_it_leaves() {
        let (address, answers) = serving().await;
        let mut health = HealthClient::new(endpoint(address).connect().await.unwrap());
        for service in ["", "shop.v1.Goods"] {
            let asked = HealthCheckRequest { service: service.into() };
            let answer = health.check(asked).await.unwrap();
            assert_eq!(answer.metadata().get("x-served-by").unwrap(), "goods-1");
            assert_eq!(answer.into_inner().status().as_str_name(), "SERVING", "{service:?}");
        }
        answers.calls.leave().await;
        for service in ["", "shop.v1.Goods"] {
            let asked = HealthCheckRequest { service: service.into() };
            let answer = health.check(asked).await.unwrap().into_inner();
            assert_eq!(answer.status().as_str_name(), "NOT_SERVING", "{service:?}");
        }
    }

    #[tokio::test]
    async fn connections_of_both_protocols_end_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, connections) = (answers().await, GracefulShutdown::new());
        let mut silent = TcpStream::connect(address).await.unwrap();
        serve(listener.accept().await.unwrap().0, answers.clone(), &connections);
        let client = tokio::spawn(async move { endpoint(address).connect().await });
        serve(listener.accept().await.unwrap().0, answers, &connections);
        let mut health = HealthClient::new(client.await.unwrap().unwrap());
        health.check(HealthCheckRequest::default()).await.unwrap();
        drop(listener);

        tokio::time::timeout(LAST_REQUESTS, connections.shutdown()).await.unwrap();
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        assert!(health.check(HealthCheckRequest::default()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_left_after_a_while() {
        let first = Notify::new();
        let begun = tokio::time::Instant::now();
        unasked(&first).await;
        assert_eq!(begun.elapsed(), FIRST_REQUEST);
        first.notify_one();
        assert!(tokio::time::timeout(2 * FIRST_REQUEST, unasked(&first)).await.is_err());
    }
}
