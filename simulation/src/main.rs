//! `kontiki-sim`: seeds of a simulated cluster, from the command line. `kontiki sim` hands its
//! arguments to this program, which is one of its own because it replaces the clock and the random
//! numbers of its process: that must never be linked into a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    kontiki_simulation::cli::main()
}
