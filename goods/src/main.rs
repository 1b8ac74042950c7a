//! A demo backend: serves two paths and keeps itself registered.

mod cli;
mod service;

use std::convert::Infallible;
use std::io::{self, Write, stdout};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use registry::contract::Record;
use registry::log_line::{Form, printable};
use registry::register::{Registrar, Registration};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use cli::Arguments;
use service::{Goods, Manner};

/// How long the last requests may take after the drain time.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

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
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = arguments.address(listener.local_addr()?.port())?;
    let instance = arguments.instance()?;
    let registrar = register(&arguments, &instance, address)?;
    tracing::info!(listen = %arguments.listen, %address, instance, "serving");

    let manner = if arguments.echo { Manner::Echo } else { Manner::Demo };
    let goods = Arc::new(Goods::new(instance, manner));
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(&listener, &goods, &connections) => {}
        // Serves on while gateways learn that this instance leaves.
        left = leave(registrar) => left?,
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

/// Waits for SIGTERM or SIGINT, then withdraws the registration and waits for the drain time.
async fn leave(registrar: Registrar) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("leaving");
    registrar.deregister().await;
    Ok(())
}

async fn accept(listener: &TcpListener, goods: &Arc<Goods>, connections: &GracefulShutdown) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, goods.clone(), connections),
            Err(error) => {
                // Out of file descriptors, say: those who wait are served when some are free again.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn serve(stream: TcpStream, goods: Arc<Goods>, connections: &GracefulShutdown) {
    // An answer must not wait for the acknowledgement of the one before it.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let goods = goods.clone();
        async move { Ok::<_, Infallible>(goods.answer(request).await) }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
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
