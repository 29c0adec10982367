//! `Fetch`: reads records of some partitions, once.

use std::time::Duration;

use kontiki_broker::Error;
use kontiki_broker::fetch::{FetchPartition, FetchedPartition, Request};
use kontiki_broker::options::bounds;
use kontiki_proto::v1;
use tonic::Status;

use super::decode::Decoder;
use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

impl Service {
    /// One read.
    pub(super) async fn read(
        &self,
        request: v1::FetchRequest,
        deadline: Deadline,
    ) -> Result<v1::FetchResponse, Status> {
        let read = async {
            let format = format(request.format)?;
            let request = self::request(request, deadline)?;
            let from: Vec<u64> = request.partitions.iter().map(|asked| asked.offset).collect();
            // It waits no longer than its caller: see `max_wait`.
            let fetched = self.broker.fetch(request).await?;
            let mut decoder = Decoder::new(self.options.decoded_bytes_max);
            let answered = fetched.into_iter().zip(from).map(|(fetched, from)| {
                partition(fetched, from, format, &mut decoder, |error| self.error(error))
            });
            Ok(v1::FetchResponse { partitions: answered.collect() })
        };
        read.await.map_err(|error: Error| self.status(error))
    }
}

/// How records are wanted.
pub(super) fn format(value: i32) -> Result<v1::RecordFormat, Error> {
    fields::known("format", value, v1::RecordFormat::as_str_name)
}

fn request(request: v1::FetchRequest, deadline: Deadline) -> Result<Request, Error> {
    let v1::FetchRequest { partitions, min_bytes, max_bytes, max_wait_ms, format: _, routing } =
        request;
    fields::count("partitions", partitions.len())?;
    let max_bytes = fields::fits("max_bytes", max_bytes, bounds::FETCH_BYTES_MAX)?;
    let max_wait_ms = fields::fits("max_wait_ms", max_wait_ms, bounds::WAIT_MS_MAX)?;
    let max_wait = match max_wait_ms {
        0 => Duration::ZERO,
        wait => deadline.bounds(Duration::from_millis(wait.into())),
    };
    let partitions = partitions
        .into_iter()
        .enumerate()
        .map(|(index, asked)| wanted(format_args!("partitions[{index}].topic"), asked))
        .collect::<Result<_, _>>()?;
    let routing = fields::routing(routing)?;
    Ok(Request { partitions, min_bytes, max_bytes, max_wait, routing })
}

/// What is wanted of one partition; `field` is what its topic is called in the request.
pub(super) fn wanted(
    field: impl std::fmt::Display,
    asked: v1::FetchPartition,
) -> Result<FetchPartition, Error> {
    let v1::FetchPartition { topic, partition, offset, max_bytes } = asked;
    fields::present(field, &topic)?;
    Ok(FetchPartition { topic, partition, offset, max_bytes })
}

/// What there is in a partition, without what is before `from`.
pub(super) fn partition(
    fetched: FetchedPartition,
    from: u64,
    format: v1::RecordFormat,
    decoder: &mut Decoder,
    error: impl Fn(Error) -> v1::Error,
) -> v1::FetchedPartition {
    let FetchedPartition { topic, partition, outcome } = fetched;
    let named = v1::FetchedPartition { topic, partition, ..Default::default() };
    let failed = |named, why| v1::FetchedPartition { error: Some(error(why)), ..named };
    let mut fetched = match outcome {
        Ok(fetched) => fetched,
        Err(why) => return failed(named, why),
    };
    let answer = v1::FetchedPartition {
        high_watermark: fetched.high_watermark,
        log_start_offset: fetched.log_start_offset,
        leader_epoch: fetched.leader_epoch,
        ..named
    };
    match format {
        v1::RecordFormat::Batches => v1::FetchedPartition {
            batches: std::mem::take(&mut fetched.batches),
            next_offset: fetched.next_offset,
            ..answer
        },
        v1::RecordFormat::Records => match decoder.records(fetched, from) {
            Ok((records, next_offset)) => v1::FetchedPartition { records, next_offset, ..answer },
            Err(why) => {
                let why = why.about(format_args!("{}/{}", answer.topic, answer.partition));
                failed(answer, why)
            }
        },
    }
}

#[cfg(test)]
#[path = "fetch_test.rs"]
mod tests;
