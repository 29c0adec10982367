//! Patterns with `*`: any letters, none included.

/// A pattern, split at its stars.
#[derive(Debug)]
pub(crate) struct Wildcard {
    first: Box<str>,
    /// What follows each star; nothing if there is no star.
    rest: Vec<Box<str>>,
}

impl Wildcard {
    /// Reads a pattern. `\*` is the character, `\\` a backslash.
    pub(crate) fn parse(pattern: &str) -> Result<Self, &'static str> {
        let mut parts = vec![String::new()];
        let mut letters = pattern.chars();
        let mut follows_star = false;
        while let Some(letter) = letters.next() {
            let literal = match letter {
                '*' if follows_star => return Err("two `*` in a row: one is enough"),
                '*' => {
                    follows_star = true;
                    parts.push(String::new());
                    continue;
                }
                '\\' => match letters.next() {
                    Some(escaped @ ('*' | '\\')) => escaped,
                    Some(_) | None => return Err("after `\\` comes `*` or another `\\`"),
                },
                other => other,
            };
            follows_star = false;
            if let Some(part) = parts.last_mut() {
                part.push(literal);
            }
        }
        let mut parts = parts.into_iter().map(String::into_boxed_str);
        let first = parts.next().unwrap_or_default();
        Ok(Self { first, rest: parts.collect() })
    }

    /// How many of its parts a text of so many bytes can have at most, two steps for each.
    pub(crate) fn parts_within(&self, bytes: usize) -> usize {
        self.rest.len().min(bytes).saturating_mul(2)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((last, middle)) = self.rest.split_last() else { return *self.first == *text };
        let Some(mut text) = text.strip_prefix(&*self.first) else { return false };
        // The first place of each part leaves the most for those after it.
        for part in middle {
            let Some((_, after)) = text.split_once(&**part) else { return false };
            text = after;
        }
        text.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        let table = [
            ("*", "", true),
            ("*", "tea", true),
            ("green*", "green tea", true),
            ("*tea", "green tea", true),
            ("*tea", "teapot", false),
            ("g*n*a", "green tea", true),
            ("g*n*a", "gna", true),
            ("ab*ba", "aba", false),
            ("a*b*b", "ab", false),
            ("tea", "tea", true),
            ("tea", "teas", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a\\\\*", "a\\x", true),
            ("Ü*ß", "Übergroß", true),
        ];
        for (pattern, text, expected) in table {
            let wildcard = Wildcard::parse(pattern).unwrap();
            assert_eq!(wildcard.matches(text), expected, "{pattern} on {text}");
        }
        for pattern in ["**", "a**b", "\\x", "\\"] {
            assert!(Wildcard::parse(pattern).is_err(), "{pattern}");
        }
    }
}
