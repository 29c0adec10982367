//! The Kontiki binary: `kontiki server` is a node, `kontiki dev` a cluster on one machine, the rest
//! are commands of a client. This crate composes; what it composes is in the other crates.

mod bench;
mod cli;
mod commands;
mod config;
mod dev;
mod exit;
mod http;
mod net;
mod server;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kontiki: {failure}");
            ExitCode::from(failure.status)
        }
    }
}
