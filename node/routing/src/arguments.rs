//! The arguments of a binding: part of what it is, and for a headers exchange what it asks for.

use crate::Error;
use crate::limits::{ARGUMENT_NAME_BYTES_MAX, ARGUMENT_VALUE_BYTES_MAX, ARGUMENTS_MAX};

/// A name and what it must be; `None` asks only that a header of this name is there.
pub(crate) type Argument<'a> = (&'a str, Option<&'a [u8]>);

/// The argument that says how a binding of a headers exchange matches.
const MATCH: &str = "x-match";

/// Arguments in order of their names, none of them twice.
#[derive(Debug, Clone)]
pub(crate) struct Arguments<'a>(Vec<Argument<'a>>);

impl<'a> Arguments<'a> {
    /// # Errors
    /// [`Error::TooMany`], [`Error::TooLong`], and [`Error::BadArgument`] for one that is given
    /// twice.
    pub(crate) fn new(exchange: &str, given: &[Argument<'a>]) -> Result<Self, Error> {
        if given.len() > ARGUMENTS_MAX {
            return Err(Error::TooMany {
                what: format!("{} arguments of a binding of {exchange:?}", given.len()),
                limit: ARGUMENTS_MAX,
                advice: "split them over several bindings",
            });
        }
        for (name, value) in given {
            Error::check_length("argument name", name, ARGUMENT_NAME_BYTES_MAX)?;
            let bytes = value.map_or(0, <[u8]>::len);
            if bytes > ARGUMENT_VALUE_BYTES_MAX {
                return Err(Error::TooLong {
                    what: "value of argument",
                    start: (*name).to_owned(),
                    bytes,
                    limit: ARGUMENT_VALUE_BYTES_MAX,
                });
            }
        }
        let mut sorted = given.to_vec();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(bad(exchange, twice[0].0, "it is given twice; give it once"));
        }
        Ok(Self(sorted))
    }

    /// The same bytes for the same arguments, and for no others.
    pub(crate) fn encoded(&self) -> Box<[u8]> {
        let mut bytes = Vec::new();
        for (name, value) in &self.0 {
            bytes.push(u8::try_from(name.len()).expect("the length of names is checked"));
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(u8::from(value.is_some()));
            if let Some(value) = value {
                let length = u32::try_from(value.len()).expect("the length of values is checked");
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(value);
            }
        }
        bytes.into()
    }

    /// What the arguments ask of a message's headers.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for an `x-match` that is none.
    pub(crate) fn demand(&self, exchange: &str) -> Result<Demand<'a>, Error> {
        let mode = self.0.iter().find(|(name, _)| *name == MATCH).and_then(|(_, value)| *value);
        let (how, with_x) = match mode {
            None | Some(b"all") => (How::All, false),
            Some(b"any") => (How::Any, false),
            Some(b"all-with-x") => (How::All, true),
            Some(b"any-with-x") => (How::Any, true),
            Some(_) => {
                let problem = "it must be all, any, all-with-x or any-with-x; all is the default";
                return Err(bad(exchange, MATCH, problem));
            }
        };
        let asked = self.0.iter().filter(|(name, _)| {
            let is_x = name.starts_with("x-");
            *name != MATCH && (with_x || !is_x)
        });
        Ok(Demand { how, pairs: asked.copied().collect() })
    }
}

fn bad(exchange: &str, argument: &str, problem: &'static str) -> Error {
    let (exchange, argument) = (exchange.to_owned(), argument.to_owned());
    Error::BadArgument { exchange, argument, problem }
}

/// How many of the pairs must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// All of them; if there are none, every message will do.
    All,
    /// At least one; if there are none, no message will do.
    Any,
}

/// What a binding asks of a message's headers.
#[derive(Debug, Clone)]
pub(crate) struct Demand<'a> {
    pub(crate) how: How,
    pub(crate) pairs: Vec<Argument<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(arguments: &[Argument<'_>]) -> Box<[u8]> {
        Arguments::new("h", arguments).unwrap().encoded()
    }

    #[test]
    fn other_arguments_have_other_bytes() {
        assert_eq!(encoded(&[]), Box::from([]), "most bindings have none, and pay nothing");
        let (one, other) = (encoded(&[("a", None)]), encoded(&[("a", Some(b""))]));
        assert_ne!(one, other);
        // The same bytes, if there were no byte for whether there is a value.
        let one = encoded(&[("\0", Some(&[2, 1, 1]))]);
        let other = encoded(&[("\0", None), ("\0\0\0", None), ("\x01\x01", None)]);
        assert_ne!(one, other);
        let one = encoded(&[("b", Some(b"2")), ("a", Some(b"1"))]);
        assert_eq!(one, encoded(&[("a", Some(b"1")), ("b", Some(b"2"))]));
    }
}
