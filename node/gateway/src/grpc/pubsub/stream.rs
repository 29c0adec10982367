//! `Subscribe`: one task for each stream. The subscription is asked for more only when there is
//! room in the channel to the connection, so a client that doesn't read costs what was read ahead.

use futures_util::{Stream, StreamExt as _};
use kontiki_broker::Error;
use kontiki_broker::subscriptions::{Output, POSITIONS_MAX, PositionAt, Subscribe, Subscribed};
use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::texts;
use crate::grpc::{Service, fields, filters};

/// Answers that wait for the client to read them.
const ANSWERS_MAX: usize = 2;

type Answers = mpsc::Sender<Result<v1::SubscribeResponse, Status>>;

/// An open subscription.
trait Source: Send {
    fn credit(&mut self, messages: u32) -> Result<(), Error>;
    fn acknowledge(&mut self, position: &PositionAt);
    fn next(&mut self) -> impl Future<Output = Result<Option<Output>, Error>> + Send;
}

impl Source for Subscribed {
    fn credit(&mut self, messages: u32) -> Result<(), Error> {
        Self::credit(self, messages)
    }

    fn acknowledge(&mut self, position: &PositionAt) {
        Self::acknowledge(self, position);
    }

    fn next(&mut self) -> impl Future<Output = Result<Option<Output>, Error>> + Send {
        Self::next(self)
    }
}

pub(super) fn serve(
    service: Service,
    requests: Streaming<v1::SubscribeRequest>,
) -> ReceiverStream<Result<v1::SubscribeResponse, Status>> {
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        if let Err(error) = run(&service, requests, &answers).await {
            // Whoever asked may have gone.
            let _ = answers.send(Err(service.status(error))).await;
        }
    });
    ReceiverStream::new(receiver)
}

async fn run(
    service: &Service,
    mut requests: Streaming<v1::SubscribeRequest>,
    answers: &Answers,
) -> Result<(), Error> {
    let first = tokio::select! {
        first = requests.message() => first,
        () = answers.closed() => return Ok(()),
        () = service.broker.stopped() => return Err(Error::stopping()),
    };
    let Ok(Some(mut first)) = first else { return Ok(()) };
    let wanted = first.subscribe.take();
    let wanted = wanted.ok_or_else(|| {
        Error::invalid("subscribe", "absent", "what to subscribe to, in the first message")
    })?;
    let mut subscribed = service.broker.subscribe(asked(wanted)?).await?;
    let done = follow(&mut subscribed, first, requests, answers).await;
    // Whoever has closed its side waits for what was acknowledged to be committed.
    let closed = subscribed.close().await;
    done.and(closed)
}

/// Until the client closes its side or is gone, the node stops, or the subscription ends.
async fn follow(
    subscribed: &mut impl Source,
    first: v1::SubscribeRequest,
    requests: impl Stream<Item = Result<v1::SubscribeRequest, Status>> + Send,
    answers: &Answers,
) -> Result<(), Error> {
    tokio::pin!(requests);
    take(subscribed, first)?;
    loop {
        let said = async {
            let permit = answers.reserve().await;
            // Gone: the other branch notices.
            let Ok(permit) = permit else { return std::future::pending().await };
            Ok::<_, Error>((permit, subscribed.next().await?))
        };
        tokio::select! {
            request = requests.next() => match request {
                Some(Ok(request)) => take(subscribed, request)?,
                Some(Err(_)) | None => return Ok(()),
            },
            said = said => match said? {
                (permit, Some(output)) => permit.send(Ok(answer(output))),
                (_, None) => return Err(Error::stopping()),
            },
            () = answers.closed() => return Ok(()),
        }
    }
}

fn asked(wanted: v1::subscribe_request::Subscription) -> Result<Subscribe, Error> {
    positions_bounded(wanted.positions.len())?;
    if wanted.subscription.is_empty() {
        fields::present("pattern", &wanted.pattern)?;
    }
    Ok(Subscribe {
        pattern: wanted.pattern,
        syntax: texts::syntax(wanted.syntax)?,
        filter: filters::text("filter", wanted.filter)?,
        start: texts::start(wanted.from)?,
        name: wanted.subscription,
        takeover: wanted.takeover,
        reset: wanted.reset,
        positions: wanted.positions.into_iter().map(texts::position).collect(),
    })
}

fn take(subscribed: &mut impl Source, request: v1::SubscribeRequest) -> Result<(), Error> {
    if request.subscribe.is_some() {
        let expected = "absent after the first message: open another stream";
        return Err(Error::invalid("subscribe", "set", expected));
    }
    positions_bounded(request.acknowledged.len())?;
    for position in request.acknowledged {
        subscribed.acknowledge(&texts::position(position));
    }
    subscribed.credit(request.credit)
}

fn positions_bounded(count: usize) -> Result<(), Error> {
    if count <= POSITIONS_MAX {
        return Ok(());
    }
    let expected = format!("at most {POSITIONS_MAX}");
    Err(Error::invalid("the number of positions", count, &expected))
}

fn answer(output: Output) -> v1::SubscribeResponse {
    match output {
        Output::Records { position, records } => {
            let PositionAt { topic, partition, .. } = &position;
            v1::SubscribeResponse {
                topic: topic.to_string(),
                partition: *partition,
                records: records.into_iter().map(record).collect(),
                positions: vec![texts::shown_position(position)],
            }
        }
        Output::Positions(positions) => v1::SubscribeResponse {
            positions: positions.into_iter().map(texts::shown_position).collect(),
            ..Default::default()
        },
    }
}

fn record((offset, record): (u64, kontiki_records::Record)) -> v1::Record {
    let headers = record
        .headers
        .iter()
        .map(|header| v1::Header { name: header.name_lossy().into_owned(), value: header.value });
    v1::Record {
        headers: headers.collect(),
        key: record.key,
        value: record.value,
        timestamp_ms: record.timestamp,
        offset,
    }
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod tests;
