//! One connection, from its first byte until it is closed.

use std::{sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin, select,
    sync::watch as signal,
};
use tracing::debug;

use crate::{front::Served, service::stopped};

/// A connection that is silent for this long is asked whether it lives, and closed if it does not answer.
const PING: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How many streams one connection may have at a time: etcd's clients put all of their watches on one.
const MAX_STREAMS: u32 = 10_000;
/// What a client may send unasked, on a stream and on all of them: the least that HTTP/2 allows a connection, since
/// each may have as much in memory.
const WINDOW: u32 = 65_535;
/// What of an answer waits in a stream for the network, beside the piece that is being sent.
const SEND_BUFFER: usize = 16 * 1024;
/// How long the head of a request over HTTP/2 may be, in bytes: it is kept for as long as its call.
const MAX_HEAD: u32 = 8 * 1024;
/// What of a request over HTTP/1 is read at a time, in bytes, and how long its head may be.
const READ_BUFFER: usize = 16 * 1024;
/// A guest on whose connection nothing is under way for so long is asked to go; a client of etcd then opens another
/// one at its next call. After as long as a ping may take it is closed. Over HTTP/1 it is closed, also if the head of a
/// request has begun by then: a registrar's keep-alives may come every 30 s or later.
const IDLE: Duration = Duration::from_secs(120);

pub(crate) fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new());
    http2.keep_alive_interval(PING).keep_alive_timeout(PING_TIMEOUT);
    http2.initial_connection_window_size(WINDOW).initial_stream_window_size(WINDOW);
    http2.max_concurrent_streams(MAX_STREAMS).max_send_buf_size(SEND_BUFFER);
    http2.max_header_list_size(MAX_HEAD);
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(READ_BUFFER);
    builder
}

/// Serves a connection until it ends, or its client is overdue. Once the server stops, no new call begins on it.
pub(crate) async fn serve(
    builder: Builder<TokioExecutor>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    served: Served,
    mut stopping: signal::Receiver<bool>,
) {
    let client = Arc::clone(&served.client);
    let connection = builder.serve_connection(TokioIo::new(io), served);
    pin!(connection);
    let mut is_leaving = false;
    loop {
        let quiet = if is_leaving { PING_TIMEOUT } else { IDLE };
        select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    debug!(error, "a connection to the embedded registry ended");
                }
                return;
            }
            () = client.closed() => {
                debug!("a connection to the embedded registry is closed: its client does not take its answers");
                return;
            }
            () = stopped(&mut stopping), if !is_leaving => {}
            () = client.idle(quiet), if !client.is_gateway() => {
                if is_leaving {
                    return;
                }
            }
        }
        // What is under way is still answered.
        connection.as_mut().graceful_shutdown();
        is_leaving = true;
    }
}
