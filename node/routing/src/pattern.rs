//! One topic pattern: compiled, and matched alone. Many at once are the [trie](crate::trie)'s
//! business.

use crate::Error;
use crate::limits::{KEY_BYTES_MAX, PATTERN_WORDS_MAX};

/// How a pattern is written. In both syntaxes a pattern and a routing key are words with dots
/// between them, and `*` stands for exactly one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// AMQP: `#` stands for zero or more words, anywhere, as often as one likes; `>` is a word like
    /// any other. Words may be empty; the empty pattern matches the empty key.
    #[default]
    Amqp,
    /// NATS: `>` stands for one or more words, and only as the last one; `#` is a word like any
    /// other. No word may be empty.
    Nats,
}

/// A word of a compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// Exactly this word.
    Word(Box<str>),
    /// Any one word.
    One,
    /// Zero or more words.
    Any,
}

/// A compiled topic pattern, for a subscription that filters by itself.
///
/// ```
/// use kontiki_routing::{Pattern, Syntax};
///
/// let pattern = Pattern::compile("orders.#.failed", Syntax::Amqp)?;
/// assert!(pattern.matches("orders.failed"));
/// assert!(pattern.matches("orders.eu.retail.failed"));
/// assert!(!pattern.matches("orders.eu"));
/// # Ok::<(), kontiki_routing::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Box<[Token]>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`Error::TooLong`] above [`KEY_BYTES_MAX`] bytes, [`Error::TooManyWords`] above
    /// [`PATTERN_WORDS_MAX`] words, and [`Error::BadPattern`] where [`Syntax::Nats`] has a `>` that
    /// is not the last word, or an empty word.
    pub fn compile(pattern: &str, syntax: Syntax) -> Result<Self, Error> {
        Error::check_length("pattern", pattern, KEY_BYTES_MAX)?;
        let count = words(pattern).count();
        if count > PATTERN_WORDS_MAX {
            let pattern = pattern.to_owned();
            return Err(Error::TooManyWords { pattern, words: count, limit: PATTERN_WORDS_MAX });
        }
        let bad = |problem| Error::BadPattern { pattern: pattern.to_owned(), problem };
        if syntax == Syntax::Nats && pattern.is_empty() {
            return Err(bad(EMPTY_WORD));
        }
        let mut tokens = Vec::with_capacity(count + 1);
        for (index, word) in words(pattern).enumerate() {
            match (word, syntax) {
                ("*", _) => tokens.push(Token::One),
                ("#", Syntax::Amqp) => tokens.push(Token::Any),
                (">", Syntax::Nats) if index + 1 == count => {
                    tokens.extend([Token::One, Token::Any]);
                }
                (">", Syntax::Nats) => {
                    return Err(bad("`>` may only be the last word; `*` stands for one elsewhere"));
                }
                ("", Syntax::Nats) => return Err(bad(EMPTY_WORD)),
                (word, _) => tokens.push(Token::Word(word.into())),
            }
        }
        Ok(Self { tokens: tokens.into() })
    }

    /// Whether a routing key matches. It takes time in proportion to the words of the key times
    /// those of the pattern, and no memory, whatever the pattern. Keys of any length are matched.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let mut tokens = &self.tokens[..];
        let mut rest = words(key);
        // The last `#`, and the key from where it has to take one more word. Going back to an
        // earlier one can't help: the last one may take all that an earlier one could.
        let mut resume = None;
        loop {
            let mut ahead = rest.clone();
            match (tokens.split_first(), ahead.next()) {
                (Some((Token::Any, after)), _) => {
                    tokens = after;
                    resume = Some((after, rest.clone()));
                    continue;
                }
                (None, None) => return true,
                (Some((Token::One, after)), Some(_)) => {
                    (tokens, rest) = (after, ahead);
                    continue;
                }
                (Some((Token::Word(expected), after)), Some(word)) if **expected == *word => {
                    (tokens, rest) = (after, ahead);
                    continue;
                }
                (Some((Token::Word(_) | Token::One, _)) | None, _) => {}
            }
            let Some((after, from)) = &mut resume else { return false };
            if from.next().is_none() {
                return false;
            }
            (tokens, rest) = (after, from.clone());
        }
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }
}

const EMPTY_WORD: &str = "a word is empty; remove the dot beside it, or let `*` stand for a word";

/// The words of a pattern or key. The empty one has none; `a.` has two, of which the second is
/// empty (as RabbitMQ has it).
pub(crate) fn words(key: &str) -> impl Iterator<Item = &str> + Clone {
    let most = if key.is_empty() { 0 } else { usize::MAX };
    key.split('.').take(most)
}
