//! Limits of an acceptor, on loopback.

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn acceptor(connections_max: usize, first_byte_ms: u64) -> (Acceptor, Registry) {
    let connections = Connections::default();
    let mut registry = Registry::default();
    connections.register(&mut registry);
    let first_byte = Duration::from_millis(first_byte_ms);
    let options = AcceptOptions { connections_max, first_byte };
    let acceptor = Acceptor::bind("test", "127.0.0.1:0", options, connections).await;
    (acceptor.expect("there is a free port"), registry)
}

fn value(registry: &Registry, name: &str) -> u64 {
    let mut page = String::new();
    text::encode(&mut page, registry).unwrap();
    let label = format!("{name}{{listener=\"test\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&label));
    line.map_or(0, |value| value.parse().expect("a count"))
}

#[tokio::test]
async fn one_too_many_is_closed_and_the_next_is_taken_when_there_is_room() {
    let (acceptor, registry) = acceptor(1, 60_000).await;
    let address = acceptor.address().unwrap();
    let first = TcpStream::connect(address).await.unwrap();
    let taken = acceptor.accept().await;
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    let refused = tokio::select! {
        _ = acceptor.accept() => panic!("there is no room"),
        read = second.read(&mut byte) => read,
    };
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    assert_eq!(value(&registry, "connections"), 1);
    assert_eq!(value(&registry, "connections_refused_total"), 1);

    drop((taken, first));
    assert_eq!(value(&registry, "connections"), 0);
    let _third = TcpStream::connect(address).await.unwrap();
    let _taken = acceptor.accept().await;
    assert_eq!(value(&registry, "connections_accepted_total"), 2);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed_and_who_has_spoken_is_not() {
    let (acceptor, _) = acceptor(2, 1_000).await;
    let address = acceptor.address().unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut taken = acceptor.accept().await;
    let mut byte = [0];
    let error = taken.read(&mut byte).await.expect_err("nothing comes");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);

    let mut speaker = TcpStream::connect(address).await.unwrap();
    let mut taken = acceptor.accept().await;
    speaker.write_all(b"k").await.unwrap();
    // The clock stands still while the socket is polled: a read may need its readiness first.
    taken.stream.readable().await.unwrap();
    assert_eq!(taken.read(&mut byte).await.unwrap(), 1);
    assert!(taken.silence.is_none());
    let more = tokio::time::timeout(Duration::from_secs(60), taken.read(&mut byte)).await;
    assert!(more.is_err(), "it may be silent now: {more:?}");
}
