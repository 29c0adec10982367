//! Raft between nodes: one gRPC stream for each direction of a pair carries the messages of all
//! shards. Frames that wait leave together, so the heartbeats of many shards share a message.
//!
//! `client` dials and calls; `server` answers; `snapshot` has a stream of its own for each
//! transfer, so that it doesn't delay heartbeats.

mod client;
mod network;
mod server;
mod snapshot;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use kontiki_proto::node::{Frame, FrameKind, Frames, Hello};
use tokio::sync::mpsc;

pub(crate) use self::client::Links;
pub(crate) use self::network::NetworkFactory;
pub use self::server::RaftService;

/// Of the messages on a link.
pub(crate) const VERSION: u32 = 1;

/// Frames leave together up to this many bytes.
const TOGETHER_BYTES: usize = 1 << 20;

/// Frames leave together up to this many.
const TOGETHER_FRAMES: usize = 512;

fn frame_bytes(frame: &Frame) -> usize {
    64 + frame.body.len() + frame.payloads.iter().map(Bytes::len).sum::<usize>()
}

/// The sending half of a link: gathers what waits.
fn outgoing(
    hello: Option<Hello>,
    frames: mpsc::Receiver<Frame>,
) -> impl Stream<Item = Frames> + Send + 'static {
    stream::unfold((hello, frames), |(hello, mut frames)| async move {
        if hello.is_some() {
            return Some((Frames { hello, frames: Vec::new() }, (None, frames)));
        }
        let first = frames.recv().await?;
        let mut bytes = frame_bytes(&first);
        let mut together = vec![first];
        while bytes < TOGETHER_BYTES && together.len() < TOGETHER_FRAMES {
            let Ok(frame) = frames.try_recv() else { break };
            bytes += frame_bytes(&frame);
            together.push(frame);
        }
        Some((Frames { hello: None, frames: together }, (None, frames)))
    })
}

/// An answer to a frame: same shard, session and sequence, the other way round.
fn answer(to: &Frame, kind: FrameKind, body: Bytes) -> Frame {
    Frame {
        kind: kind as i32,
        shard: to.shard,
        from: to.to,
        to: to.from,
        session: to.session,
        sequence: to.sequence,
        body,
        payloads: Vec::new(),
    }
}
