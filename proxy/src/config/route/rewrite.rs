//! A path that becomes another by a regular expression, as the configuration has it.

use config_reader::kind::text;
use config_reader::{key, quoted};

use super::PathChange;
use super::expression::{Expression, expression};
use super::path_change::Replacement;
use crate::config::keys::Visit;
use crate::config::{Section, Value};
use crate::path::normalise;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    regex: Option<Expression>,
    to: String,
    /// What it comes to.
    change: PathChange,
}

impl Rewrite {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let regex = key("regex", "what takes the path as a whole")
            .required("a regular expression, such as \"/old/(.*)\"")
            .example("\"/old/(.*)\"");
        let shown = |regex: &Expression| regex.as_str().to_owned();
        v.optional(regex, expression(|regex| regex, shown), &mut self.regex);
        let to = key("to", "what the path becomes; `$1` or `${name}` is what a group took")
            .required("a path, such as \"/new/$1\"")
            .example("\"/new/$1\"");
        let read = |value: &Value<'_>| value.text().map(str::to_owned);
        v.key(to, text(read, String::clone).pattern("^[/$]"), &mut self.to);
        v.check(|section| self.settle(section));
    }

    fn settle(&mut self, section: &Section<'_>) {
        let (Some(from), true) = (self.regex.take(), section.is_set("to")) else { return };
        match Replacement::parse(&self.to, &from) {
            Ok(_) if climbs(&self.to) => {
                section.reject("to", format_args!("{} climbs above the root", quoted(&self.to)));
            }
            Ok(to) => self.change = PathChange::Rewrite { from, to },
            Err(error) => section.reject("to", format_args!("{} {error}", quoted(&self.to))),
        }
    }

    pub(super) fn settled(self) -> PathChange {
        self.change
    }
}

/// Whether it leaves the root whatever its groups take: by the segments before the first of them.
fn climbs(to: &str) -> bool {
    let known = match to.split_once('$') {
        Some((before, _)) => before.rfind('/').map_or("", |slash| &before[..=slash]),
        None => to,
    };
    !known.is_empty() && normalise(known).is_none()
}
