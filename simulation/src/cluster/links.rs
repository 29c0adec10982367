//! What is cut between hosts, and for which faults: a direction is open again when the last of them
//! is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Cluster, host};

/// Directions that are cut, each with the faults that it is cut for.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<(String, String), BTreeSet<usize>>);

impl Cluster {
    /// Nothing goes from one host to another any more.
    pub fn cut(&mut self, from: &str, to: &str, fault: usize) {
        let direction = (from.to_owned(), to.to_owned());
        let faults = self.links.0.entry(direction).or_default();
        if faults.is_empty() {
            self.sim.partition_oneway(from, to);
        }
        faults.insert(fault);
    }

    /// A fault is over.
    pub fn mend(&mut self, fault: usize) {
        let sim = &self.sim;
        self.links.0.retain(|(from, to), faults| {
            if faults.remove(&fault) && faults.is_empty() {
                sim.repair_oneway(from.as_str(), to.as_str());
            }
            !faults.is_empty()
        });
    }

    /// Messages between a host and others take up to so long.
    pub fn set_latency(&mut self, host: &str, others: &[String], max: Duration) {
        for other in others.iter().filter(|other| *other != host) {
            self.sim.set_link_max_message_latency(host, other.as_str(), max);
        }
    }

    /// So large a share of the messages between a host and others breaks its link for a moment.
    pub fn set_loss(&mut self, host: &str, others: &[String], share: f64) {
        for other in others.iter().filter(|other| *other != host) {
            self.sim.set_link_fail_rate(host, other.as_str(), share);
        }
    }

    /// A host and the others don't hear of each other, or as much as they did before.
    pub(super) fn silence(&mut self, host: &str, others: &[String], silent: bool) {
        for other in others {
            for (from, to) in [(host, other.as_str()), (other.as_str(), host)] {
                if self.links.0.contains_key(&(from.to_owned(), to.to_owned())) {
                    continue;
                }
                if silent {
                    self.sim.partition_oneway(from, to);
                } else {
                    self.sim.repair_oneway(from, to);
                }
            }
        }
    }

    /// All links are as in the beginning.
    pub(super) fn repair_links(&mut self) {
        for (from, to) in std::mem::take(&mut self.links.0).into_keys() {
            self.sim.repair_oneway(from.as_str(), to.as_str());
        }
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            let (name, others, latency) = (host(node), self.others(node), self.shape.latency_max);
            self.set_latency(&name, &others, latency);
            self.set_loss(&name, &others, 0.0);
        }
    }
}
