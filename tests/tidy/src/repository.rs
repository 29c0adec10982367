//! The files of the repository, found by walking it from its root. What git ignores by name (build
//! products, data) is passed over; git itself is not needed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::Source;

/// Folders that are never entered, wherever they are.
const PASSED_OVER: [&str; 4] = ["target", ".git", "data", "node_modules"];

/// A text file.
#[derive(Debug, Clone)]
pub struct Text {
    /// From the root of the repository.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// Everything that the rules look at.
#[derive(Debug, Default)]
pub struct Repository {
    /// Every text file, Rust or not.
    pub texts: Vec<Text>,
    /// The Rust files, taken apart.
    pub sources: Vec<Source>,
}

impl Repository {
    /// Reads the repository that this crate stands in.
    ///
    /// # Panics
    /// Where a file can't be read.
    #[must_use]
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .expect("the crate lies two folders below the root")
            .to_path_buf();
        let mut paths = Vec::new();
        walk(&root, &mut paths);
        paths.sort();
        let mut repository = Self::default();
        for path in paths {
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let path = path.strip_prefix(&root).expect("found below the root").to_path_buf();
            if path.extension().is_some_and(|e| e == "rs") {
                repository.sources.push(Source::parse(path.clone(), &text));
            }
            repository.texts.push(Text { path, text });
        }
        assert!(repository.sources.len() > 10, "{} holds no sources", root.display());
        repository
    }

    /// The text files of this name, e.g. `Cargo.toml`.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Text> {
        self.texts.iter().filter(move |text| text.path.file_name().is_some_and(|n| n == name))
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let kind = entry.file_type().unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let name = entry.file_name();
        if kind.is_dir() {
            if !PASSED_OVER.iter().any(|passed| name == *passed) {
                walk(&entry.path(), found);
            }
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}
