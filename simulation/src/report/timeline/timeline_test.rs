use super::nodes::{Reign, Span, nodes_in, read};
use super::*;
use crate::check::{Deed, Probe, Violation};
use crate::history::{Answer, Call, ClientId, OpId, Outcome, Part, Refusal};
use crate::report::{Plan, PlannedFault};
use crate::trace::Event;

fn fault(at: u64, number: Option<usize>, name: &str, detail: &str) -> Timed {
    let (name, detail) = (name.to_owned(), detail.to_owned());
    Timed { at, event: Event::Fault { number, name, detail } }
}

fn probe(at: u64, node: u32, shard: u32, deed: Deed) -> Timed {
    Timed { at, event: Event::Probe(Probe { at, node, shard, replica: 1, deed }) }
}

fn operation(at: u64, op: u64, client: u32, outcome: Option<Outcome>) -> Vec<Timed> {
    let part = Part { topic: "<t&>".to_owned(), partition: 0 };
    let (call, op) = (Call::Fetch { at: part, from: 0 }, OpId(op));
    let mut both = vec![Timed { at, event: Event::Invoke { op, client: ClientId(client), call } }];
    both.extend(outcome.map(|outcome| Timed { at: at + 7, event: Event::Return { op, outcome } }));
    both
}

fn refused() -> Outcome {
    Outcome::Refused(Refusal { kind: "NOT_FOUND".to_owned(), text: "]]> \"'".to_owned() })
}

fn finished() -> Finished {
    let planned = |number, at, name: &str, detail: &str| PlannedFault {
        number,
        at,
        until: at + 2_000,
        name: name.to_owned(),
        detail: detail.to_owned(),
    };
    let faults =
        vec![planned(0, 1_000, "crash", "n2"), planned(3, 1_500, "split", "<b> & left out")];
    Finished {
        seed: 42,
        profile: "swarm".to_owned(),
        plan: Plan { nodes: 3, clients: 2, faults, ..Plan::default() },
        simulated_ms: 20_000,
        violation: Some(Violation {
            check: "acked-never-lost".to_owned(),
            text: "a < b && c".to_owned(),
            at: Some(9_000),
            ops: vec![],
            nodes: vec![],
        }),
        ..Finished::default()
    }
}

fn events() -> Vec<Timed> {
    let mut events = vec![
        probe(10, 2, 1, Deed::Leads { term: 4 }),
        probe(20, 1, 0, Deed::Leads { term: 1 }),
        fault(1_000, Some(0), "crash", "n2"),
        probe(1_800, 3, 1, Deed::Leads { term: 5 }),
        fault(3_000, None, "node-starts", "n2"),
        probe(3_100, 2, 1, Deed::Installed { next: 100 }),
        fault(3_200, Some(3), "split left out", "too many"),
    ];
    let ends = [Some(Outcome::Ok(Answer::Done)), Some(refused()), None];
    for (number, end) in ends.into_iter().enumerate() {
        let number = u64::try_from(number).expect("there are three");
        events.extend(operation(4_000 + 100 * number, number, 1, end));
    }
    events
}

/// Checks that tags are closed in order, and gives their names.
fn well_formed(page: &str) -> Vec<String> {
    let page = page.strip_prefix("<!DOCTYPE html>\n").expect("it is HTML");
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') || open.last().is_some_and(|tag| tag == "style"), "{text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "before {text}");
            continue;
        }
        let name = tag.split([' ', '/']).next().expect("there is a first").to_owned();
        if !tag.ends_with('/') && name != "meta" {
            open.push(name.clone());
        }
        seen.push(name);
    }
    assert_eq!(open, Vec::<String>::new());
    seen
}

#[test]
fn the_page_is_well_formed_and_shows_everything() {
    let page = page(&finished(), &events(), "kontiki sim replay --seed 42");
    let tags = well_formed(&page);
    assert!(!tags.contains(&"script".to_owned()) && !page.contains("href") && tags.len() > 30);
    for piece in [
        "class=\"violation\"",
        "acked-never-lost: a &lt; b &amp;&amp; c",
        "#0 crash, 1.000 s .. 3.000 s: n2",
        "class=\"fault left-out\"",
        "&lt;b&gt; &amp; left out",
        "n2 down 1.000 s .. 3.000 s",
        "n2 leads shard 1 in term 4, 0.010 s .. 1.000 s",
        "shard 1: snapshot up to 99",
        "class=\"ok\"",
        "class=\"refused\"",
        "class=\"unfinished\"",
        "fetch &lt;t&amp;&gt;/0 from 0",
        "kontiki sim replay --seed 42",
    ] {
        assert!(page.contains(piece), "{piece} is not in\n{page}");
    }
}

#[test]
fn a_run_of_which_nothing_is_known_has_a_page() {
    let died = Some("panicked <here>".to_owned());
    let page = page(&Finished { died, ..Finished::default() }, &[], "");
    well_formed(&page);
    assert!(page.contains("FAILED: panicked &lt;here&gt;"), "{page}");
}

#[test]
fn many_operations_are_merged_and_none_gets_lost() {
    let mut events = Vec::new();
    for number in 0..20_000 {
        let end = if number == 777 { refused() } else { Outcome::Ok(Answer::Done) };
        let client = u32::try_from(number % 20).expect("there are 20");
        events.extend(operation(number * 2, number, client, Some(end)));
    }
    events.sort_by_key(|timed| timed.at);
    let page = page(&finished(), &events, "");
    well_formed(&page);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("rect class=\"refused\"").count(), 1);

    let few = events.iter().take(2 * clients::SINGLE_MAX).cloned().collect::<Vec<_>>();
    let page = super::page(&finished(), &few, "");
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn a_reign_ends_with_the_next_one_or_with_its_node() {
    let nodes = read(3, &events(), 20_000);
    let reign =
        |node, shard, term, from, until| Reign { node, shard, term, span: Span { from, until } };
    assert_eq!(
        nodes.reigns,
        [reign(2, 1, 4, 10, 1_000), reign(1, 0, 1, 20, 20_000), reign(3, 1, 5, 1_800, 20_000)]
    );
    assert_eq!(nodes.down.get(&2), Some(&vec![Span { from: 1_000, until: 3_000 }]));
}

#[test]
fn nodes_are_found_in_words() {
    assert_eq!(nodes_in("n2"), [2]);
    assert_eq!(nodes_in("n12: stopped after 300 ms"), [12]);
    assert_eq!(nodes_in("[1, 2, 3]"), [1, 2, 3]);
    assert_eq!(nodes_in("[\"n1\", \"n4\"]"), [1, 4]);
    assert_eq!(nodes_in("no node"), Vec::<u32>::new());
}
