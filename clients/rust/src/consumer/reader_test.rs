//! Tests of what a reader makes of messages.

use kontiki_records::{BatchBuilder, Compression};

use super::*;

fn session() -> Session {
    Session::new(&ConsumerOptions { credit_bytes: 4_000, ..ConsumerOptions::default() })
}

fn key() -> Key {
    (Arc::from("t"), 0)
}

fn message(base_offset: i64, count: usize, credit_used: u32) -> v1::FetchStreamResponse {
    let mut builder = BatchBuilder::new(Limits::default());
    for _ in 0..count {
        builder.push(0, None, Some(b"v"), &[]).unwrap();
    }
    let batch = builder.finish(Compression::None, None).unwrap().at(base_offset, 1);
    let partition = v1::FetchedPartition {
        topic: "t".to_owned(),
        batches: vec![batch.into_bytes()],
        high_watermark: 100,
        ..v1::FetchedPartition::default()
    };
    v1::FetchStreamResponse { partition: Some(partition), credit_used }
}

fn open(session: &mut Session, generation: u64, offset: u64) {
    let told = session.obey(Order::Open { key: key(), generation, offset });
    assert!(told.request.is_some() && told.event.is_none());
}

#[tokio::test]
async fn records_come_with_the_offset_to_go_on_at() {
    let mut session = session();
    open(&mut session, 1, 12);
    let Taken::Item(item) = session.take(message(10, 5, 500)) else { panic!("records") };
    let Item::Fetched { fetched, generation, used, .. } = *item else { panic!("records") };
    assert_eq!((generation, used, fetched.next_offset), (1, 500, 15));
    assert_eq!(fetched.records.len(), 3);
    assert_eq!(session.grant_returned(), None, "they are not taken yet");
}

#[tokio::test]
async fn credit_comes_back_for_what_nobody_will_take() {
    let mut session = session();
    assert!(matches!(session.take(message(0, 1, 600)), Taken::Nothing), "not opened");
    assert_eq!(session.grant_returned(), None, "less than a quarter");
    open(&mut session, 1, 50);
    assert!(matches!(session.take(message(0, 5, 600)), Taken::Nothing), "of a former position");
    let granted = session.grant_returned().unwrap().request;
    assert_eq!(granted, Some(Request::Credit(Credit { bytes: 1_200 })));
    assert_eq!(session.grant_returned(), None);
}

#[tokio::test]
async fn a_gap_and_an_error_put_the_partition_off() {
    let mut session = session();
    open(&mut session, 4, 7);
    let Taken::Event(Event::Off { generation, next, error, .. }) = session.take(message(9, 1, 1))
    else {
        panic!("what is between is missing")
    };
    assert_eq!((generation, next), (4, 7));
    assert!(error.is_some_and(|error| error.is_retriable()));
    open(&mut session, 5, 7);
    let mut refused = message(7, 1, 0);
    let code = 1012;
    let error = v1::Error { code, kind: v1::ErrorKind::NotFound.into(), ..v1::Error::default() };
    refused.partition.as_mut().unwrap().error = Some(error);
    let Taken::Event(Event::Off { error, .. }) = session.take(refused) else { panic!("refused") };
    assert_eq!(error.map(|error| error.code), Some(1012));
    assert!(session.readings.is_empty());
}

#[tokio::test]
async fn a_close_says_where_it_had_come_to_unless_it_is_outdated() {
    let mut session = session();
    open(&mut session, 2, 0);
    assert!(matches!(session.take(message(0, 3, 1)), Taken::Item(_)));
    let told = session.obey(Order::Close { key: key(), generation: 2 });
    assert!(matches!(told.event, Some(Event::Off { next: 3, error: None, .. })));
    assert!(session.obey(Order::Close { key: key(), generation: 2 }).request.is_none());
}
