//! `list`: what there is.

use std::fmt::Write as _;

use super::names::{self, Named};

/// Profiles, kinds of faults, promises, deliberate bugs.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    let mutants = names::mutants().into_iter().map(|name| Named { name, about: "" }).collect();
    let tables: [(&str, Vec<Named>); 4] = [
        ("Profiles (--profile)", names::profiles()),
        ("Kinds of faults", names::fault_kinds()),
        ("Checks, with the promises that they hold us to", names::checks()),
        ("Deliberate bugs (--mutant)", mutants),
    ];
    for (title, rows) in tables {
        let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        let _ = writeln!(text, "{title}");
        for Named { name, about } in rows {
            let line = format!("  {name:width$}  {about}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_chosen_is_listed() {
        let text = list();
        for name in names::profiles().iter().map(|profile| profile.name).chain(names::mutants()) {
            assert!(text.contains(&format!("\n  {name}")), "{name} is not in\n{text}");
        }
    }
}
