//! Which time is where.

use super::svg::Svg;
use crate::history::Ms;

/// Pixels that the names of lanes have.
pub const LABELS_WIDTH: f64 = 124.0;
/// Pixels of a second, where the page doesn't become too wide by that.
const SECOND: f64 = 22.0;
/// Pixels of the plot, at least and at most.
const WIDTH: (f64, f64) = (1_100.0, 4_000.0);
/// Pixels behind the end, for what is written there.
const MARGIN: f64 = 80.0;
/// Pixels between two marks of the axis, at least.
const MARKS_APART: f64 = 70.0;

/// Which time is where.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    end: Ms,
    pixels: f64,
}

/// Exact for all times that a run can have.
#[expect(clippy::cast_precision_loss, reason = "a run doesn't last 2^53 milliseconds")]
fn float(ms: Ms) -> f64 {
    ms as f64
}

impl Scale {
    /// From 0 to the end.
    #[must_use]
    pub fn new(end: Ms) -> Self {
        let end = end.max(1);
        Self { end, pixels: (float(end) / 1_000.0 * SECOND).clamp(WIDTH.0, WIDTH.1) }
    }

    /// When it ends.
    #[must_use]
    pub fn end(self) -> Ms {
        self.end
    }

    /// Pixels of the plot.
    #[must_use]
    pub fn width(self) -> f64 {
        self.pixels + MARGIN
    }

    /// Where a time is.
    #[must_use]
    pub fn x(self, at: Ms) -> f64 {
        float(at.min(self.end)) / float(self.end) * self.pixels
    }

    /// How long so many pixels are.
    #[must_use]
    pub fn duration(self, pixels: f64) -> Ms {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
        let ms = (pixels / self.pixels * float(self.end)).ceil() as Ms;
        ms.max(1)
    }

    /// The axis with its marks.
    pub fn draw_axis(self, plot: &mut Svg, height: f64) {
        let step = self.step();
        for mark in (0..=self.end / step).map(|count| count * step) {
            let x = self.x(mark);
            plot.line("grid", (x, 18.0), (x, height));
            let seconds = float(mark) / 1_000.0;
            plot.text("axis", x + 2.0, 12.0, &format!("{seconds} s"));
        }
    }

    /// The time between two marks: 1, 2 or 5 times a power of ten.
    fn step(self) -> Ms {
        let least = self.duration(MARKS_APART);
        let mut power = 1;
        loop {
            for step in [power, 2 * power, 5 * power] {
                if step >= least {
                    return step;
                }
            }
            power *= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_not_too_many() {
        for (end, step) in [(1, 1), (900, 100), (10_000, 1_000), (90_000, 5_000)] {
            assert_eq!(Scale::new(end).step(), step, "{end}");
        }
        for end in [1, 77, 12_345, 3_600_000, 1_000_000_000] {
            let scale = Scale::new(end);
            assert!(end / scale.step() <= 60, "{end}");
            assert!(scale.x(end) < scale.width() && scale.x(Ms::MAX) == scale.x(end));
        }
    }
}
