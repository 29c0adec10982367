//! Which offset a position is.

use std::time::Duration;

use kontiki_proto::v1;
use tokio::time::Instant;
use v1::list_offsets_request::{Query, query::At};

use super::Position;
use crate::backoff::Backoff;
use crate::{Client, Error};

/// The offset of a position in a partition, as its leader knows it.
pub(crate) async fn find(
    client: &Client,
    topic: &str,
    partition: u32,
    position: Position,
) -> Result<u64, Error> {
    let at = match position {
        Position::Offset(offset) => return Ok(offset),
        Position::Earliest => At::Earliest(true),
        Position::Latest => At::Latest(true),
        Position::Timestamp(ms) => At::TimestampMs(ms),
    };
    match ask(client, topic, partition, at).await? {
        Some(offset) => Ok(offset),
        None => Ok(ask(client, topic, partition, At::Latest(true)).await?.unwrap_or(0)),
    }
}

/// One query, again while its partition has no leader. `None`: there is no such record.
async fn ask(client: &Client, topic: &str, partition: u32, at: At) -> Result<Option<u64>, Error> {
    let options = client.options();
    let end = Instant::now() + Duration::from_millis(options.retry_timeout_ms);
    let mut backoff = Backoff::new(options);
    loop {
        let query = Query { topic: topic.to_owned(), partition, at: Some(at) };
        let routing = v1::Routing::Forward.into();
        let request = v1::ListOffsetsRequest { queries: vec![query], routing };
        let answer = client.admin().list_offsets(request).await?;
        let result = answer.results.into_iter().next().ok_or_else(|| {
            let message = format!("no answer about the offsets of {topic}/{partition}");
            Error::new(v1::ErrorKind::Internal, message)
        })?;
        let Some(error) = result.error else {
            return Ok(result.found.then_some(result.offset));
        };
        let error = Error::from(error);
        let pause = backoff.next(error.retry_after_ms);
        if !error.is_retriable() || Instant::now() + pause >= end {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
}
