//! Reads a configuration in YAML, strictly, and reports every mistake at once, each with its line and its key. Writes,
//! from the same declarations of the keys, a reference, a table and a JSON schema.
//!
//! A section declares each of its keys once to a [`Visitor`]: the name, what it is for, the kind of its value, and the
//! place of the value, which holds the default. These are the visitors:
//!
//! - a [`Section`] of a file sets the values. A key that was not declared when the section is closed is reported as
//!   unknown, with the key that was likely meant;
//! - from an [`Outline`] the [documents](document) are written;
//! - by their [`Values`] two configurations are compared.
//!
//! The kind decides what a value means: `off` and `010` are text where text is declared. Aliases and tags of YAML are
//! refused, so that a short file cannot become a large one in memory, and each value is what it looks like.
//!
//! ```
//! use config_reader::kind::{number, words};
//! use config_reader::{Listing, Outline, Reader, Visitor, document, key, parse};
//!
//! #[derive(Clone, PartialEq)]
//! enum Form {
//!     Text,
//!     Json,
//! }
//!
//! struct Config {
//!     threads: u32,
//!     form: Form,
//! }
//!
//! impl Config {
//!     fn new() -> Self {
//!         Self { threads: 4, form: Form::Text }
//!     }
//!
//!     fn keys<V: Visitor<()>>(&mut self, v: &mut V) {
//!         v.key(key("threads", "how many threads there are"), number(1..=64), &mut self.threads);
//!         v.section(key("log", "what is told"), |v| {
//!             let forms = words([("text", Form::Text), ("json", Form::Json)]);
//!             v.key(key("form", "how a line is written"), forms, &mut self.form);
//!         });
//!     }
//! }
//!
//! // What is wrong with a file.
//! let document = parse("threads: many\nlog:\n  from: json\n")?;
//! let reader: Reader<()> = Reader::new("my.yaml");
//! let mut root = reader.root(document.as_ref());
//! Config::new().keys(&mut root);
//! root.close(None);
//! let (problems, _remarks) = reader.into_problems_and_remarks();
//! let expected = "my.yaml:1: threads: found many, expected a whole number from 1 to 64\n\
//!                 my.yaml:3: log.from: is an unknown key: did you mean form?";
//! assert_eq!(Listing(&problems).to_string(), expected);
//!
//! // What there is to know of the keys.
//! let mut outline = Outline::default();
//! Config::new().keys::<Outline>(&mut outline);
//! let reference = document::reference(&outline, "All keys.");
//! assert!(reference.contains("threads: 4 # how many threads there are. 1 to 64"));
//! assert!(reference.contains("  form: text # how a line is written. `text` or `json`"));
//! # Ok::<(), config_reader::SyntaxError>(())
//! ```

pub mod document;
pub mod duration;
mod json;
mod key;
pub mod kind;
mod outline;
mod problem;
mod read;
mod reader;
mod section;
mod text;
mod tree;
mod value;
mod values;
mod visitor;

pub use self::json::to_json;
pub use self::key::{Key, key};
pub use self::kind::Kind;
pub use self::outline::Outline;
pub use self::problem::{Listing, Problem};
pub use self::reader::{Place, Reader};
pub use self::section::Section;
pub use self::text::{closest, quoted};
pub use self::tree::{Content, Entry, Node, Scalar, SyntaxError, parse};
pub use self::value::Value;
pub use self::values::{Shown, Values, differences};
pub use self::visitor::Visitor;
