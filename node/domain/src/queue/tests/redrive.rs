//! Tasks that move messages: what each rule says.

use kontiki_storage::id::Offset;

use super::{Bench, QUEUE};
use crate::Rejection;
use crate::queue::{
    Action, Attributes, Command, QueueSettings, RedriveMove, RedriveProgress, RedriveSpec,
    RedriveStatus, RedriveStep, RedriveTask, Reply, Transfer, read, redrive_limits,
};

impl Bench {
    fn start(&mut self, spec: RedriveSpec) -> Result<(u64, RedriveStatus), Rejection> {
        let reply = self.apply(Command::StartRedrive { queue: QUEUE, spec }, &[])?;
        let Reply::Redriving { redrive, status, .. } = reply else { panic!("{reply:?}") };
        Ok((redrive, status))
    }

    fn step(&mut self, step: RedriveStep) -> (RedriveStatus, u64) {
        let reply = self.apply(Command::StepRedrive { queue: QUEUE, step }, &[]).unwrap();
        let Reply::Redriving { status, progress, .. } = reply else { panic!("{reply:?}") };
        (status, progress.moved)
    }

    fn cancel(&mut self, redrive: u64) -> RedriveStatus {
        let reply = self.apply(Command::CancelRedrive { queue: QUEUE, redrive }, &[]).unwrap();
        let Reply::Redriving { status, .. } = reply else { panic!("{reply:?}") };
        status
    }

    fn tasks(&mut self) -> Vec<(u64, RedriveTask)> {
        self.shard.write();
        read::redrives(&self.shard.rows, self.shard.space, QUEUE).unwrap()
    }

    fn task(&mut self) -> RedriveTask {
        self.tasks().pop().expect("there is one").1
    }
}

/// A step that moves what it passes.
fn step(redrive: u64, from: u64, to: u64) -> RedriveStep {
    let offsets = (from..to).map(Offset).collect();
    RedriveStep {
        redrive,
        from: Offset(from),
        to: Offset(to),
        counted: RedriveProgress { examined: to - from, ..RedriveProgress::default() },
        moves: vec![RedriveMove { target: "other".to_owned(), offsets }],
        failure: None,
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new(QueueSettings::default());
    // Everything is read from its row.
    bench.reload = true;
    bench
}

#[test]
fn a_task_goes_on_where_it_is_and_each_step_counts_once() {
    let mut bench = bench();
    bench.send(4);
    assert_eq!(bench.start(RedriveSpec::default()), Ok((1, RedriveStatus::Running)));
    // What is sent later is not its concern.
    bench.send(2);
    let held = bench.receive(1);
    assert_eq!(bench.step(step(1, 0, 3)), (RedriveStatus::Running, 2), "a leased one was moved");
    // Another leader, or a node that doesn't know that its step was done.
    assert_eq!(bench.step(step(1, 0, 3)), (RedriveStatus::Running, 2));
    assert_eq!(bench.step(step(1, 0, 2)), (RedriveStatus::Running, 2));
    assert_eq!(bench.task().progress.examined, 3);
    assert_eq!(bench.state().counts().moving, 2);
    let end = bench.task().end;
    assert_eq!(bench.step(step(1, 3, end.0)), (RedriveStatus::Completed, 3));
    assert_eq!(bench.step(step(1, 4, 6)), (RedriveStatus::Completed, 3), "it went on");
    assert_eq!(bench.settle(&held[0], Action::Acknowledge), crate::queue::Settled::Done);
    assert_eq!(bench.state().counts().available, 2);
    assert_eq!(bench.shard.machine.partitions().unwrap().queues().redriving(QUEUE), None);
}

#[test]
fn a_queue_has_one_at_a_time_and_one_of_an_empty_queue_is_done() {
    let mut bench = bench();
    assert_eq!(bench.start(RedriveSpec::default()), Ok((1, RedriveStatus::Completed)));
    bench.send(1);
    assert_eq!(bench.start(RedriveSpec::default()), Ok((2, RedriveStatus::Running)));
    let refused = bench.start(RedriveSpec::default()).unwrap_err();
    assert_eq!(refused.code(), 155, "{refused}");
    assert!(refused.to_string().starts_with("redrive 2 of queue 7 is not finished"), "{refused}");
    assert_eq!(bench.cancel(2), RedriveStatus::Cancelling);
    assert_eq!(bench.start(RedriveSpec::default()).unwrap_err().code(), 155);
    assert_eq!(bench.cancel(2), RedriveStatus::Cancelling);
    assert_eq!(bench.step(step(2, 0, 1)), (RedriveStatus::Cancelled, 0), "it moved nevertheless");
    assert_eq!(bench.cancel(2), RedriveStatus::Cancelled);
    assert_eq!(bench.start(RedriveSpec::default()), Ok((3, RedriveStatus::Running)));
    let unknown = Command::CancelRedrive { queue: QUEUE, redrive: 4 };
    assert_eq!(bench.apply(unknown, &[]).unwrap_err().code(), 3);
}

#[test]
fn a_task_keeps_its_rate_and_its_number() {
    let mut bench = bench();
    bench.send(5);
    let spec = RedriveSpec { per_second: 2, max: 3, ..RedriveSpec::default() };
    bench.start(spec).unwrap();
    let now = bench.now();
    assert_eq!(bench.step(step(1, 0, 1)), (RedriveStatus::Running, 1));
    assert_eq!(bench.task().not_before_ms, now + 500);
    assert_eq!(bench.step(step(1, 1, 3)), (RedriveStatus::Completed, 3));
    assert_eq!(bench.state().counts().available, 2);
}

#[test]
fn a_dry_run_counts_and_moves_nothing() {
    let mut bench = bench();
    bench.send(2);
    bench.start(RedriveSpec { dry_run: true, ..RedriveSpec::default() }).unwrap();
    let counted = RedriveProgress { examined: 2, moved: 1, stranded: 1, filter_errors: 0 };
    let whole = RedriveStep { counted, ..step(1, 0, 2) };
    assert_eq!(bench.step(whole), (RedriveStatus::Completed, 1));
    assert_eq!(bench.task().progress, counted);
    assert_eq!(bench.state().counts().available, 2);
}

#[test]
fn what_fails_says_why_and_does_nothing_more() {
    let mut bench = bench();
    bench.send(2);
    bench.start(RedriveSpec::default()).unwrap();
    let failure = Some("queue other is gone".to_owned());
    let failed = RedriveStep { failure: failure.clone(), ..step(1, 0, 0) };
    assert_eq!(bench.step(failed), (RedriveStatus::Failed, 0));
    assert_eq!(bench.task().failure, failure);
    assert_eq!(bench.step(step(1, 0, 2)), (RedriveStatus::Failed, 0));
    assert_eq!(bench.start(RedriveSpec::default()), Ok((2, RedriveStatus::Running)));
}

#[test]
fn the_last_ten_are_remembered_and_those_whose_headers_are_needed() {
    let mut bench = bench();
    for number in 1..=15 {
        assert_eq!(bench.start(RedriveSpec::default()), Ok((number, RedriveStatus::Completed)));
    }
    let numbers = |bench: &mut Bench| bench.tasks().iter().map(|one| one.0).collect::<Vec<_>>();
    assert_eq!(numbers(&mut bench), (6..=15).collect::<Vec<_>>());

    bench.send(3);
    let edits = RedriveSpec { remove_headers: vec!["a".to_owned()], ..RedriveSpec::default() };
    bench.start(edits.clone()).unwrap();
    assert_eq!(bench.step(step(16, 0, 1)).1, 1);
    bench.step(RedriveStep { moves: Vec::new(), ..step(16, 1, 3) });
    let (state, space) = (bench.state(), bench.shard.space);
    bench.shard.write();
    let outbox = read::outbox(&bench.shard.rows, space, QUEUE, &state, 9).unwrap();
    let transfer = Transfer::Redriven { target: "other".to_owned(), redrive: 16 };
    assert_eq!(outbox[0].1.transfer, transfer);
    let mut refused = None;
    for number in 17..99 {
        match bench.start(RedriveSpec { dry_run: true, ..RedriveSpec::default() }) {
            Ok((got, _)) => assert_eq!(got, number),
            Err(rejection) => {
                refused = Some((number, rejection.to_string()));
                break;
            }
        }
        bench.step(RedriveStep { moves: Vec::new(), ..step(number, 0, 3) });
    }
    let (number, why) = refused.expect("tasks are piled up");
    assert_eq!(number, 36);
    assert!(why.starts_with("redrive 16 of queue 7 is not finished"), "{why}");
    assert_eq!(bench.tasks().len(), 2 * redrive_limits::ENDED_MAX);
    // It has arrived: nobody needs the headers any more.
    bench.apply(Command::Transferred { queue: QUEUE, through: 0, dropped: None }, &[]).unwrap();
    bench.start(edits).unwrap();
    assert_eq!(bench.tasks().len(), redrive_limits::ENDED_MAX);
}

#[test]
fn what_a_task_may_be_told_has_limits() {
    let mut bench = bench();
    bench.send(1);
    let name = |number: usize| format!("h{number}");
    let many: Vec<String> = (0..=redrive_limits::HEADERS_MAX).map(name).collect();
    let value = vec![b'x'; redrive_limits::HEADER_BYTES_MAX];
    let wrong = [
        (RedriveSpec { target: Some("a/b".to_owned()), ..RedriveSpec::default() }, 222),
        (RedriveSpec { remove_headers: many, ..RedriveSpec::default() }, 3),
        (
            RedriveSpec {
                set_headers: vec![("h".to_owned(), value.into())],
                ..RedriveSpec::default()
            },
            3,
        ),
    ];
    for (spec, code) in wrong {
        assert_eq!(bench.start(spec).unwrap_err().code(), code);
    }
    bench.start(RedriveSpec::default()).unwrap();
    let back = Command::StepRedrive { queue: QUEUE, step: step(1, 0, 0) };
    assert_eq!(bench.apply(back, &[]).unwrap_err().code(), 3);
    assert_eq!(bench.task().status, RedriveStatus::Running);
}

#[test]
fn messages_that_wait_in_any_way_are_moved_and_their_groups_go_on() {
    let settings = QueueSettings { fifo: true, ..QueueSettings::default() };
    let mut bench = Bench::new(settings);
    bench.reload = true;
    for group in [1, 1, 2] {
        bench.send_with(Attributes { group: Some(group), ..Attributes::default() }).unwrap();
    }
    bench.start(RedriveSpec::default()).unwrap();
    assert_eq!(bench.step(step(1, 0, 1)), (RedriveStatus::Running, 1));
    assert_eq!(bench.offsets(9), [1, 2]);
    // The queue is deleted with its tasks.
    let delete = crate::partition::Command::DeletePartition { partition: QUEUE, limit: 100 };
    bench.shard.apply(delete, &[]).unwrap();
    assert_eq!(bench.tasks(), []);
}
