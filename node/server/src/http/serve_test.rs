//! The pages as they are seen through a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::net::AcceptOptions;
use crate::telemetry::{Connections, Metrics};

struct Node {
    address: SocketAddr,
    serves: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn node(options: PageOptions) -> Node {
    let serves = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&serves);
    let pages = Pages {
        node: 3,
        metrics: Metrics::default(),
        ready: Arc::new(move || match asked.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("the catalog has no leader".to_owned()),
        }),
    };
    let limits = AcceptOptions {
        connections_max: options.connections_max,
        first_byte: Duration::from_millis(options.header_timeout_ms),
    };
    let acceptor = Acceptor::bind("http", "127.0.0.1:0", limits, Connections::default()).await;
    let acceptor = acceptor.expect("there is a free port");
    let address = acceptor.address().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(acceptor, pages, options, stopped));
    Node { address, serves, stop, task }
}

async fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it is there");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n");
    let answer = send(address, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn every_page_answers() {
    let node = node(PageOptions::default()).await;
    let (head, body) = get(node.address, "/livez").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "{\"node\":3,\"status\":\"live\"}\n");

    let (head, body) = get(node.address, "/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("# TYPE kontiki_"), "{body}");

    let (head, body) = get(node.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("href=\"/readyz\""), "{body}");

    let (head, body) = get(node.address, "/nowhere").await;
    assert!(head.starts_with("HTTP/1.1 404 ") && body.contains("/metrics"), "{head} {body}");

    let answer = send(node.address, "POST / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET"), "{answer}");
}

#[tokio::test]
async fn who_is_not_ready_says_why() {
    let node = node(PageOptions::default()).await;
    let (head, _) = get(node.address, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    node.serves.store(false, Ordering::Relaxed);
    let (head, body) = get(node.address, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["why"], "the catalog has no leader");
    assert_eq!(body["status"], "not ready");
}

#[tokio::test]
async fn slow_and_endless_headers_are_cut_off() {
    let options = PageOptions { header_timeout_ms: 50, ..PageOptions::default() };
    let node = node(options).await;
    // The connection is closed by the server: the read ends by itself.
    let answer = send(node.address, "GET / HTTP/1.1\r\nHost: k\r\n").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    let endless = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    // Cut off while it is still being sent, perhaps.
    let _ = stream.write_all(endless.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(get(node.address, "/livez").await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn it_ends_when_it_is_told_to() {
    let node = node(PageOptions::default()).await;
    node.stop.send(true).expect("it runs");
    node.task.await.expect("it ends in order");
    assert!(TcpStream::connect(node.address).await.is_err(), "nobody listens any more");
}
