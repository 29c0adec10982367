//! What one queue hands to another: how large it may be, and what comes back.

use bytes::Bytes;
use kontiki_storage::id::{Offset, PartitionId};
use kontiki_storage::payload::PayloadRef;

use super::{Bench, QUEUE, header};
use crate::Rejection;
use crate::partition::BatchHeader;
use crate::queue::{Attributes, Command, Enqueue, Origin, Overflow, QueueSettings, Reply, Shared};
use crate::settings::{MOVED_BYTES_MAX, Settings};

const OTHER: PartitionId = PartitionId(8);

fn origin(first_sequence: u64) -> Option<Origin> {
    Some(Origin { queue: QUEUE, first_sequence, shared: None })
}

fn offer(bench: &mut Bench, bytes: u32, origin: Option<Origin>) -> Result<Reply, Rejection> {
    let payload = PayloadRef::Inline(Bytes::from(vec![0; bytes as usize]));
    let header = BatchHeader { bytes, ..header(1, bench.now()) };
    let enqueue = Enqueue { queue: OTHER, payload: 0, header, attributes: Vec::new(), origin };
    bench.apply(Command::Enqueue(enqueue), &[payload])
}

#[test]
fn what_a_queue_took_once_is_not_too_large_for_another() {
    let mut bench = Bench::new(QueueSettings::default());
    bench.create(OTHER, QueueSettings::default());
    let limit = Settings::default().message_bytes_max;
    let too_large =
        |bytes, bytes_max| Err(Rejection::RecordTooLarge { partition: OTHER, bytes, bytes_max });
    assert_eq!(offer(&mut bench, limit + 1, None), too_large(limit + 1, limit));
    offer(&mut bench, limit + 1, origin(0)).unwrap();
    let shared = Some(Origin { shared: Some(Shared::Yes), ..origin(1).unwrap() });
    offer(&mut bench, MOVED_BYTES_MAX, shared).unwrap();
    let more = MOVED_BYTES_MAX + 1;
    assert_eq!(offer(&mut bench, more, origin(2)), too_large(more, MOVED_BYTES_MAX));
}

/// A redrive's target is gone.
#[test]
fn what_can_go_nowhere_comes_back_once_though_its_queue_is_full() {
    let full = QueueSettings { length_max: 2, overflow: Overflow::Reject, ..Default::default() };
    let mut bench = Bench::new(full);
    bench.reload = true;
    bench.send(2);
    let offsets = vec![Offset(0), Offset(1)];
    let target = "gone".to_owned();
    bench.apply(Command::Divert { queue: QUEUE, offsets, target }, &[]).unwrap();
    bench.send(2);
    assert_eq!((bench.state().counts().moving, bench.state().counts().available), (2, 2));
    let back = |first_sequence| Enqueue {
        queue: QUEUE,
        payload: 0,
        header: header(1, 1_000),
        attributes: vec![Attributes { expires_at_ms: Some(5_000), ..Attributes::default() }],
        origin: origin(first_sequence),
    };
    for first in [0, 0, 1] {
        bench.enqueue(back(first)).unwrap();
    }
    assert_eq!((bench.state().counts().moving, bench.state().counts().available), (0, 4));
    assert_eq!(bench.offsets(9), [2, 3, 4, 5]);
    bench.later(60_000);
    bench.tick();
    assert_eq!(bench.state().counts().available, 2, "the time of the first two is over");
}
