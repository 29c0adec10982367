//! How a file looks: its length, its lines, its header, words that have no business in it.

use crate::Finding;
use crate::repository::Text;
use crate::source::Source;

/// The longest file, in lines.
pub const FILE_LINES_MAX: usize = 600;
/// The longest line of code, in letters; rustfmt can't break every line.
pub const LINE_LETTERS_MAX: usize = 100;

/// Files that are longer than a person reads in one go.
#[must_use]
pub fn long_files(sources: &[Source]) -> Vec<Finding> {
    let long = sources.iter().filter(|source| source.lines.len() > FILE_LINES_MAX);
    long.map(|source| {
        let message = format!(
            "{} lines, at most {FILE_LINES_MAX}: split it along what it does",
            source.lines.len()
        );
        Finding::new(&source.path, FILE_LINES_MAX + 1, message)
    })
    .collect()
}

/// Lines that don't fit beside another file. A row of a documentation table can't be broken, nor
/// can a line with an address in it.
#[must_use]
pub fn long_lines(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (number, line) in source.numbered() {
            let letters = line.text.chars().count();
            let unbreakable = line.comment.contains("//! |")
                || line.comment.contains("/// |")
                || line.text.contains("://");
            if letters > LINE_LETTERS_MAX && !unbreakable {
                let message = format!("{letters} letters, at most {LINE_LETTERS_MAX}");
                findings.push(Finding::new(&source.path, number, message));
            }
        }
    }
    findings
}

/// Files that don't open with `//!`: what the module is, and what it is not. Test files may do
/// without.
#[must_use]
pub fn missing_headers(sources: &[Source]) -> Vec<Finding> {
    let product = sources.iter().filter(|source| source.lines.iter().any(|line| !line.is_test));
    let without = product.filter(|source| {
        let first = source.lines.iter().find(|line| !line.text.trim().is_empty());
        !first.is_some_and(|line| line.text.starts_with("//!"))
    });
    without
        .map(|source| {
            Finding::new(&source.path, 1, "no `//!` header: say what this module is, and is not")
        })
        .collect()
}

/// File names that say nothing.
#[must_use]
pub fn empty_names(sources: &[Source]) -> Vec<Finding> {
    const EMPTY: [&str; 8] =
        ["utils", "util", "common", "helpers", "helper", "misc", "impls", "manager"];
    let mut findings = Vec::new();
    for source in sources {
        for part in source.path.components() {
            let part = part.as_os_str().to_string_lossy();
            let name = part.strip_suffix(".rs").unwrap_or(&part);
            if EMPTY.contains(&name) {
                let message = format!("`{name}` says nothing: name what it holds");
                findings.push(Finding::new(&source.path, 1, message));
            }
        }
    }
    findings
}

/// Words that must not be in any file: hosts of package registries (a build takes its packages
/// through their ordinary clients, with whatever mirror the machine has), and merge markers. They
/// are put together here so that this file doesn't hold them itself.
#[must_use]
pub fn forbidden_words(texts: &[Text]) -> Vec<Finding> {
    let words: Vec<String> = [
        ["static.crates", ".io"],
        ["index.crates", ".io"],
        ["pypi", ".org"],
        ["files.pythonhosted", ".org"],
        ["registry.npmjs", ".org"],
        ["proxy.golang", ".org"],
        ["deb.debian", ".org"],
        ["<<<<<<", "< "],
        [">>>>>>", "> "],
    ]
    .map(|halves| halves.concat())
    .to_vec();
    let mut findings = Vec::new();
    for text in texts {
        // The lock file of cargo names the registry; cargo writes it.
        if text.path.ends_with("Cargo.lock") {
            continue;
        }
        for (index, line) in text.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                let message = format!("`{word}` must not be written in this repository");
                findings.push(Finding::new(&text.path, index + 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn source(path: &str, text: &str) -> Vec<Source> {
        vec![Source::parse(PathBuf::from(path), text)]
    }

    #[test]
    fn each_rule_can_fail() {
        let long = "//! x\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(long_files(&source("a/src/b.rs", &long)).len(), 1);
        assert_eq!(long_files(&source("a/src/b.rs", "//! x\n")), []);

        let wide = format!("//! x\nlet a = {};\n", "1".repeat(LINE_LETTERS_MAX));
        assert_eq!(long_lines(&source("a/src/b.rs", &wide))[0].line, 2);

        assert_eq!(missing_headers(&source("a/src/b.rs", "use a;\n")).len(), 1);
        assert_eq!(missing_headers(&source("a/src/b.rs", "//! It is b.\nuse a;\n")), []);
        assert_eq!(missing_headers(&source("a/src/b_test.rs", "use a;\n")), []);

        assert_eq!(empty_names(&source("a/src/utils.rs", "//! x\n")).len(), 1);
        assert_eq!(empty_names(&source("a/common/b.rs", "//! x\n")).len(), 1);
    }

    #[test]
    fn forbidden_words_are_found_with_their_line() {
        let host = ["pypi", ".org"].concat();
        let text = Text { path: PathBuf::from("README.md"), text: format!("fine\nsee {host}/x\n") };
        let findings = forbidden_words(&[text]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 2);
    }
}
