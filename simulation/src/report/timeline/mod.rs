//! A picture of one run: a page for a browser, with everything in it. Time goes to the right; there
//! is a lane for faults, one for each node, and one for each client.
//!
//! `svg` writes shapes, `scale` knows what is where, `style` how it looks.

mod clients;
mod faults;
mod nodes;
mod scale;
mod style;
mod svg;

use std::fmt::Write as _;

use self::scale::Scale;
use self::svg::{Svg, escape};
use super::describe::{short, time};
use super::outcome::Finished;
use crate::trace::Timed;

/// Letters of a text that somebody else wrote.
const LETTERS: usize = 4_000;

/// Where things are drawn: labels stay, while the plot can be moved below them.
struct Picture {
    labels: Svg,
    plot: Svg,
    scale: Scale,
    /// Where the next lane begins, in pixels from above.
    y: f64,
}

impl Picture {
    /// A heading, and a line above it.
    fn heading(&mut self, text: &str) {
        self.y += 8.0;
        self.plot.line("rule", (0.0, self.y), (self.scale.width(), self.y));
        self.labels.text("heading", 4.0, self.y + 14.0, text);
        self.y += 20.0;
    }

    /// The name of a lane that begins here.
    fn label(&mut self, text: &str) {
        self.labels.text("label", 4.0, self.y + 10.0, text);
    }
}

/// The page of a run. `replay` is the command that runs it again.
#[must_use]
pub fn page(finished: &Finished, shown: &[Timed], replay: &str) -> String {
    let last = shown.last().map_or(0, |timed| timed.at);
    let faults = finished.plan.faults.iter().map(|fault| fault.until.min(last.max(fault.at)));
    let end = faults.max().unwrap_or_default().max(last).max(finished.simulated_ms).max(1);
    let mut picture =
        Picture { labels: Svg::default(), plot: Svg::default(), scale: Scale::new(end), y: 24.0 };
    faults::draw(&mut picture, finished, shown);
    nodes::draw(&mut picture, finished, shown);
    clients::draw(&mut picture, shown);
    let height = picture.y + 16.0;
    picture.scale.draw_axis(&mut picture.plot, height);
    if let Some(violation) = &finished.violation
        && let Some(at) = violation.at
    {
        let x = picture.scale.x(at);
        let title = format!("{}: {}", violation.check, short(&violation.text, 400));
        picture.plot.rect("violation", (x - 1.0, 0.0, 2.0, height), &title);
        picture.plot.text("violation-label", x + 4.0, height - 4.0, &violation.check);
    }
    let labels = picture.labels.finish(scale::LABELS_WIDTH, height);
    let plot = picture.plot.finish(picture.scale.width(), height);
    let head = head(finished, replay);
    let (title, style) = (title(finished), style::STYLE);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n{head}\
         <div class=\"scroll\">\n<div class=\"labels\">{labels}</div>\n\
         <div class=\"plot\">{plot}</div>\n</div>\n</body>\n</html>\n"
    )
}

fn title(finished: &Finished) -> String {
    escape(&format!("Kontiki simulation: seed {}, profile {}", finished.seed, finished.profile))
}

fn head(finished: &Finished, replay: &str) -> String {
    let mut head = format!("<h1>{}</h1>\n<p>", title(finished));
    let plan = &finished.plan;
    let _ = write!(
        head,
        "{} nodes, {} clients, {} faults, {} simulated, {} events",
        plan.nodes,
        plan.clients,
        plan.faults.len(),
        time(finished.simulated_ms),
        finished.events
    );
    if let Some(mutant) = &finished.mutant {
        let _ = write!(head, ", with the deliberate bug {}", escape(mutant));
    }
    head.push_str("</p>\n");
    let result = match (&finished.violation, &finished.died) {
        (Some(violation), _) => {
            let at = violation.at.map(|at| format!(" at {}", time(at))).unwrap_or_default();
            Some(format!("{}{at}\n{}", violation.check, violation.text))
        }
        (None, Some(died)) => Some(died.clone()),
        (None, None) => None,
    };
    match result {
        Some(text) => {
            let text = escape(&text.chars().take(LETTERS).collect::<String>());
            let _ = writeln!(head, "<pre class=\"failed\">FAILED: {text}</pre>");
        }
        None => head.push_str("<p class=\"passed\">passed</p>\n"),
    }
    let _ = writeln!(head, "<pre>{}</pre>", escape(replay));
    head.push_str(style::LEGEND);
    head
}

#[cfg(test)]
#[path = "timeline_test.rs"]
mod tests;
