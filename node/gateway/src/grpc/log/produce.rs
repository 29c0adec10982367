//! `Produce`: appends records. Payload bytes are passed on as they came, without a copy.

use std::time::Duration;

use bytes::Bytes;
use kontiki_broker::Error;
use kontiki_broker::options::bounds;
use kontiki_broker::produce::{
    Acks, Data, Durability, PartitionRecords, Produced, Record, RecordSet, Request,
};
use kontiki_proto::v1;
use kontiki_proto::v1::partition_records::Data as WireData;
use kontiki_records::{Compression, Header, Producer};
use tonic::Status;

use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

/// The partitions of a request: what their results are called.
pub(super) type Names = Vec<(String, u32)>;

impl Service {
    /// One write.
    pub(super) async fn write(
        &self,
        request: v1::ProduceRequest,
        deadline: Deadline,
    ) -> Result<v1::ProduceResponse, Status> {
        let correlation_id = request.correlation_id;
        let names = names(&request);
        let begun = self::request(request, deadline).and_then(|it| self.broker.produce(it));
        let outcomes = begun.map_err(|error| self.status(error))?.await;
        Ok(response(correlation_id, names, outcomes, |error| self.error(error)))
    }
}

/// What the partitions of a request are called. Of a request that names too many, only as many as
/// are permitted.
pub(super) fn names(request: &v1::ProduceRequest) -> Names {
    let named = request.partitions.iter().take(bounds::PARTITIONS_MAX);
    named.map(|records| (records.topic.clone(), records.partition)).collect()
}

/// The request, as the broker wants it.
///
/// # Errors
/// The first field that can't be.
pub(super) fn request(request: v1::ProduceRequest, deadline: Deadline) -> Result<Request, Error> {
    let v1::ProduceRequest { correlation_id: _, acks, timeout_ms, routing, partitions } = request;
    fields::count("partitions", partitions.len())?;
    let acks = match fields::known("acks", acks, v1::Acks::as_str_name)? {
        v1::Acks::None => Acks::None,
        v1::Acks::Leader => Acks::Leader,
        v1::Acks::Unspecified | v1::Acks::Quorum => Acks::Quorum,
    };
    let timeout_ms = fields::fits("timeout_ms", timeout_ms, bounds::TIMEOUT_MS_MAX)?;
    let timeout_ms = if timeout_ms == 0 { bounds::TIMEOUT_MS_DEFAULT } else { timeout_ms };
    let timeout = deadline.bounds(Duration::from_millis(timeout_ms.into()));
    let routing = fields::routing(routing)?;
    let partitions = partitions.into_iter().enumerate().map(|(i, records)| partition(i, records));
    Ok(Request { acks, timeout, routing, partitions: partitions.collect::<Result<_, _>>()? })
}

fn partition(index: usize, records: v1::PartitionRecords) -> Result<PartitionRecords, Error> {
    let v1::PartitionRecords { topic, partition, data } = records;
    fields::present(format_args!("partitions[{index}].topic"), &topic)?;
    let data = match data {
        Some(WireData::Batch(batch)) => Data::Batch(batch),
        Some(WireData::Records(set)) => Data::Records(record_set(index, set)?),
        None => {
            let field = format!("partitions[{index}].data");
            return Err(Error::invalid(&field, "absent", "records, or a batch"));
        }
    };
    Ok(PartitionRecords { topic, partition, data })
}

fn record_set(index: usize, set: v1::RecordSet) -> Result<RecordSet, Error> {
    let v1::RecordSet { records, compression, producer } = set;
    let field = format_args!("partitions[{index}].records.compression");
    let compression = match fields::known(field, compression, v1::Compression::as_str_name)? {
        v1::Compression::None => Compression::None,
        v1::Compression::Gzip => Compression::Gzip,
        v1::Compression::Snappy => Compression::Snappy,
        v1::Compression::Lz4 => Compression::Lz4,
        v1::Compression::Zstd => Compression::Zstd,
    };
    let producer = producer.map(|producer| self::producer(index, &producer)).transpose()?;
    Ok(RecordSet { records: records.into_iter().map(record).collect(), compression, producer })
}

fn producer(index: usize, producer: &v1::ProducerSequence) -> Result<Producer, Error> {
    let name = |field: &str| format!("partitions[{index}].records.producer.{field}");
    Ok(Producer {
        id: fields::fits(name("producer_id"), producer.producer_id, i64::MAX)?,
        epoch: fields::fits(name("producer_epoch"), producer.producer_epoch, i16::MAX)?,
        base_sequence: fields::fits(name("base_sequence"), producer.base_sequence, i32::MAX)?,
    })
}

fn record(record: v1::Record) -> Record {
    let v1::Record { key, value, headers, timestamp_ms, offset: _ } = record;
    let headers = headers
        .into_iter()
        .map(|header| Header { name: Bytes::from(header.name), value: header.value })
        .collect();
    Record { key, value, headers, timestamp_ms }
}

/// The answer, with a result for each name.
pub(super) fn response(
    correlation_id: u64,
    names: Names,
    outcomes: Vec<Result<Produced, Error>>,
    error: impl Fn(Error) -> v1::Error,
) -> v1::ProduceResponse {
    let results = names
        .into_iter()
        .zip(outcomes)
        .map(|((topic, partition), outcome)| match outcome {
            Ok(produced) => done(topic, partition, &produced),
            Err(why) => failed(topic, partition, error(why)),
        })
        .collect();
    v1::ProduceResponse { correlation_id, results }
}

/// The answer to a request of which nothing was done: the same result for each name, and one at
/// least.
pub(super) fn refusal(correlation_id: u64, names: Names, error: &v1::Error) -> v1::ProduceResponse {
    let names = if names.is_empty() { vec![(String::new(), 0)] } else { names };
    let results = names
        .into_iter()
        .map(|(topic, partition)| failed(topic, partition, error.clone()))
        .collect();
    v1::ProduceResponse { correlation_id, results }
}

fn done(topic: String, partition: u32, produced: &Produced) -> v1::ProduceResult {
    let durability = match produced.durability {
        Durability::None => v1::Durability::None,
        Durability::Leader => v1::Durability::Leader,
        Durability::QuorumFsync => v1::Durability::QuorumFsync,
    };
    v1::ProduceResult {
        topic,
        partition,
        error: None,
        base_offset: produced.base_offset.unwrap_or_default(),
        offset_known: produced.base_offset.is_some(),
        append_time_ms: produced.append_time_ms,
        log_start_offset: produced.log_start_offset,
        duplicate: produced.duplicate,
        durability: durability.into(),
    }
}

fn failed(topic: String, partition: u32, error: v1::Error) -> v1::ProduceResult {
    v1::ProduceResult { topic, partition, error: Some(error), ..Default::default() }
}

#[cfg(test)]
#[path = "produce_test.rs"]
mod tests;
