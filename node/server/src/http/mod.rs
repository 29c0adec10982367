//! The pages for operators: HTTP/1.1 on a port of its own, so that they answer when clients have
//! used up theirs.

mod pages;
mod serve;

pub use self::pages::Pages;
pub use self::serve::serve;
