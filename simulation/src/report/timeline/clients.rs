//! The lanes of clients: a bar for each operation, or for all that began at about the same time
//! where there are too many.

use std::collections::BTreeMap;

use super::Picture;
use crate::history::{Call, ClientId, Ms, OpId, Outcome};
use crate::report::describe::{self, short, time};
use crate::trace::{Event, Timed};

/// More operations are not drawn one by one.
pub(super) const SINGLE_MAX: usize = 4_000;
/// Bars that are drawn where they are not, at most.
const BARS_MAX: usize = 8_000;
/// Pixels of a lane for operations that overlap, and how many of them a client has.
const ROW: f64 = 7.0;
const ROWS_MAX: usize = 4;
/// Pixels of a lane of bars that stand for many operations.
const STACK: f64 = 22.0;
/// Letters of what is said about one operation.
const LETTERS: usize = 130;

/// How an operation ended: the names are classes of the style, the worst last.
const ENDS: [&str; 4] = ["ok", "refused", "unknown", "unfinished"];

/// An operation as it is drawn.
struct Drawn<'a> {
    op: OpId,
    call: &'a Call,
    from: Ms,
    returned: Option<(Ms, &'a Outcome)>,
}

impl Drawn<'_> {
    /// A place in [`ENDS`].
    fn end(&self) -> usize {
        match self.returned {
            Some((_, Outcome::Ok(_))) => 0,
            Some((_, Outcome::Refused(_))) => 1,
            Some((_, Outcome::Unknown(_))) => 2,
            None => 3,
        }
    }
}

pub(super) fn draw(picture: &mut Picture, shown: &[Timed]) {
    let clients = read(shown);
    let count: usize = clients.values().map(Vec::len).sum();
    picture.heading(&format!("clients ({count} ops)"));
    let is_crowded = count > SINGLE_MAX;
    let pixels = bar_pixels(clients.len(), picture.scale.width());
    for (client, ops) in clients {
        picture.label(&format!("c{}", client.0));
        if is_crowded {
            draw_bars(picture, &ops, picture.scale.duration(pixels));
        } else {
            draw_single(picture, &ops);
        }
        picture.y += 4.0;
    }
}

fn read(shown: &[Timed]) -> BTreeMap<ClientId, Vec<Drawn<'_>>> {
    let mut clients: BTreeMap<ClientId, Vec<Drawn<'_>>> = BTreeMap::new();
    let mut places: BTreeMap<OpId, (ClientId, usize)> = BTreeMap::new();
    for timed in shown {
        match &timed.event {
            Event::Invoke { op, client, call } => {
                let ops = clients.entry(*client).or_default();
                places.insert(*op, (*client, ops.len()));
                ops.push(Drawn { op: *op, call, from: timed.at, returned: None });
            }
            Event::Return { op, outcome } => {
                if let Some((client, place)) = places.get(op)
                    && let Some(drawn) = clients.get_mut(client).and_then(|ops| ops.get_mut(*place))
                {
                    drawn.returned = Some((timed.at, outcome));
                }
            }
            Event::Message { .. } | Event::Probe(_) | Event::Fault { .. } | Event::Log { .. } => {}
        }
    }
    clients
}

fn draw_single(picture: &mut Picture, ops: &[Drawn<'_>]) {
    // For each row, when it is free.
    let mut rows: Vec<Ms> = Vec::new();
    for drawn in ops {
        let until = drawn.returned.map_or(picture.scale.end(), |(at, _)| at);
        let free = rows.iter().position(|free| *free <= drawn.from);
        let row = free.unwrap_or_else(|| {
            if rows.len() < ROWS_MAX {
                rows.push(0);
            }
            rows.len() - 1
        });
        rows[row] = rows[row].max(until);
        let x = picture.scale.x(drawn.from);
        let width = (picture.scale.x(until) - x).max(1.2);
        #[expect(clippy::cast_precision_loss, reason = "there are a few rows")]
        let y = picture.y + row as f64 * ROW;
        let outcome = match drawn.returned {
            Some((at, outcome)) => format!("{}: {}", time(at), describe::outcome(outcome)),
            None => "not ended".to_owned(),
        };
        let what = describe::call(drawn.call);
        let title = format!("op {}, {} {what}; {outcome}", drawn.op.0, time(drawn.from));
        let at = (x, y, width, ROW - 1.0);
        picture.plot.rect(ENDS[drawn.end()], at, &short(&title, LETTERS));
    }
    #[expect(clippy::cast_precision_loss, reason = "there are a few rows")]
    let height = rows.len().max(2) as f64 * ROW;
    picture.y += height;
}

/// How wide bars must be so that there are not too many of them.
fn bar_pixels(clients: usize, width: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "both are small")]
    let share = (clients * ENDS.len()) as f64 / BARS_MAX as f64;
    (width * share).max(2.0)
}

/// Bars that stand for all operations that began in some time, coloured by how these ended.
fn draw_bars(picture: &mut Picture, ops: &[Drawn<'_>], duration: Ms) {
    let mut bars: BTreeMap<Ms, [u32; ENDS.len()]> = BTreeMap::new();
    for drawn in ops {
        bars.entry(drawn.from / duration).or_default()[drawn.end()] += 1;
    }
    for (bar, counts) in bars {
        let (from, until) = (bar * duration, (bar + 1) * duration);
        let x = picture.scale.x(from);
        let width = picture.scale.x(until) - x;
        let all: u32 = counts.iter().sum();
        let mut y = picture.y + STACK;
        for (end, count) in ENDS.iter().zip(counts).filter(|(_, count)| *count > 0) {
            // What is rare must be seen as well.
            let height = (STACK * f64::from(count) / f64::from(all)).max(2.0);
            y = (y - height).max(picture.y);
            let title = format!("{count} of {all} {end}, from {}", time(from));
            picture.plot.rect(end, (x, y, width, height), &title);
        }
    }
    picture.y += STACK;
}
