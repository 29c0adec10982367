//! Many runs, each in a process of its own: much of what a process has (task numbers, the seeds of
//! hash tables) is counted from its start, so a second run in one process would not be the same as
//! in a fresh one.
//!
//! * [`Scene`]: what decides a run; `one` is the run in its own process, `child` the other side
//! * `parallel`: several children at a time
//! * `batch`, `replay`, `twice`, `mutants`, `list`: the commands
//! * `failed`: what is done about a failure, with `shrink`
//! * `names`: what can be chosen on the command line
//!
//! What runs in these threads is the real world: real time, real files. Nothing of it is simulated.

mod batch;
mod child;
mod clock;
mod failed;
mod list;
mod mutants;
mod names;
mod numbers;
mod one;
mod orphan;
mod parallel;
mod progress;
mod replay;
mod scene;
mod scratch;
mod shrink;
pub mod terminal;
mod twice;

pub use self::batch::{BatchArgs, Output, run as batch};
pub use self::child::{ChildArgs, Children, Ended};
pub use self::list::list;
pub use self::mutants::{MutantsArgs, run as mutants};
pub use self::numbers::Numbers;
pub use self::one::{OneArgs, announce, run as one};
pub use self::parallel::Stop;
pub use self::replay::{ReplayArgs, run as replay};
pub use self::scene::{Scene, Variant};
pub use self::shrink::{Shrunk, shrink};
pub use self::twice::{DeterminismArgs, run as check_determinism};

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// A promise was broken, or a run died.
    Failed,
}

/// The exit status of a process that can't run the simulation at all. It is that of a wrong command
/// line as well.
pub const UNABLE: u8 = 2;
