//! How the page looks, by day and by night.

/// For the page and what is in it.
pub const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --fore: #1b1f24; --dim: #6b7480; --rule: #d5dae0;
  --ok: #2f9e5f; --refused: #d9a300; --unknown: #e2622a; --unfinished: #b3202c; --up: #c4ccd4;
  --down: #b3202c; --mark: #7a4fd0; --ink: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171b; --fore: #e6e9ed; --dim: #98a2ad; --rule: #333a42; --ok: #3fb873;
    --refused: #e0b030; --unknown: #f07f48; --unfinished: #f0525e; --up: #48525c;
    --down: #f0525e; --mark: #a98bf0; --ink: #101214; } }
body { background: var(--back); color: var(--fore); margin: 16px;
  font: 14px/1.4 system-ui, sans-serif; }
h1 { font-size: 18px; margin: 0 0 4px; }
p { margin: 2px 0; }
pre { white-space: pre-wrap; margin: 6px 0; font-size: 12px; }
.failed { color: var(--unfinished); font-weight: 600; }
.passed { color: var(--ok); font-weight: 600; }
.legend { color: var(--dim); font-size: 12px; }
.legend i { display: inline-block; width: 10px; height: 10px; margin: 0 4px 0 12px; }
.i-ok { background: var(--ok); } .i-refused { background: var(--refused); }
.i-unknown { background: var(--unknown); } .i-unfinished { background: var(--unfinished); }
.i-up { background: var(--up); } .i-down { background: var(--down); }
.i-mark { background: var(--mark); }
.scroll { display: flex; overflow-x: auto; border-top: 1px solid var(--rule); margin-top: 8px; }
.labels { position: sticky; left: 0; background: var(--back); flex: none;
  border-right: 1px solid var(--rule); }
.plot { flex: none; }
svg { display: block; }
text { fill: var(--fore); font: 11px system-ui, sans-serif; }
text.axis, text.label, text.note { fill: var(--dim); }
text.heading { font-weight: 600; }
text.on-bar { fill: var(--ink); font-size: 9px; pointer-events: none; }
line.grid, line.rule { stroke: var(--rule); stroke-width: 1; }
line.grid { stroke-dasharray: 2 3; opacity: .6; pointer-events: none; }
.ok { fill: var(--ok); } .refused { fill: var(--refused); } .unknown { fill: var(--unknown); }
.unfinished { fill: var(--unfinished); } .up { fill: var(--up); } .down { fill: var(--down); }
.installed, .tick { fill: var(--mark); }
.left-out { opacity: .3; }
.violation { fill: var(--unfinished); }
text.violation-label { fill: var(--unfinished); font-weight: 600; }
";

/// What colours mean.
pub const LEGEND: &str = "<p class=\"legend\">operations:\
<i class=\"i-ok\"></i>ok<i class=\"i-refused\"></i>refused<i class=\"i-unknown\"></i>unknown\
<i class=\"i-unfinished\"></i>unfinished &#160; nodes:<i class=\"i-up\"></i>up\
<i class=\"i-down\"></i>down<i class=\"i-mark\"></i>snapshot installed; below, the shards that a \
node leads, with terms. Point at something to read what it is.</p>\n";

/// A colour that is always that of this number, readable by day and by night.
#[must_use]
pub fn colour(number: u64) -> String {
    // The golden angle: numbers that are near have colours that aren't.
    let hue = number.wrapping_mul(137) % 360;
    format!("hsl({hue} 52% 52%)")
}
