//! From what a client sent to one sound record batch.

use bytes::Bytes;
use kontiki_domain::partition::{Attributes, BatchHeader, ProducerEpoch, ProducerStamp, Sequence};
use kontiki_domain::settings::{self, CompressionPolicy, Settings};
use kontiki_records::{
    Batch, BatchBuilder, Compression, HEADER_BYTES, Limits, TimestampType, validate_records,
};
use kontiki_storage::id::ProducerId;

use super::{Data, Record, RecordSet};
use crate::core::Core;
use crate::error::{Code, Error, Kind};
use crate::options::{ProduceOptions, bounds};

/// What the records of a batch may expand to, where the topic's own limit is small.
const EXPANDED_BYTES_LEAST: u32 = 10 << 20;

impl Core {
    /// One batch that everybody can decode, within the limits of its topic.
    pub(super) fn checked_batch(&self, data: Data, settings: &Settings) -> Result<Batch, Error> {
        let limits = self.batch_limits(settings);
        let batch = match data {
            Data::Batch(bytes) => sound(bytes, settings, &limits),
            Data::Records(set) => self.encoded(set, settings, limits),
        };
        let batch = batch.map_err(|error| named(error, settings))?;
        Ok(match settings.timestamp_type {
            settings::TimestampType::Create => batch,
            // The time that counts is that of the append, which readers are given.
            settings::TimestampType::Append => batch.with_log_append_time((self.clock)()),
        })
    }

    fn batch_limits(&self, settings: &Settings) -> Limits {
        let options = &self.options.produce;
        let expanded = settings.message_bytes_max.saturating_mul(10).max(EXPANDED_BYTES_LEAST);
        Limits {
            batch_bytes_max: settings.message_bytes_max,
            decompressed_bytes_max: expanded.min(options.decompressed_bytes_max),
            records_max: options.records_max,
            headers_max: options.headers_max,
            ..Limits::default()
        }
    }

    fn encoded(&self, set: RecordSet, settings: &Settings, limits: Limits) -> Result<Batch, Error> {
        let RecordSet { records, compression, producer } = set;
        if records.is_empty() {
            return Err(Error::invalid("the number of records", 0, "1 or more"));
        }
        let compression = match settings.compression {
            CompressionPolicy::Producer => compression,
            CompressionPolicy::Only(wanted) => codec(wanted),
        };
        let now = (self.clock)();
        let mut builder = BatchBuilder::new(limits);
        for record in &records {
            let timestamp = if record.timestamp_ms == 0 { now } else { record.timestamp_ms };
            check_record(record, timestamp)?;
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push(timestamp, key, value, &record.headers)?;
        }
        Ok(builder.finish(compression, producer)?)
    }
}

impl Core {
    /// One batch of the node's own making: headers may have its reserved names.
    pub(super) fn own_batch<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        settings: &Settings,
    ) -> Result<Batch, Error> {
        let batch = built(records, self.batch_limits(settings));
        batch.map_err(|error| named(error, settings))
    }
}

/// One batch of records that a queue has taken before. The limits of those who send don't hold for
/// it: it can't be sent in another way, and nodes have added headers to it.
pub(super) fn moved_batch<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<Batch, Error> {
    let limits = Limits { batch_bytes_max: settings::MOVED_BYTES_MAX, ..crate::read::ANY };
    built(records, limits)
}

fn built<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    limits: Limits,
) -> Result<Batch, Error> {
    let mut builder = BatchBuilder::new(limits);
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.timestamp_ms, key, value, &record.headers)?;
    }
    Ok(builder.finish(Compression::None, None)?)
}

/// A batch as it came, if everybody can decode it.
fn sound(bytes: Bytes, settings: &Settings, limits: &Limits) -> Result<Batch, Error> {
    let batch = Batch::parse(bytes, limits)?;
    refuse_control(&batch)?;
    validate_records(&batch, limits)?;
    recompressed(batch, settings, limits)
}

/// Says by the name that a client knows which limit was exceeded.
fn named(error: Error, settings: &Settings) -> Error {
    if error.code != Code::BATCH_TOO_LARGE {
        return error;
    }
    let detail = format!(
        "{}; the topic's message_bytes_max is {}: send fewer records at a time, or raise it",
        error.detail, settings.message_bytes_max
    );
    Error { detail, ..error }
}

/// Checks a set by itself, so that it can be stored together with others.
pub(super) fn set(
    set: &RecordSet,
    settings: &Settings,
    options: &ProduceOptions,
) -> Result<(), Error> {
    if set.records.is_empty() {
        return Err(Error::invalid("the number of records", 0, "1 or more"));
    }
    let mut bytes = HEADER_BYTES;
    for record in &set.records {
        check_record(record, record.timestamp_ms)?;
        if record.headers.len() > options.headers_max as usize {
            let expected = format!("at most broker.produce.headers_max = {}", options.headers_max);
            return Err(Error::invalid("the number of headers", record.headers.len(), &expected));
        }
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        bytes += BatchBuilder::record_bytes_max(key, value, &record.headers);
    }
    let limit = settings.message_bytes_max as usize;
    // What compression makes of it is only known when it is done.
    if bytes > limit && set.compression == Compression::None {
        let detail = format!(
            "record batch of up to {bytes} bytes; message_bytes_max of the topic is {limit}: send \
             fewer records at a time, or raise the setting"
        );
        return Err(Error::new(Kind::Invalid, Code::BATCH_TOO_LARGE, detail));
    }
    Ok(())
}

fn check_record(record: &Record, timestamp: i64) -> Result<(), Error> {
    if timestamp < 0 {
        return Err(Error::invalid("timestamp_ms", timestamp, "0 or more"));
    }
    for header in &record.headers {
        let name = &header.name;
        if name.len() > bounds::HEADER_NAME_BYTES_MAX {
            let expected = format!("at most {}", bounds::HEADER_NAME_BYTES_MAX);
            return Err(Error::invalid("the bytes of a header's name", name.len(), &expected));
        }
        if name.starts_with(bounds::RESERVED_PREFIX.as_bytes()) {
            let shown = String::from_utf8_lossy(name);
            let expected =
                format!("a name without the reserved prefix {}", bounds::RESERVED_PREFIX);
            return Err(Error::invalid("a header's name", shown, &expected));
        }
    }
    Ok(())
}

fn refuse_control(batch: &Batch) -> Result<(), Error> {
    if batch.header().control {
        let detail = "record batch: a control batch; only nodes write these: send records";
        return Err(Error::new(Kind::Invalid, Code::INVALID_BATCH, detail));
    }
    Ok(())
}

/// The batch in the compression that its topic wants.
fn recompressed(batch: Batch, settings: &Settings, limits: &Limits) -> Result<Batch, Error> {
    let wanted = match settings.compression {
        CompressionPolicy::Producer => return Ok(batch),
        CompressionPolicy::Only(wanted) => codec(wanted),
    };
    if wanted == batch.header().compression {
        return Ok(batch);
    }
    let mut builder = BatchBuilder::new(*limits);
    for record in batch.records(limits)? {
        let record = record?;
        let headers: Vec<_> = record.headers.iter().collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.timestamp, key, value, &headers)?;
    }
    Ok(builder.finish(wanted, batch.header().producer)?)
}

fn codec(wanted: settings::Compression) -> Compression {
    match wanted {
        settings::Compression::None => Compression::None,
        settings::Compression::Gzip => Compression::Gzip,
        settings::Compression::Snappy => Compression::Snappy,
        settings::Compression::Lz4 => Compression::Lz4,
        settings::Compression::Zstd => Compression::Zstd,
    }
}

fn of_codec(codec: Compression) -> settings::Compression {
    match codec {
        Compression::None => settings::Compression::None,
        Compression::Gzip => settings::Compression::Gzip,
        Compression::Snappy => settings::Compression::Snappy,
        Compression::Lz4 => settings::Compression::Lz4,
        Compression::Zstd => settings::Compression::Zstd,
    }
}

/// What the state machine has to know of a batch.
pub(super) fn domain_header(batch: &Batch) -> BatchHeader {
    let header = batch.header();
    let base_timestamp = match header.timestamp_type {
        TimestampType::Create => header.base_timestamp.min(header.max_timestamp),
        TimestampType::LogAppend => header.max_timestamp,
    };
    BatchHeader {
        record_count: header.record_count,
        last_offset_delta: header.last_offset_delta,
        base_timestamp: base_timestamp.max(-1),
        max_timestamp: header.max_timestamp.max(-1),
        bytes: header.batch_bytes,
        attributes: Attributes {
            compression: of_codec(header.compression),
            transactional: header.transactional,
            control: header.control,
        },
        producer: header.producer.map(|producer| ProducerStamp {
            id: ProducerId(producer.id.cast_unsigned()),
            epoch: ProducerEpoch(producer.epoch),
            base_sequence: Sequence(producer.base_sequence),
        }),
    }
}

/// What a record costs while it waits.
pub(super) fn record_bytes(record: &Record) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len))
        .sum();
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    64 + length(&record.key) + length(&record.value) + headers
}
