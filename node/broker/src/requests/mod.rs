//! Requests that are answered: a message of a queue, and a reply that finds its way back.
//!
//! The node that is asked keeps the caller in a table (`waiting`) under a random token, and sends
//! the request as a message with an address (`address`) that names this node and the token. Any
//! node takes the reply, and passes it to the one that the address names. What waits is in memory
//! only: a caller whose node dies has to ask again.

mod address;
mod waiting;

use std::time::Duration;

use bytes::Bytes;
use kontiki_records::Header;
use kontiki_storage::id::NodeId;
use tokio::time::Instant;

use self::address::Address;
pub(crate) use self::waiting::Waiting;
use crate::core::{Broker, Core};
use crate::error::{Code, Error, Kind};
use crate::options::bounds;
use crate::queues::{Outgoing, Send};

/// The header of a request that says where its reply goes.
pub const REPLY_TO: &str = "kontiki.reply-to";
/// The header of a request, and of a reply in a queue, that says which request it is.
pub const CORRELATION_ID: &str = "kontiki.correlation-id";
/// The header of a reply in a queue that says why the request could not be done.
pub const REPLY_ERROR: &str = "kontiki.reply-error";

/// Something to be done and answered.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The queue of those who do it.
    pub queue: String,
    /// The message. How long it lives, and the nodes' own headers, are set here.
    pub message: Outgoing,
    /// How long the reply is waited for.
    pub timeout: Duration,
}

/// What a caller gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The reply's body.
    pub body: Bytes,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// Why it could not be done, in words of whoever replied.
    pub error: Option<String>,
    /// Of the request.
    pub correlation_id: String,
}

/// A reply to a request.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// What the request's header [`REPLY_TO`] says, or `queue:` and a name.
    pub reply_to: String,
    /// Its body.
    pub body: Bytes,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// Why it could not be done.
    pub error: Option<String>,
    /// Of the request; only used where the reply goes to a queue.
    pub correlation_id: String,
}

impl Broker {
    /// Sends a request to a queue, and waits for its reply.
    ///
    /// # Errors
    /// As [`Broker::send`]; too many wait on this node; no reply in time.
    pub async fn request(&self, request: Request) -> Result<Answer, Error> {
        let core = &self.0;
        let Request { queue, mut message, timeout } = request;
        let timeout = timeout.min(Duration::from_millis(bounds::TIMEOUT_MS_MAX.into()));
        let deadline = Instant::now() + timeout;
        if core.is_stopping() {
            return Err(Error::stopping());
        }
        let token = (core.random)();
        let correlation_id = format!("{:032x}", u128::from_be_bytes((core.random)()));
        let retry_after_ms = core.options.requests.retry_after_ms;
        let mut place = core.requests.begin(token, retry_after_ms)?;
        let address = Address::Caller { node: core.node, token };
        message.headers.push(Header::new(REPLY_TO, address.to_string()));
        message.headers.push(Header::new(CORRELATION_ID, correlation_id.clone()));
        let left = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX).max(1);
        message.time_to_live_ms = Some(left);
        if message.deduplication_id.is_empty() {
            // Two requests with the same body are two requests, whatever the queue thinks of that.
            let (_, settings) = core.queue(&queue)?;
            if settings.deduplication == kontiki_domain::queue::Deduplication::Content {
                message.deduplication_id.clone_from(&correlation_id);
            }
        }
        let send = Send { queue: queue.clone(), messages: vec![message], timeout };
        let sending = self.send(send);
        tokio::pin!(sending);
        // Why it isn't known whether the request was sent; that it was, where there is no reason.
        let mut unsure = None;
        let mut sent = false;
        loop {
            tokio::select! {
                biased;
                reply = &mut place.reply => {
                    let reply = reply.map_err(|_| Error::internal("a caller was forgotten"))?;
                    return Ok(Answer { correlation_id, ..reply });
                }
                done = &mut sending, if !sent => {
                    sent = true;
                    match done {
                        Ok(_) => {}
                        // It may have been: then there will be a reply.
                        Err(error) if error.kind == Kind::Unknown => unsure = Some(error),
                        Err(error) => return Err(error),
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    return Err(unsure.unwrap_or_else(|| no_reply(&queue, timeout, sent)));
                }
                () = core.stopped() => return Err(abandoned(&queue)),
            }
        }
    }

    /// Takes a reply to wherever it is waited for.
    ///
    /// # Errors
    /// An address that is none, nobody who waits any more, a node that can't be reached, and what
    /// sending to a queue fails with.
    pub async fn reply(&self, reply: Reply) -> Result<(), Error> {
        let core = &self.0;
        let Reply { reply_to, body, headers, error, correlation_id } = reply;
        let address = Address::parse(&reply_to)?;
        check_length("error", error.as_deref(), bounds::REPLY_ERROR_BYTES_MAX)?;
        let id = Some(correlation_id.as_str());
        check_length("correlation_id", id, bounds::CORRELATION_ID_BYTES_MAX)?;
        let bytes = body.len() + headers.iter().map(header_bytes).sum::<usize>();
        if bytes > bounds::REPLY_BYTES_MAX {
            let expected = format!("at most {} for body and headers", bounds::REPLY_BYTES_MAX);
            return Err(Error::invalid("the size of the reply", bytes, &expected));
        }
        match address {
            Address::Caller { node, token } => {
                let _share = core.produce_budget.take(bytes).ok_or_else(|| {
                    let options = &core.options.produce;
                    let name = "broker.produce.in_flight_bytes_max";
                    Error::throttled(name, options.in_flight_bytes_max, options.retry_after_ms)
                })?;
                let answer = Answer { body, headers, error, correlation_id: String::new() };
                core.answer(node, token, answer).await
            }
            Address::Queue(queue) => {
                let mut headers = headers;
                if !correlation_id.is_empty() {
                    headers.push(Header::new(CORRELATION_ID, correlation_id));
                }
                if let Some(error) = error {
                    headers.push(Header::new(REPLY_ERROR, error));
                }
                let message = Outgoing { body, headers, ..Outgoing::default() };
                let timeout = Duration::from_millis(bounds::TIMEOUT_MS_DEFAULT.into());
                let messages = vec![message];
                let sent = self.send(Send { queue, messages, timeout }).await;
                sent.map(|_| ()).map_err(|error| error.about("reply_to"))
            }
        }
    }
}

impl Core {
    async fn answer(&self, node: NodeId, token: [u8; 16], answer: Answer) -> Result<(), Error> {
        if node == self.node {
            return self.requests.complete(token, answer);
        }
        // A node that has left took its callers with it.
        let mut peer = self.router.peer(node).ok_or_else(waiting::nobody_waits)?;
        let within = Duration::from_millis(self.options.route.timeout_ms);
        let mut request = tonic::Request::new(waiting::pass_on(token, answer));
        request.set_timeout(within);
        let passed = tokio::time::timeout(within, peer.pass_reply(request)).await;
        let why = match passed {
            Ok(Ok(passed)) => {
                let failure = passed.into_inner().failure;
                return failure.map_or(Ok(()), |failure| Err(failure.into()));
            }
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => "no answer in time".to_owned(),
        };
        let detail = format!(
            "node {node}, where the caller waits, can't be reached ({why}); it can't be told \
             whether it has the reply: reply again, which does no harm"
        );
        Err(Error::new(Kind::Unknown, Code::OUTCOME_UNKNOWN, detail))
    }
}

fn header_bytes(header: &Header) -> usize {
    header.name.len() + header.value.as_ref().map_or(0, Bytes::len)
}

fn check_length(field: &str, text: Option<&str>, limit: usize) -> Result<(), Error> {
    match text.map(str::len).filter(|length| *length > limit) {
        None => Ok(()),
        Some(length) => {
            let expected = format!("at most {limit} bytes");
            Err(Error::invalid(field, format!("{length} bytes"), &expected))
        }
    }
}

fn no_reply(queue: &str, timeout: Duration, sent: bool) -> Error {
    let ms = timeout.as_millis();
    if !sent {
        return Error::outcome_unknown(&format!("queue {queue}"));
    }
    let detail = format!(
        "queue {queue} has the request, and nobody replied within {ms} ms; it is delivered to \
         nobody any more, but may have been worked on: see whether somebody receives from the \
         queue, or wait for longer"
    );
    Error::new(Kind::Unknown, Code::NO_REPLY, detail)
}

fn abandoned(queue: &str) -> Error {
    let detail = format!(
        "this node is stopping, and a reply would come to it; the request to queue {queue} may be \
         worked on now, later or never: ask again through another node"
    );
    Error::new(Kind::Unknown, Code::OUTCOME_UNKNOWN, detail)
}
