//! What a scan shows of rows and a batch is what the rows are once the batch is written.

use bytes::Bytes;
use kontiki_storage::engine::{KeyRange, Order, ScanLimit};
use kontiki_storage::{Family, View, WriteBatch};
use proptest::prelude::*;

use crate::partition::overlay;
use crate::tests::Rows;

#[derive(Debug, Clone)]
enum Change {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (0..24_u8, any::<u8>()).prop_map(|(key, value)| Change::Put(key, value)),
        2 => (0..24_u8).prop_map(Change::Delete),
        1 => (0..24_u8, 0..8_u8).prop_map(|(from, rows)| Change::DeleteRange(from, from + rows)),
    ];
    prop::collection::vec(change, 0..40)
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![number])
}

fn batch(changes: &[Change]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for change in changes {
        match *change {
            Change::Put(at, value) => batch.put(Family::State, key(at), vec![value]),
            Change::Delete(at) => batch.delete(Family::State, key(at)),
            Change::DeleteRange(from, to) => {
                batch.delete_range(Family::State, KeyRange::new(key(from), key(to)));
            }
        }
        // Another family is another row.
        batch.put(Family::Log, key(3), vec![1]);
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_seen_before_it_is_written(
        earlier in changes(),
        pending in changes(),
        from in 0..12_u8,
        to in 12..24_u8,
        step in 1..6_usize,
    ) {
        let mut rows = Rows::default();
        rows.write(batch(&earlier));
        let pending = batch(&pending);
        let range = KeyRange::new(key(from), key(to));

        let mut seen = Vec::new();
        let mut rest = range.clone();
        loop {
            let page = overlay::scan(&rows, &pending, rest.clone(), step).unwrap();
            prop_assert!(page.len() <= step);
            let Some((last, _)) = page.last() else { break };
            rest = rest.after(last);
            seen.extend(page);
        }
        let each: Vec<Option<Bytes>> =
            (0..24).map(|at| overlay::get(&rows, &pending, &key(at)).unwrap()).collect();

        rows.write(pending);
        let limit = ScanLimit::rows(100);
        let wanted = rows.scan(Family::State, range, Order::Forward, limit).unwrap();
        prop_assert_eq!(seen, wanted);
        for (at, value) in (0..24).zip(each) {
            prop_assert_eq!(value, rows.get(Family::State, &key(at)).unwrap());
        }
    }
}
