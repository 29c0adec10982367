//! Connections to the pages.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use super::pages::Pages;
use crate::config::PageOptions;
use crate::net::{Acceptor, Connection};

/// Answers until `stop` is true or its sender is gone.
pub async fn serve(
    acceptor: Acceptor,
    pages: Pages,
    options: PageOptions,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            connection = acceptor.accept() => {
                let pages = pages.clone();
                tokio::spawn(converse(connection, pages, options.clone(), stop.clone()));
            }
            () = told(&mut stop) => return,
        }
    }
}

/// Resolves when it is time to stop: it was said, or there is nobody left to say it.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn converse(
    connection: Connection,
    pages: Pages,
    options: PageOptions,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = pages.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(options.header_timeout_ms))
        .max_buf_size(options.header_bytes_max);
    let mut conversation = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = told(&mut stop) => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the pages ended");
    }
}

#[cfg(test)]
#[path = "serve_test.rs"]
mod tests;
