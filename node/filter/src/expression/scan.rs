//! What a text must keep to before the parser sees it.
//!
//! The parser recurses, and so does everything after it: the depth is bounded here, where nothing
//! recurses yet. This lexer is stricter than the parser's: what the two could read differently is
//! refused, so that nothing deep hides in a string.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::error::{FilterError, Position};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

/// One bracket that is open, or the text itself.
struct Level {
    /// What closes it.
    close: Option<char>,
    opened_at: usize,
    /// Operators in a row, which nest to the left.
    chain: usize,
    /// Conditions, which nest to the right.
    conditions: usize,
}

struct Scan<'t> {
    text: &'t str,
    letters: Peekable<CharIndices<'t>>,
    levels: Vec<Level>,
}

/// Checks length, depth, brackets, strings and the letters outside of strings.
pub(crate) fn check(text: &str) -> Result<(), FilterError> {
    let bytes = text.len();
    if bytes > EXPRESSION_BYTES_MAX {
        return Err(FilterError::TooLong { what: "expression", bytes, max: EXPRESSION_BYTES_MAX });
    }
    let top = Level { close: None, opened_at: 0, chain: 0, conditions: 0 };
    let mut scan = Scan { text, letters: text.char_indices().peekable(), levels: vec![top] };
    while let Some((at, letter)) = scan.letters.next() {
        scan.token(at, letter)?;
    }
    match scan.levels.last() {
        Some(Level { close: Some(close), opened_at, .. }) => {
            Err(scan.wrong(*opened_at, &format!("never closed: `{close}` is missing")))
        }
        Some(Level { close: None, .. }) | None => Ok(()),
    }
}

impl Scan<'_> {
    fn token(&mut self, at: usize, letter: char) -> Result<(), FilterError> {
        match letter {
            ' ' | '\t' | '\n' | '\r' | '\x0c' => {}
            '/' if self.take('/') => while self.letters.next_if(|(_, c)| *c != '\n').is_some() {},
            '"' | '\'' => self.string(at, letter, false)?,
            'a'..='z' | 'A'..='Z' | '_' => self.word(at)?,
            '0'..='9' => {
                while self.letters.next_if(|(_, c)| c.is_ascii_alphanumeric()).is_some() {}
            }
            '(' => self.open(at, ')')?,
            '[' => self.open(at, ']')?,
            '{' => self.open(at, '}')?,
            ')' | ']' | '}' => self.close(at, letter)?,
            '&' | '|' if self.take(letter) => self.reset(false),
            ',' => self.reset(true),
            ':' => self.reset(false),
            '?' => {
                self.reset(false);
                if let Some(level) = self.levels.last_mut() {
                    level.conditions = level.conditions.saturating_add(1);
                }
                self.check_depth(at)?;
            }
            '<' | '>' | '!' | '=' => {
                self.take('=');
                self.deepen(at)?;
            }
            '+' | '-' | '*' | '/' | '%' | '.' => self.deepen(at)?,
            '`' => return Err(self.wrong(at, "write `[\"a-b\"]` for a key with odd letters")),
            _ => return Err(self.wrong(at, "this letter means nothing here")),
        }
        Ok(())
    }

    fn take(&mut self, expected: char) -> bool {
        self.letters.next_if(|(_, letter)| *letter == expected).is_some()
    }

    /// A name, `in`, or what stands in front of a string: `r`, `b` and both.
    fn word(&mut self, at: usize) -> Result<(), FilterError> {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        while self.letters.next_if(|(_, c)| is_inner(*c)).is_some() {}
        let end = self.letters.peek().map_or(self.text.len(), |(end, _)| *end);
        let word = self.text.get(at..end).unwrap_or_default();
        if word == "in" {
            self.deepen(at)?;
        }
        let is_prefix = ["r", "b", "br", "rb"].iter().any(|p| word.eq_ignore_ascii_case(p));
        if is_prefix && let Some((at, quote)) = self.letters.next_if(|(_, c)| "'\"".contains(*c)) {
            self.string(at, quote, word.contains(['r', 'R']))?;
        }
        Ok(())
    }

    fn string(&mut self, at: usize, quote: char, is_raw: bool) -> Result<(), FilterError> {
        let is_long = if self.take(quote) {
            if !self.take(quote) {
                return Ok(());
            }
            true
        } else {
            false
        };
        let mut quotes = 0_u8;
        while let Some((inner, letter)) = self.letters.next() {
            match letter {
                _ if letter == quote && !is_long => return Ok(()),
                _ if letter == quote => {
                    quotes = quotes.saturating_add(1);
                    if quotes == 3 {
                        return Ok(());
                    }
                    continue;
                }
                '\n' | '\r' if !is_long => break,
                '\\' if !is_raw => self.escape(inner)?,
                _ => {}
            }
            quotes = 0;
        }
        Err(self.wrong(at, "a string that doesn't end"))
    }

    fn escape(&mut self, at: usize) -> Result<(), FilterError> {
        let (digits, base) = match self.letters.next() {
            Some((_, 'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '`' | '?' | '\\')) => {
                (0, 16)
            }
            Some((_, 'x' | 'X')) => (2, 16),
            Some((_, 'u')) => (4, 16),
            Some((_, 'U')) => (8, 16),
            Some((_, '0'..='3')) => (2, 8),
            Some(_) | None => return Err(self.wrong(at, "not an escape: write `\\\\` for `\\`")),
        };
        for _ in 0..digits {
            if self.letters.next_if(|(_, c)| c.is_digit(base)).is_none() {
                return Err(self.wrong(at, "an escape with too few digits"));
            }
        }
        Ok(())
    }

    fn open(&mut self, at: usize, close: char) -> Result<(), FilterError> {
        self.deepen(at)?;
        let level = Level { close: Some(close), opened_at: at, chain: 0, conditions: 0 };
        self.levels.push(level);
        self.check_depth(at)
    }

    fn close(&mut self, at: usize, letter: char) -> Result<(), FilterError> {
        match self.levels.last() {
            Some(Level { close: Some(close), .. }) if *close == letter => {
                self.levels.pop();
                Ok(())
            }
            Some(Level { close: Some(close), .. }) => {
                Err(self.wrong(at, &format!("expected `{close}`")))
            }
            Some(Level { close: None, .. }) | None => Err(self.wrong(at, "nothing to close")),
        }
    }

    fn deepen(&mut self, at: usize) -> Result<(), FilterError> {
        if let Some(level) = self.levels.last_mut() {
            level.chain = level.chain.saturating_add(1);
        }
        self.check_depth(at)
    }

    fn reset(&mut self, is_new_expression: bool) {
        if let Some(level) = self.levels.last_mut() {
            level.chain = 0;
            if is_new_expression {
                level.conditions = 0;
            }
        }
    }

    fn check_depth(&self, at: usize) -> Result<(), FilterError> {
        let depths = self.levels.iter().map(|l| l.chain.saturating_add(l.conditions));
        if depths.fold(0, usize::saturating_add) > EXPRESSION_DEPTH_MAX {
            let problem = format!("nested deeper than {EXPRESSION_DEPTH_MAX}");
            return Err(self.wrong(at, &problem));
        }
        Ok(())
    }

    fn wrong(&self, at: usize, problem: &str) -> FilterError {
        let position = Position::at_offset(self.text, at);
        FilterError::expression(self.text, position, problem.to_owned())
    }
}
