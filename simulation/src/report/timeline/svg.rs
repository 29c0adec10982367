//! Shapes as text. Whatever text comes in, what comes out is well-formed.

use std::fmt::Write as _;

/// A picture in the making.
#[derive(Debug, Default)]
pub struct Svg(String);

impl Svg {
    /// A rectangle (left, top, width, height) that says something when it is pointed at.
    pub fn rect(&mut self, class: &str, at: (f64, f64, f64, f64), title: &str) {
        self.open_rect(class, at);
        self.0.push('>');
        self.title(title);
        self.0.push_str("</rect>\n");
    }

    /// A rectangle with a colour of its own.
    pub fn coloured(&mut self, class: &str, at: (f64, f64, f64, f64), colour: &str, title: &str) {
        self.open_rect(class, at);
        let _ = write!(self.0, " style=\"fill:{}\">", escape(colour));
        self.title(title);
        self.0.push_str("</rect>\n");
    }

    fn open_rect(&mut self, class: &str, (x, y, width, height): (f64, f64, f64, f64)) {
        let class = escape(class);
        let (width, height) = (width.max(0.0), height.max(0.0));
        let _ = write!(
            self.0,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\""
        );
    }

    fn title(&mut self, title: &str) {
        if !title.is_empty() {
            let _ = write!(self.0, "<title>{}</title>", escape(title));
        }
    }

    /// Text that begins here; `y` is its foot.
    pub fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let (class, text) = (escape(class), escape(text));
        let _ = writeln!(self.0, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }

    /// A line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let class = escape(class);
        let _ = writeln!(
            self.0,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// A small triangle that stands on a point.
    pub fn triangle(&mut self, class: &str, (x, y): (f64, f64), title: &str) {
        let class = escape(class);
        let _ = write!(self.0, "<path class=\"{class}\" d=\"M{x:.1} {y:.1}l-4 -7h8z\">");
        self.title(title);
        self.0.push_str("</path>\n");
    }

    /// All of it.
    #[must_use]
    pub fn finish(self, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\n{}</svg>",
            self.0
        )
    }
}

/// Text as it may stand in a document.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_gets_out_of_its_place() {
        assert_eq!(escape("<a b='c'>&\"\u{1b}"), "&lt;a b=&#39;c&#39;&gt;&amp;&quot; ");
        let mut svg = Svg::default();
        svg.rect("x\"y", (1.0, 2.0, -3.0, 4.0), "</title><script>");
        let text = svg.finish(10.0, 10.0);
        assert!(!text.contains("<script>") && text.contains("width=\"0.0\""), "{text}");
    }
}
