//! A queue with a single active consumer has one at a time.

use super::queues::{broken, received, settlements};
use super::{Check, Deed, Evidence, Violation};
use crate::history::{Action, Answer, ClientId, Ms, OpId};
use crate::workload::SINGLE;

/// The check.
pub const ONE_ACTIVE_CONSUMER: Check = Check {
    name: "one_active_consumer",
    promise: "while the leader stays the same, a queue with a single active consumer gives nothing \
              to another one as long as one holds a message",
    run,
};

/// A leader may serve so long before it is known to lead.
const LEADS_LATE_MS: Ms = 2_000;

/// A lease that a client knew of.
struct Lease<'e> {
    client: ClientId,
    id: &'e str,
    op: OpId,
    /// By the clocks of clients: from when until when it was held for sure.
    invoked: Ms,
    returned: Ms,
    settled: Ms,
    /// By the clock of the shard.
    granted_ms: i64,
    until_ms: i64,
}

fn leases(evidence: &Evidence) -> Vec<Lease<'_>> {
    let settlements = settlements(evidence);
    let mut leases = Vec::new();
    for (place, deliveries) in received(evidence) {
        for got in deliveries.into_iter().filter(|_| place.0 == SINGLE) {
            let Some((returned, _)) = got.op.answer() else { continue };
            let asked = settlements.get(&(place, got.delivery.number));
            let asked = asked.map(Vec::as_slice).unwrap_or_default();
            let ends = asked.iter().filter(|(_, action)| *action != Action::Extend);
            let extended = asked.iter().filter_map(|(op, _)| match op.answer() {
                Some((_, Answer::Settled { done: true, until_ms })) => Some(*until_ms),
                _ => None,
            });
            leases.push(Lease {
                client: got.op.client,
                id: place.1,
                op: got.op.id,
                invoked: got.op.invoked,
                returned,
                settled: ends.map(|(op, _)| op.invoked).min().unwrap_or(Ms::MAX),
                granted_ms: got.delivery.granted_ms,
                until_ms: extended.fold(got.delivery.until_ms, i64::max),
            });
        }
    }
    leases.sort_by_key(|lease| (lease.granted_ms, lease.op));
    leases
}

fn run(evidence: &Evidence) -> Result<(), Violation> {
    let leases = leases(evidence);
    for (place, next) in leases.iter().enumerate() {
        for held in leases[..place].iter().filter(|held| held.client != next.client) {
            let holds = next.granted_ms < held.until_ms && next.returned < held.settled;
            let (from, to) = (held.invoked.min(next.invoked), next.returned + LEADS_LATE_MS);
            // Which shard it is on is not known to clients.
            let another_leads = evidence.probes.iter().any(|probe| {
                matches!(probe.deed, Deed::Leads { .. }) && (from..=to).contains(&probe.at)
            });
            if holds && !another_leads {
                let text = format!(
                    "c{} had {} of {SINGLE} until {} by the shard's clock, and c{} got {} at {}",
                    held.client.0, held.id, held.until_ms, next.client.0, next.id, next.granted_ms
                );
                return Err(broken(ONE_ACTIVE_CONSUMER.name, text, &[held.op, next.op]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::super::queues::tests::Sample;
    use super::*;

    fn two() -> Sample {
        let mut sample = Sample::new();
        sample.receive(SINGLE, &[(0, "1-0", 1, 0)]);
        sample.receive(SINGLE, &[(1, "1-1", 1, 50)]);
        sample
    }

    #[test]
    fn two_that_hold_messages_are_noticed() {
        let mut sample = two();
        assert_eq!(run(&sample.0), Ok(()), "they are one");
        sample.0.history.ops[1].client = ClientId(2);
        let said = run(&sample.0).unwrap_err().text;
        assert_eq!(
            said,
            "c1 had 1-0 of single until 100 by the shard's clock, and c2 got 1-1 at 50"
        );
        let probe = Probe { at: 12, node: 1, shard: 1, replica: 1, deed: Deed::Leads { term: 2 } };
        sample.0.probes.push(probe);
        assert_eq!(run(&sample.0), Ok(()), "another leader doesn't know");
    }

    #[test]
    fn what_is_settled_or_has_ended_is_not_held() {
        let mut sample = Sample::new();
        sample.receive(SINGLE, &[(0, "1-0", 1, 0)]);
        sample.settle(SINGLE, "1-0", 1, Action::Release, 0);
        sample.receive(SINGLE, &[(1, "1-1", 1, 50)]);
        sample.receive(SINGLE, &[(0, "1-0", 2, 150)]);
        sample.0.history.ops[2].client = ClientId(2);
        assert_eq!(run(&sample.0), Ok(()));
    }
}
