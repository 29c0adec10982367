//! Loopback ports that nobody listens on.
//!
//! They are taken from below the range that the kernel gives to outgoing connections, so that a
//! node that restarts finds its port free whatever the others have connected to meanwhile.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that was free a moment ago and that this process has not given out before.
///
/// # Panics
/// Where none is free.
#[must_use]
pub fn free() -> SocketAddrV4 {
    // Processes begin at different places, so that they seldom try the same ports.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = (u32::from(start) * 7 + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(place).expect("below COUNT");
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("none of the ports {FIRST}..{} is free on 127.0.0.1", FIRST + COUNT);
}
