//! Reads a configuration in YAML, strictly, and reports every mistake at once, each with its line and its key.
//!
//! A [`Section`] learns which keys there are by being asked for them; what nobody has asked for when it is closed is
//! unknown, and its author is told which key was likely meant. A value is read as what is asked for: `off` and `010`
//! are text to whoever asks for text. Aliases and tags are refused, so that no text grows while it is read and no
//! value means other than it reads.
//!
//! ```
//! use config_reader::{Listing, Reader, parse};
//!
//! let text = "threads: many\nlog:\n  fromat: json\n";
//! let document = parse(text)?;
//! let reader: Reader<()> = Reader::new("my.yaml");
//! let mut root = reader.root(document.as_ref());
//!
//! let (mut threads, mut format) = (4, String::from("text"));
//! root.set("threads", &mut threads, |value| value.number(1..=64));
//! let mut log = root.section("log");
//! log.set("format", &mut format, |value| value.text().map(str::to_owned));
//! log.close(None);
//! root.close(None);
//!
//! let (problems, _remarks) = reader.into_problems_and_remarks();
//! let expected = "my.yaml:1: threads: found many, expected a whole number from 1 to 64\n\
//!                 my.yaml:3: log.fromat: is an unknown key: did you mean format?";
//! assert_eq!(Listing(&problems).to_string(), expected);
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
pub use self::text::closest;
pub use self::tree::{Content, Entry, Node, Scalar, SyntaxError, parse};
pub use self::value::Value;
pub use self::values::{Shown, Values, differences};
pub use self::visitor::Visitor;
