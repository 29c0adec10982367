//! What a filter sees of a message: borrowed, and parsed only when a filter asks for it.

use std::cell::OnceCell;
use std::fmt;
use std::marker::PhantomData;

use serde_json::Value;

use crate::error::EvaluationError;
use crate::limits::BODY_BYTES_MAX;

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
    json: OnceCell<Result<Value, EvaluationError>>,
    header_count: OnceCell<usize>,
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
        Self { headers, key, body, meta, json: OnceCell::new(), header_count: OnceCell::new() }
    }

    /// How many headers there are: each look at one goes through all of them.
    pub(crate) fn header_count(&self) -> usize {
        *self.header_count.get_or_init(|| {
            let mut count = 0_usize;
            self.headers.visit(&mut |_, _| count = count.saturating_add(1));
            count
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

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// If it is none, nests deeper than 128, or is larger than [`BODY_BYTES_MAX`].
    pub(crate) fn json(&self) -> Result<&Value, EvaluationError> {
        let parsed = self.json.get_or_init(|| {
            let bytes = self.body.len();
            if bytes > BODY_BYTES_MAX {
                return Err(EvaluationError::BodyTooLarge { bytes, max: BODY_BYTES_MAX });
            }
            serde_json::from_slice(self.body)
                .map_err(|error| EvaluationError::BodyNotJson { problem: error.to_string() })
        });
        parsed.as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the content: messages are nobody's business in a log.
        f.debug_struct("Message").field("meta", &self.meta).finish_non_exhaustive()
    }
}
