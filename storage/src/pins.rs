//! Counts who needs the segments of a moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::id::SegmentId;
use crate::payload::SegmentPin;

/// The newest segment at the time of each pin that lives, and how many pins there are.
#[derive(Debug, Default)]
pub struct Pins {
    newest: Mutex<BTreeMap<SegmentId, usize>>,
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SegmentId, usize>> {
        self.newest.lock().expect("no code panics while it holds the pins")
    }

    /// Keeps all segments up to the newest one, which is asked for under the lock.
    pub fn pin(self: &Arc<Self>, newest: impl FnOnce() -> SegmentId) -> SegmentPin {
        let mut pins = self.lock();
        let newest = newest();
        *pins.entry(newest).or_default() += 1;
        SegmentPin::new(Arc::new(Pin { pins: Arc::clone(self), newest }))
    }

    /// Does something with a segment if no pin keeps it; no pin is taken meanwhile.
    pub fn unless_pinned<T>(&self, segment: SegmentId, remove: impl FnOnce() -> T) -> Option<T> {
        let pins = self.lock();
        match pins.last_key_value() {
            Some((newest, _)) if *newest >= segment => None,
            Some(_) | None => Some(remove()),
        }
    }
}

struct Pin {
    pins: Arc<Pins>,
    newest: SegmentId,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.lock();
        if let Some(count) = pins.get_mut(&self.newest) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.newest);
            }
        }
    }
}
