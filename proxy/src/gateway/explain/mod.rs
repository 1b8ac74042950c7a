//! Which route takes a request, and why, for people and for tests of a configuration: nothing of it needs a gateway that
//! runs. What is asked goes through the same door, the same matcher and the same changes as a request does.
//!
//! ```text
//! question     the request that is asked about
//! matcher      which route takes it
//! explanation  which route takes it, what happens to it, and why none before it did
//! table        all routes, in the order in which they are tried
//! words        what a route does, and what it asks for in vain
//! columns      text in columns
//! ```

mod columns;
mod explanation;
mod matcher;
mod question;
mod table;
mod words;

#[cfg(test)]
mod tests;

pub use explanation::{Explanation, explain};
pub use matcher::Matcher;
pub use question::{Question, QuestionError};
pub use table::table;
