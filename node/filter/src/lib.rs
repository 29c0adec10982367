//! Content filters of subscriptions: compiled once, evaluated for each message.
//!
//! | module | what it holds |
//! |---|---|
//! | [`filter`](Filter) | what a subscription holds: its text, and what it was compiled to |
//! | [`message`](Message) | the borrowed view of a message that filters look at |
//! | [`expression`](Filter::cel) | CEL: bounds, compilation, evaluation |
//! | [`policy`](Filter::policy) | filter policies in the JSON of Amazon SNS |
//! | [`limits`] | every bound, with its unit |
//! | [`error`](FilterError) | why a text is not a filter, and why a filter has no answer |
//!
//! Pure: there is no socket, no clock, no task and no randomness here, and nothing of a server's
//! state. No text and no message can make it panic, recurse without a bound, or take more steps
//! than [`limits::COST_MAX`].
//!
//! ```
//! use kontiki_filter::{Filter, Message, Meta, Scope};
//!
//! let headers = [("kind", "order.placed"), ("price", "210.75")];
//! let body = br#"{"lines": [{"sku": "tea", "count": 2}]}"#;
//! let message = Message::new(&headers, None, body, Meta::default());
//!
//! let cel = Filter::cel("body.lines.exists(l, l.sku == 'tea' && l.count > 1)")?;
//! assert_eq!(cel.evaluate(&message), Ok(true));
//!
//! let policy = r#"{"kind": [{"prefix": "order."}], "price": [{"numeric": [">", 100]}]}"#;
//! let policy = Filter::policy(policy, Scope::Attributes)?;
//! assert_eq!(policy.evaluate(&message), Ok(true));
//! # Ok::<(), kontiki_filter::FilterError>(())
//! ```
//!
//! Nothing here decides what an error means: whoever evaluates takes it for "no match" and counts.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod cost;
mod error;
mod expression;
mod filter;
pub mod limits;
mod message;
mod number;
mod policy;

#[cfg(test)]
mod tests;

pub use error::{EvaluationError, FilterError, Position};
pub use filter::{Evaluation, Filter, Kind, Scope};
pub use message::{Each, Headers, Message, Meta};
