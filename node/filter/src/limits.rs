//! Every bound of a filter. They are constants and not options: a filter that one node accepts
//! must compile on every other one.

/// The longest CEL expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;

/// How deep a CEL expression may nest, in operators, calls and brackets on one path.
///
/// It bounds the stack of the parser, of the compiler and of each evaluation. Chains of `&&` and
/// `||` are balanced before they are counted, so they may be as long as the text allows.
pub const EXPRESSION_DEPTH_MAX: usize = 48;

/// How many comprehensions (`all`, `exists`, `exists_one`, `map`, `filter`) may be inside of each
/// other.
pub const COMPREHENSION_DEPTH_MAX: usize = 2;

/// The largest compiled regular expression of a `matches`, in bytes of memory.
pub const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// The longest filter policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// How deep the keys of a filter policy may nest; each `$or` counts as one level.
pub const POLICY_DEPTH_MAX: usize = 16;

/// The largest body that is parsed as JSON, in bytes. A filter that looks into a larger one fails.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// How many steps one evaluation may take.
///
/// A step is one operator, one call, one rule of a policy, one element that is looked at, 4 names
/// that are passed on the way to one, 8 digits or 4 letters that are read, or 32 bytes that are
/// compared, searched or copied: some 10 to 40 ns each, so that the costliest filter takes 10 ms.
/// A byte that a regular expression looks at is two steps; with one that is larger than 1 KiB
/// (compiled, without the tables of Unicode) it is 16, and one more for every 512 bytes. Parsing
/// the body is bounded by [`BODY_BYTES_MAX`] alone, and is done once for many filters.
pub const COST_MAX: u64 = 250_000;
