//! What measurements have in common, ours (`kontiki bench`) and those of other brokers
//! (`kontiki bench peers`). No part of a node.
//!
//! - [`Cost`]: what processes have cost so far, from `/proc`
//! - [`Latencies`]: many of them, and their percentiles
//! - [`Spread`]: what several runs found of one figure
//! - [`markdown`]: a table

mod cost;
mod latencies;
mod spread;
mod table;

pub use self::cost::Cost;
pub use self::latencies::Latencies;
pub use self::spread::Spread;
pub use self::table::markdown;
