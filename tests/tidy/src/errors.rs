//! Every number that an error can have is in the README, once: it is what a program's author
//! looks up.

use std::collections::BTreeMap;

use crate::Finding;
use crate::repository::Repository;
use crate::source::Source;

/// The state machines' refusals: `Self::Name { .. } => 103,`.
const REFUSALS: &str = "node/domain/src/rejection/codes.rs";
/// Those of exchanges, which are numbered among them.
const EXCHANGES: &str = "node/domain/src/rejection/exchanges.rs";
/// The broker's own: `pub const NAME: Self = Self(1000);`.
const BROKER: &str = "node/broker/src/error/code.rs";

/// Numbers without a row in the README, rows without a number, and numbers that are there twice.
#[must_use]
pub fn undocumented(repository: &Repository) -> Vec<Finding> {
    let mut used = BTreeMap::new();
    let mut findings = Vec::new();
    let refusal = refusal as fn(&str) -> Option<u32>;
    for (path, number_of) in [(REFUSALS, refusal), (EXCHANGES, refusal), (BROKER, constant)] {
        let Some(source) = repository.sources.iter().find(|s| s.path.ends_with(path)) else {
            findings.push(Finding::new(path, 1, "gone: tell tests/tidy where the numbers are"));
            continue;
        };
        collect(source, number_of, &mut used, &mut findings);
    }
    let readme = repository.named("README.md").find(|text| text.path.components().count() == 1);
    let Some(readme) = readme else {
        return vec![Finding::new("README.md", 1, "there is none")];
    };
    let mut rows = BTreeMap::new();
    for (index, line) in readme.text.lines().enumerate() {
        if let Some(number) = row(line)
            && rows.insert(number, index + 1).is_some()
        {
            findings.push(Finding::new(&readme.path, index + 1, format!("{number} twice")));
        }
    }
    for (number, (path, line)) in &used {
        if !rows.contains_key(number) {
            let message = format!("{number} has no row in the README's table of errors");
            findings.push(Finding::new(path, *line, message));
        }
    }
    for (number, line) in &rows {
        if !used.contains_key(number) {
            findings.push(Finding::new(&readme.path, *line, format!("no error has {number}")));
        }
    }
    findings
}

fn collect(
    source: &Source,
    number_of: fn(&str) -> Option<u32>,
    used: &mut BTreeMap<u32, (std::path::PathBuf, usize)>,
    findings: &mut Vec<Finding>,
) {
    for (line_number, line) in source.product_lines() {
        if let Some(number) = number_of(&line.code)
            && used.insert(number, (source.path.clone(), line_number)).is_some()
        {
            findings.push(Finding::new(&source.path, line_number, format!("{number} twice")));
        }
    }
}

fn refusal(code: &str) -> Option<u32> {
    let (variant, number) = code.trim().split_once(" => ")?;
    variant.starts_with("Self::").then(|| number.trim_end_matches(',').parse().ok())?
}

fn constant(code: &str) -> Option<u32> {
    let (_, number) = code.trim().strip_prefix("pub const ")?.split_once(": Self = Self(")?;
    number.strip_suffix(");")?.parse().ok()
}

/// The number of a row of the table: `| 103 | INVALID | … |`.
fn row(line: &str) -> Option<u32> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let number = cells.next()?.parse().ok()?;
    let kind = cells.next()?;
    kind.chars().all(|c| c.is_ascii_uppercase() || c == '_').then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Text;
    use std::path::PathBuf;

    #[test]
    fn a_missing_row_and_a_superfluous_one_are_found() {
        let source = |path: &str, text: &str| Source::parse(PathBuf::from(path), text);
        let readme = "# x\n| 1 | INVALID | a |\n| 260 | NOT_FOUND | c |\n| 7 | INVALID | b |\n";
        let repository = Repository {
            texts: vec![Text { path: PathBuf::from("README.md"), text: readme.to_owned() }],
            sources: vec![
                source(REFUSALS, "Self::A { .. } => 1,\nSelf::B => 2,\n"),
                source(EXCHANGES, "Self::Unknown { .. } => 260,\n"),
                source(BROKER, "    pub const C: Self = Self(1000);\n"),
            ],
        };
        let mut found: Vec<String> =
            undocumented(&repository).iter().map(Finding::to_string).collect();
        found.sort();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("README.md:4: no error has 7"), "{found:?}");
        assert!(found[1].contains("code.rs:1: 1000 has no row"), "{found:?}");
        assert!(found[2].contains("codes.rs:2: 2 has no row"), "{found:?}");
    }
}
