//! What the whole crate promises.
