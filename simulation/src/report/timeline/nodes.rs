//! The lanes of nodes: when each is up, which shards it leads, when it takes snapshots over.

use std::collections::{BTreeMap, BTreeSet};

use super::Picture;
use super::style::colour;
use crate::check::Deed;
use crate::history::Ms;
use crate::report::Finished;
use crate::report::describe::time;
use crate::trace::{Event, Timed};

/// Pixels of a row, and of a bar in it.
const ROW: f64 = 12.0;
const BAR: f64 = 10.0;
/// Pixels that the name of a shard and a term need.
const NAME: f64 = 34.0;

/// Faults that end a node's process.
const ENDS: &[&str] = &[
    "crash",
    "power-loss",
    "torn-write",
    "crash-in-snapshot",
    "cluster-power-loss",
    "lost-disk",
    "node-ends",
    "node-left",
];
/// What is told when it starts again.
const STARTS: &[&str] = &["node-starts"];

/// A time in which something was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) from: Ms,
    pub(super) until: Ms,
}

/// A time in which a node led a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reign {
    pub(super) node: u32,
    pub(super) shard: u32,
    pub(super) term: u64,
    pub(super) span: Span,
}

/// What the events tell about nodes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Nodes {
    pub(super) down: BTreeMap<u32, Vec<Span>>,
    pub(super) reigns: Vec<Reign>,
    /// When, on which node, which shard, up to which entry.
    pub(super) installs: Vec<(Ms, u32, u32, u64)>,
    pub(super) all: BTreeSet<u32>,
}

/// Reads the events, with what goes on at each moment.
pub(super) fn read(nodes: u32, shown: &[Timed], end: Ms) -> Nodes {
    let mut found = Nodes { all: (1..=nodes).collect(), ..Nodes::default() };
    let mut down: BTreeMap<u32, Ms> = BTreeMap::new();
    let mut leads: BTreeMap<u32, Reign> = BTreeMap::new();
    for timed in shown {
        let at = timed.at;
        match &timed.event {
            Event::Fault { name, detail, .. } if ENDS.contains(&name.as_str()) => {
                for node in nodes_in(detail) {
                    down.entry(node).or_insert(at);
                    let lost = leads.extract_if(.., |_, reign| reign.node == node);
                    found.reigns.extend(lost.map(|(_, reign)| ended(reign, at)));
                }
            }
            Event::Fault { name, detail, .. } if STARTS.contains(&name.as_str()) => {
                for node in nodes_in(detail) {
                    found.is_up_again(node, &mut down, at);
                }
            }
            Event::Probe(probe) => {
                let (node, shard) = (probe.node, probe.shard);
                found.all.insert(node);
                found.is_up_again(node, &mut down, at);
                match probe.deed {
                    Deed::Leads { term } => {
                        let span = Span { from: at, until: end };
                        let reign = Reign { node, shard, term, span };
                        let before = leads.insert(shard, reign);
                        found.reigns.extend(before.map(|before| ended(before, at)));
                    }
                    Deed::Installed { next } => {
                        found.installs.push((at, node, shard, next.saturating_sub(1)))
                    }
                    Deed::Opened { .. } | Deed::Applied { .. } => {}
                }
            }
            Event::Fault { .. }
            | Event::Message { .. }
            | Event::Invoke { .. }
            | Event::Return { .. }
            | Event::Log { .. } => {}
        }
    }
    found.reigns.extend(leads.into_values());
    for (node, from) in down {
        found.down.entry(node).or_default().push(Span { from, until: end });
    }
    found
}

impl Nodes {
    fn is_up_again(&mut self, node: u32, down: &mut BTreeMap<u32, Ms>, at: Ms) {
        if let Some(from) = down.remove(&node) {
            self.down.entry(node).or_default().push(Span { from, until: at });
        }
    }
}

fn ended(reign: Reign, until: Ms) -> Reign {
    Reign { span: Span { until, ..reign.span }, ..reign }
}

/// The nodes that a text names: `n2`, or numbers in brackets.
pub(super) fn nodes_in(detail: &str) -> Vec<u32> {
    let words = |text: &'_ str, prefix: &str| -> Vec<u32> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter_map(|word| word.strip_prefix(prefix)?.parse().ok()).collect()
    };
    let named = words(detail, "n");
    let listed = detail.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    match listed {
        Some((list, _)) if named.is_empty() => words(list, ""),
        Some(_) | None => named,
    }
}

pub(super) fn draw(picture: &mut Picture, finished: &Finished, shown: &[Timed]) {
    picture.heading("nodes");
    let end = picture.scale.end();
    let nodes = read(finished.plan.nodes, shown, end);
    let whole = picture.scale.x(end);
    for node in &nodes.all {
        picture.label(&format!("n{node}"));
        picture.plot.rect("up", (0.0, picture.y, whole, BAR), &format!("n{node} is up"));
        for span in nodes.down.get(node).into_iter().flatten() {
            let title = format!("n{node} down {} .. {}", time(span.from), time(span.until));
            bar(picture, "down", *span, None, &title);
        }
        for (at, _, shard, index) in nodes.installs.iter().filter(|(_, on, ..)| on == node) {
            let title = format!("{} shard {shard}: snapshot up to {index}", time(*at));
            let point = (picture.scale.x(*at), picture.y + BAR);
            picture.plot.triangle("installed", point, &title);
        }
        picture.y += ROW;
        let mine = nodes.reigns.iter().filter(|reign| reign.node == *node);
        let shards: BTreeSet<u32> = mine.clone().map(|reign| reign.shard).collect();
        for shard in shards {
            let name = format!("  leads s{shard}");
            picture.labels.text("label", 24.0, picture.y + 9.0, &name);
            for reign in mine.clone().filter(|reign| reign.shard == shard) {
                draw_reign(picture, reign);
            }
            picture.y += ROW;
        }
        picture.y += 5.0;
    }
}

fn draw_reign(picture: &mut Picture, reign: &Reign) {
    let Reign { node, shard, term, span } = *reign;
    let (from, until) = (time(span.from), time(span.until));
    let title = format!("n{node} leads shard {shard} in term {term}, {from} .. {until}");
    let width = bar(picture, "leads", span, Some(&colour(u64::from(shard) + 1)), &title);
    if width >= NAME {
        let (x, y) = (picture.scale.x(span.from) + 3.0, picture.y + 8.0);
        picture.plot.text("on-bar", x, y, &format!("s{shard} t{term}"));
    }
}

/// Draws a bar, and says how wide it is.
fn bar(picture: &mut Picture, class: &str, span: Span, colour: Option<&str>, title: &str) -> f64 {
    let x = picture.scale.x(span.from);
    let width = (picture.scale.x(span.until) - x).max(1.5);
    let at = (x, picture.y, width, BAR);
    match colour {
        Some(colour) => picture.plot.coloured(class, at, colour, title),
        None => picture.plot.rect(class, at, title),
    }
    width
}
