//! What may not be written in the product, beyond what the compiler and clippy refuse.

use std::path::Path;

use crate::Finding;
use crate::source::Source;

/// A piece of code that is refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// The code, as it would be written.
    pub code: &'static str,
    /// Why, and what to do.
    pub reason: &'static str,
    /// Files below these folders, or of these names, may write it.
    pub allowed: &'static [&'static str],
}

/// Whoever may look at a real clock: processes, those who measure, the one file of a crate that
/// hands time to the rest of it, and a deliberate bug that consists in it.
const CLOCKS: &[&str] = &["node/server", "clients", "tests", "clock.rs", "raft/src/mutant.rs"];

/// Refused in all code that is compiled into the product.
pub const REFUSED: &[Refused] = &[
    Refused { code: "todo!", reason: "finish it", allowed: &[] },
    Refused { code: "unimplemented!", reason: "finish it", allowed: &[] },
    Refused { code: "dbg!", reason: "use tracing", allowed: &[] },
    Refused {
        code: "println!",
        reason: "use tracing",
        allowed: &["node/server", "examples", "build.rs"],
    },
    Refused {
        code: "eprintln!",
        reason: "use tracing",
        allowed: &["node/server", "examples", "build.rs"],
    },
    Refused {
        code: ".unwrap()",
        reason: "answer the error, or `expect` with the reason why it can't happen",
        allowed: &["examples"],
    },
    Refused {
        code: ".expect(\"\")",
        reason: "say why it can't happen",
        // The lexer leaves strings empty, so this one is looked for in the text.
        allowed: &[],
    },
    Refused {
        code: "unbounded_channel",
        reason: "every queue has a limit with a name in an Options struct",
        allowed: &[],
    },
    Refused { code: "unbounded()", reason: "every queue has a limit with a name", allowed: &[] },
    Refused {
        code: "SystemTime::now",
        reason: "time comes from the crate's clock, so that the simulation can set it",
        allowed: CLOCKS,
    },
    Refused {
        code: "std::time::Instant",
        reason: "use tokio::time::Instant, which the simulation can set",
        allowed: CLOCKS,
    },
    Refused { code: "thread_rng", reason: "randomness is handed in, with its seed", allowed: &[] },
    Refused { code: "rand::rng", reason: "randomness is handed in, with its seed", allowed: &[] },
    Refused {
        code: "openraft",
        reason: "only kontiki-raft names the consensus library",
        allowed: &["raft"],
    },
    Refused {
        code: "rocksdb::",
        reason: "only kontiki-storage-rocks names the storage engine",
        allowed: &["storage/rocks"],
    },
];

/// Every place that writes what is refused.
#[must_use]
pub fn refused(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let rules: Vec<&Refused> =
            REFUSED.iter().filter(|rule| !is_allowed(&source.path, rule.allowed)).collect();
        for (number, line) in source.product_lines() {
            for rule in rules.iter().filter(|rule| holds(line, rule.code)) {
                let message = format!("`{}`: {}", rule.code, rule.reason);
                findings.push(Finding::new(&source.path, number, message));
            }
            if !is_allowed(&source.path, CLOCKS) && imports_clock(&line.code) {
                let message =
                    "a clock of std: use tokio::time::Instant, or what the crate is given";
                findings.push(Finding::new(&source.path, number, message));
            }
        }
    }
    findings
}

/// `use std::time::{Duration, Instant}` and the like, on one line.
fn imports_clock(code: &str) -> bool {
    let names = code.trim_start().strip_prefix("use std::time::{").unwrap_or_default();
    let mut names = names.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    names.any(|name| name == "Instant" || name == "SystemTime")
}

fn holds(line: &crate::source::Line, code: &str) -> bool {
    if code.contains("\"\"") {
        return line.text.contains(code) && line.code.contains(code);
    }
    line.code.match_indices(code).any(|(at, _)| {
        let starts_word = code.starts_with(|c: char| c.is_alphanumeric());
        let ends_word = code.ends_with(|c: char| c.is_alphanumeric());
        let before = line.code[..at].chars().next_back();
        let after = line.code[at + code.len()..].chars().next();
        // `openraft_rt` is still openraft; `rngs` is not `rng`.
        (!starts_word || !before.is_some_and(|c| c.is_alphanumeric() || c == '_'))
            && (!ends_word || !after.is_some_and(char::is_alphanumeric))
    })
}

fn is_allowed(path: &Path, allowed: &[&str]) -> bool {
    allowed.iter().any(|allowed| {
        path.starts_with(allowed)
            || path.file_name().is_some_and(|name| name == *allowed)
            || path.components().any(|part| part.as_os_str() == *allowed)
    })
}

/// Every `unsafe` whose lines above don't say why it is sound.
#[must_use]
pub fn unexplained_unsafe(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (number, line) in source.numbered() {
            let is_unsafe = line
                .code
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .any(|word| word == "unsafe");
            if is_unsafe && !is_explained(source, number - 1) {
                let message = "`unsafe` without a `// SAFETY:` comment that says why it is sound";
                findings.push(Finding::new(&source.path, number, message));
            }
        }
    }
    findings
}

/// Whether the line itself or the comment above it, past attributes, says `SAFETY:`.
fn is_explained(source: &Source, index: usize) -> bool {
    let says = |at: usize| source.lines[at].comment.contains("SAFETY:");
    let mut above = index;
    loop {
        if says(above) || source.lines[above].comment.contains("# Safety") {
            return true;
        }
        let Some(next) = above.checked_sub(1) else { return false };
        let code = source.lines[next].code.trim();
        // Within one statement, and through comments and attributes.
        if !(code.is_empty() || code.starts_with("#[") || code.ends_with('=')) {
            return says(next);
        }
        if source.lines[next].text.trim().is_empty() {
            return false;
        }
        above = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn source(path: &str, text: &str) -> Vec<Source> {
        vec![Source::parse(PathBuf::from(path), text)]
    }

    #[test]
    fn every_refused_piece_is_found_in_code_and_nowhere_else() {
        for rule in REFUSED {
            let code = format!("//! x\nlet a = {};\n// {}\n", rule.code, rule.code);
            let findings = refused(&source("node/broker/src/a.rs", &code));
            assert!(findings.iter().any(|f| f.line == 2), "{} is not found", rule.code);
            assert!(findings.iter().all(|f| f.line == 2), "{} in a comment", rule.code);
            let test = refused(&source("node/broker/src/a_test.rs", &code));
            assert_eq!(test, [], "{} in a test", rule.code);
            for allowed in rule.allowed {
                let path = format!("{allowed}/src/a.rs");
                let message = format!("`{}`: {}", rule.code, rule.reason);
                let there = refused(&source(&path, &code));
                assert!(there.iter().all(|f| f.message != message), "{} in {path}", rule.code);
            }
        }
    }

    #[test]
    fn imported_clocks_are_found() {
        let code = "//! x\nuse std::time::{Duration, Instant};\n";
        assert_eq!(refused(&source("raft/src/a.rs", code))[0].line, 2);
        assert_eq!(refused(&source("node/server/src/a.rs", code)), []);
        let code = "//! x\nuse std::time::Duration;\n";
        assert_eq!(refused(&source("raft/src/a.rs", code)), []);
    }

    #[test]
    fn words_within_words_are_not_meant() {
        assert_eq!(refused(&source("raft/src/a.rs", "//! x\nlet a = my_dbg!(1);\n")), []);
        assert_eq!(refused(&source("raft/src/a.rs", "//! x\nx.expect(\"a reason\");\n")), []);
        assert_eq!(refused(&source("raft/src/a.rs", "//! x\nuse rand::rngs::SmallRng;\n")), []);
        let found = refused(&source("node/broker/src/a.rs", "//! x\nuse openraft_rt::Watch;\n"));
        assert_eq!(found.len(), 1, "what belongs to openraft is openraft");
    }

    #[test]
    fn unsafe_needs_its_reason() {
        let without = "fn a() {\n    unsafe { b() }\n}\n";
        assert_eq!(unexplained_unsafe(&source("raft/src/a.rs", without))[0].line, 2);
        let with = "fn a() {\n    // SAFETY: b has no\n    // preconditions.\n    \
                    #[allow(unsafe_code)]\n    unsafe { b() }\n}\n";
        assert_eq!(unexplained_unsafe(&source("raft/src/a.rs", with)), []);
        let lint = "#![deny(unsafe_code)]\n";
        assert_eq!(unexplained_unsafe(&source("raft/src/a.rs", lint)), []);
    }
}
