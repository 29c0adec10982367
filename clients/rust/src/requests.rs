//! Requests that are answered: for those who ask, and for those who reply.

use std::time::Duration;

use bytes::Bytes;
use kontiki_proto::v1;
use v1::requests_client::RequestsClient;

use crate::client::Repeat;
use crate::{Client, Error};

/// Headers that say where a reply goes, and to which request: the nodes' own, and what senders of
/// plain messages may say instead.
const REPLY_TO: [&str; 2] = ["kontiki.reply-to", "reply-to"];
const CORRELATION_ID: [&str; 2] = ["kontiki.correlation-id", "correlation-id"];
/// How long a request waits where it doesn't say.
const TIMEOUT_MS_DEFAULT: u32 = 30_000;
/// What the node has beyond that, to say that nobody replied.
const SPARE: Duration = Duration::from_secs(2);

/// A reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Response {
    /// Its body.
    pub body: Bytes,
    /// Its headers, in order. Names that begin with "kontiki." are the nodes' own.
    pub headers: Vec<v1::Header>,
    /// Why the request could not be done, at most 1,024 bytes; `None`: it was done.
    pub error: Option<String>,
}

impl Response {
    /// It was done.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// It could not be done.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { error: Some(why.into()), ..Self::default() }
    }
}

/// Where the reply to a message goes.
#[derive(Debug, Clone)]
pub(crate) struct ReplyAddress {
    reply_to: String,
    correlation_id: String,
}

impl ReplyAddress {
    /// `None`: the message asks for no reply.
    pub(crate) fn of(message: &v1::IncomingMessage) -> Option<Self> {
        let header = |names: [&str; 2]| {
            let named = |name| message.headers.iter().find(|header| header.name == name);
            let value = names.into_iter().find_map(named)?.value.as_ref()?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let reply_to = header(REPLY_TO)?;
        Some(Self { reply_to, correlation_id: header(CORRELATION_ID).unwrap_or_default() })
    }

    pub(crate) fn request(&self, response: Response) -> v1::ReplyRequest {
        let Response { body, headers, error } = response;
        v1::ReplyRequest {
            reply_to: self.reply_to.clone(),
            body,
            headers,
            error,
            correlation_id: self.correlation_id.clone(),
        }
    }
}

impl Client {
    /// Sends a request to a queue, and waits for its reply. `error` in the answer says that whoever
    /// replied could not do it.
    ///
    /// # Errors
    /// What the nodes refuse; UNAVAILABLE if no node is able to send it within `retry_timeout_ms`;
    /// UNKNOWN if nobody replied in time, or the node failed that waited: it may have been done,
    /// and is not asked for again.
    pub async fn request(&self, request: v1::RequestRequest) -> Result<v1::RequestResponse, Error> {
        let bytes_max = self.options().message_bytes_max;
        let timeout_ms =
            if request.timeout_ms == 0 { TIMEOUT_MS_DEFAULT } else { request.timeout_ms };
        let timeout = Duration::from_millis(timeout_ms.into()) + SPARE;
        let queue = request.queue.clone();
        let send = |channel, request| async move {
            RequestsClient::new(channel)
                .max_decoding_message_size(bytes_max)
                .max_encoding_message_size(bytes_max)
                .request(request)
                .await
        };
        self.call_near_within(&queue, timeout, Repeat::IfNotDone, request, send).await
    }

    /// Replies to a request, with its address as it is in the request's headers.
    ///
    /// # Errors
    /// NOT_FOUND if nobody waits any more; INVALID for what is no address; UNKNOWN if nobody knows
    /// whether the caller has it: replying again does no harm.
    pub async fn reply(&self, reply: v1::ReplyRequest) -> Result<v1::ReplyResponse, Error> {
        let bytes_max = self.options().message_bytes_max;
        self.call(Repeat::IfNotDone, reply, |channel, request| async move {
            RequestsClient::new(channel)
                .max_decoding_message_size(bytes_max)
                .max_encoding_message_size(bytes_max)
                .reply(request)
                .await
        })
        .await
    }

    /// Replies to a message that was received: to the address in its header "kontiki.reply-to", or
    /// else in "reply-to" ("queue:" and a name), with the correlation id in
    /// "kontiki.correlation-id" or "correlation-id".
    ///
    /// # Errors
    /// INVALID if the message asks for no reply; as [`Client::reply`].
    pub async fn respond(
        &self,
        message: &v1::IncomingMessage,
        response: Response,
    ) -> Result<(), Error> {
        let back = ReplyAddress::of(message).ok_or_else(|| {
            Error::invalid("the message has no header kontiki.reply-to or reply-to: acknowledge it")
        })?;
        self.reply(back.request(response)).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)]) -> v1::IncomingMessage {
        let header = |(name, value): &(&str, &str)| v1::Header {
            name: (*name).to_owned(),
            value: Some((*value).to_owned().into()),
        };
        let headers = headers.iter().map(header).collect();
        v1::IncomingMessage { headers, ..Default::default() }
    }

    #[test]
    fn the_nodes_own_address_wins_and_a_plain_one_is_good_too() {
        let plain = [("reply-to", "queue:answers"), ("correlation-id", "17")];
        let back = ReplyAddress::of(&message(&plain)).expect("it has an address");
        let reply = back.request(Response::failed("no"));
        assert_eq!(
            (reply.reply_to.as_str(), reply.correlation_id.as_str()),
            ("queue:answers", "17")
        );
        assert_eq!(reply.error.as_deref(), Some("no"));
        let both = [plain[0], plain[1], ("kontiki.reply-to", "node:1:ab")];
        let back = ReplyAddress::of(&message(&both)).expect("it has an address");
        assert_eq!(back.request(Response::new("x")).reply_to, "node:1:ab");
        assert!(ReplyAddress::of(&message(&[("correlation-id", "17")])).is_none());
    }
}
