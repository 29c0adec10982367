//! The configuration in force, as a TOML file that explains itself.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::Config;
use super::meaning::SECTIONS;

/// All settings with their values, each under what it means. The text is a configuration file.
#[must_use]
pub fn to_toml(config: &Config) -> String {
    let table = Value::Table(Table::try_from(config).expect("settings are TOML"));
    let mut text = String::from("# Every setting of this node, with the value that is in force.\n");
    for section in SECTIONS {
        let values = section.name.split('.').try_fold(&table, |at, part| at.get(part));
        let is_section = |name: &str| {
            SECTIONS.iter().any(|other| other.name == format!("{}.{name}", section.name))
        };
        let settings = section.settings();
        if settings.iter().all(|setting| is_section(setting.name)) {
            continue;
        }
        write!(text, "\n[{}]\n", section.name).expect("a string takes everything");
        for setting in settings.iter().filter(|setting| !is_section(setting.name)) {
            for line in &setting.meaning {
                writeln!(text, "# {line}").expect("a string takes everything");
            }
            match values.and_then(|values| values.get(setting.name)) {
                Some(value) => writeln!(text, "{} = {value}", setting.name),
                None => writeln!(text, "# {} =", setting.name),
            }
            .expect("a string takes everything");
        }
    }
    text
}
