//! The ledger notices each kind of fault that it is there for.

use super::*;

fn read(records: &[(u64, u32, u64)]) -> Vec<Read> {
    let name = |&(offset, writer, number)| Read { offset, name: RecordName { writer, number } };
    records.iter().map(name).collect()
}

/// Writer 0 sent three records, two of them acknowledged at 0 and 1; writer 1 sent one.
fn ledger() -> Ledger {
    let ledger = Ledger::new();
    assert_eq!(ledger.sending(0, 0, 2), 0);
    ledger.acknowledged(0, 0, 0, 2, 0);
    assert_eq!(ledger.sending(0, 0, 1), 2);
    assert_eq!(ledger.sending(0, 1, 1), 0);
    ledger
}

#[test]
fn what_is_right_passes() {
    let counts = ledger().check(0, &read(&[(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 0, 2)]));
    assert_eq!(counts, Counts { sent: 4, acknowledged: 2, read: 4 });
    // What was not acknowledged may be missing.
    assert_eq!(ledger().check(0, &read(&[(0, 0, 0), (1, 0, 1)])).read, 2);
}

#[test]
fn each_fault_is_noticed() {
    type Records = &'static [(u64, u32, u64)];
    let cases: [(&str, Records); 7] = [
        ("acknowledged at 1, lost", &[(0, 0, 0)]),
        ("stored twice: at 1 and 2", &[(0, 0, 0), (1, 0, 1), (2, 0, 1)]),
        ("acknowledged at 0, read at 1", &[(0, 1, 0), (1, 0, 0), (2, 0, 1)]),
        ("comes after", &[(0, 0, 1), (1, 0, 0)]),
        ("number 1 is missing", &[(0, 0, 0), (1, 0, 2)]),
        ("offset 3 stands at place 2", &[(0, 0, 0), (1, 0, 1), (3, 1, 0)]),
        ("never sent", &[(0, 0, 0), (1, 0, 1), (2, 7, 0)]),
    ];
    for (expected, records) in cases {
        let ledger = ledger();
        let faults = ledger.faults(&ledger.acknowledgements(), 0, &read(records)).join("\n");
        assert!(faults.contains(expected), "{expected:?} is not in {faults:?}");
    }
}
