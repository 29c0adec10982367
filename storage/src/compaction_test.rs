//! What is moved, what is removed, and what is left alone.

use futures_util::FutureExt;

use super::*;
use crate::engine::View;
use crate::id::{Offset, PartitionId};
use crate::memory::{Device, Disk, Faults, Keep, MemoryEngine, MemoryPayloads};

const SHARD: ShardId = ShardId(1);
/// Of payloads; ten are in a segment.
const LENGTH: usize = 80;

struct World {
    disk: Disk,
    engine: Arc<MemoryEngine>,
    payloads: Arc<MemoryPayloads>,
    accounting: Arc<Accounting>,
    compactor: Compactor,
}

impl World {
    fn open(disk: &Disk, options: Options) -> Self {
        let engine = MemoryEngine::open(disk);
        let limits = crate::memory::Options { segment_bytes: 1_020 };
        let payloads = MemoryPayloads::open(disk, limits);
        let accounting = Arc::new(Accounting::open(&*engine).unwrap());
        let compactor =
            Compactor::new(engine.clone(), payloads.clone(), accounting.clone(), options);
        Self { disk: disk.clone(), engine, payloads, accounting, compactor }
    }

    fn new() -> Self {
        Self::open(&Disk::new(), Options::default())
    }

    fn faults(&self) -> Faults {
        self.disk.faults()
    }

    fn reopen(self) -> Self {
        self.faults().crash(Keep::SYNCED);
        Self::open(&self.disk, Options::default())
    }

    /// Rows of a state, numbered from `from`.
    fn add(&self, space: Space, numbers: std::ops::Range<u64>) {
        for n in numbers {
            let payload = payload(n);
            let at = self.payloads.append(space.shard, &[payload]).unwrap()[0];
            let mut batch = WriteBatch::new();
            batch.put(Family::State, owner(space, n), row(at).encode());
            batch.acquire(at, owner(space, n));
            self.accounting.write(&*self.engine, space, batch).unwrap();
        }
    }

    fn location(&self, space: Space, n: u64) -> Option<PayloadLocation> {
        let value = self.engine.get(Family::State, &owner(space, n)).unwrap()?;
        match BatchRow::decode(&value).unwrap().payload {
            PayloadRef::Stored(at) => Some(at),
            PayloadRef::Inline(_) => panic!("none is inline"),
        }
    }

    fn release(&self, space: Space, numbers: impl IntoIterator<Item = u64>) {
        let mut batch = WriteBatch::new();
        for n in numbers {
            batch.release(self.location(space, n).unwrap());
            batch.delete(Family::State, owner(space, n));
        }
        self.accounting.write(&*self.engine, space, batch).unwrap();
    }

    fn sync(&self) {
        self.payloads.sync().now_or_never().unwrap().unwrap();
        self.engine.sync().now_or_never().unwrap().unwrap();
    }

    fn step(&self) -> Progress {
        self.step_below(None, &|_, change| change()).unwrap()
    }

    fn step_below(
        &self,
        floor: Option<u64>,
        lock: &(dyn Fn(ShardId, &mut dyn FnMut()) + Send + Sync),
    ) -> Result<Progress, Error> {
        let floor = floor.map(SegmentId);
        self.compactor.step(floor, lock).now_or_never().expect("nothing here takes time")
    }

    fn steps(&self) -> Progress {
        let mut all = Progress::default();
        for _ in 0..4 {
            let one = self.step();
            all.moved_bytes += one.moved_bytes;
            all.removed_segments += one.removed_segments;
            all.damaged.extend(one.damaged);
        }
        all
    }

    fn segments(&self) -> Vec<u64> {
        self.payloads.segments().iter().map(|segment| segment.id.0).collect()
    }

    /// Rows can be read, and the books are right.
    fn check(&self, space: Space, numbers: impl IntoIterator<Item = u64>) {
        let mut live: BTreeMap<SegmentId, u64> = BTreeMap::new();
        for n in numbers {
            let at = self.location(space, n).unwrap();
            assert_eq!(self.payloads.read(at).unwrap(), payload(n));
            let reference = key::payload_ref(at.segment, at.offset);
            let found = self.engine.get(Family::State, &reference).unwrap();
            assert_eq!(found.unwrap(), owner(space, n));
            *live.entry(at.segment).or_default() += LENGTH as u64;
        }
        let reread = Accounting::open(&*self.engine).unwrap();
        for segment in 0..100 {
            let expected = live.get(&SegmentId(segment)).copied().unwrap_or(0);
            assert_eq!(self.accounting.live_bytes(SegmentId(segment)), expected);
            assert_eq!(reread.live_bytes(SegmentId(segment)), expected);
        }
    }
}

fn space() -> Space {
    Space::first(SHARD)
}

fn payload(n: u64) -> Bytes {
    vec![n as u8 + 1; LENGTH].into()
}

fn owner(space: Space, n: u64) -> Bytes {
    key::batch(space, PartitionId(1), Offset(n))
}

fn row(at: PayloadLocation) -> BatchRow {
    BatchRow {
        payload: PayloadRef::Stored(at),
        last_offset_delta: 0,
        record_count: 1,
        max_timestamp: 5,
        running_max_timestamp: 6,
        leader_epoch: 7,
        append_time: 8,
        producer: None,
    }
}

#[test]
fn sparse_segments_are_emptied_and_then_removed() {
    let world = World::new();
    world.add(space(), 0..35);
    assert_eq!(world.segments(), [1, 2, 3, 4]);
    // Three live in the first, seven in the second, none in the third.
    world.release(space(), (3..10).chain(10..13).chain(20..30));
    let left = || (0..3).chain(13..20).chain(30..35);
    let first = world.step();
    assert_eq!((first.moved_bytes, first.removed_segments), (3 * LENGTH as u64, 0));
    world.check(space(), left());
    let second = world.step();
    assert_eq!((second.moved_bytes, second.removed_segments), (0, 2));
    assert_eq!(world.segments(), [2, 4]);
    assert_eq!(world.step(), Progress::default());
    let world = world.reopen();
    world.check(space(), left());
    let mut moved = row(world.location(space(), 0).unwrap());
    moved.payload = PayloadRef::Stored(world.location(space(), 0).unwrap());
    let stored = world.engine.get(Family::State, &owner(space(), 0)).unwrap().unwrap();
    assert_eq!(BatchRow::decode(&stored).unwrap(), moved, "the rest of the row is as it was");
}

#[test]
fn a_crash_at_any_moment_loses_nothing() {
    let moments: [fn(&World); 4] = [
        |_| {},
        |world| drop(world.step()),
        |world| drop((world.step(), world.step())),
        |world| drop(world.steps()),
    ];
    for moment in moments {
        for keep in 0..4 {
            let world = World::new();
            world.add(space(), 0..30);
            world.release(space(), 2..30);
            world.sync();
            moment(&world);
            world.faults().crash(Keep { writes: keep, appends: 0 });
            let world = World::open(&world.disk, Options::default());
            world.check(space(), 0..2);
            world.steps();
            world.check(space(), 0..2);
        }
    }
}

#[test]
fn what_changes_meanwhile_is_not_brought_back() {
    let world = World::new();
    world.add(space(), 0..11);
    world.release(space(), 4..10);
    let lock = |shard: ShardId, change: &mut dyn FnMut()| {
        assert_eq!(shard, SHARD);
        world.release(space(), [1, 2]);
        change();
    };
    let progress = world.step_below(None, &lock).unwrap();
    assert_eq!(progress.moved_bytes, 2 * LENGTH as u64);
    assert_eq!(world.location(space(), 1), None);
    world.check(space(), [0, 3, 10]);

    let world = World::new();
    world.add(space(), 0..11);
    world.release(space(), 4..10);
    let progress = world.step_below(None, &|_, _| {}).unwrap();
    assert_eq!(progress.moved_bytes, 0, "nobody let it");
    world.check(space(), [0, 1, 2, 3, 10]);
}

#[test]
fn what_a_log_or_a_pin_needs_stays() {
    let world = World::new();
    world.add(space(), 0..31);
    world.release(space(), 0..29);
    for _ in 0..4 {
        let progress = world.step_below(Some(1), &|_, change| change()).unwrap();
        assert_eq!(progress, Progress::default());
    }
    let pin = world.payloads.pin();
    let before = world.location(space(), 29).unwrap();
    assert_eq!(world.steps().removed_segments, 0);
    assert_ne!(world.location(space(), 29).unwrap(), before, "it was moved nevertheless");
    assert_eq!(world.payloads.read(before).unwrap(), payload(29));
    drop(pin);
    assert_eq!(world.steps().removed_segments, 3);
    world.check(space(), 29..31);
    let refs = world.engine.scan(
        Family::State,
        key::payload_refs(before.segment),
        FORWARD,
        ScanLimit::rows(9),
    );
    assert_eq!(refs.unwrap(), []);
}

#[test]
fn damage_is_reported_and_the_others_go_on() {
    let world = World::new();
    let other = Space::first(ShardId(2));
    world.add(space(), 0..3);
    world.add(other, 0..2);
    world.add(space(), 3..9);
    world.release(space(), 2..9);
    assert!(world.faults().corrupt_payload(world.location(space(), 1).unwrap()));
    world.add(other, 2..4);
    let progress = world.step();
    assert_eq!(progress.damaged, [SHARD]);
    assert_eq!(progress.moved_bytes, 3 * LENGTH as u64);
    let damaged = world.location(space(), 1).unwrap();
    assert!(world.payloads.read(damaged).unwrap_err().is_corrupt(), "it was not copied");
    // A row that can't be read.
    world.faults().corrupt_row(Family::State, &owner(space(), 1));
    assert_eq!(world.step().damaged, [SHARD]);
    // The replica is rebuilt: its state goes, though the row still can't be read.
    world.accounting.delete_space(&*world.engine, space()).unwrap();
    assert_eq!(world.steps().removed_segments, 1);
    world.check(other, 0..4);
}

#[test]
fn only_the_current_state_is_moved() {
    let world = World::new();
    let next = Space { generation: 2, ..space() };
    world.add(space(), 0..2);
    world.add(next, 0..2);
    world.add(space(), 2..9);
    world.release(space(), 2..8);
    let before = world.location(next, 0).unwrap();
    assert_eq!(world.step().moved_bytes, 2 * LENGTH as u64);
    assert_eq!(world.location(next, 0).unwrap(), before, "it is coming in");
    let mut batch = WriteBatch::new();
    batch.put(Family::State, key::generation(SHARD), key::encode_generation(2));
    world.engine.write(batch).unwrap();
    world.accounting.delete_space(&*world.engine, space()).unwrap();
    assert_eq!(world.step().moved_bytes, 2 * LENGTH as u64);
    world.check(next, 0..2);
}

#[test]
fn a_step_is_bounded() {
    let options = Options { bytes_per_step: 3 * LENGTH as u64, ..Options::default() };
    let world = World::open(&Disk::new(), options);
    world.add(space(), 0..31);
    world.release(space(), (0..30).filter(|n| n % 10 > 2));
    let left = || (0..30).filter(|n| n % 10 <= 2).chain([30]);
    for _ in 0..3 {
        assert_eq!(world.step().moved_bytes, 3 * LENGTH as u64);
        world.check(space(), left());
    }
    assert_eq!(world.step().moved_bytes, 0);
    world.step();
    world.check(space(), left());
    assert_eq!(world.segments(), [4]);
}

#[test]
fn references_without_an_owner_are_forgotten() {
    let world = World::new();
    world.add(space(), 0..11);
    world.release(space(), 2..10);
    // As where a row was deleted that could not be decoded.
    let mut batch = WriteBatch::new();
    batch.delete(Family::State, owner(space(), 0));
    batch.delete(Family::State, owner(space(), 1));
    world.engine.write(batch).unwrap();
    assert_eq!(world.steps().removed_segments, 1);
    world.check(space(), [10]);
}

#[test]
fn dead_segments_go_when_the_disk_is_full() {
    let world = World::new();
    world.add(space(), 0..21);
    world.release(space(), (0..10).chain(11..20));
    world.faults().set_full(Device::Payloads, true);
    let step = || world.step_below(None, &|_, change| change());
    assert!(step().unwrap_err().is_full());
    assert!(step().unwrap_err().is_full());
    assert_eq!(world.segments(), [2, 3], "the first had nothing live");
    world.faults().set_full(Device::Payloads, false);
    world.steps();
    assert_eq!(world.segments(), [3]);
    world.check(space(), [10, 20]);
}
