//! What a workload found, as one JSON object or as a row of a table.

use kontiki_figures::{Cost, Latencies, Spread, markdown};
use serde::Serialize;

/// The figures of one run. What a workload doesn't measure is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Which one, with what tells its runs apart.
    pub workload: String,
    /// Nodes of the cluster; 0 without one.
    pub nodes: u32,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// Bytes of a record's value.
    pub record_bytes: usize,
    /// Records sent and not acknowledged, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<usize>,
    /// Records (or topics) per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s: Option<f64>,
    /// Values per second, in 10^6 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mb_per_s: Option<f64>,
    /// Half of the latencies are below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 99 of 100 are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// 999 of 1,000 are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_ms: Option<f64>,
    /// The longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<f64>,
    /// CPU seconds of all nodes for a million records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_cpu_s_per_million: Option<f64>,
    /// CPU seconds of the client for a million records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cpu_s_per_million: Option<f64>,
    /// Share of one core that all nodes use together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_cpu_share: Option<f64>,
    /// Bytes that all nodes wrote for a byte of a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_payload_byte: Option<f64>,
    /// Resident memory of all nodes, 2^20 bytes, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_mb_max: Option<f64>,
    /// The longest time without an acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_gap_ms: Option<f64>,
    /// Records acknowledged and not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Records found more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicated: Option<u64>,
    /// What the disk alone does, append and fdatasync of 256 KiB, 10^6 bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_disk_mb_per_s: Option<f64>,
}

impl Report {
    /// An empty report of a cluster's workload.
    pub fn new(workload: impl Into<String>, nodes: u32, record_bytes: usize) -> Self {
        Self {
            workload: workload.into(),
            nodes,
            durability: "quorum-fsync",
            record_bytes,
            ..Self::default()
        }
    }

    /// Adds a number of records in a time.
    pub fn rate(&mut self, records: u64, seconds: f64) {
        let per_second = records as f64 / seconds;
        self.records_per_s = Some(per_second);
        self.mb_per_s = Some(per_second * self.record_bytes as f64 / 1e6);
    }

    /// Adds latencies.
    pub fn latencies(&mut self, latencies: &Latencies) {
        self.p50_ms = latencies.ms(0.5);
        self.p99_ms = latencies.ms(0.99);
        self.p999_ms = latencies.ms(0.999);
        self.max_ms = latencies.max_ms();
    }

    /// Adds what the nodes and the client spent on a number of records.
    pub fn costs(&mut self, records: u64, cluster: Cost, client: Cost) {
        let millions = records as f64 / 1e6;
        self.cluster_cpu_s_per_million = Some(cluster.cpu_s / millions);
        self.client_cpu_s_per_million = Some(client.cpu_s / millions);
        self.rss_mb_max = Some(cluster.rss_bytes as f64 / f64::from(1 << 20));
    }

    /// Whether it is of the same workload, with the same window.
    fn is_like(&self, other: &Self) -> bool {
        self.workload == other.workload && self.in_flight == other.in_flight
    }

    /// Adds what the nodes wrote for a number of records.
    pub fn written(&mut self, records: u64, cluster: Cost) {
        let payload = records as f64 * self.record_bytes as f64;
        self.disk_bytes_per_payload_byte = Some(cluster.written_bytes as f64 / payload);
    }
}

/// One of the runs of a workload.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Counted from 1.
    pub repetition: u32,
    /// 0, or 1 for the binary that is compared with.
    #[serde(skip)]
    pub system: usize,
    /// What was measured.
    pub binary: String,
    /// What was found.
    #[serde(flatten)]
    pub report: Report,
}

/// What a column shows of a report, and with how many digits.
type Column = (&'static str, usize, fn(&Report) -> Option<f64>);

const COLUMNS: [Column; 11] = [
    ("in flight", 0, |report| report.in_flight.map(|number| number as f64)),
    ("records/s", 0, |report| report.records_per_s),
    ("MB/s", 1, |report| report.mb_per_s),
    ("of raw disk", 2, |report| Some(report.mb_per_s? / report.raw_disk_mb_per_s?)),
    ("p50 ms", 2, |report| report.p50_ms),
    ("p99 ms", 2, |report| report.p99_ms),
    ("p99.9 ms", 2, |report| report.p999_ms),
    ("max ms", 1, |report| report.max_ms),
    ("cluster CPU s/M", 1, |report| report.cluster_cpu_s_per_million),
    ("disk bytes/byte", 2, |report| report.disk_bytes_per_payload_byte),
    ("RSS MiB", 0, |report| report.rss_mb_max),
];

/// One table, in Markdown: a row for each workload of each binary, and where there are two of them
/// a row with the ratios.
pub fn table(runs: &[Run]) -> String {
    let mut rows = vec![vec!["workload".to_owned()]];
    rows[0].extend(COLUMNS.map(|(heading, _, _)| heading.to_owned()));
    rows[0].push("notes".to_owned());
    let first = runs.first().map_or(1, |run| run.repetition);
    let workloads = runs.iter().filter(|run| (run.system, run.repetition) == (0, first));
    for one in workloads.map(|run| &run.report) {
        let of = |system| {
            let same = |run: &&Run| run.system == system && run.report.is_like(one);
            runs.iter().filter(same).map(|run| &run.report).collect::<Vec<_>>()
        };
        let (ours, others) = (of(0), of(1));
        rows.push(row(&one.workload, &ours));
        if !others.is_empty() {
            rows.push(row("- the other binary", &others));
            rows.push(ratios("- the first / the other", &ours, &others));
        }
    }
    markdown(&rows)
}

fn row(label: &str, reports: &[&Report]) -> Vec<String> {
    let cell = |digits: usize, figure: &dyn Fn(&Report) -> Option<f64>| {
        let values = reports.iter().filter_map(|report| figure(report));
        Spread::of(values).map_or_else(String::new, |spread| spread.show(digits))
    };
    let mut cells = vec![label.to_owned()];
    cells.extend(COLUMNS.map(|(_, digits, figure)| cell(digits, &figure)));
    let mut notes = Vec::new();
    if reports.iter().any(|report| report.longest_gap_ms.is_some()) {
        notes.push(format!("longest gap {} ms", cell(0, &|report| report.longest_gap_ms)));
    }
    let sum = |count: fn(&Report) -> Option<u64>| {
        let counts = reports.iter().filter_map(|report| count(report));
        counts.reduce(|one, other| one + other)
    };
    if let Some(lost) = sum(|report| report.lost) {
        let duplicated = sum(|report| report.duplicated).unwrap_or(0);
        notes.push(format!("{lost} lost, {duplicated} doubled"));
    }
    if reports.iter().any(|report| report.cluster_cpu_share.is_some()) {
        let share = cell(1, &|report| report.cluster_cpu_share.map(|share| share * 100.0));
        notes.push(format!("{share}% of one core"));
    }
    cells.push(notes.join("; "));
    cells
}

/// Repetition by repetition, so that a machine that is slower for a while slows both.
fn ratios(label: &str, ours: &[&Report], others: &[&Report]) -> Vec<String> {
    let mut cells = vec![label.to_owned()];
    cells.extend(COLUMNS.map(|(_, _, figure)| {
        let pairs = ours.iter().zip(others);
        let ratios = pairs.filter_map(|(ours, other)| Some(figure(ours)? / figure(other)?));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()))
            .map_or_else(String::new, |spread| format!("{}x", spread.show(2)))
    }));
    // The window is the same.
    cells[1].clear();
    cells.push(String::new());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(system: usize, repetition: u32, in_flight: usize, rate: Option<f64>) -> Run {
        let report = Report { in_flight: Some(in_flight), ..Report::new("x", 3, 100) };
        let report = Report { records_per_s: rate, lost: Some(1), duplicated: Some(0), ..report };
        Run { repetition, system, binary: "kontiki".to_owned(), report }
    }

    fn lines(table: &str) -> Vec<Vec<String>> {
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        table.lines().map(cells).collect()
    }

    #[test]
    fn repeated_runs_are_a_median_and_a_range() {
        let rates = [30.0, 10.0, 20.0];
        let runs = (1..).zip(rates).flat_map(|(repetition, rate)| {
            [run(0, repetition, 1, Some(rate)), run(0, repetition, 64, Some(rate * 10.0))]
        });
        let table = table(&runs.collect::<Vec<_>>());
        let lines = lines(&table);
        assert_eq!(lines.len(), 4, "{table}");
        assert_eq!(lines[2][1..4], ["x", "1", "20 (10-30)"]);
        assert_eq!(lines[3][1..4], ["x", "64", "200 (100-300)"]);
        assert_eq!(lines[2][13], "3 lost, 0 doubled");
    }

    #[test]
    fn two_binaries_are_compared_turn_by_turn() {
        let (ours, others) = ([100.0, 50.0, 80.0], [50.0, 25.0, 10.0]);
        let mut runs = Vec::new();
        for (repetition, (ours, other)) in (1..).zip(ours.into_iter().zip(others)) {
            runs.push(run(0, repetition, 1, Some(ours)));
            runs.push(run(1, repetition, 1, Some(other)));
        }
        let table = table(&runs);
        let lines = lines(&table);
        assert_eq!(lines.len(), 5, "{table}");
        assert_eq!(lines[2][1..4], ["x", "1", "80 (50-100)"]);
        assert_eq!(lines[3][1..4], ["- the other binary", "1", "25 (10-50)"]);
        assert_eq!(lines[4][1..4], ["- the first / the other", "", "2.00 (2.00-8.00)x"]);
        assert_eq!(lines[4][5], "", "nothing was measured");
    }

    #[test]
    fn absent_figures_are_absent() {
        let run = run(0, 1, 1, None);
        let json = serde_json::to_string(&run).expect("it is plain data");
        assert!(!json.contains("p50_ms"), "{json}");
        assert!(json.contains("\"workload\":\"x\"") && json.contains("\"repetition\":1"), "{json}");
        let table = table(&[run]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines.iter().all(|line| line.chars().count() == lines[0].chars().count()),
            "{table}"
        );
    }

    #[test]
    fn rates_and_costs_are_per_record() {
        let mut report = Report::new("x", 3, 1_000);
        report.rate(500, 0.5);
        assert_eq!(report.records_per_s, Some(1_000.0));
        assert_eq!(report.mb_per_s, Some(1.0));
        let cluster = Cost { cpu_s: 2.0, written_bytes: 1_500_000, rss_bytes: 1 << 20 };
        report.costs(500, cluster, Cost::default());
        report.written(500, cluster);
        assert_eq!(report.cluster_cpu_s_per_million, Some(4_000.0));
        assert_eq!(report.disk_bytes_per_payload_byte, Some(3.0));
        assert_eq!(report.rss_mb_max, Some(1.0));
    }
}
