//! What becomes of produce requests and of their outcomes.

use kontiki_broker::{Code, Kind, Routing};
use tonic::metadata::MetadataMap;

use super::*;

fn no_deadline() -> Deadline {
    Deadline::of(&MetadataMap::new())
}

fn plain() -> v1::ProduceRequest {
    let set = v1::RecordSet {
        records: vec![v1::Record { value: Some(Bytes::from_static(b"v")), ..Default::default() }],
        compression: 0,
        producer: None,
    };
    v1::ProduceRequest {
        correlation_id: 9,
        acks: 0,
        timeout_ms: 0,
        routing: 0,
        partitions: vec![v1::PartitionRecords {
            topic: "t".to_owned(),
            partition: 3,
            data: Some(WireData::Records(set)),
        }],
    }
}

fn set_of(request: &mut v1::ProduceRequest) -> &mut v1::RecordSet {
    match &mut request.partitions[0].data {
        Some(WireData::Records(set)) => set,
        Some(WireData::Batch(_)) | None => panic!("a plain request has records"),
    }
}

/// The message for a plain request with a change that makes it wrong.
fn refused(change: impl FnOnce(&mut v1::ProduceRequest)) -> String {
    let mut wrong = plain();
    change(&mut wrong);
    let error = request(wrong, no_deadline()).expect_err("it is wrong");
    assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
    error.detail
}

fn sequence(change: impl FnOnce(&mut v1::ProducerSequence)) -> String {
    refused(|request| {
        let mut producer = v1::ProducerSequence::default();
        change(&mut producer);
        set_of(request).producer = Some(producer);
    })
}

#[test]
fn every_wrong_field_is_named() {
    let starts = |detail: String, start: &str| assert!(detail.starts_with(start), "{detail}");
    starts(refused(|r| r.partitions.clear()), "the number of partitions is 0");
    starts(
        refused(|r| r.partitions = vec![r.partitions[0].clone(); 1_025]),
        "the number of partitions is 1025, expected 1 to 1024",
    );
    starts(refused(|r| r.timeout_ms = 300_001), "timeout_ms is 300001, expected 0 to 300000");
    starts(
        refused(|r| r.acks = 4),
        "acks is 4, expected one of ACKS_UNSPECIFIED (0), ACKS_NONE (1), ACKS_LEADER (2), \
         ACKS_QUORUM (3)",
    );
    starts(refused(|r| r.routing = 2), "routing is 2, expected one of ROUTING_FORWARD (0)");
    starts(refused(|r| r.partitions[0].topic.clear()), "partitions[0].topic is empty");
    starts(refused(|r| r.partitions[0].data = None), "partitions[0].data is absent");
    starts(
        refused(|r| set_of(r).compression = 5),
        "partitions[0].records.compression is 5, expected one of COMPRESSION_NONE (0)",
    );
    starts(
        sequence(|producer| producer.producer_epoch = 32_768),
        "partitions[0].records.producer.producer_epoch is 32768, expected 0 to 32767",
    );
    starts(
        sequence(|producer| producer.base_sequence = 1 << 31),
        "partitions[0].records.producer.base_sequence is 2147483648",
    );
    starts(
        sequence(|producer| producer.producer_id = 1 << 63),
        "partitions[0].records.producer.producer_id is 9223372036854775808",
    );
}

#[test]
fn the_second_partition_is_told_from_the_first() {
    let detail = refused(|r| {
        let mut second = r.partitions[0].clone();
        second.topic.clear();
        r.partitions.push(second);
    });
    assert!(detail.starts_with("partitions[1].topic is empty"), "{detail}");
}

#[test]
fn what_is_left_out_has_its_default() {
    let got = request(plain(), no_deadline()).expect("sound");
    assert_eq!((got.acks, got.routing), (Acks::Quorum, Routing::Forward));
    assert_eq!(got.timeout, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_bounds_the_timeout() {
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-timeout", "10S".parse().expect("a header"));
    let got = request(plain(), Deadline::of(&metadata)).expect("sound");
    assert_eq!(got.timeout, Duration::from_millis(9_950));
    let short = v1::ProduceRequest { timeout_ms: 200, ..plain() };
    let got = request(short, Deadline::of(&metadata)).expect("sound");
    assert_eq!(got.timeout, Duration::from_millis(200));
}

#[test]
fn records_keep_everything_and_share_their_bytes() {
    let value = Bytes::from(vec![7; 100]);
    let mut wire = plain();
    wire.acks = v1::Acks::Leader.into();
    *set_of(&mut wire) = v1::RecordSet {
        records: vec![v1::Record {
            key: Some(Bytes::new()),
            value: Some(value.clone()),
            headers: vec![
                v1::Header { name: "a".to_owned(), value: None },
                v1::Header { name: "a".to_owned(), value: Some(Bytes::new()) },
            ],
            timestamp_ms: 5,
            offset: 77,
        }],
        compression: v1::Compression::Zstd.into(),
        producer: Some(v1::ProducerSequence {
            producer_id: 1,
            producer_epoch: 32_767,
            base_sequence: i32::MAX.cast_unsigned(),
        }),
    };
    let got = request(wire, no_deadline()).expect("sound");
    assert_eq!(got.acks, Acks::Leader);
    let Data::Records(set) = &got.partitions[0].data else { panic!("records") };
    assert_eq!(set.compression, Compression::Zstd);
    let producer = Producer { id: 1, epoch: i16::MAX, base_sequence: i32::MAX };
    assert_eq!(set.producer, Some(producer));
    let record = &set.records[0];
    assert_eq!(record.key, Some(Bytes::new()));
    assert_eq!(record.timestamp_ms, 5);
    let got_value = record.value.as_ref().expect("it has one");
    assert_eq!(got_value.as_ptr(), value.as_ptr(), "not copied");
    let headers: Vec<_> = record.headers.iter().map(|h| (&h.name[..], h.value.clone())).collect();
    assert_eq!(headers, [(&b"a"[..], None), (&b"a"[..], Some(Bytes::new()))]);
}

#[test]
fn results_stand_in_the_order_of_the_request() {
    let names = vec![("t".to_owned(), 1), ("t".to_owned(), 2), ("u".to_owned(), 0)];
    let stored = Produced {
        base_offset: Some(0),
        append_time_ms: 11,
        log_start_offset: 0,
        duplicate: true,
        durability: Durability::QuorumFsync,
    };
    let taken = Produced { base_offset: None, durability: Durability::Leader, ..stored };
    let outcomes = vec![Ok(stored), Err(Error::unknown_partition("t", 2, 2)), Ok(taken)];
    let answer = response(4, names, outcomes, |error| crate::grpc::error::wire(error, |_| None));
    assert_eq!(answer.correlation_id, 4);
    let [first, second, third] = &answer.results[..] else { panic!("three") };
    assert_eq!((first.topic.as_str(), first.partition), ("t", 1));
    assert!(first.error.is_none() && first.offset_known && first.duplicate);
    assert_eq!(first.durability(), v1::Durability::QuorumFsync);
    let error = second.error.as_ref().expect("it failed");
    assert_eq!((second.partition, error.kind()), (2, v1::ErrorKind::NotFound));
    assert!(third.error.is_none() && !third.offset_known);
    assert_eq!((third.base_offset, third.durability()), (0, v1::Durability::Leader));
}

#[test]
fn a_refusal_has_a_result_for_each_partition_and_one_at_least() {
    let error = crate::grpc::error::wire(Error::throttled("x", 1, 5), |_| None);
    let some = refusal(1, vec![("t".to_owned(), 1), ("t".to_owned(), 2)], &error);
    assert_eq!(some.results.iter().map(|r| r.partition).collect::<Vec<_>>(), [1, 2]);
    assert!(some.results.iter().all(|result| result.error.as_ref() == Some(&error)));
    let none = refusal(1, vec![], &error);
    assert_eq!(none.results.len(), 1);
    let mut many = plain();
    many.partitions = vec![many.partitions[0].clone(); 2_000];
    assert_eq!(names(&many).len(), 1_024);
}
