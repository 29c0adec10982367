//! What the process tells about itself: a log, figures, and traces where they are asked for.

mod log;
mod metrics;
mod options;
mod process;
mod shards;
mod storage;
mod traces;

pub use self::log::{Telemetry, install_for_commands, panics};
pub use self::metrics::{Connections, Metrics};
pub use self::options::TelemetryOptions;
pub use self::traces::request_span;
