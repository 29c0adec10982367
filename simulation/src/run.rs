//! One run.

use crate::report::{Details, Finished};
use crate::runner::OneArgs;

/// Runs what is asked for, in this process.
///
/// # Errors
/// The run can't be made.
pub fn one(_: &OneArgs) -> anyhow::Result<(Finished, Details)> {
    anyhow::bail!("not linked yet")
}
