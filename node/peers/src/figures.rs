//! What a run found, and what several runs found together: spreads and ratios.

use std::collections::BTreeMap;

use kontiki_figures::{Cost, Latencies, Spread};
use serde::Serialize;

/// A figure that is taken of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Records, or messages, per second.
    RecordsPerS,
    /// Half of the latencies are below it: to the acknowledgement where something is produced, to
    /// the receiver where something is received.
    P50Ms,
    /// 99 of 100 are.
    P99Ms,
    /// CPU seconds of all processes of all nodes for a million records.
    ClusterCpuSPerMillion,
    /// CPU seconds of the client for a million records.
    ClientCpuSPerMillion,
    /// Bytes that all nodes wrote for a byte of payload.
    DiskBytesPerPayloadByte,
    /// The most resident memory of all nodes together, 2^20 bytes.
    RssMbMax,
    /// The longest time without an acknowledgement.
    LongestGapMs,
}

impl Figure {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::RecordsPerS,
        Self::P50Ms,
        Self::P99Ms,
        Self::ClusterCpuSPerMillion,
        Self::ClientCpuSPerMillion,
        Self::DiskBytesPerPayloadByte,
        Self::RssMbMax,
        Self::LongestGapMs,
    ];

    /// What heads its column.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::RecordsPerS => "records/s",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::ClusterCpuSPerMillion => "cluster CPU s/M",
            Self::ClientCpuSPerMillion => "client CPU s/M",
            Self::DiskBytesPerPayloadByte => "disk bytes/byte",
            Self::RssMbMax => "RSS MiB",
            Self::LongestGapMs => "longest gap ms",
        }
    }
}

/// The figures of one run. What a workload doesn't measure is absent.
pub type Figures = BTreeMap<Figure, f64>;

/// What a number of records cost, as figures.
#[must_use]
pub fn of_costs(records: u64, record_bytes: usize, cluster: Cost, client: Cost) -> Figures {
    let millions = records as f64 / 1e6;
    let payload = records as f64 * record_bytes as f64;
    [
        (Figure::ClusterCpuSPerMillion, cluster.cpu_s / millions),
        (Figure::ClientCpuSPerMillion, client.cpu_s / millions),
        (Figure::DiskBytesPerPayloadByte, cluster.written_bytes as f64 / payload),
        (Figure::RssMbMax, cluster.rss_bytes as f64 / f64::from(1 << 20)),
    ]
    .into()
}

/// What several runs found: of each figure that any of them has.
#[must_use]
pub fn spreads(runs: &BTreeMap<u32, Figures>) -> BTreeMap<Figure, Spread> {
    let of = |figure: &Figure| Spread::of(runs.values().filter_map(|run| run.get(figure).copied()));
    Figure::ALL.iter().filter_map(|figure| Some((*figure, of(figure)?))).collect()
}

/// How many times ours a peer's figures are, run by run: what disturbs a repetition disturbs both.
/// A repetition that only one of them has counts nothing, and neither does a figure that is 0.
#[must_use]
pub fn ratios(
    peer: &BTreeMap<u32, Figures>,
    ours: &BTreeMap<u32, Figures>,
) -> BTreeMap<Figure, Spread> {
    let of = |figure: &Figure| {
        let pairs = peer.iter().filter_map(|(number, run)| {
            let (peer, ours) = (*run.get(figure)?, *ours.get(number)?.get(figure)?);
            (peer > 0.0 && ours > 0.0).then(|| peer / ours)
        });
        Spread::of(pairs)
    };
    Figure::ALL.iter().filter_map(|figure| Some((*figure, of(figure)?))).collect()
}

/// The middle and the 99th percentile, where anything was noted.
#[must_use]
pub fn of_latencies(latencies: &Latencies) -> Figures {
    let quantiles = [(Figure::P50Ms, 0.5), (Figure::P99Ms, 0.99)];
    let known = |(figure, quantile)| Some((figure, latencies.ms(quantile)?));
    quantiles.into_iter().filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(values: &[(u32, f64)]) -> BTreeMap<u32, Figures> {
        values.iter().map(|(n, v)| (*n, Figures::from([(Figure::RecordsPerS, *v)]))).collect()
    }

    #[test]
    fn ratios_are_taken_within_a_repetition() {
        // A machine that was half as fast in the second repetition doesn't change the ratio.
        let (ours, peer) = (runs(&[(0, 100.0), (1, 50.0)]), runs(&[(0, 50.0), (1, 25.0)]));
        let ratio = ratios(&peer, &ours)[&Figure::RecordsPerS];
        assert_eq!(ratio, Spread { median: 0.5, min: 0.5, max: 0.5 });
    }

    #[test]
    fn a_repetition_without_its_pair_counts_nothing() {
        let (ours, peer) = (runs(&[(0, 100.0), (1, 0.0)]), runs(&[(1, 25.0), (2, 25.0)]));
        assert_eq!(ratios(&peer, &ours), BTreeMap::new());
        assert_eq!(spreads(&peer)[&Figure::RecordsPerS].max, 25.0);
    }

    #[test]
    fn costs_are_for_a_million_records_and_for_a_byte() {
        let cluster = Cost { cpu_s: 2.0, written_bytes: 3_000_000, rss_bytes: 1 << 21 };
        let client = Cost { cpu_s: 0.5, ..Cost::default() };
        let figures = of_costs(1_000, 1_000, cluster, client);
        assert_eq!(figures[&Figure::ClusterCpuSPerMillion], 2_000.0);
        assert_eq!(figures[&Figure::ClientCpuSPerMillion], 500.0);
        assert_eq!(figures[&Figure::DiskBytesPerPayloadByte], 3.0);
        assert_eq!(figures[&Figure::RssMbMax], 2.0);
    }

    #[test]
    fn percentiles_are_figures() {
        let mut latencies = Latencies::default();
        assert!(of_latencies(&latencies).is_empty());
        (1..=100).for_each(|ms| latencies.note(std::time::Duration::from_millis(ms)));
        let figures = of_latencies(&latencies);
        assert!((figures[&Figure::P50Ms] - 50.0).abs() < 0.1, "{figures:?}");
        assert!((figures[&Figure::P99Ms] - 99.0).abs() < 0.1, "{figures:?}");
    }
}
