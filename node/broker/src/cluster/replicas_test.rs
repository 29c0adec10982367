//! Tests of what is done about a shard: every combination of what the catalog wants and what is
//! here.

use kontiki_domain::catalog::PlacementVersion;

use super::*;

const NODE: NodeId = NodeId(1);

fn id(node: u32, incarnation: u32) -> ReplicaId {
    ReplicaId::new(NodeId(node), incarnation)
}

fn placement(founded: bool, voters: &[ReplicaId]) -> Placement {
    Placement {
        shard: ShardId(3),
        version: PlacementVersion(1),
        founded,
        voters: voters.to_vec(),
        target: None,
        lost: Vec::new(),
        incarnations: BTreeMap::from([(NODE, 2), (NodeId(2), 1), (NodeId(3), 1)]),
    }
}

/// What the catalog may say about this node: not a word of the shard, no replica, or one of
/// incarnation 2, as a voter, as a target or as one whose data is gone; founded or not.
fn wishes() -> Vec<(&'static str, Option<Placement>, Option<ReplicaId>)> {
    let (mine, others) = (id(1, 2), [id(2, 1), id(3, 1)]);
    let all = [mine, others[0], others[1]];
    let mut wishes = vec![("no placement", None, None)];
    for founded in [false, true] {
        wishes.push(("elsewhere", Some(placement(founded, &others)), None));
        wishes.push(("a voter", Some(placement(founded, &all)), Some(mine)));
        let target = Some(all.to_vec());
        let growing = Placement { target, ..placement(founded, &others) };
        wishes.push(("a target", Some(growing), Some(mine)));
        let lost = Placement { lost: vec![mine], ..placement(founded, &all) };
        wishes.push(("lost", Some(lost), None));
    }
    wishes
}

#[test]
fn every_combination_has_its_step() {
    let mut seen = 0;
    for (what, wish, wanted) in wishes() {
        let founded = wish.as_ref().is_some_and(|placement| placement.founded);
        let voters = wish.as_ref().map(|placement| placement.voters.clone());
        let unfounded = voters.filter(|_| !founded);
        let here = [
            None,
            Some((id(1, 1), false)),
            Some((id(1, 1), true)),
            Some((id(1, 2), false)),
            Some((id(1, 2), true)),
        ];
        for present in here {
            let expected = match (wanted, present) {
                (None, None) => None,
                // What is not wanted goes, well or not.
                (None, Some((replica, _))) => Some(Step::Drop(replica)),
                // What is wanted and never was here is made; the group is founded only where the
                // catalog says that it isn't yet.
                (Some(wanted), None) => Some(Step::Create(wanted, unfounded.clone())),
                (Some(wanted), Some((replica, _))) if replica != wanted => {
                    Some(Step::Drop(replica))
                }
                (Some(wanted), Some((_, true))) => Some(Step::Report(wanted)),
                (Some(_), Some((_, false))) => unfounded.clone().map(Step::Initialize),
            };
            let found = step(wish.as_ref(), NODE, present);
            assert_eq!(found, expected, "{what}, founded {founded}, here {present:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 9 * 5);
}

/// The rows that would lose data or split a group if they were wrong, written out.
#[test]
fn the_dangerous_rows() {
    let (mine, former) = (id(1, 2), id(1, 1));
    let voters = [mine, id(2, 1), id(3, 1)];
    let (young, old) = (placement(false, &voters), placement(true, &voters));
    // A group that is founded is never founded again, even by a replica that is empty.
    assert_eq!(step(Some(&old), NODE, None), Some(Step::Create(mine, None)));
    assert_eq!(step(Some(&old), NODE, Some((mine, false))), None);
    // A replica that was made before a crash, without its group, founds it later.
    let founds = Some(Step::Initialize(voters.to_vec()));
    assert_eq!(step(Some(&young), NODE, Some((mine, false))), founds);
    // One that failed keeps its id until the catalog has given out another: it never votes again.
    assert_eq!(step(Some(&old), NODE, Some((mine, true))), Some(Step::Report(mine)));
    assert_eq!(step(Some(&young), NODE, Some((mine, true))), Some(Step::Report(mine)));
    let lost = Placement { lost: vec![mine], ..old.clone() };
    assert_eq!(step(Some(&lost), NODE, Some((mine, true))), Some(Step::Drop(mine)));
    assert_eq!(step(Some(&lost), NODE, None), None);
    // Too many are lost: what is left of this one is kept, though it is damaged.
    let most = Placement { lost: vec![mine, id(2, 1)], ..old.clone() };
    assert_eq!(step(Some(&most), NODE, Some((mine, true))), None);
    let alone = Placement { voters: vec![mine], lost: vec![mine], ..old.clone() };
    assert_eq!(step(Some(&alone), NODE, Some((mine, true))), None);
    // The former goes first; the new one is made in the next round.
    assert_eq!(step(Some(&old), NODE, Some((former, false))), Some(Step::Drop(former)));
    assert_eq!(step(Some(&old), NODE, Some((former, true))), Some(Step::Drop(former)));
}

/// While a node's replica is replaced on the spot, both of its ids are in the placement: the newer
/// one is wanted.
#[test]
fn of_two_replicas_on_a_node_the_newer_is_wanted() {
    let (former, newer) = (id(1, 1), id(1, 2));
    let placement = Placement {
        target: Some(vec![newer, id(2, 1)]),
        lost: vec![former],
        ..placement(true, &[former, id(2, 1)])
    };
    assert_eq!(step(Some(&placement), NODE, None), Some(Step::Create(newer, None)));
    let drop = Some(Step::Drop(former));
    assert_eq!(step(Some(&placement), NODE, Some((former, true))), drop);
    assert_eq!(step(Some(&placement), NODE, Some((newer, false))), None);
}
