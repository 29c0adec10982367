//! One Rust file, taken apart just far enough for the rules: for every line its code without
//! comments and without what stands in strings, its comments, and whether it belongs to tests.
//!
//! Not a parser of Rust. It knows comments (nested ones too), strings (raw ones too), character
//! literals and braces.

use std::path::{Path, PathBuf};

mod lexer;

/// One line of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// As it is written.
    pub text: String,
    /// Its code; what is inside of strings and characters is left out, their quotes stay.
    pub code: String,
    /// Its comments with their slashes.
    pub comment: String,
    /// Compiled for tests only.
    pub is_test: bool,
}

/// One Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the root of the repository.
    pub path: PathBuf,
    /// Its lines, in order.
    pub lines: Vec<Line>,
}

impl Source {
    /// Takes a file apart.
    #[must_use]
    pub fn parse(path: PathBuf, text: &str) -> Self {
        let mut lines = lexer::lines(text);
        if is_test_file(&path) {
            lines.iter_mut().for_each(|line| line.is_test = true);
        } else {
            mark_test_modules(&mut lines);
        }
        Self { path, lines }
    }

    /// The lines that are compiled into the product, with their numbers from 1.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.numbered().filter(|(_, line)| !line.is_test)
    }

    /// All lines with their numbers from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Whether all of a file is tests: those in a folder `tests`, and the siblings that a module puts
/// its tests in.
fn is_test_file(path: &Path) -> bool {
    let in_tests = path.components().any(|part| part.as_os_str() == "tests");
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    in_tests || stem == "tests" || stem.ends_with("_test") || stem.ends_with("_tests")
}

/// Marks what follows a `#[cfg(test)]`: one item, to its closing brace or semicolon.
fn mark_test_modules(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        if lines[at].code.trim_start().starts_with("#[cfg(test)]") {
            let end = end_of_item(lines, at);
            lines[at..=end].iter_mut().for_each(|line| line.is_test = true);
            at = end;
        }
        at += 1;
    }
}

fn end_of_item(lines: &[Line], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, line) in lines.iter().enumerate().skip(start) {
        for letter in line.code.chars() {
            match letter {
                '{' => depth += 1,
                '}' if depth <= 1 => return index,
                '}' => depth -= 1,
                ';' if depth == 0 => return index,
                _ => {}
            }
        }
    }
    lines.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse(PathBuf::from("some/file.rs"), text)
    }

    #[test]
    fn strings_and_comments_are_no_code() {
        let source = parse(concat!(
            "let a = \"dbg!(\\\" // no\"; // a comment with \"quotes\"\n",
            "let b = r#\"todo!() \" more\"#; let c = '\"'; let d: &'static str = \"x\";\n",
            "/* one /* two */ still\ncomment */ code();\n",
            "let s = \"over\ntwo lines\"; done();\n",
        ));
        let code: Vec<&str> = source.lines.iter().map(|line| line.code.trim()).collect();
        assert_eq!(code[0], "let a = \"\";");
        assert_eq!(source.lines[0].comment, "// a comment with \"quotes\"");
        assert_eq!(code[1], "let b = r\"\"; let c = ''; let d: &'static str = \"\";");
        assert_eq!(code[2], "");
        assert_eq!(code[3], "code();");
        assert_eq!(code[4], "let s = \"");
        assert_eq!(code[5], "\"; done();");
    }

    #[test]
    fn tests_are_told_from_the_product() {
        let source = parse(concat!(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x {} }\n}\n",
            "#[cfg(test)]\n#[path = \"b_test.rs\"]\nmod more;\nfn c() {}\n",
        ));
        let product: Vec<usize> = source.product_lines().map(|(number, _)| number).collect();
        assert_eq!(product, [1, 9]);
        let sibling = Source::parse(PathBuf::from("raft/src/codec_test.rs"), "fn a() {}\n");
        assert!(sibling.lines[0].is_test);
    }
}
