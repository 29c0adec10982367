//! The Kontiki binary.
fn main() {}
