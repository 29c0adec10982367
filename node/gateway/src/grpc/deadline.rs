//! How long a caller waits: the `grpc-timeout` of its call.
//!
//! The node answers a little earlier, so that the caller learns what became of its request
//! instead of hearing its own clock ring.

use std::time::Duration;

use kontiki_broker::Error;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// The longest that an answer has for its way back, and the part of the time that it gets at most.
const MARGIN_MAX: Duration = Duration::from_millis(50);
const MARGIN_PART: u32 = 10;

/// When a caller wants to have its answer; `None`: it waits for as long as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// That of a call which has just arrived. A header that is no time is passed over, as gRPC's
    /// own libraries do.
    pub(super) fn of(metadata: &MetadataMap) -> Self {
        let header = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok());
        let timeout = header.and_then(parse);
        let answer = |timeout: Duration| timeout - (timeout / MARGIN_PART).min(MARGIN_MAX);
        Self(timeout.and_then(|timeout| Instant::now().checked_add(answer(timeout))))
    }

    /// The nearer of this time and the deadline; at least a millisecond.
    pub(super) fn bounds(self, wanted: Duration) -> Duration {
        let Some(deadline) = self.0 else { return wanted };
        let left = deadline.saturating_duration_since(Instant::now());
        wanted.min(left.max(Duration::from_millis(1)))
    }

    /// Waits for an outcome, until the deadline.
    ///
    /// # Errors
    /// The outcome's own; that it is unknown, after the deadline.
    pub(super) async fn within<T>(
        self,
        verb: &str,
        outcome: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(deadline) = self.0 else { return outcome.await };
        let late = |_| Error::outcome_unknown(verb);
        tokio::time::timeout_at(deadline, outcome).await.map_err(late)?
    }
}

/// A `TimeoutValue TimeoutUnit` of the gRPC protocol over HTTP/2: one to eight digits, and one of
/// H, M, S, m, u, n.
fn parse(header: &str) -> Option<Duration> {
    let unit = header.chars().next_back()?;
    let digits = header.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3_600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_broker::Kind;

    fn deadline(header: &'static str) -> Deadline {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", tonic::metadata::MetadataValue::from_static(header));
        Deadline::of(&metadata)
    }

    #[test]
    fn all_units_are_read() {
        assert_eq!(parse("3H"), Some(Duration::from_secs(10_800)));
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("10S"), Some(Duration::from_secs(10)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(parse("0S"), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_no_timeout_is_passed_over() {
        for header in ["", "S", "10", "10s", "+1S", "-1S", "1 S", "123456789S", "1.5S", "é", "1é"]
        {
            assert_eq!(parse(header), None, "{header:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_nearer_time_wins() {
        let minute = Duration::from_secs(60);
        assert_eq!(Deadline::of(&MetadataMap::new()).bounds(minute), minute);
        assert_eq!(deadline("90S").bounds(minute), minute);
        assert_eq!(deadline("10S").bounds(minute), Duration::from_millis(9_950));
        assert_eq!(deadline("100m").bounds(minute), Duration::from_millis(90));
        assert_eq!(deadline("0S").bounds(minute), Duration::from_millis(1));
        assert_eq!(deadline("soon").bounds(minute), minute);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_after_the_deadline_is_unknown() {
        let never = std::future::pending::<Result<(), Error>>();
        let error = deadline("1S").within("CreateTopic", never).await.expect_err("never");
        assert_eq!(error.kind, Kind::Unknown);
        assert!(error.detail.starts_with("CreateTopic"));
        let done = deadline("1S").within("CreateTopic", async { Ok(5) }).await;
        assert_eq!(done, Ok(5));
    }
}
