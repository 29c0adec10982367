use super::*;
use crate::history::{ClientId, DeadLetter, Outcome};
use crate::workload::JOBS;

#[derive(Default)]
pub(in super::super) struct Sample(pub(in super::super) Evidence);

impl Sample {
    pub(in super::super) fn new() -> Self {
        let mut sample = Self::default();
        sample.0.end.whole_at = Some(1);
        sample
    }

    pub(in super::super) fn op(&mut self, call: Call, answer: Answer) {
        let place = self.0.history.ops.len() as u64;
        self.0.history.ops.push(Op {
            id: OpId(place),
            client: ClientId(1),
            call,
            invoked: place * 10,
            returned: Some((place * 10 + 5, Outcome::Ok(answer))),
        });
    }

    fn send(&mut self, queue: &str, number: u64, id: &str, group: Option<u64>) {
        let queue = queue.to_owned();
        let call = Call::Send { queue, message: name(number), group, delay_ms: None };
        self.op(call, Answer::Sent { message_id: id.to_owned(), duplicate: false });
    }

    pub(in super::super) fn publish(
        &mut self,
        exchange: &str,
        key: &str,
        number: u64,
        queues: u32,
    ) {
        let (exchange, key) = (exchange.to_owned(), key.to_owned());
        let call = Call::Publish { exchange, key, message: name(number), through: None };
        self.op(call, Answer::Published { queues });
    }

    pub(in super::super) fn receive(&mut self, queue: &str, deliveries: &[(u64, &str, u32, i64)]) {
        let call = Call::Receive { queue: queue.to_owned(), max: 5 };
        let deliveries = deliveries.iter().map(|(message, id, number, granted_ms)| Delivery {
            message_id: (*id).to_owned(),
            message: Some(name(*message)),
            number: *number,
            sent_ms: 0,
            granted_ms: *granted_ms,
            until_ms: *granted_ms + 100,
            dead: None,
        });
        self.op(call, Answer::Received(deliveries.collect()));
    }

    /// A dead letter: its id, from where it comes, and when and after how many deliveries.
    pub(in super::super) fn receive_dead(
        &mut self,
        queue: &str,
        (message, id): (u64, &str),
        (from, deliveries, failed_ms): (&str, u32, i64),
    ) {
        self.receive(queue, &[(message, id, 1, failed_ms)]);
        let last = self.0.history.ops.last_mut().expect("it was just added");
        if let Some((_, Outcome::Ok(Answer::Received(received)))) = &mut last.returned {
            let from = from.to_owned();
            received[0].dead = Some(DeadLetter { from, deliveries, failed_ms });
        }
    }

    pub(in super::super) fn settle(
        &mut self,
        queue: &str,
        id: &str,
        delivery: u32,
        action: Action,
        until_ms: i64,
    ) {
        let (queue, message_id) = (queue.to_owned(), id.to_owned());
        let call = Call::Settle { queue, message_id, delivery, action };
        self.op(call, Answer::Settled { done: true, until_ms });
    }
}

pub(in super::super) fn name(number: u64) -> RecordName {
    RecordName { client: 1, number }
}

fn text(done: Result<(), Violation>) -> String {
    done.unwrap_err().text
}

#[test]
fn a_message_that_never_comes_is_lost() {
    let mut sample = Sample::new();
    sample.send("jobs", 0, "1-0", None);
    sample.send(FRAGILE, 1, "2-0", None);
    assert!(text(not_lost(&sample.0)).contains("1-0 of jobs"));
    sample.receive("jobs", &[(0, "1-0", 1, 0)]);
    assert!(text(not_lost(&sample.0)).contains("2-0 of fragile"));
    sample.receive(DEAD, &[(1, "3-0", 1, 0)]);
    assert_eq!(not_lost(&sample.0), Ok(()));
}

#[test]
fn an_acknowledged_message_does_not_come_again() {
    let mut sample = Sample::new();
    sample.receive("jobs", &[(0, "1-0", 1, 0)]);
    sample.settle("jobs", "1-0", 1, Action::Acknowledge, 0);
    assert_eq!(settled(&sample.0), Ok(()));
    sample.receive("jobs", &[(0, "1-0", 2, 200)]);
    assert!(text(settled(&sample.0)).contains("acknowledged after delivery 1"));
}

#[test]
fn leases_do_not_overlap() {
    let mut sample = Sample::new();
    sample.receive("jobs", &[(0, "1-0", 1, 0)]);
    sample.receive("jobs", &[(0, "1-0", 2, 100)]);
    assert_eq!(one_lease(&sample.0), Ok(()));
    sample.settle("jobs", "1-0", 1, Action::Extend, 150);
    assert!(text(one_lease(&sample.0)).contains("leased until 150"));
    sample.settle("jobs", "1-0", 1, Action::Fail, 0);
    assert_eq!(one_lease(&sample.0), Ok(()));
    sample.receive("jobs", &[(0, "1-0", 2, 300)]);
    assert!(text(one_lease(&sample.0)).contains("two deliveries are number 2"));
    // Nobody knows of a delivery, and the one after it is too early as well.
    let mut sample = Sample::new();
    sample.receive("jobs", &[(0, "1-0", 1, 0)]);
    sample.receive("jobs", &[(0, "1-0", 3, 99)]);
    assert!(text(one_lease(&sample.0)).contains("until 100, and delivery 3 began at 99"));
}

#[test]
fn a_message_has_one_id() {
    let mut sample = Sample::new();
    sample.send("jobs", 0, "1-0", None);
    sample.send("jobs", 0, "1-0", None);
    sample.receive(DEAD, &[(0, "3-0", 1, 0)]);
    assert_eq!(once(&sample.0), Ok(()));
    sample.receive(DEAD, &[(0, "3-1", 1, 0)]);
    assert!(text(once(&sample.0)).contains("is 3-0 of dead"));
}

#[test]
fn groups_are_in_order() {
    let mut sample = Sample::new();
    for number in 0..3 {
        sample.send(ORDERED, number, &format!("5-{number}"), Some(7));
    }
    sample.receive(ORDERED, &[(0, "5-0", 1, 0), (1, "5-1", 1, 0)]);
    // They came together: the first may come again after the second.
    sample.receive(ORDERED, &[(0, "5-0", 2, 200)]);
    assert_eq!(in_order(&sample.0), Ok(()));
    sample.receive(ORDERED, &[(2, "5-2", 1, 150)]);
    assert!(text(in_order(&sample.0)).contains("earlier message of its group"));
}

#[test]
fn groups_are_in_order_when_they_come_again() {
    let mut sample = Sample::new();
    for number in 0..2 {
        sample.send(ORDERED, number, &format!("5-{number}"), Some(7));
    }
    sample.receive(ORDERED, &[(0, "5-0", 1, 0), (1, "5-1", 1, 0)]);
    sample.receive(ORDERED, &[(0, "5-0", 2, 200)]);
    sample.receive(ORDERED, &[(1, "5-1", 2, 300)]);
    assert_eq!(in_order(&sample.0), Ok(()));
    sample.receive(ORDERED, &[(0, "5-0", 3, 400)]);
    assert!(text(in_order(&sample.0)).contains("earlier message of its group"));
}

#[test]
fn nothing_is_early_or_too_often() {
    let mut sample = Sample::new();
    sample.receive(LATER, &[(0, "4-0", 1, LATER_MS)]);
    sample.receive(FRAGILE, &[(1, "2-0", ATTEMPTS_MAX, 0)]);
    assert_eq!(early(&sample.0), Ok(()));
    sample.receive(FRAGILE, &[(1, "2-0", ATTEMPTS_MAX + 1, 0)]);
    assert!(text(early(&sample.0)).contains("too often"));
    let mut sample = Sample::new();
    let call =
        Call::Send { queue: JOBS.to_owned(), message: name(0), group: None, delay_ms: Some(50) };
    sample.op(call, Answer::Sent { message_id: "1-0".to_owned(), duplicate: false });
    sample.receive(JOBS, &[(0, "1-0", 1, 50)]);
    assert_eq!(early(&sample.0), Ok(()));
    sample.receive(JOBS, &[(0, "1-0", 2, 49)]);
    assert!(text(early(&sample.0)).contains("came early"));
    let mut sample = Sample::new();
    sample.receive(LATER, &[(0, "4-0", 1, LATER_MS - 1)]);
    assert!(text(early(&sample.0)).contains("came early"));
}
