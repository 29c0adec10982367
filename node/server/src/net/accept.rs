//! Takes connections, up to a number of them.
//!
//! A connection that would be one too many is closed at once: who is let wait in the system's
//! queue can't tell it from a node that hangs. One that says nothing is closed after a while.

use std::io;
#[cfg(test)]
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::telemetry::Connections;

/// How long to wait when the system has no more files or memory for a connection.
const BREATHER: Duration = Duration::from_millis(100);

/// Limits of an acceptor.
#[derive(Debug, Clone, Copy)]
pub struct AcceptOptions {
    /// Connections at a time.
    pub connections_max: usize,
    /// How long a new connection may say nothing.
    pub first_byte: Duration,
}

/// A listener with limits.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    name: &'static str,
    options: AcceptOptions,
    room: Arc<Semaphore>,
    connections: Connections,
}

impl AcceptOptions {
    /// So many connections, which may be silent for so many milliseconds at first.
    #[must_use]
    pub fn new(connections_max: usize, first_byte_ms: u64) -> Self {
        Self { connections_max, first_byte: Duration::from_millis(first_byte_ms) }
    }
}

impl Acceptor {
    /// Listens at `host:port`; `name` is what its metrics are labelled with.
    ///
    /// # Errors
    /// The address can't be resolved or is taken.
    pub async fn bind(
        name: &'static str,
        address: &str,
        options: AcceptOptions,
        connections: Connections,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        tracing::debug!(listener = name, address = %listener.local_addr()?, "listening");
        let room = Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
        Ok(Self { listener, name, options, room, connections })
    }

    /// Where it listens: the port that the system has chosen, where 0 was asked for.
    ///
    /// # Errors
    /// The system has lost the socket.
    #[cfg(test)]
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection.
    pub async fn accept(&self) -> Connection {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(listener = self.name, %error, "a connection was not taken");
                    tokio::time::sleep(BREATHER).await;
                    continue;
                }
            };
            let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
                self.connections.refused(self.name);
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                // The other side is gone already.
                tracing::debug!(listener = self.name, %error, "a connection ended at once");
                continue;
            }
            self.connections.opened(self.name);
            let counted = Counted { name: self.name, connections: self.connections.clone() };
            return Connection {
                stream,
                silence: Some(Box::pin(tokio::time::sleep(self.options.first_byte))),
                _counted: counted,
                _room: room,
            };
        }
    }

    /// All connections. It never ends, and has no errors.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> + Send {
        stream::unfold(self, |acceptor| async move {
            let connection = acceptor.accept().await;
            Some((Ok(connection), acceptor))
        })
    }
}

/// A connection that was taken. Gives its place back when it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Runs until the first bytes come.
    silence: Option<Pin<Box<Sleep>>>,
    _counted: Counted,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Counted {
    name: &'static str,
    connections: Connections,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.closed(self.name);
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(silence) = &mut self.silence else { return read };
        match read {
            Poll::Pending if silence.as_mut().poll(context).is_ready() => {
                let why = "nothing came on a new connection";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => {
                if buffer.filled().len() > before {
                    self.silence = None;
                }
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
#[path = "accept_test.rs"]
mod tests;
