//! Messages: send, receive, settle, peek; and how they look on the wire.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_broker::Error;
use kontiki_broker::options::bounds;
use kontiki_broker::queues::{
    Action, Message, Outgoing, Receive, Said, Send, Sent, Settle, Settled, Standing,
};
use kontiki_proto::v1;
use kontiki_records::Header;

use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

type SentResult = v1::send_response::Result;

/// Messages that a peek returns when the client doesn't say.
const PEEKED_DEFAULT: u32 = 10;

impl Service {
    /// Sends messages. They have their place in the queue when this returns.
    pub(super) fn send_messages(
        &self,
        request: v1::SendRequest,
        deadline: Deadline,
    ) -> Result<impl Future<Output = Result<Vec<SentResult>, Error>> + use<>, Error> {
        let v1::SendRequest { queue, messages, timeout_ms, correlation_id: _ } = request;
        fields::present("queue", &queue)?;
        let timeout_ms = match timeout_ms {
            0 => bounds::TIMEOUT_MS_DEFAULT,
            timeout_ms => fields::fits("timeout_ms", timeout_ms, bounds::TIMEOUT_MS_MAX)?,
        };
        let outgoing = (0_usize..).zip(messages).map(|(at, message)| {
            outgoing(message).map_err(|error| error.about(format_args!("messages[{at}]")))
        });
        let messages = outgoing.collect::<Result<_, _>>()?;
        let timeout = deadline.bounds(Duration::from_millis(timeout_ms.into()));
        let sent = self.broker.send(Send { queue, messages, timeout });
        let result =
            |Sent { message_id, duplicate }| v1::send_response::Result { message_id, duplicate };
        Ok(async move { Ok(sent.await?.into_iter().map(result).collect()) })
    }

    pub(super) async fn receive_messages(
        &self,
        request: v1::ReceiveRequest,
        deadline: Deadline,
    ) -> Result<v1::ReceiveResponse, Error> {
        let v1::ReceiveRequest { queue, max_messages, lease_ms, wait_ms, consumer, priority } =
            request;
        fields::present("queue", &queue)?;
        let lease_ms = lease(lease_ms)?;
        // Whoever gives up before is not to be leased a message.
        let wait = deadline.bounds(Duration::from_millis(wait_ms.into()));
        let wait_ms = if wait_ms == 0 { 0 } else { u32::try_from(wait.as_millis()).unwrap_or(0) };
        let max = max_messages.max(1);
        let receive = Receive { queue, max, lease_ms, wait_ms, consumer, priority };
        let received = deadline.within("Receive", self.broker.receive(receive)).await?;
        Ok(v1::ReceiveResponse { messages: received.into_iter().map(incoming).collect() })
    }

    pub(super) async fn settle_all(
        &self,
        verb: &str,
        queue: String,
        receipts: Vec<String>,
        action: Result<Action, Error>,
        said: Option<Arc<Said>>,
        deadline: Deadline,
    ) -> Result<v1::SettleResponse, Error> {
        fields::present("queue", &queue)?;
        let action = action?;
        let settle = |receipt| Settle { receipt, action, said: said.clone() };
        let settlements = receipts.into_iter().map(settle).collect();
        let results = deadline.within(verb, self.settle_each(&queue, settlements)).await?;
        Ok(v1::SettleResponse { results })
    }

    async fn settle_each(
        &self,
        queue: &str,
        settlements: Vec<Settle>,
    ) -> Result<Vec<v1::settle_response::Result>, Error> {
        let receipts: Vec<String> = settlements.iter().map(|one| one.receipt.clone()).collect();
        let settled = self.broker.settle(queue, settlements).await?;
        let outcomes = receipts.into_iter().zip(settled);
        let result = |(receipt, outcome)| settled_one(receipt, outcome, |error| self.error(error));
        Ok(outcomes.map(result).collect())
    }

    pub(super) async fn peek_messages(
        &self,
        request: v1::PeekRequest,
        deadline: Deadline,
    ) -> Result<v1::PeekResponse, Error> {
        let v1::PeekRequest { queue, from, max_messages } = request;
        fields::present("queue", &queue)?;
        let max = if max_messages == 0 { PEEKED_DEFAULT } else { max_messages };
        let peeked = deadline.within("Peek", self.broker.peek(&queue, from, max)).await?;
        let messages = peeked.messages.into_iter().map(|(message, standing)| {
            let standing = match standing {
                Standing::Available => v1::peek_response::Standing::Available,
                Standing::Leased => v1::peek_response::Standing::Leased,
                Standing::Scheduled => v1::peek_response::Standing::Scheduled,
                Standing::Moving => v1::peek_response::Standing::Moving,
            };
            v1::peek_response::Peeked {
                message: Some(incoming(message)),
                standing: standing.into(),
            }
        });
        Ok(v1::PeekResponse {
            messages: messages.collect(),
            next: peeked.next.unwrap_or(0),
            more: peeked.next.is_some(),
        })
    }
}

/// What became of one settlement.
pub(super) fn settled_one(
    receipt: String,
    outcome: Result<Settled, Error>,
    wire: impl FnOnce(Error) -> v1::Error,
) -> v1::settle_response::Result {
    let (error, lease_until_ms) = match outcome {
        Ok(Settled { lease_until_ms }) => (None, lease_until_ms.unwrap_or(0)),
        Err(error) => (Some(wire(error)), 0),
    };
    v1::settle_response::Result { receipt, error, lease_until_ms }
}

/// 0 is the queue's own.
pub(super) fn lease(lease_ms: u64) -> Result<Option<i64>, Error> {
    let lease_ms: i64 = fields::fits("lease_ms", lease_ms, i64::MAX)?;
    Ok((lease_ms > 0).then_some(lease_ms))
}

/// What is said about a failure, if it is anything.
pub(super) fn said(class: String, error: String) -> Option<Arc<Said>> {
    let something = !class.is_empty() || !error.is_empty();
    something.then(|| Arc::new(Said { class, error }))
}

pub(super) fn acknowledged(even_if_ended: bool) -> Action {
    if even_if_ended { Action::Delete } else { Action::Acknowledge }
}

pub(super) fn released(delay_ms: Option<u64>, failed: bool) -> Result<Action, Error> {
    let delay_ms = delay_ms.map(|delay| fields::fits("delay_ms", delay, i64::MAX)).transpose()?;
    Ok(Action::Release { delay_ms, failed })
}

pub(super) fn extended(lease_ms: u64) -> Result<Action, Error> {
    Ok(Action::Extend { lease_ms: fields::fits("lease_ms", lease_ms, i64::MAX)? })
}

/// Headers of a client, which may not pass for the nodes' own.
pub(in crate::grpc) fn own_headers(headers: Vec<v1::Header>) -> Result<Vec<Header>, Error> {
    let headers = headers.into_iter().map(|header| {
        let v1::Header { name, value } = header;
        if name.starts_with(bounds::RESERVED_PREFIX) {
            let expected = format!("a name that doesn't begin with {}", bounds::RESERVED_PREFIX);
            return Err(Error::invalid("the name of a header", name, &expected));
        }
        Ok(Header { name: Bytes::from(name), value })
    });
    headers.collect()
}

/// Headers as clients see them.
pub(in crate::grpc) fn shown_headers(headers: Vec<Header>) -> Vec<v1::Header> {
    let header =
        |header: Header| v1::Header { name: header.name_lossy().into_owned(), value: header.value };
    headers.into_iter().map(header).collect()
}

pub(in crate::grpc) fn outgoing(message: v1::OutgoingMessage) -> Result<Outgoing, Error> {
    let v1::OutgoingMessage { key, body, headers, delay_ms, deliver_at_ms, .. } = message;
    let v1::OutgoingMessage { time_to_live_ms, priority, group, deduplication_id, .. } = message;
    let span = |field: &str, value: Option<u64>| {
        value.map(|value| fields::fits(field, value, i64::MAX)).transpose()
    };
    Ok(Outgoing {
        key,
        body,
        headers: own_headers(headers)?,
        delay_ms: span("delay_ms", delay_ms)?,
        deliver_at_ms,
        time_to_live_ms: span("time_to_live_ms", time_to_live_ms)?,
        priority: fields::fits("priority", priority, u8::MAX)?,
        group,
        deduplication_id,
    })
}

pub(super) fn incoming(message: Message) -> v1::IncomingMessage {
    v1::IncomingMessage {
        message_id: message.message_id,
        receipt: message.receipt,
        key: message.key,
        body: message.body,
        headers: shown_headers(message.headers),
        sent_ms: message.sent_ms,
        deliveries: message.acquired,
        failures: message.failed,
        until_ms: message.lease_until_ms,
        group: message.group,
        priority: message.priority.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_headers_and_numbers_out_of_bounds_are_named() {
        let header = v1::Header { name: "kontiki.group".to_owned(), value: None };
        let wrong = v1::OutgoingMessage { headers: vec![header], ..Default::default() };
        assert!(outgoing(wrong).expect_err("reserved").detail.contains("kontiki.group"));
        let wrong = v1::OutgoingMessage { priority: 256, ..Default::default() };
        assert!(outgoing(wrong).expect_err("256").detail.starts_with("priority is 256"));
        let wrong = v1::OutgoingMessage { delay_ms: Some(u64::MAX), ..Default::default() };
        assert!(outgoing(wrong).expect_err("too long").detail.starts_with("delay_ms is"));
        assert_eq!(lease(0), Ok(None));
    }
}
