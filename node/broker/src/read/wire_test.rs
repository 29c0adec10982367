//! The bytes between nodes: nodes of two releases have to understand each other.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn requests() -> [(Request, &'static str); 3] {
    let parts = vec![
        FetchPart { partition: 1, offset: 2, max_bytes: 3 },
        FetchPart { partition: u64::MAX, offset: 300, max_bytes: 70_000 },
    ];
    let fetch = Fetch { partitions: parts, min_bytes: 4, max_bytes: 5, wait_ms: 6 };
    let queries = [At::Earliest, At::Latest, At::Timestamp(-1)];
    let queries = queries.into_iter().map(|at| OffsetQuery { partition: 7, at }).collect();
    [
        (Request::Fetch(fetch), "01820081848283010203831bffffffffffffffff19012c1a00011170040506"),
        (Request::Offsets(queries), "018201818382078200808207820180820782028120"),
        (Request::Sizes(vec![8, 9]), "01820281820809"),
    ]
}

fn responses() -> [(Response, &'static str); 3] {
    let error = Error::not_leader("it", Some(NodeId(3)));
    let fetched = Fetched {
        high_watermark: 1,
        log_start_offset: 2,
        leader_epoch: 3,
        next_offset: 4,
        batches: 5,
    };
    let found = Found { offset: Some(1), timestamp_ms: None, leader_epoch: 2 };
    let size = Size { log_start_offset: 1, high_watermark: 2, bytes: 3 };
    [
        (
            Response::Fetched(vec![FetchedPart::Done(fetched), Err(error).into()]),
            "01820081828200818501020304058201818507190406782574686973206e6f646520\
             646f65736e2774206c6561642069743a2061736b206e6f646520330300",
        ),
        (Response::Offsets(vec![FoundPart::Done(found)]), "01820181818200818301f602"),
        (Response::Sizes(vec![SizePart::Done(size)]), "018202818182008183010203"),
    ]
}

#[test]
fn requests_are_what_they_were_in_every_release() {
    let encoded = requests().map(|(request, frozen)| {
        let bytes = request.encode();
        assert_eq!(Request::decode(&bytes), Ok(request));
        (hex(&bytes), frozen)
    });
    let (encoded, frozen): (Vec<_>, Vec<_>) = encoded.into_iter().unzip();
    assert_eq!(encoded, frozen);
}

#[test]
fn answers_are_what_they_were_in_every_release() {
    let encoded = responses().map(|(response, frozen)| {
        let bytes = response.encode();
        assert_eq!(Response::decode(&bytes), Ok(response));
        (hex(&bytes), frozen)
    });
    let (encoded, frozen): (Vec<_>, Vec<_>) = encoded.into_iter().unzip();
    assert_eq!(encoded, frozen);
}

#[test]
fn redrives_are_what_they_were_in_every_release() {
    let request = Request::Redrives(7);
    assert_eq!(hex(&request.encode()), "01820b8107");
    assert_eq!(Request::decode(&request.encode()), Ok(request));
    // The row of a task is frozen where it is at home.
    let response = Response::Redrives(Vec::new());
    assert_eq!(hex(&response.encode()), "01820b8180");
    assert_eq!(Response::decode(&response.encode()), Ok(response));
}

#[test]
fn receives_of_earlier_releases_name_no_consumer() {
    let bytes = [1, 0x82, 3, 0x81, 0x84, 7, 10, 0, 5];
    let receive =
        Receive { queue: 7, max: 10, lease_ms: 0, wait_ms: 5, consumer: None, priority: None };
    let request = Request::Receive(receive.clone());
    assert_eq!(Request::decode(&bytes), Ok(request.clone()));
    assert_eq!(request.encode(), &bytes[..]);
    let named = Receive { consumer: Some("a".to_owned()), priority: Some(-1), ..receive };
    let bytes = Request::Receive(named.clone()).encode();
    assert_eq!(hex(&bytes), "018203818607 0a0005616120".replace(' ', ""));
    assert_eq!(Request::decode(&bytes), Ok(Request::Receive(named)));
    let says = Consumer { queue: 7, consumer: "a".to_owned(), says: Says::Gone };
    assert_eq!(hex(&Request::Consumer(says).encode()), "01820681830761618201 80".replace(' ', ""));
}

#[test]
fn a_failure_comes_through_whole() {
    let error = Error { retry_after_ms: 5, ..Error::not_leader("it", Some(NodeId(3))) };
    assert_eq!(Error::from(Failed::from(error.clone())), error);
}

#[test]
fn what_is_cut_off_or_too_long_is_refused() {
    let (request, _) = requests().into_iter().next().expect("three");
    let bytes = request.encode();
    for length in 0..bytes.len() {
        assert!(Request::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Request::decode(&longer).is_err());
}

/// What subscriptions ask, and what they are answered.
fn selections() -> (Vec<Request>, Vec<Response>) {
    use kontiki_domain::filter::{FilterText, Language};
    let filter = FilterText { language: Language::PolicyOnBody, text: "{}".to_owned() };
    let partitions = vec![SelectPart { partition: 1, offset: 300 }];
    let all = Select { partitions, filter: None, max_bytes: 4, wait_ms: 5 };
    let some = Select { filter: Some(filter), ..all.clone() };
    let attach =
        |holding| Request::Attach(Attach { subscription: 7, session: [9; 16], node: 2, holding });
    let positions = Positions { subscription: 7, partitions: vec![1, 2] };
    let mut requests =
        vec![Request::Select(all), Request::Select(some), Request::Positions(positions)];
    let wishes = [Holding::Begin, Holding::TakeOver, Holding::Renew, Holding::End];
    requests.extend(wishes.map(attach));
    let done = Selected {
        partition: 1,
        next_offset: 2,
        end_offset: 3,
        batches: vec![vec![], vec![0, 300]],
        unmatched: 4,
        failed: 5,
    };
    let failed = SelectedPart::Failed { partition: 1, failed: Error::stopping().into() };
    let responses = vec![
        Response::Selected(vec![SelectedPart::Done(done), failed]),
        Response::Positions(vec![None, Some(300)]),
        Response::Attached(Attached { other: None, generation: None }),
        Response::Attached(Attached { other: Some(3), generation: None }),
        Response::Attached(Attached { other: None, generation: Some(300) }),
    ];
    (requests, responses)
}

#[test]
fn selections_are_what_they_were_in_every_release() {
    let (requests, responses) = selections();
    let mut encoded = Vec::new();
    for request in requests {
        let bytes = request.encode();
        assert_eq!(Request::decode(&bytes), Ok(request));
        encoded.push(hex(&bytes));
    }
    for response in responses {
        let bytes = response.encode();
        assert_eq!(Response::decode(&bytes), Ok(response));
        encoded.push(hex(&bytes));
    }
    let frozen: Vec<&str> = include_str!("wire_test.txt").lines().collect();
    assert_eq!(encoded, frozen, "{}", encoded.join("\n"));
}
