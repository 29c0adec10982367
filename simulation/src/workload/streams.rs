//! Messages of all sizes, sent several at a time and received over streams whose credit runs out
//! and comes again, and by calls to nodes of which most don't lead. Consumers settle on the stream
//! and elsewhere, and go with messages in hand: they close their stream, drop it, or read no more.

use std::collections::VecDeque;
use std::time::Duration;

use kontiki_client::{Error, v1};
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use v1::queue_client::QueueClient;
use v1::settlement::{Acknowledged, Extended, Rejected, Released};

use super::direct::{self, PATIENCE, failure};
use super::queue_receive::{delivery, settle};
use super::{BULKY, BULKY_DEAD, Context, LEASE_MS, outcome, record};
use crate::history::{Action, Answer, Call, Delivery, OpId, Outcome, RecordName};

/// How long it is waited for what comes next.
const WAIT: Duration = Duration::from_millis(500);
/// Credit is not made more than this.
const CREDIT_MAX: u32 = 40;
/// Requests that wait for the connection.
const REQUESTS_MAX: usize = 64;
/// How often messages are sent that may have been sent.
const TIMES_MAX: u32 = 6;

/// Sends several messages at a time: all of them are stored, or none.
pub(super) async fn send(mut context: Context) {
    let mut number = 0;
    while !context.stopped() {
        let names: Vec<RecordName> = (0..context.rng.random_range(1..9))
            .map(|more| RecordName { client: context.id.0, number: number + more })
            .collect();
        number += names.len() as u64;
        let outgoing = names.iter().map(|name| v1::OutgoingMessage {
            body: record::bulky(*name, &mut context.rng),
            deduplication_id: format!("{}/{}", name.client, name.number),
            ..v1::OutgoingMessage::default()
        });
        let request = v1::SendRequest {
            queue: BULKY.to_owned(),
            messages: outgoing.collect(),
            timeout_ms: 3_000,
            correlation_id: 0,
        };
        for _ in 0..TIMES_MAX {
            let call = |message: &RecordName| Call::Send {
                queue: BULKY.to_owned(),
                message: *message,
                group: None,
                delay_ms: None,
            };
            let ops: Vec<OpId> = names.iter().map(|name| context.invoke(call(name))).collect();
            let done = context.client.admin().send(request.clone()).await;
            let is_done = done.is_ok();
            for (at, op) in ops.into_iter().enumerate() {
                let sent = done.clone().map(|response| {
                    let v1::send_response::Result { message_id, duplicate } =
                        response.results[at].clone();
                    Answer::Sent { message_id, duplicate }
                });
                context.complete(op, outcome(sent));
            }
            if is_done || context.stopped() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        context.pause().await;
    }
}

/// Receives until it is told to stop.
///
/// # Errors
/// A node has said something that it can't.
pub(super) async fn run(mut context: Context) -> Result<(), String> {
    while !context.stopped() {
        if context.rng.random_bool(0.3) {
            by_call(&mut context).await;
        } else {
            by_stream(&mut context).await?;
        }
        context.pause().await;
    }
    Ok(())
}

/// What is to become of a message; `None`: nothing, for now.
fn verdict(context: &mut Context) -> Option<Action> {
    match context.rng.random_range(0..100) {
        0..8 => None,
        8..14 => Some(Action::Extend),
        14..22 => Some(Action::Release),
        22..34 => Some(Action::Fail),
        34..37 => Some(Action::Reject),
        _ => Some(Action::Acknowledge),
    }
}

async fn by_call(context: &mut Context) {
    let node = context.direct.any(&mut context.rng);
    let queue = if context.rng.random_bool(0.9) { BULKY } else { BULKY_DEAD };
    let max = context.rng.random_range(1..20);
    let request = v1::ReceiveRequest {
        queue: queue.to_owned(),
        max_messages: max,
        lease_ms: LEASE_MS,
        wait_ms: context.rng.random_range(0..1_000),
        ..v1::ReceiveRequest::default()
    };
    let mut receipts = Vec::new();
    let (direct, taken) = (&context.direct, &mut receipts);
    let work = async move {
        let receive = async |channel: Channel| QueueClient::new(channel).receive(request).await;
        let messages = direct.call(node, receive).await?.messages;
        taken.extend(messages.iter().map(|message| message.receipt.clone()));
        Ok(Answer::Received(messages.iter().map(delivery).collect()))
    };
    let done = context.op(Call::Receive { queue: queue.to_owned(), max }, work).await;
    let Some(Answer::Received(deliveries)) = done else { return };
    for (delivery, receipt) in deliveries.into_iter().zip(receipts) {
        if let Some(action) = verdict(context) {
            // There is nowhere to go from there.
            let is_last = queue == BULKY_DEAD && action == Action::Reject;
            let action = if is_last { Action::Acknowledge } else { action };
            settle(context, queue, &delivery, receipt, action).await;
        }
    }
}

async fn by_stream(context: &mut Context) -> Result<(), String> {
    let node = context.direct.any(&mut context.rng);
    let credit = context.rng.random_range(0..6);
    let Some(mut session) = Session::open(context, node, credit).await else { return Ok(()) };
    for _ in 0..context.rng.random_range(1..30) {
        if context.stopped() {
            break;
        }
        if !session.next(context, WAIT).await? {
            session.end(context);
            return Ok(());
        }
        session.work(context).await;
    }
    match context.rng.random_range(0..10) {
        0..5 => session.close(context).await?,
        5..8 => session.drop_all(context),
        _ => {
            // It is there and does nothing any more, maybe longer than its leases last.
            let ms = context.rng.random_range(500..5_000);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            session.drop_all(context);
        }
    }
    Ok(())
}

/// A stream that is open.
struct Session {
    requests: mpsc::Sender<v1::StreamingReceiveRequest>,
    answers: Streaming<v1::StreamingReceiveResponse>,
    /// Messages that may come.
    credit: u32,
    /// Messages that are not settled, with their receipts.
    in_hand: Vec<(Delivery, String)>,
    /// Settlements without a result, in the order in which they were asked for.
    asked: VecDeque<Asked>,
}

struct Asked {
    op: OpId,
    delivery: Delivery,
    receipt: String,
    action: Action,
}

fn receive(max: u32) -> Call {
    Call::Receive { queue: BULKY.to_owned(), max }
}

impl Session {
    /// What may have come without anybody seeing it counts as a receive whose answer is lost.
    async fn open(context: &Context, node: u32, credit: u32) -> Option<Self> {
        let op = context.invoke(receive(credit));
        match Self::open_at(context, node, credit).await {
            Ok(session) => {
                context.complete(op, Outcome::Ok(Answer::Received(Vec::new())));
                Some(session)
            }
            Err(error) => {
                context.direct.broke(node, &error);
                context.complete(op, outcome(Err(error)));
                None
            }
        }
    }

    async fn open_at(context: &Context, node: u32, credit: u32) -> Result<Self, Error> {
        let channel = context.direct.channel(node).await?;
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let first = v1::StreamingReceiveRequest {
            queue: BULKY.to_owned(),
            lease_ms: LEASE_MS,
            credit,
            ..v1::StreamingReceiveRequest::default()
        };
        requests.try_send(first).expect("the channel is empty");
        let mut client = QueueClient::new(channel);
        let opened = client.streaming_receive(ReceiverStream::new(received));
        let opened = timeout(PATIENCE, opened).await;
        let late = |_| failure(v1::ErrorKind::Unknown, "no answer in time");
        let answers = opened.map_err(late)?.map_err(|status| direct::error(&status))?.into_inner();
        Ok(Self { requests, answers, credit, in_hand: Vec::new(), asked: VecDeque::new() })
    }

    /// Takes what comes next, if something does; whether the stream goes on.
    async fn next(&mut self, context: &Context, wait: Duration) -> Result<bool, String> {
        let op = context.invoke(receive(self.credit));
        let nothing = || Outcome::Ok(Answer::Received(Vec::new()));
        let answer = match timeout(wait, self.answers.message()).await {
            Err(_) => {
                context.complete(op, nothing());
                return Ok(true);
            }
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => {
                context.complete(op, nothing());
                return Ok(false);
            }
            Ok(Err(status)) => {
                // Without credit nothing can have come that wasn't seen.
                let unseen = Outcome::Unknown(direct::error(&status).to_string());
                context.complete(op, if self.credit > 0 { unseen } else { nothing() });
                return Ok(false);
            }
        };
        let v1::StreamingReceiveResponse { messages, results } = answer;
        let deliveries: Vec<Delivery> = messages.iter().map(delivery).collect();
        let count = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
        self.credit = self.credit.saturating_sub(count);
        let receipts = messages.into_iter().map(|message| message.receipt);
        self.in_hand.extend(deliveries.iter().cloned().zip(receipts));
        context.complete(op, Outcome::Ok(Answer::Received(deliveries)));
        for result in results {
            self.settled(context, result)?;
        }
        Ok(true)
    }

    /// The result of the settlement that was asked for first.
    fn settled(
        &mut self,
        context: &Context,
        result: v1::settle_response::Result,
    ) -> Result<(), String> {
        let v1::settle_response::Result { receipt, error, lease_until_ms } = result;
        let asked = self.asked.pop_front().filter(|asked| asked.receipt == receipt);
        let Some(Asked { op, delivery, receipt, action }) = asked else {
            return Err(format!("the result of {receipt} is not the next one of its stream"));
        };
        let settled = |done| Answer::Settled { done, until_ms: lease_until_ms };
        let (outcome, ended) = match error {
            None => (Outcome::Ok(settled(true)), action != Action::Extend),
            Some(error) if error.kind() == v1::ErrorKind::Conflict => {
                (Outcome::Ok(settled(false)), true)
            }
            Some(error) => (outcome(Err(error.into())), false),
        };
        context.complete(op, outcome);
        if !ended {
            self.in_hand.push((delivery, receipt));
        }
        Ok(())
    }

    /// Allows more now and then, and settles some of what is there.
    async fn work(&mut self, context: &mut Context) {
        if context.rng.random_bool(0.5) && self.credit < CREDIT_MAX {
            let more = context.rng.random_range(1..12);
            let request = v1::StreamingReceiveRequest { credit: more, ..Default::default() };
            if self.requests.try_send(request).is_ok() {
                self.credit += more;
            }
        }
        let mut settlements = Vec::new();
        let mut some = Vec::new();
        for (delivery, receipt) in std::mem::take(&mut self.in_hand) {
            let Some(action) = verdict(context) else {
                self.in_hand.push((delivery, receipt));
                continue;
            };
            if context.rng.random_bool(0.1) {
                // The stream hears of it when it is over.
                settle(context, BULKY, &delivery, receipt.clone(), action).await;
                self.in_hand.push((delivery, receipt));
                continue;
            }
            settlements.push(v1::Settlement { receipt: receipt.clone(), action: wire(action) });
            let message_id = delivery.message_id.clone();
            let (queue, number) = (BULKY.to_owned(), delivery.number);
            let call = Call::Settle { queue, message_id, delivery: number, action };
            some.push(Asked { op: context.invoke(call), delivery, receipt, action });
        }
        if settlements.is_empty() {
            return;
        }
        let request = v1::StreamingReceiveRequest { settlements, ..Default::default() };
        if self.requests.try_send(request).is_ok() {
            self.asked.extend(some);
            return;
        }
        for Asked { op, delivery, receipt, .. } in some {
            let error = failure(v1::ErrorKind::Unavailable, "the stream has ended");
            context.complete(op, outcome(Err(error)));
            self.in_hand.push((delivery, receipt));
        }
    }

    /// Says that it is over, and reads what is on its way.
    async fn close(mut self, context: &Context) -> Result<(), String> {
        let (requests, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, requests));
        let since = tokio::time::Instant::now();
        while self.next(context, PATIENCE).await? {
            if since.elapsed() >= PATIENCE {
                self.drop_all(context);
                return Ok(());
            }
        }
        self.end(context);
        Ok(())
    }

    /// Goes without a word. What had come, or comes now, is not seen.
    fn drop_all(self, context: &Context) {
        if self.credit > 0 {
            let op = context.invoke(receive(self.credit));
            context.complete(op, Outcome::Unknown("nobody reads it".to_owned()));
        }
        self.end(context);
    }

    /// What isn't settled is given back by the node, as failed.
    fn end(self, context: &Context) {
        let mut in_hand = self.in_hand;
        let unknown = || Outcome::Unknown("the stream has ended".to_owned());
        for Asked { op, delivery, receipt, .. } in self.asked {
            context.complete(op, unknown());
            in_hand.push((delivery, receipt));
        }
        for (delivery, _) in in_hand {
            let Delivery { message_id, number, .. } = delivery;
            let (queue, delivery) = (BULKY.to_owned(), number);
            let call = Call::Settle { queue, message_id, delivery, action: Action::Fail };
            let op = context.invoke(call);
            context.complete(op, unknown());
        }
    }
}

fn wire(action: Action) -> Option<v1::settlement::Action> {
    use v1::settlement::Action as Wire;
    let released = |failed| Wire::Release(Released { failed, ..Released::default() });
    Some(match action {
        Action::Acknowledge => Wire::Acknowledge(Acknowledged { even_if_ended: false }),
        Action::Release => released(false),
        Action::Fail => released(true),
        Action::Reject => Wire::Reject(Rejected::default()),
        Action::Extend => Wire::Extend(Extended { lease_ms: LEASE_MS }),
    })
}
