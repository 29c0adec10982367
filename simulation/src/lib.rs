//! A whole Kontiki cluster in one thread: the broker, Raft, the state machines, the gRPC services
//! and the client are those that are shipped; clock, network and disk are simulated.
//!
//! One number, the seed, decides everything that happens in a run. The same seed gives the same
//! run, byte for byte, in every process.
//!
//! * [`entropy`]: time and random numbers of the process come from the seed
//! * [`profile`]: what a seed decides: nodes, settings, workloads, faults
//! * [`cluster`]: the nodes, their network, disks and clocks
//! * [`faults`]: what goes wrong, one file for each kind
//! * [`workload`]: what clients do, one file for each kind of operation
//! * [`history`]: what clients asked and were answered; [`trace`]: everything that happened
//! * [`check`]: the promises, one file for each
//! * [`report`]: what a person is shown
//! * [`mod@run`]: one run; [`runner`]: many of them, each in a process of its own
//! * [`cli`]: the command line

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulation needs `--cfg tokio_unstable`, which .cargo/config.toml sets, so that the \
     random choices of tokio come from the seed. A RUSTFLAGS variable in the environment replaces \
     that file: unset it, or add `--cfg tokio_unstable` to it"
);

#[cfg(not(debug_assertions))]
compile_error!(
    "the simulation must be compiled with its assertions: use `--profile simulation` (as `make \
     sim` does) or the dev profile"
);

pub mod bug;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod entropy;
pub mod faults;
pub mod history;
pub mod profile;
pub mod report;
pub mod run;
pub mod runner;
pub mod trace;
pub mod workload;
