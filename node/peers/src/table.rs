//! What all runs found, as one table in Markdown or as one JSON object for each row.

use std::collections::BTreeMap;

use kontiki_figures::{Spread, markdown};
use serde::Serialize;

use crate::figures::{Figure, Figures, ratios, spreads};

/// One workload on one system.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which one, with what tells its runs apart.
    pub workload: String,
    /// `kontiki`, or a peer with its version.
    pub peer: String,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// How often it was run.
    pub repetitions: usize,
    /// Median and range of each figure.
    pub figures: BTreeMap<Figure, Spread>,
    /// How many times ours it is, repetition by repetition; nothing for ours.
    pub times_ours: BTreeMap<Figure, Spread>,
}

/// What one system found: for each workload the figures of its repetitions.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// `kontiki`, or a peer with its version.
    pub peer: String,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// Workload, repetition, figures.
    pub runs: BTreeMap<String, BTreeMap<u32, Figures>>,
}

/// Rows by workload in the order of `workloads`, ours first; `found` begins with ours. Whoever has
/// no run of a workload has no row.
#[must_use]
pub fn rows(workloads: &[String], found: &[Found]) -> Vec<Row> {
    let nothing = BTreeMap::new();
    let mut rows = Vec::new();
    for workload in workloads {
        for (index, system) in found.iter().enumerate() {
            let Some(runs) = system.runs.get(workload) else { continue };
            let ours = match index {
                0 => &nothing,
                _ => found[0].runs.get(workload).unwrap_or(&nothing),
            };
            rows.push(Row {
                workload: workload.clone(),
                peer: system.peer.clone(),
                durability: system.durability,
                repetitions: runs.len(),
                figures: spreads(runs),
                times_ours: ratios(runs, ours),
            });
        }
    }
    rows
}

/// One table, in Markdown. A cell is the median, the range, and how many times ours it is.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let shown: Vec<Figure> = Figure::ALL
        .into_iter()
        .filter(|figure| rows.iter().any(|row| row.figures.contains_key(figure)))
        .collect();
    let mut headings = vec!["workload".to_owned(), "system".to_owned(), "acknowledged".to_owned()];
    headings.extend(shown.iter().map(|figure| figure.heading().to_owned()));
    let mut lines = vec![headings];
    lines.extend(rows.iter().map(|row| {
        let mut cells = vec![row.workload.clone(), row.peer.clone(), row.durability.to_owned()];
        cells.extend(shown.iter().map(|figure| cell(row, *figure)));
        cells
    }));
    markdown(&lines)
}

fn cell(row: &Row, figure: Figure) -> String {
    let Some(spread) = row.figures.get(&figure) else { return String::new() };
    let mut text = number(spread.median);
    if row.repetitions > 1 {
        text.push_str(&format!(" ({}-{})", number(spread.min), number(spread.max)));
    }
    if let Some(ratio) = row.times_ours.get(&figure) {
        text.push_str(&format!(" {}x", number(ratio.median)));
    }
    text
}

/// Three digits that count, or all before the point.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, values: &[f64]) -> Found {
        let run = |value: &f64| Figures::from([(Figure::ClusterCpuSPerMillion, *value)]);
        let runs = (0..).zip(values.iter().map(run)).collect();
        Found {
            peer: peer.to_owned(),
            durability: "quorum, fsync",
            runs: [("produce, 64 in flight".to_owned(), runs)].into(),
        }
    }

    #[test]
    fn a_peer_is_shown_as_a_multiple_of_ours() {
        let workloads = ["queue".to_owned(), "produce, 64 in flight".to_owned()];
        let both = [found("kontiki", &[10.0, 20.0, 40.0]), found("other", &[50.0, 60.0, 120.0])];
        let rows = rows(&workloads, &both);
        assert_eq!(rows.len(), 2);
        let table = table(&rows);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[2].contains("| 20.0 (10.0-40.0) "), "{table}");
        assert!(lines[3].contains("| 60.0 (50.0-120) 3.00x "), "{table}");
        assert!(!lines[0].contains("gap"), "{table}");
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width), "{table}");
    }

    #[test]
    fn a_row_is_one_json_object() {
        let rows = rows(&["produce, 64 in flight".to_owned()], &[found("kontiki", &[1.0])]);
        let json = serde_json::to_string(&rows[0]).expect("it is plain data");
        assert!(json.contains(r#""cluster_cpu_s_per_million":{"median":1.0"#), "{json}");
        assert!(json.contains(r#""times_ours":{}"#), "{json}");
    }
}
