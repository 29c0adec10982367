//! Time and random numbers of this process, from the seed.
//!
//! Whatever asks the system for the time or for random bytes (hash tables, the election timeouts of
//! Raft, the `date` of HTTP, how long h2 remembers a stream) asks the C library, whose functions
//! are replaced here, for the whole program. On a thread that is not [armed](arm) they do what
//! they always do.

#![expect(unsafe_code, reason = "functions of the C library are replaced by our own")]

use std::cell::Cell;
use std::time::Duration;

/// When every simulation begins, in seconds since 1970: a Tuesday in November 2023.
pub const EPOCH_S: u64 = 1_700_000_000;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// From now on, this thread's time stands still but for [`set_now`], and its random numbers come
/// from the seed.
pub fn arm(seed: u64) {
    STATE.set(seed);
    NOW_NS.set(0);
    ARMED.set(true);
}

/// So much simulated time has passed.
pub fn set_now(elapsed: Duration) {
    NOW_NS.set(u64::try_from(elapsed.as_nanos()).expect("a run doesn't last 500 years"));
}

/// A number that depends on the seed and a name only: the beginning of a stream of its own, which
/// no other stream's draws change.
#[must_use]
pub fn fork(seed: u64, name: &str) -> u64 {
    let mut hash = crate::trace::Fnv::default();
    hash.add(&seed.to_be_bytes());
    hash.add(name.as_bytes());
    mix(hash.0)
}

/// Milliseconds of the real clock, for how fast a simulation is.
#[must_use]
pub fn real_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system writes into `time`, which outlives the call.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec * 1_000 + time.tv_nsec / 1_000_000).unwrap_or_default()
}

/// SplitMix64's finalizer.
fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn next() -> u64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    mix(state)
}

/// Fills `buffer`; false: this thread is not armed.
///
/// # Safety
/// `buffer` must be writable for `length` bytes.
unsafe fn fill(buffer: *mut libc::c_void, length: usize) -> bool {
    if !ARMED.try_with(Cell::get).unwrap_or(false) {
        return false;
    }
    // SAFETY: the caller says so.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next().to_le_bytes()[..chunk.len()]);
    }
    true
}

/// As the C library's.
///
/// # Safety
/// `buffer` must be writable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    // SAFETY: as this function's.
    if unsafe { fill(buffer, length) } {
        return length.cast_signed();
    }
    // SAFETY: as this function's.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as libc::ssize_t }
}

/// As the C library's.
///
/// # Safety
/// `buffer` must be writable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getentropy(
    buffer: *mut libc::c_void,
    length: libc::size_t,
) -> libc::c_int {
    // SAFETY: as this function's.
    let filled = unsafe { getrandom(buffer, length, 0) };
    if filled == length.cast_signed() { 0 } else { -1 }
}

/// As the C library's.
///
/// # Safety
/// `time` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    if !ARMED.try_with(Cell::get).unwrap_or(false) {
        // SAFETY: as this function's.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int };
    }
    let now = NOW_NS.get();
    let seconds = EPOCH_S + now / 1_000_000_000;
    let value = libc::timespec {
        tv_sec: seconds.cast_signed(),
        tv_nsec: (now % 1_000_000_000).cast_signed(),
    };
    // SAFETY: as this function's.
    unsafe { time.write(value) };
    0
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher as _;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// Each on a thread of its own: keys of hash tables are drawn once for each thread.
    fn on_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(run).join().expect("it doesn't panic")
    }

    #[test]
    fn hash_tables_take_their_keys_from_the_seed() {
        let keys = |seed| {
            on_a_thread(move || {
                arm(seed);
                RandomState::new().hash_one("a")
            })
        };
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
        let ambient = || on_a_thread(|| RandomState::new().hash_one("a"));
        assert_ne!(ambient(), ambient());
    }

    #[test]
    fn time_is_what_it_is_set_to() {
        let (before, after) = on_a_thread(|| {
            arm(1);
            let started = std::time::Instant::now();
            let before = (SystemTime::now(), started.elapsed());
            set_now(Duration::from_millis(1_234));
            (before, (SystemTime::now(), started.elapsed()))
        });
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("later than that");
        assert_eq!((since(before.0), before.1), (Duration::from_secs(EPOCH_S), Duration::ZERO));
        let later = Duration::from_millis(1_234);
        assert_eq!((since(after.0), after.1), (Duration::from_secs(EPOCH_S) + later, later));
        assert!(SystemTime::now() > UNIX_EPOCH + since(after.0), "others have the real time");
    }

    #[test]
    fn streams_do_not_depend_on_each_other() {
        assert_eq!(fork(7, "disk"), fork(7, "disk"));
        assert_ne!(fork(7, "disk"), fork(7, "network"));
        assert_ne!(fork(7, "disk"), fork(8, "disk"));
    }
}
