//! Which crate may know which. An arrow that is not in [`ALLOWED`] is a mistake in the design,
//! even where it compiles.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::repository::Text;

/// For each crate of ours, those of ours that it may depend upon. What only its tests use counts
/// too, except for [`FOR_TESTS`].
pub const ALLOWED: &[(&str, &[&str])] = &[
    ("kontiki-records", &[]),
    ("kontiki-routing", &[]),
    ("kontiki-proto", &[]),
    ("kontiki-storage", &[]),
    ("kontiki-storage-rocks", &["kontiki-storage"]),
    ("kontiki-domain", &["kontiki-storage"]),
    ("kontiki-filter", &[]),
    ("kontiki-raft", &["kontiki-storage", "kontiki-proto"]),
    (
        "kontiki-broker",
        &[
            "kontiki-domain",
            "kontiki-filter",
            "kontiki-proto",
            "kontiki-raft",
            "kontiki-records",
            "kontiki-routing",
            "kontiki-storage",
        ],
    ),
    (
        "kontiki-gateway",
        &[
            "kontiki-broker",
            "kontiki-domain",
            "kontiki-storage",
            "kontiki-proto",
            "kontiki-records",
        ],
    ),
    ("kontiki-client", &["kontiki-proto", "kontiki-records"]),
    ("kontiki-figures", &[]),
    ("kontiki-peers", &["kontiki-client", "kontiki-figures"]),
    (
        "kontiki",
        &[
            "kontiki-broker",
            "kontiki-client",
            "kontiki-domain",
            "kontiki-figures",
            "kontiki-gateway",
            "kontiki-peers",
            "kontiki-proto",
            "kontiki-raft",
            "kontiki-records",
            "kontiki-storage",
            "kontiki-storage-rocks",
        ],
    ),
    // All but the server and RocksDB: no process is both a node and a simulation.
    (
        "kontiki-simulation",
        &[
            "kontiki-broker",
            "kontiki-client",
            "kontiki-domain",
            "kontiki-gateway",
            "kontiki-proto",
            "kontiki-raft",
            "kontiki-records",
            "kontiki-storage",
        ],
    ),
    ("kontiki-it", &["kontiki-client", "kontiki-proto", "kontiki-records"]),
    ("kontiki-tidy", &["kontiki-proto"]),
];

/// What a crate's tests may use on top: nothing at present.
pub const FOR_TESTS: &[(&str, &[&str])] = &[];

/// Crates of others that only one of ours may name.
pub const WALLS: &[(&str, &str)] = &[
    ("rocksdb", "kontiki-storage-rocks"),
    ("librocksdb-sys", "kontiki-storage-rocks"),
    ("openraft", "kontiki-raft"),
    ("turmoil", "kontiki-simulation"),
    ("lapin", "kontiki-peers"),
    ("async-nats", "kontiki-peers"),
];

/// What the pure crates may not depend upon, not even for their tests: their own clocks, sockets
/// and random numbers would come with it.
pub const BANNED: &[(&str, &[&str])] = &[
    ("kontiki-domain", &["tokio", "rand", "tonic", "tracing", "futures-util"]),
    ("kontiki-records", &["tokio", "rand", "tonic"]),
    ("kontiki-filter", &["tokio", "rand", "tonic", "tracing", "futures-util"]),
    ("kontiki-routing", &["tokio", "rand", "tonic", "tracing", "futures-util"]),
];

/// Every arrow that is not allowed, in the manifests of the workspace.
#[must_use]
pub fn wrong_arrows(manifests: &[&Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in manifests {
        let table: toml::Table = match manifest.text.parse() {
            Ok(table) => table,
            Err(error) => {
                findings.push(Finding::new(&manifest.path, 1, format!("not TOML: {error}")));
                continue;
            }
        };
        // The root has no package.
        let Some(name) = table.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str())
        else {
            continue;
        };
        check(manifest, name, &table, &mut findings);
    }
    findings
}

fn check(manifest: &Text, name: &str, table: &toml::Table, findings: &mut Vec<Finding>) {
    let mut complain = |dependency: &str, message: String| {
        findings.push(Finding::new(&manifest.path, line_of(&manifest.text, dependency), message));
    };
    let Some(allowed) = entry(ALLOWED, name) else {
        complain("name", format!("{name} is new: say in tests/tidy what it may depend upon"));
        return;
    };
    let for_tests = entry(FOR_TESTS, name).unwrap_or_default();
    for (dependency, is_test) in dependencies(table) {
        let ours = dependency == "kontiki" || dependency.starts_with("kontiki-");
        let known = allowed.contains(&dependency.as_str())
            || is_test && for_tests.contains(&dependency.as_str());
        if ours && !known {
            complain(&dependency, format!("{name} may not know {dependency}"));
        }
        if let Some((_, owner)) = WALLS.iter().find(|(walled, _)| *walled == dependency)
            && *owner != name
        {
            complain(&dependency, format!("only {owner} may name {dependency}"));
        }
        if entry(BANNED, name).unwrap_or_default().contains(&dependency.as_str()) {
            complain(&dependency, format!("{name} is pure: it may not depend on {dependency}"));
        }
    }
}

fn entry<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

/// The dependencies of a package with whether only its tests use them.
fn dependencies(table: &toml::Table) -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let mut collect = |table: &toml::Table| {
        for (section, is_test) in
            [("dev-dependencies", true), ("dependencies", false), ("build-dependencies", false)]
        {
            let entries = table.get(section).and_then(|s| s.as_table());
            for key in entries.into_iter().flat_map(toml::Table::keys) {
                found.insert(key.clone(), is_test);
            }
        }
    };
    collect(table);
    let targets = table.get("target").and_then(|t| t.as_table());
    for target in targets.into_iter().flat_map(toml::Table::values) {
        if let Some(target) = target.as_table() {
            collect(target);
        }
    }
    found
}

fn line_of(text: &str, dependency: &str) -> usize {
    let at = text.lines().position(|line| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    });
    at.map_or(1, |index| index + 1)
}

/// Crates of the table above that have no manifest, and entries of [`ALLOWED`] that go in circles.
#[must_use]
pub fn stale_arrows(manifests: &[&Text]) -> Vec<String> {
    let names: BTreeSet<String> = manifests
        .iter()
        .filter_map(|manifest| manifest.text.parse::<toml::Table>().ok())
        .filter_map(|table| Some(table.get("package")?.get("name")?.as_str()?.to_owned()))
        .collect();
    let mut stale: Vec<String> = ALLOWED
        .iter()
        .filter(|(name, _)| !names.contains(*name))
        .map(|(name, _)| format!("{name} has no Cargo.toml"))
        .collect();
    for (name, _) in ALLOWED {
        if reaches(name, name, ALLOWED.len()) {
            stale.push(format!("{name} may depend on itself"));
        }
    }
    stale
}

fn reaches(from: &str, goal: &str, steps: usize) -> bool {
    let next = entry(ALLOWED, from).unwrap_or_default();
    steps > 0 && next.iter().any(|name| *name == goal || reaches(name, goal, steps - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn findings(text: &str) -> Vec<String> {
        let manifest = Text { path: PathBuf::from("x/Cargo.toml"), text: text.to_owned() };
        wrong_arrows(&[&manifest]).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn wrong_arrows_are_found_where_they_are_written() {
        let text = "[package]\nname = \"kontiki-domain\"\n[dependencies]\nkontiki-raft.workspace \
                    = true\nkontiki-storage.workspace = true\n[dev-dependencies]\ntokio = \"1\"\n";
        assert_eq!(
            findings(text),
            [
                "x/Cargo.toml:4: kontiki-domain may not know kontiki-raft",
                "x/Cargo.toml:7: kontiki-domain is pure: it may not depend on tokio",
            ]
        );
    }

    #[test]
    fn walls_and_unknown_crates_are_found() {
        let text = "[package]\nname = \"kontiki-raft\"\n[target.'cfg(unix)'.dependencies]\n\
                    rocksdb = \"1\"\n";
        assert_eq!(findings(text), ["x/Cargo.toml:4: only kontiki-storage-rocks may name rocksdb"]);
        assert_eq!(findings("[package]\nname = \"kontiki-new\"\n").len(), 1);
        assert_eq!(findings("[workspace]\n"), [""; 0]);
    }
}
