//! Waiting for conditions, each with a limit and with the last reason why it didn't hold.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// How long a cluster may take for anything that it does by itself: elections, catching up. Far
/// longer than it does take, so that a slow machine is not taken for a fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is `Ok`.
///
/// # Panics
/// After [`PATIENCE`], with the last answer.
pub async fn until<T, E: Display, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    until_within(PATIENCE, what, ask).await
}

/// [`until`] with a limit of its own.
///
/// # Panics
/// After `limit`, with the last answer.
pub async fn until_within<T, E: Display, F>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    loop {
        let why = match ask().await {
            Ok(answer) => return answer,
            Err(why) => why,
        };
        assert!(start.elapsed() < limit, "{what}: still not after {limit:?}: {why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
