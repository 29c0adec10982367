//! The lane of faults: a bar for each, and marks for what followed from them.

use std::collections::BTreeMap;

use super::Picture;
use super::style::colour;
use crate::history::Ms;
use crate::report::describe::{short, time};
use crate::report::{Finished, PlannedFault};
use crate::trace::{Event, Fnv, Timed};

/// Pixels of a row of bars, and of a bar.
const ROW: f64 = 15.0;
const BAR: f64 = 12.0;
/// Pixels of a letter, about.
const LETTER: f64 = 6.2;
/// More marks can't be told apart, and make the page large.
const MARKS_MAX: usize = 1_500;

pub(super) fn draw(picture: &mut Picture, finished: &Finished, shown: &[Timed]) {
    picture.heading("faults");
    let times = Times::of(shown);
    // For each row, where it is free.
    let mut rows: Vec<f64> = Vec::new();
    let mut faults: Vec<(Ms, Ms, &PlannedFault)> = finished
        .plan
        .faults
        .iter()
        .map(|fault| {
            let (from, until) = times.real(fault);
            (from, until, fault)
        })
        .collect();
    faults.sort_by_key(|(from, _, fault)| (*from, fault.number));
    for (from, until, fault) in faults {
        let label = format!("#{} {}", fault.number, fault.name);
        let x = picture.scale.x(from);
        let width = (picture.scale.x(until) - x).max(3.0);
        #[expect(clippy::cast_precision_loss, reason = "a name is short")]
        let wanted = width + 8.0 + label.len() as f64 * LETTER;
        let row = rows.iter().position(|free| *free <= x).unwrap_or_else(|| {
            rows.push(0.0);
            rows.len() - 1
        });
        rows[row] = x + wanted;
        #[expect(clippy::cast_precision_loss, reason = "there are a few rows")]
        let y = picture.y + row as f64 * ROW;
        let is_left_out = times.never_begun(fault);
        let class = if is_left_out { "fault left-out" } else { "fault" };
        let mut hash = Fnv::default();
        hash.add(fault.name.as_bytes());
        let detail = short(&fault.detail, 200);
        let title = format!("{label}, {} .. {}: {detail}", time(from), time(until));
        picture.plot.coloured(class, (x, y, width, BAR), &colour(hash.0 % 360), &title);
        picture.plot.text("note", x + width + 3.0, y + 10.0, &label);
    }
    #[expect(clippy::cast_precision_loss, reason = "there are a few rows")]
    let height = rows.len().max(1) as f64 * ROW;
    picture.y += height;
    draw_marks(picture, shown);
}

/// What is no fault of the plan: nodes that start, what is repaired.
fn draw_marks(picture: &mut Picture, shown: &[Timed]) {
    picture.label("what followed");
    let marks = shown.iter().filter_map(|timed| match &timed.event {
        Event::Fault { number: None, name, detail } => Some((timed.at, name, detail)),
        Event::Fault { number: Some(_), .. }
        | Event::Message { .. }
        | Event::Probe(_)
        | Event::Invoke { .. }
        | Event::Return { .. }
        | Event::Log { .. } => None,
    });
    for (at, name, detail) in marks.take(MARKS_MAX) {
        let x = picture.scale.x(at);
        let title = format!("{} {name}: {}", time(at), short(detail, 200));
        picture.plot.rect("tick", (x, picture.y, 2.0, BAR), &title);
    }
    picture.y += ROW;
}

/// When faults really began and ended: that may be later than planned.
struct Times<'a>(BTreeMap<usize, Vec<(Ms, &'a str)>>);

impl<'a> Times<'a> {
    fn of(shown: &'a [Timed]) -> Self {
        let mut times: BTreeMap<usize, Vec<(Ms, &str)>> = BTreeMap::new();
        for timed in shown {
            if let Event::Fault { number: Some(number), name, .. } = &timed.event {
                times.entry(*number).or_default().push((timed.at, name));
            }
        }
        Self(times)
    }

    fn when(&self, fault: &PlannedFault, how: impl Fn(&str) -> bool) -> Option<Ms> {
        let events = self.0.get(&fault.number)?;
        events.iter().find(|(_, name)| how(name)).map(|(at, _)| *at)
    }

    fn real(&self, fault: &PlannedFault) -> (Ms, Ms) {
        let from = self.when(fault, |name| name == fault.name).unwrap_or(fault.at);
        let over = format!("{} over", fault.name);
        let until = self.when(fault, |name| name == over).unwrap_or(fault.until);
        (from, until.max(from))
    }

    /// It was left out, because it would have been too much, and never begun later.
    fn never_begun(&self, fault: &PlannedFault) -> bool {
        let left_out = self.when(fault, |name| name.ends_with("left out")).is_some();
        left_out && self.when(fault, |name| name == fault.name).is_none()
    }
}
