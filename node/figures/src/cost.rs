//! What processes and their descendants have cost, from `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The kernel counts CPU time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// What some processes have cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// CPU seconds, user and system, with those of descendants that have ended.
    pub cpu_s: f64,
    /// Bytes that they caused to be written to storage.
    pub written_bytes: u64,
    /// Resident memory at the moment.
    pub rss_bytes: u64,
}

impl Cost {
    /// Of these processes and all their descendants; those that are gone count nothing.
    #[must_use]
    pub fn of_trees(roots: &[u32]) -> Self {
        let found = stats();
        let parents = found.iter().map(|(pid, stat)| (*pid, stat.parent)).collect();
        descendants(roots, &parents).iter().fold(Self::default(), |mut sum, pid| {
            let ticks = found.get(pid).map_or(0, |stat| stat.ticks);
            sum.cpu_s += ticks as f64 / TICKS_PER_SECOND;
            sum.written_bytes += read(*pid, "io").as_deref().and_then(written).unwrap_or(0);
            sum.rss_bytes += read(*pid, "status").as_deref().and_then(resident).unwrap_or(0);
            sum
        })
    }

    /// Of this process alone.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        let ticks = read(pid, "stat").as_deref().and_then(own_ticks).unwrap_or(0);
        Self {
            cpu_s: ticks as f64 / TICKS_PER_SECOND,
            written_bytes: read(pid, "io").as_deref().and_then(written).unwrap_or(0),
            rss_bytes: read(pid, "status").as_deref().and_then(resident).unwrap_or(0),
        }
    }

    /// What was spent from `earlier` to this.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_s: self.cpu_s - earlier.cpu_s,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            rss_bytes: self.rss_bytes.max(earlier.rss_bytes),
        }
    }
}

/// What a line of `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Its own, and those of children that have ended and that it has waited for.
    ticks: u64,
}

/// Of all processes that there are.
fn stats() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(&read(pid, "stat")?)?))).collect()
}

fn read(pid: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

/// The fields after the name; the name, in brackets, may hold anything.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

fn stat(text: &str) -> Option<Stat> {
    let fields = fields(text)?;
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks })
}

/// Without its children's.
fn own_ticks(text: &str) -> Option<u64> {
    let fields = fields(text)?;
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(number(11)? + number(12)?)
}

fn written(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

fn resident(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// `roots` and all below them, of processes and their parents.
fn descendants(roots: &[u32], parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let mut found: BTreeSet<u32> =
        roots.iter().copied().filter(|pid| parents.contains_key(pid)).collect();
    // A child may have a lower number than its parent.
    loop {
        let before = found.len();
        let below = parents.iter().filter(|(_, parent)| found.contains(parent));
        let below: Vec<u32> = below.map(|(pid, _)| *pid).collect();
        found.extend(below);
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4711 (1_sched (x) y) S 17 4711 4711 0 -1 4194304 100 200 0 0 \
                        150 50 7 3 20 0 24 0 99 1000 200 18446744073709551615";

    #[test]
    fn a_stat_line_counts_children_that_have_ended() {
        assert_eq!(stat(LINE), Some(Stat { parent: 17, ticks: 210 }));
        assert_eq!(own_ticks(LINE), Some(200));
        assert_eq!(stat("4711 (short) S 17"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn bytes_written_are_those_that_reach_storage() {
        let io = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 4096\n\
                  cancelled_write_bytes: 7\n";
        assert_eq!(written(io), Some(4_096));
        assert_eq!(written("rchar: 1\n"), None);
    }

    #[test]
    fn memory_is_in_kib() {
        assert_eq!(resident("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t   12 kB\n"), Some(12_288));
        assert_eq!(resident("Name:\tkthread\n"), None);
    }

    #[test]
    fn descendants_are_found_whatever_their_numbers() {
        let parents = [(1, 0), (10, 1), (5, 10), (6, 5), (20, 1), (21, 20)].into();
        assert_eq!(descendants(&[10], &parents), [5, 6, 10].into());
        assert_eq!(descendants(&[20, 99], &parents), [20, 21].into());
    }

    #[test]
    fn this_process_has_cost_something() {
        let own = Cost::own();
        assert!(own.rss_bytes > 0, "{own:?}");
        assert!(Cost::of_trees(&[std::process::id()]).rss_bytes > 0);
        let later = Cost { cpu_s: own.cpu_s + 1.0, ..own };
        assert!((later.since(own).cpu_s - 1.0).abs() < 1e-9);
    }
}
