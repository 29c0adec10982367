//! What comes before and after: the topics are made, and in the end everything is read.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_client::{Client, Error, v1};

use super::{Side, Topics, exchanges, probe, rewind, subscribe};
use crate::check::FinalLog;
use crate::history::{Answer, Call, ClientId, Outcome, Part, Recorder};
use crate::trace::Trace;

/// How often something is tried before it counts as impossible; each try has retries of its own.
const TRIES: usize = 4;

/// Makes the topics that are there from the beginning to the end.
///
/// # Errors
/// They can't be made.
pub async fn set_up(
    client: &Client,
    topics: &Topics,
    recorder: &Recorder,
    trace: &Trace,
) -> Result<(), String> {
    for (topic, partitions) in &topics.stable {
        let (topic, partitions) = (topic.clone(), *partitions);
        let settings = BTreeMap::new();
        let call = Call::CreateTopic { topic: topic.clone(), partitions, settings };
        let op = recorder.invoke(trace.now(), ClientId(0), call);
        let made = again(|| async {
            let request = v1::CreateTopicRequest {
                topic: topic.clone(),
                partitions,
                if_not_exists: true,
                ..v1::CreateTopicRequest::default()
            };
            client.admin().create_topic(request).await
        })
        .await
        .map_err(|error| format!("topic {topic}: {error}"))?;
        let (id, partitions) = (made.topic_id, made.partitions);
        let answer = Answer::Topic { id, partitions, settings: BTreeMap::new() };
        recorder.complete(trace.now(), op, Outcome::Ok(answer));
    }
    let of_sides = topics.sides.iter().flat_map(|side| side.queues());
    for queue in topics.queues.iter().cloned().chain(of_sides) {
        again(|| async {
            let request = v1::CreateQueueRequest {
                queue: queue.name.clone(),
                settings: queue.settings.iter().cloned().collect(),
                if_not_exists: true,
                ..v1::CreateQueueRequest::default()
            };
            client.admin().create_queue(request).await
        })
        .await
        .map_err(|error| format!("queue {}: {error}", queue.name))?;
    }
    if topics.sides.contains(&Side::Exchanges) {
        exchanges::set_up(client).await.map_err(|error| format!("exchanges: {error}"))?;
    }
    if topics.sides.contains(&Side::Subscription) {
        subscribe::set_up(client).await.map_err(|error| format!("subscription: {error}"))?;
    }
    Ok(())
}

/// Reads everything that the stable topics have.
///
/// # Errors
/// It can't be read.
pub async fn final_logs(
    client: &Client,
    topics: &Topics,
) -> Result<BTreeMap<String, BTreeMap<u32, FinalLog>>, String> {
    let mut logs: BTreeMap<String, BTreeMap<u32, FinalLog>> = BTreeMap::new();
    for (topic, partitions) in &topics.stable {
        for partition in 0..*partitions {
            let part = Part { topic: topic.clone(), partition };
            let log = read(client, &part).await;
            let log = log.map_err(|error| format!("{topic}/{partition}: {error}"))?;
            logs.entry(topic.clone()).or_default().insert(partition, log);
        }
    }
    Ok(logs)
}

async fn read(client: &Client, part: &Part) -> Result<FinalLog, String> {
    let bound = |latest| again(move || probe::list(client, part, latest));
    let text = |error: Error| error.to_string();
    let Answer::Offset(high_watermark) = bound(true).await.map_err(text)? else {
        return Err("no offset was answered".to_owned());
    };
    // Records may expire while they are read: then it is begun anew.
    for _ in 0..TRIES {
        let Answer::Offset(log_start) = bound(false).await.map_err(text)? else {
            return Err("no offset was answered".to_owned());
        };
        let mut log = FinalLog { log_start, high_watermark, records: Vec::new() };
        let mut from = log_start;
        while from < high_watermark {
            let fetched = again(|| rewind::fetch(client, part, from, 1 << 20, 0)).await;
            let Ok(Answer::Fetched { records, next, .. }) = fetched else { break };
            if next <= from {
                return Err(format!("nothing is read at {from}, below {high_watermark}"));
            }
            from = next;
            log.records.extend(records);
        }
        if from >= high_watermark {
            return Ok(log);
        }
    }
    Err(format!("not read to the end, {high_watermark}"))
}

pub(super) async fn again<T, F>(mut ask: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tries = 1;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if tries == TRIES || !error.is_retriable() => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
