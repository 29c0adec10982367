//! Connections over the simulated network: what tonic dials and accepts, with everything that
//! arrives in the trace.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tonic::transport::{Channel, Endpoint, Uri};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::{Event, Trace};

/// A connection whose incoming bytes are in the trace.
pub struct Traced {
    stream: TcpStream,
    from: Arc<str>,
    to: Arc<str>,
    trace: Trace,
}

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled {
            let bytes = &buf.filled()[before..];
            self.trace.add(Event::Message {
                from: Arc::clone(&self.from),
                to: Arc::clone(&self.to),
                bytes: bytes.len(),
                crc: crc32c::crc32c(bytes),
            });
        }
        polled
    }
}

impl AsyncWrite for Traced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Traced {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo {
            local_addr: self.stream.local_addr().ok(),
            remote_addr: self.stream.peer_addr().ok(),
        }
    }
}

type Dialled = Pin<Box<dyn Future<Output = io::Result<TokioIo<Traced>>> + Send>>;

/// Dials for one host.
#[derive(Clone)]
pub struct Connector {
    own: Arc<str>,
    trace: Trace,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({})", self.own)
    }
}

impl Connector {
    /// For the host of this name.
    pub fn new(own: &str, trace: Trace) -> Self {
        Self { own: own.into(), trace }
    }

    fn service(
        &self,
    ) -> impl tower::Service<Uri, Response = TokioIo<Traced>, Error = io::Error, Future = Dialled>
    + Clone
    + use<> {
        let this = self.clone();
        tower::service_fn(move |uri: Uri| -> Dialled {
            let this = this.clone();
            Box::pin(async move {
                let Some(to) = uri.authority() else {
                    return Err(io::Error::other("an address without a host"));
                };
                let stream = TcpStream::connect(to.as_str()).await?;
                let (from, to) = (Arc::from(to.as_str()), this.own);
                Ok(TokioIo::new(Traced { stream, from, to, trace: this.trace }))
            })
        })
    }

    /// A channel that connects when it is used.
    pub fn lazily(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(self.service())
    }

    /// A channel that is connected.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn at_once(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        endpoint.connect_with_connector(self.service()).await
    }
}

/// Connections that arrive at a port of this host.
///
/// # Errors
/// The port is taken.
pub async fn listen(
    own: &str,
    port: u16,
    trace: Trace,
) -> io::Result<impl tokio_stream::Stream<Item = io::Result<Traced>> + Send> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let own: Arc<str> = format!("{own}:{port}").into();
    Ok(futures_util::stream::unfold((listener, own, trace), |(listener, own, trace)| async move {
        let accepted = listener.accept().await.map(|(stream, peer)| {
            let from = turmoil::reverse_lookup(peer.ip()).unwrap_or_default();
            Traced { stream, from: from.into(), to: Arc::clone(&own), trace: trace.clone() }
        });
        Some((accepted, (listener, own, trace)))
    }))
}
