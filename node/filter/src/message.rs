//! What a filter sees of a message: borrowed, and parsed only when a filter asks for it.

use std::cell::OnceCell;
use std::fmt;
use std::marker::PhantomData;

use serde_json::Value;

use crate::error::EvaluationError;
use crate::limits::BODY_BYTES_MAX;

/// What a value of a body costs to be parsed and dropped, in steps.
const STEPS_PER_VALUE: usize = 1;
/// Letters of a body that are parsed for the price of one step.
const LETTERS_PER_STEP: usize = 16;

/// The headers of a message, in their order.
///
/// A name may occur more than once; filters see the last one of each.
pub trait Headers {
    /// Shows every header to `see`.
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8]));
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.iter().for_each(|(name, value)| see(name.as_ref(), value.as_ref()));
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for &[(N, V)] {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.iter().for_each(|(name, value)| see(name.as_ref(), value.as_ref()));
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const COUNT: usize> Headers for [(N, V); COUNT] {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.iter().for_each(|(name, value)| see(name.as_ref(), value.as_ref()));
    }
}

/// Headers that an iterator yields, such as one that decodes them from a record. The iterator is
/// cloned for each look.
#[derive(Debug, Clone)]
pub struct Each<'h, I> {
    headers: I,
    lifetime: PhantomData<&'h ()>,
}

impl<'h, I: Iterator<Item = (&'h str, &'h [u8])> + Clone> Each<'h, I> {
    /// Takes what yields names and values in their order.
    #[must_use]
    pub fn new(headers: I) -> Self {
        Self { headers, lifetime: PhantomData }
    }
}

impl<'h, I: Iterator<Item = (&'h str, &'h [u8])> + Clone> Headers for Each<'h, I> {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.headers.clone().for_each(|(name, value)| see(name, value));
    }
}

/// What is known of a message besides its content. CEL sees it as `meta`, policies don't.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: u32,
    /// Its offset in the partition.
    pub offset: u64,
    /// Its timestamp: milliseconds since 1970-01-01T00:00Z.
    pub timestamp_ms: i64,
    /// Its priority; 0 where there are none.
    pub priority: u8,
    /// How often it was delivered before; 0 at first.
    pub attempts: u32,
}

/// One message, for as many filters as there are.
///
/// The body is parsed as JSON when the first filter asks for it, and once: evaluate all filters of
/// a message on the same `Message`.
pub struct Message<'a> {
    headers: &'a dyn Headers,
    key: Option<&'a [u8]>,
    body: &'a [u8],
    meta: Meta<'a>,
    json: OnceCell<Parsed>,
    header_names: OnceCell<(usize, usize)>,
}

impl<'a> Message<'a> {
    /// A view of a message. Nothing is copied or parsed.
    #[must_use]
    pub fn new<H: Headers>(
        headers: &'a H,
        key: Option<&'a [u8]>,
        body: &'a [u8],
        meta: Meta<'a>,
    ) -> Self {
        Self { headers, key, body, meta, json: OnceCell::new(), header_names: OnceCell::new() }
    }

    /// How many headers there are, and the bytes of their names: each look at one goes through all
    /// of them.
    pub(crate) fn header_names(&self) -> (usize, usize) {
        *self.header_names.get_or_init(|| {
            let (mut count, mut bytes) = (0_usize, 0_usize);
            self.headers.visit(&mut |name, _| {
                count = count.saturating_add(1);
                bytes = bytes.saturating_add(name.len());
            });
            (count, bytes)
        })
    }

    /// The last header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let mut found = None;
        self.headers.visit(&mut |each, value| {
            if each == name {
                found = Some(value);
            }
        });
        found
    }

    pub(crate) fn headers(&self) -> &dyn Headers {
        self.headers
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key
    }

    pub(crate) fn meta(&self) -> &Meta<'a> {
        &self.meta
    }

    /// Steps that parsing its body has cost so far: none before the first filter has asked for it,
    /// and no more after that. A step is that of [`COST_MAX`](crate::limits::COST_MAX).
    #[must_use]
    pub fn parse_steps(&self) -> u64 {
        self.json.get().map_or(0, |parsed| parsed.steps)
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// If it is none, nests deeper than 128, or is larger than [`BODY_BYTES_MAX`].
    pub(crate) fn json(&self) -> Result<&Value, EvaluationError> {
        let parsed = self.json.get_or_init(|| Parsed::new(self.body));
        parsed.json.as_ref().map_err(Clone::clone)
    }
}

/// A body as JSON, and what it cost.
struct Parsed {
    json: Result<Value, EvaluationError>,
    steps: u64,
}

impl Parsed {
    fn new(body: &[u8]) -> Self {
        let bytes = body.len();
        if bytes > BODY_BYTES_MAX {
            let too_large = EvaluationError::BodyTooLarge { bytes, max: BODY_BYTES_MAX };
            return Self { json: Err(too_large), steps: 0 };
        }
        let json = serde_json::from_slice(body)
            .map_err(|error| EvaluationError::BodyNotJson { problem: error.to_string() });
        Self { json, steps: steps_to_parse(body) }
    }
}

/// What it costs to parse a body: mostly what its values cost, and each but the first follows one
/// of these marks. Marks within strings are counted too; the count is cheaper than the parsing by
/// far.
fn steps_to_parse(body: &[u8]) -> u64 {
    let is_mark = |byte: &&u8| matches!(byte, b',' | b':' | b'[' | b'{');
    let marks = body.iter().filter(is_mark).count().saturating_mul(STEPS_PER_VALUE);
    u64::try_from(marks.saturating_add(body.len() / LETTERS_PER_STEP)).unwrap_or(u64::MAX)
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the content: messages are nobody's business in a log.
        f.debug_struct("Message").field("meta", &self.meta).finish_non_exhaustive()
    }
}
