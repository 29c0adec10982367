//! Publishes messages.

use std::time::Duration;

use kontiki_broker::Error;
use kontiki_broker::exchanges::{Publication, Publish, Published};
use kontiki_broker::options::bounds;
use kontiki_proto::v1;

use crate::grpc::deadline::Deadline;
use crate::grpc::queue::outgoing;
use crate::grpc::{Service, fields};

/// Copies of messages up to which an answer lists their ids.
const IDS_MAX: usize = 1_000;

type PublishedResult = v1::publish_response::Result;

/// What a request asks for.
pub(super) fn asked(request: v1::PublishRequest, deadline: Deadline) -> Result<Publish, Error> {
    let v1::PublishRequest { exchange, messages, timeout_ms, correlation_id: _ } = request;
    let timeout_ms = match timeout_ms {
        0 => bounds::TIMEOUT_MS_DEFAULT,
        timeout_ms => fields::fits("timeout_ms", timeout_ms, bounds::TIMEOUT_MS_MAX)?,
    };
    let publications = (0_usize..).zip(messages).map(|(at, publication)| {
        let v1::Publication { routing_key, mandatory, message, cc, bcc } = publication;
        let message = outgoing(message.unwrap_or_default())
            .map_err(|error| error.about(format_args!("messages[{at}]")))?;
        Ok(Publication { routing_key, cc, bcc, mandatory, message })
    });
    let messages = publications.collect::<Result<_, Error>>()?;
    let timeout = deadline.bounds(Duration::from_millis(timeout_ms.into()));
    Ok(Publish { exchange, messages, timeout })
}

impl Service {
    pub(super) async fn publish_messages(
        &self,
        request: v1::PublishRequest,
        deadline: Deadline,
    ) -> Result<v1::PublishResponse, Error> {
        let published = self.broker.publish(asked(request, deadline)?).await?;
        Ok(v1::PublishResponse { results: self.published(published) })
    }

    /// What became of the messages of one request.
    pub(super) fn published(
        &self,
        published: Vec<Result<Published, Error>>,
    ) -> Vec<PublishedResult> {
        let copies: usize = published.iter().flatten().map(|one| one.copies.len()).sum();
        let result = |outcome: Result<Published, Error>| match outcome {
            Ok(Published { copies: sent }) => {
                let queues = u32::try_from(sent.len()).unwrap_or(u32::MAX);
                let ids = sent.into_iter().map(|sent| sent.message_id);
                let message_ids = if copies > IDS_MAX { Vec::new() } else { ids.collect() };
                PublishedResult { error: None, queues, message_ids }
            }
            Err(error) => PublishedResult {
                error: Some(self.error(error)),
                queues: 0,
                message_ids: Vec::new(),
            },
        };
        published.into_iter().map(result).collect()
    }
}
