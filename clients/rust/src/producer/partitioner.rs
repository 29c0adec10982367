//! Which partition a record goes to.

use std::sync::atomic::{AtomicU32, Ordering};

use kontiki_records::partition_for_key;

/// For records without a key: one partition until its batch is sent, then the next. Few large
/// batches instead of many small ones, and all partitions alike after a while.
#[derive(Debug)]
pub(crate) struct Sticky {
    current: AtomicU32,
}

impl Sticky {
    /// Begins at some partition; producers that begin at different ones don't follow each other.
    pub(crate) fn new(seed: u32) -> Self {
        Self { current: AtomicU32::new(seed) }
    }

    /// The partition among `count`, which is not 0.
    pub(crate) fn current(&self, count: u32) -> u32 {
        self.current.load(Ordering::Relaxed) % count
    }

    /// The batch of `partition` is closed: if it is the current one, the next follows.
    pub(crate) fn closed(&self, partition: u32, count: u32) {
        let now = self.current.load(Ordering::Relaxed);
        if count > 0 && now % count == partition {
            let next = (partition + 1) % count;
            // If another thread was faster, one of the two has moved on: that is enough.
            let _ = self.current.compare_exchange(now, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// The partition of a record among `count`, which is not 0: the one that is asked for, the key's,
/// or the sticky one. None if there is no such partition.
pub(crate) fn choose(
    asked: Option<u32>,
    key: Option<&[u8]>,
    sticky: &Sticky,
    count: u32,
) -> Option<u32> {
    match (asked, key) {
        (Some(asked), _) => (asked < count).then_some(asked),
        (None, Some(key)) => partition_for_key(key, count),
        (None, None) => Some(sticky.current(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_kafkas_clients_send_them() {
        let sticky = Sticky::new(0);
        // murmur2("21") = -973932308, as in the tests of Kafka's own client.
        let expected = ((-973_932_308_i32) & i32::MAX) as u32 % 7;
        assert_eq!(choose(None, Some(b"21"), &sticky, 7), Some(expected));
        assert_eq!(choose(Some(3), Some(b"21"), &sticky, 7), Some(3));
        assert_eq!(choose(Some(7), None, &sticky, 7), None);
    }

    #[test]
    fn without_a_key_a_partition_is_kept_until_its_batch_is_closed() {
        let sticky = Sticky::new(u32::MAX);
        let first = sticky.current(3);
        assert_eq!(choose(None, None, &sticky, 3), Some(first));
        sticky.closed((first + 1) % 3, 3);
        assert_eq!(sticky.current(3), first, "another one's batch doesn't matter");
        let mut seen = vec![first];
        for _ in 0..2 {
            sticky.closed(sticky.current(3), 3);
            seen.push(sticky.current(3));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }
}
