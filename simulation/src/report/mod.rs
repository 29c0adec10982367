//! What a run says of itself, and what a person is shown of it.

mod outcome;

pub use self::outcome::{Finished, Plan, PlannedFault};
