//! What is left of the answers of several shards.

use super::*;

fn batch(base_offset: u64, length: usize) -> Bytes {
    let mut bytes = base_offset.to_be_bytes().to_vec();
    bytes.resize(length, 0);
    bytes.into()
}

fn fetched(batches: Vec<Bytes>) -> Result<Fetched, Error> {
    Ok(Fetched { batches, next_offset: 100, ..Fetched::default() })
}

fn left(outcomes: &[Result<Fetched, Error>]) -> Vec<(usize, u64)> {
    let shape = |outcome: &Result<Fetched, Error>| {
        outcome.as_ref().map_or((0, 0), |fetched| (fetched.batches.len(), fetched.next_offset))
    };
    outcomes.iter().map(shape).collect()
}

#[test]
fn what_fits_stays_as_it_is() {
    let mut outcomes = [fetched(vec![batch(0, 50)]), fetched(vec![batch(7, 50)])];
    cut(&mut outcomes, &[0, 7], 100, 0);
    assert_eq!(left(&outcomes), [(1, 100), (1, 100)]);
}

#[test]
fn what_is_over_is_left_for_the_next_fetch() {
    let three = |from| (from..from + 3).map(|offset| batch(offset, 50)).collect();
    let failed = Err(Error::not_ready());
    let mut outcomes = [fetched(three(0)), failed, fetched(three(7))];
    cut(&mut outcomes, &[0, 0, 7], 200, 0);
    assert_eq!(left(&outcomes), [(2, 2), (0, 0), (2, 9)]);
}

#[test]
fn one_batch_is_kept_and_a_position_never_goes_back() {
    let mut outcomes = [fetched(vec![batch(0, 500)]), fetched(vec![batch(3, 500)])];
    cut(&mut outcomes, &[0, 5], 100, 0);
    // The batch that was left out begins at 3, but 5 was asked for.
    assert_eq!(left(&outcomes), [(1, 100), (0, 5)]);
}

fn request(count: usize) -> Request {
    let partition = super::super::FetchPartition {
        topic: "t".to_owned(),
        partition: 0,
        offset: 0,
        max_bytes: 0,
    };
    Request {
        partitions: vec![partition; count],
        min_bytes: 0,
        max_bytes: 0,
        max_wait: Duration::ZERO,
        routing: Routing::Forward,
    }
}

#[test]
fn a_request_has_bounds() {
    assert_eq!(bounded(&request(1)), Ok((1, bounds::FETCH_BYTES_DEFAULT)));
    let much = Request { min_bytes: 9, max_bytes: 5, ..request(1) };
    assert_eq!(bounded(&much), Ok((5, 5)));
    let field = |request: &Request| bounded(request).expect_err("out of bounds").detail;
    assert!(field(&request(0)).starts_with("the number of partitions is 0"));
    assert!(field(&request(1_025)).starts_with("the number of partitions is 1025"));
    let large = Request { max_bytes: bounds::FETCH_BYTES_MAX + 1, ..request(1) };
    assert!(field(&large).starts_with("max_bytes is"));
    let long = Request { max_wait: Duration::from_millis(60_001), ..request(1) };
    assert!(field(&long).starts_with("max_wait_ms is 60001"));
}
