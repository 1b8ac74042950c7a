//! The way to a registry in this very process: through memory, so that no other client can use up its connections.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

/// A way into a registry of this process. Two are equal if one is a clone of the other.
#[derive(Clone)]
pub struct InProcess(Arc<dyn Fn() -> Option<DuplexStream> + Send + Sync>);

impl InProcess {
    /// `enter` is asked for each new connection, and gives one on which the registry serves. Where it gives none,
    /// because the registry does not serve yet, the endpoint is connected to over TCP.
    pub fn new(enter: impl Fn() -> Option<DuplexStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(enter))
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

impl PartialEq for InProcess {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for InProcess {}

/// Connects within the process if the registry serves in it, and otherwise over TCP: during an upgrade the registry is
/// still in the old process.
pub(super) struct Nearest {
    pub in_process: InProcess,
    pub tcp: HttpConnector,
}

/// A stream through memory or over TCP.
type Io = TokioIo<Pin<Box<dyn ReadWrite>>>;

pub(super) trait ReadWrite: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> ReadWrite for T {}

impl Service<Uri> for Nearest {
    type Response = Io;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Io>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Some(stream) = (self.in_process.0)() {
            return Box::pin(async { Ok(TokioIo::new(Box::pin(stream) as Pin<Box<dyn ReadWrite>>)) });
        }
        let connecting = self.tcp.call(uri);
        Box::pin(async {
            let stream = connecting.await.map_err(io::Error::other)?.into_inner();
            Ok(TokioIo::new(Box::pin(stream) as Pin<Box<dyn ReadWrite>>))
        })
    }
}
