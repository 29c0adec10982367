//! `kontiki sim`: the simulation, which is a program of its own. It replaces the clock and the
//! random numbers of its process, so it must never be linked into this one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::exit::{Exit, Failure};

/// The program.
const PROGRAM: &str = "kontiki-sim";

/// What the simulation is told.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// Everything that follows, as it is: `kontiki sim --help` shows what there is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Becomes that program; its exit status is this one's.
///
/// # Errors
/// It isn't there, or can't be started.
pub fn run(args: &SimArgs) -> Result<(), Failure> {
    let program = find().ok_or_else(|| {
        let why = anyhow!(
            "there is no {PROGRAM} beside this program or in PATH; `make sim` builds it, as does \
             `cargo build --profile simulation -p kontiki-simulation`"
        );
        Failure::new(Exit::Failed, why)
    })?;
    let mut command = Command::new(&program);
    become_it(command.args(&args.arguments))
        .with_context(|| format!("{} can't be started", program.display()))?;
    Ok(())
}

/// Beside this program, else in PATH.
fn find() -> Option<PathBuf> {
    let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    let this = std::env::current_exe().ok();
    let beside = this.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(beside.into_iter().chain(std::env::split_paths(&path)), &name)
}

fn find_in(mut folders: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
}

#[cfg(unix)]
fn become_it(command: &mut Command) -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    // It returns only where it fails.
    Err(command.exec())
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> std::io::Result<()> {
    let status = command.status()?;
    std::process::exit(status.code().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command as Chosen};

    #[test]
    fn every_word_reaches_the_simulation_as_it_is() {
        for words in [
            &["run", "--seeds", "9", "--output=json", "--help"][..],
            &["--help"],
            &["-h"],
            &["--version"],
            &["help", "run"],
            &["replay", "--seed", "1", "--", "x"],
            &[],
        ] {
            let all = ["kontiki", "sim"].into_iter().chain(words.iter().copied());
            let cli = Cli::try_parse_from(all).expect("anything is taken");
            let Chosen::Sim(args) = cli.command else { panic!("{cli:?}") };
            assert_eq!(args.arguments, words);
        }
    }

    #[test]
    fn the_program_is_looked_for_in_order() {
        let folder = tempfile::tempdir().expect("there is room");
        let folders = ["one", "two", "three"].map(|name| folder.path().join(name));
        for folder in &folders[1..] {
            std::fs::create_dir(folder).expect("there is room");
            std::fs::write(folder.join(PROGRAM), "").expect("there is room");
        }
        let found = find_in(folders.iter().cloned(), PROGRAM);
        assert_eq!(found, Some(folders[1].join(PROGRAM)));
        assert_eq!(find_in(folders.into_iter().take(1), PROGRAM), None);
    }
}
