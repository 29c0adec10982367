//! What a run says of itself, and what a person is shown of it.
//!
//! [`Finished`] and [`Details`] come from the run's process; [`Failure`] is the report of one that
//! failed, [`Totals`] that of many, [`timeline`] a picture of one.

mod describe;
mod details;
mod failure;
mod last;
mod outcome;
pub mod timeline;
mod totals;

pub use self::details::Details;
pub use self::failure::Failure;
pub use self::outcome::{Finished, Plan, PlannedFault};
pub use self::totals::Totals;
