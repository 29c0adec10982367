//! What a workload found, as one JSON object or as a row of a table.

use serde::Serialize;

use super::figures::{Cost, Latencies};

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

    /// Adds what the nodes wrote for a number of records.
    pub fn written(&mut self, records: u64, cluster: Cost) {
        let payload = records as f64 * self.record_bytes as f64;
        self.disk_bytes_per_payload_byte = Some(cluster.written_bytes as f64 / payload);
    }
}

const HEADINGS: [&str; 13] = [
    "workload",
    "in flight",
    "records/s",
    "MB/s",
    "of raw disk",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "max ms",
    "cluster CPU s/M",
    "disk bytes/byte",
    "RSS MiB",
    "notes",
];

/// One table, in Markdown.
pub fn table(reports: &[Report]) -> String {
    let mut rows: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(reports.iter().map(cells));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(&format!("| {} |\n", padded.join(" | ")));
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push_str(&format!("|-{}-|\n", rule.join("-|-")));
        }
    }
    text
}

fn cells(report: &Report) -> Vec<String> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    let share = report.mb_per_s.zip(report.raw_disk_mb_per_s).map(|(ours, raw)| ours / raw);
    let mut notes = Vec::new();
    if let Some(gap) = report.longest_gap_ms {
        notes.push(format!("longest gap {gap:.0} ms"));
    }
    if let (Some(lost), Some(duplicated)) = (report.lost, report.duplicated) {
        notes.push(format!("{lost} lost, {duplicated} doubled"));
    }
    if let Some(share) = report.cluster_cpu_share {
        notes.push(format!("{:.1}% of one core", share * 100.0));
    }
    vec![
        report.workload.clone(),
        report.in_flight.map_or_else(String::new, |number| number.to_string()),
        number(report.records_per_s, 0),
        number(report.mb_per_s, 1),
        number(share, 2),
        number(report.p50_ms, 2),
        number(report.p99_ms, 2),
        number(report.p999_ms, 2),
        number(report.max_ms, 1),
        number(report.cluster_cpu_s_per_million, 1),
        number(report.disk_bytes_per_payload_byte, 2),
        number(report.rss_mb_max, 0),
        notes.join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_figures_are_absent() {
        let report = Report::new("x", 3, 100);
        let json = serde_json::to_string(&report).expect("it is plain data");
        assert!(!json.contains("p50_ms"), "{json}");
        let table = table(&[report]);
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
