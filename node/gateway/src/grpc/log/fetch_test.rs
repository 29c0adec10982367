//! What becomes of fetch requests and of what was fetched.

use bytes::Bytes;
use kontiki_broker::fetch::Fetched;
use kontiki_broker::{Code, Kind, Routing};
use kontiki_records::{BatchBuilder, Compression, Limits};
use tonic::metadata::MetadataMap;

use super::*;

fn no_deadline() -> Deadline {
    Deadline::of(&MetadataMap::new())
}

fn plain() -> v1::FetchRequest {
    let partition =
        v1::FetchPartition { topic: "t".to_owned(), partition: 2, offset: 9, max_bytes: 100 };
    v1::FetchRequest {
        partitions: vec![partition],
        min_bytes: 5,
        max_bytes: 64 << 20,
        max_wait_ms: 60_000,
        format: 0,
        routing: 1,
    }
}

fn refused(change: impl FnOnce(&mut v1::FetchRequest)) -> String {
    let mut wrong = plain();
    change(&mut wrong);
    let error = request(wrong, no_deadline()).expect_err("it is wrong");
    assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
    error.detail
}

#[test]
fn every_wrong_field_is_named() {
    let starts = |detail: String, start: &str| assert!(detail.starts_with(start), "{detail}");
    starts(refused(|r| r.partitions.clear()), "the number of partitions is 0");
    starts(
        refused(|r| r.partitions = vec![r.partitions[0].clone(); 1_025]),
        "the number of partitions is 1025",
    );
    starts(refused(|r| r.max_bytes += 1), "max_bytes is 67108865, expected 0 to 67108864");
    starts(refused(|r| r.max_wait_ms += 1), "max_wait_ms is 60001, expected 0 to 60000");
    starts(refused(|r| r.routing = 9), "routing is 9");
    starts(refused(|r| r.partitions[0].topic.clear()), "partitions[0].topic is empty");
    let unknown = format(2).expect_err("there are two").detail;
    starts(
        unknown,
        "format is 2, expected one of RECORD_FORMAT_RECORDS (0), RECORD_FORMAT_BATCHES (1)",
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_is_passed_on_and_waits_no_longer_than_its_caller() {
    let got = request(plain(), no_deadline()).expect("sound");
    let wanted = FetchPartition { topic: "t".to_owned(), partition: 2, offset: 9, max_bytes: 100 };
    assert_eq!(got.partitions, [wanted]);
    assert_eq!((got.min_bytes, got.max_bytes, got.routing), (5, 64 << 20, Routing::LeaderOnly));
    assert_eq!(got.max_wait, Duration::from_secs(60));
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-timeout", "2S".parse().expect("a header"));
    let deadline = Deadline::of(&metadata);
    let got = request(plain(), deadline).expect("sound");
    assert_eq!(got.max_wait, Duration::from_millis(1_950));
    let at_once = v1::FetchRequest { max_wait_ms: 0, ..plain() };
    assert_eq!(request(at_once, deadline).expect("sound").max_wait, Duration::ZERO);
}

fn fetched() -> FetchedPartition {
    let mut builder = BatchBuilder::new(Limits::default());
    for value in ["a", "b"] {
        builder.push(1, None, Some(value.as_bytes()), &[]).expect("small");
    }
    let batch = builder.finish(Compression::Lz4, None).expect("two").at(7, 1).into_bytes();
    let outcome = Ok(Fetched {
        high_watermark: 20,
        log_start_offset: 1,
        leader_epoch: 4,
        batches: vec![batch],
        next_offset: 9,
    });
    FetchedPartition { topic: "t".to_owned(), partition: 2, outcome }
}

fn answer(fetched: FetchedPartition, format: v1::RecordFormat) -> v1::FetchedPartition {
    let error = |error| crate::grpc::error::wire(error, |_| None);
    partition(fetched, 8, format, &mut Decoder::new(1 << 20), error)
}

#[test]
fn batches_are_passed_on_as_they_are() {
    let stored = fetched().outcome.expect("sound").batches;
    let got = answer(fetched(), v1::RecordFormat::Batches);
    assert_eq!(got.batches, stored);
    assert!(got.records.is_empty() && got.error.is_none());
    assert_eq!((got.high_watermark, got.log_start_offset, got.leader_epoch), (20, 1, 4));
    assert_eq!(got.next_offset, 9);
}

#[test]
fn records_are_decoded_from_the_offset_asked_for() {
    let got = answer(fetched(), v1::RecordFormat::Records);
    assert!(got.batches.is_empty() && got.error.is_none());
    assert_eq!(got.records.iter().map(|r| r.offset).collect::<Vec<_>>(), [8]);
    assert_eq!((got.topic.as_str(), got.partition, got.next_offset), ("t", 2, 9));
}

#[test]
fn one_partition_fails_without_the_others() {
    let missing =
        FetchedPartition { outcome: Err(Error::unknown_partition("t", 2, 1)), ..fetched() };
    let got = answer(missing, v1::RecordFormat::Records);
    assert_eq!(got.error.expect("it failed").kind(), v1::ErrorKind::NotFound);
    assert_eq!((got.topic.as_str(), got.partition), ("t", 2));
    let mut damaged = fetched();
    damaged.outcome.as_mut().expect("sound").batches[0] = Bytes::from_static(b"nonsense");
    let error = answer(damaged, v1::RecordFormat::Records).error.expect("it is damaged");
    assert_eq!((error.kind(), error.code), (v1::ErrorKind::Internal, Code::CORRUPT.0));
    assert!(error.message.starts_with("t/2: "), "{}", error.message);
}
