//! Letters to lines: which of them are code, which are comments, which stand in strings.

use super::Line;

enum State {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// Takes a text apart, line by line.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let letters: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { letters: &letters, at: 0, state: State::Code, line: Line::default() };
    let mut lines = Vec::new();
    while let Some(letter) = lexer.peek(0) {
        if letter == '\n' {
            if matches!(lexer.state, State::LineComment) {
                lexer.state = State::Code;
            }
            lexer.at += 1;
            lines.push(std::mem::take(&mut lexer.line));
        } else {
            lexer.step(letter);
        }
    }
    if !lexer.line.text.is_empty() {
        lines.push(lexer.line);
    }
    lines
}

struct Lexer<'a> {
    letters: &'a [char],
    at: usize,
    state: State,
    line: Line,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.at + ahead).copied()
    }

    /// Takes `count` letters, none of them a line break.
    fn take(&mut self, count: usize) -> String {
        let end = (self.at + count).min(self.letters.len());
        let taken: String = self.letters[self.at..end].iter().collect();
        self.line.text.push_str(&taken);
        self.at = end;
        taken
    }

    fn step(&mut self, letter: char) {
        match self.state {
            State::Code => self.code(letter),
            State::LineComment => {
                let taken = self.take(1);
                self.line.comment.push_str(&taken);
            }
            State::BlockComment { depth } => self.block_comment(letter, depth),
            State::Text => self.text(letter),
            State::RawText { hashes } => self.raw_text(letter, hashes),
        }
    }

    fn code(&mut self, letter: char) {
        match (letter, self.peek(1)) {
            ('/', Some('/')) => self.state = State::LineComment,
            ('/', Some('*')) => {
                let taken = self.take(2);
                self.line.comment.push_str(&taken);
                self.state = State::BlockComment { depth: 1 };
            }
            ('"', _) => {
                self.take(1);
                self.line.code.push('"');
                self.state = State::Text;
            }
            ('r', Some('"' | '#')) if !self.follows_a_name() && self.raw_hashes().is_some() => {
                let hashes = self.raw_hashes().unwrap_or_default();
                self.take(hashes + 2);
                self.line.code.push_str("r\"");
                self.state = State::RawText { hashes };
            }
            ('\'', _) if self.character_letters().is_some() => {
                let count = self.character_letters().unwrap_or(1);
                self.take(count);
                self.line.code.push_str("''");
            }
            _ => {
                let taken = self.take(1);
                self.line.code.push_str(&taken);
            }
        }
    }

    /// Whether the letter before this one belongs to a name (`br"` is a string, `far"` is not).
    fn follows_a_name(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.letters.get(at));
        before.is_some_and(|letter| letter.is_alphanumeric() && *letter != 'b' || *letter == '_')
    }

    /// The number of hashes where a raw string begins here.
    fn raw_hashes(&self) -> Option<usize> {
        let hashes = self.letters[self.at + 1..].iter().take_while(|l| **l == '#').count();
        (self.peek(hashes + 1) == Some('"')).then_some(hashes)
    }

    /// How many letters a character literal has that begins here; none for a lifetime.
    fn character_letters(&self) -> Option<usize> {
        match (self.peek(1)?, self.peek(2)?) {
            ('\\', _) => {
                let rest = self.letters.get(self.at + 3..)?;
                rest.iter().take(10).position(|l| *l == '\'').map(|end| end + 4)
            }
            (_, '\'') => Some(3),
            _ => None,
        }
    }

    fn block_comment(&mut self, letter: char, depth: usize) {
        let (count, depth) = match (letter, self.peek(1)) {
            ('/', Some('*')) => (2, depth + 1),
            ('*', Some('/')) => (2, depth - 1),
            _ => (1, depth),
        };
        let taken = self.take(count);
        self.line.comment.push_str(&taken);
        self.state = if depth == 0 { State::Code } else { State::BlockComment { depth } };
    }

    fn text(&mut self, letter: char) {
        // An escaped line break stays for the next step, which ends the line.
        let escaped = letter == '\\' && self.peek(1) != Some('\n');
        self.take(if escaped { 2 } else { 1 });
        if letter == '"' {
            self.line.code.push('"');
            self.state = State::Code;
        }
    }

    fn raw_text(&mut self, letter: char, hashes: usize) {
        let closes = letter == '"' && (1..=hashes).all(|n| self.peek(n) == Some('#'));
        if closes {
            self.take(hashes + 1);
            self.line.code.push('"');
            self.state = State::Code;
        } else {
            self.take(1);
        }
    }
}
