//! The time of a shard: what its leader stamps commands with.
//!
//! It goes on with the leader's monotonic clock and follows the node's wall clock slowly. So a wall
//! clock that is set, by however much, neither ends every lease at once nor stops time until it has
//! caught up; and a leader whose wall clock is behind that of the one before goes on from where
//! that one was.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::Progress;
use crate::node::Clock;

/// It is faster or slower than the monotonic clock by one part in so many, at most.
const SLEW: i64 = 8;
/// How often it is compared with the wall clock.
const COMPARED: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct ShardClock {
    wall: Clock,
    progress: Arc<Progress>,
    anchor: Mutex<Option<Anchor>>,
}

#[derive(Clone, Copy)]
struct Anchor {
    term: u64,
    time_ms: i64,
    at: Instant,
}

impl ShardClock {
    pub(crate) fn new(wall: Clock, progress: Arc<Progress>) -> Self {
        Self { wall, progress, anchor: Mutex::new(None) }
    }

    /// The time of the shard, as this replica would stamp a command now; milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        let term = self.progress.role.borrow().term;
        let (wall, applied, now) = ((self.wall)(), self.progress.applied_ms(), Instant::now());
        let mut anchor = self.anchor.lock().expect("nothing panics under this lock");
        let Some(known) = anchor.filter(|known| known.term == term) else {
            let time_ms = wall.max(applied);
            *anchor = Some(Anchor { term, time_ms, at: now });
            return time_ms;
        };
        let elapsed = now.saturating_duration_since(known.at);
        let steady = known.time_ms.saturating_add(milliseconds(elapsed));
        let slew = milliseconds(elapsed) / SLEW;
        let time_ms = steady.saturating_add((wall.saturating_sub(steady)).clamp(-slew, slew));
        if elapsed >= COMPARED || applied > time_ms {
            let time_ms = time_ms.max(applied);
            *anchor = Some(Anchor { term, time_ms, at: now });
            return time_ms;
        }
        time_ms
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use kontiki_storage::id::ShardId;

    use super::*;

    struct Scene {
        wall: Arc<AtomicI64>,
        progress: Arc<Progress>,
        clock: ShardClock,
    }

    impl Scene {
        fn at(wall_ms: i64) -> Self {
            let wall = Arc::new(AtomicI64::new(wall_ms));
            let progress = Arc::new(Progress::new(ShardId(1)));
            let read = Arc::clone(&wall);
            let read: Clock = Arc::new(move || read.load(Ordering::Relaxed));
            let clock = ShardClock::new(read, Arc::clone(&progress));
            Self { wall, progress, clock }
        }

        async fn pass(&self, ms: i64) -> i64 {
            tokio::time::advance(Duration::from_millis(ms.unsigned_abs())).await;
            self.wall.fetch_add(ms, Ordering::Relaxed);
            self.clock.now_ms()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_the_wall_clock_where_that_is_steady() {
        let scene = Scene::at(1_000);
        assert_eq!(scene.clock.now_ms(), 1_000);
        for passed in 1..5_000 {
            assert_eq!(scene.pass(1).await, 1_000 + passed);
        }
        assert_eq!(scene.pass(3_600_000).await, 3_606_000 - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_is_followed_slowly() {
        let scene = Scene::at(1_000_000);
        scene.clock.now_ms();
        scene.wall.fetch_add(3_600_000, Ordering::Relaxed);
        let mut last = scene.clock.now_ms();
        assert_eq!(last, 1_000_000);
        for _ in 0..100 {
            let now = scene.pass(100).await;
            assert!((now - last) <= 113, "{now} after {last}");
            last = now;
        }
        scene.wall.fetch_add(-7_200_000, Ordering::Relaxed);
        for _ in 0..100 {
            let now = scene.pass(100).await;
            assert!((87..=100).contains(&(now - last)), "{now} after {last}");
            last = now;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_clock_is_behind_goes_on() {
        let scene = Scene::at(1_000);
        scene.progress.set_applied_ms(500_000);
        assert_eq!(scene.clock.now_ms(), 500_000);
        let mut last = 500_000;
        for _ in 0..50 {
            let now = scene.pass(100).await;
            assert!((87..=100).contains(&(now - last)), "{now} after {last}");
            last = now;
        }
    }
}
