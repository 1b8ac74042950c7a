//! A client's connection on which HTTP/2 is spoken, as Pingora sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::SHUTDOWN;
use super::bodies::Bodies;
use crate::gateway::carry::http2::Begun;
use crate::gateway::origin::Arrival;
use crate::link::Link;

/// A client's connection on which HTTP/2 is spoken.
#[derive(Debug)]
pub(super) struct Http2Stream {
    link: Begun,
    arrival: Arrival,
    digest: Arc<SocketDigest>,
}

impl Http2Stream {
    /// `begin`: what was read of it, and Pingora has not.
    pub(super) fn new(link: Link, arrival: Arrival, begin: Bytes) -> Self {
        let digest = Arc::new(SocketDigest::from_raw_fd(link.descriptor()));
        Self { link: Begun::new(begin, link), arrival, digest }
    }
}

/// What each request knows of its connection.
#[derive(Debug)]
pub(super) struct Shared {
    /// How it has come.
    pub(super) arrival: Arrival,
    pub(super) bodies: Arc<Bodies>,
}

/// What a request knows of its connection. None: it is none of these.
pub(super) fn shared(digest: &Digest) -> Option<&Shared> {
    digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(cx, to)
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Http2Stream {
    async fn shutdown(&mut self) {
        // It fails on a connection that is gone, and waits for a client who takes nothing.
        let _ = timeout(SHUTDOWN, AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for Http2Stream {
    fn id(&self) -> i32 {
        self.link.descriptor()
    }
}

impl Ssl for Http2Stream {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(ALPN::H2)
    }
}

impl Peek for Http2Stream {}

impl GetTimingDigest for Http2Stream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

/// The only place of a connection's own that each of its requests can be asked for.
impl GetProxyDigest for Http2Stream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        let response = Box::new(ResponseHeader::build_no_case(200, None).ok()?);
        let shared = Shared { arrival: self.arrival.clone(), bodies: Arc::default() };
        Some(Arc::new(ProxyDigest::new(response, Some(Box::new(shared)))))
    }
}

impl GetSocketDigest for Http2Stream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}
