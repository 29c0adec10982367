//! Every limit has a name in an `Options` struct, and every such name says what it means: its
//! unit, its default, what happens when it is reached.

use crate::Finding;
use crate::source::{Line, Source};

/// The public fields of the structs `Options`, `…Options` and `Limits` that have no doc comment.
#[must_use]
pub fn undocumented(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let mut inside: Option<String> = None;
        let mut depth = 0_usize;
        for (number, line) in source.product_lines() {
            if inside.is_none() {
                inside = struct_name(&line.code).filter(|name| is_options(name));
                depth = 0;
                if inside.is_none() {
                    continue;
                }
            } else if depth == 1
                && let Some(field) = field_name(&line.code)
                && !is_documented(&source.lines, number - 1)
            {
                let name = inside.as_deref().unwrap_or_default();
                let message = format!("{name}.{field} has no doc comment: unit, default, effect");
                findings.push(Finding::new(&source.path, number, message));
            }
            depth += line.code.matches('{').count();
            depth = depth.saturating_sub(line.code.matches('}').count());
            if depth == 0 || line.code.trim_end().ends_with(';') {
                inside = None;
            }
        }
    }
    findings
}

fn is_options(name: &str) -> bool {
    name.ends_with("Options") || name == "Limits"
}

fn struct_name(code: &str) -> Option<String> {
    let (before, rest) = code.split_once("struct ")?;
    if !matches!(before.trim(), "" | "pub" | "pub(crate)" | "pub(super)") {
        return None;
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

fn field_name(code: &str) -> Option<&str> {
    let (name, _) = code.trim().strip_prefix("pub ")?.split_once(':')?;
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(name)
}

fn is_documented(lines: &[Line], index: usize) -> bool {
    let above = lines[..index].iter().rev();
    let mut past_attributes =
        above.skip_while(|line| line.code.trim_start().starts_with("#[") || is_continued(line));
    past_attributes.next().is_some_and(|line| line.comment.starts_with("///"))
}

/// The later lines of an attribute that is written over several.
fn is_continued(line: &Line) -> bool {
    line.code.trim() == ")]"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_field_without_a_word_is_found() {
        let text = concat!(
            "/// All of it.\npub struct Options {\n",
            "    /// Milliseconds.\n    #[serde(default)]\n    pub wait_ms: u64,\n",
            "    pub mystery: u64,\n}\n",
            "pub struct Other {\n    pub free: u64,\n}\n",
            "pub struct FetchOptions {\n    pub also: u64,\n}\n",
        );
        let source = Source::parse(PathBuf::from("raft/src/options.rs"), text);
        let lines: Vec<usize> = undocumented(&[source]).iter().map(|f| f.line).collect();
        assert_eq!(lines, [6, 12]);
    }
}
