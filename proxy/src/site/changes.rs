//! What a route changes of requests and of their answers, made ready once for all of them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::config::{self, FieldChanges, PathChange, Piece, Template};

/// What a route changes of a request before it is sent on, and of its answer.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// How the path becomes another.
    pub(crate) path: PathChange,
    /// The `Host` that instances get; none: the client's own.
    pub(crate) host: Option<HeaderValue>,
    /// What becomes of a request's fields, in this order.
    pub(crate) request: Box<[FieldChange]>,
    /// What becomes of an answer's fields, in this order.
    pub(crate) response: Box<[FieldChange]>,
}

/// What becomes of a field. Names are ready to be shared by many heads.
#[derive(Debug)]
pub(crate) enum FieldChange {
    Remove(HeaderName),
    /// It takes the place of all of its name.
    Set(Bytes, FieldValue),
    /// It goes beside those of its name.
    Add(Bytes, FieldValue),
}

/// The value that a field gets.
#[derive(Debug)]
pub(crate) enum FieldValue {
    /// The same for each request: its bytes are shared.
    Fixed(HeaderValue),
    Made(Template),
}

impl From<&config::Changes> for Changes {
    fn from(changes: &config::Changes) -> Self {
        Self {
            path: changes.path.clone(),
            host: changes.host.clone(),
            request: in_order(&changes.request),
            response: in_order(&changes.response),
        }
    }
}

/// First what is removed, so that something else can take its place; last what is added to what was set.
fn in_order(changes: &FieldChanges) -> Box<[FieldChange]> {
    let shared = |name: &HeaderName| Bytes::copy_from_slice(name.as_str().as_bytes());
    let removed = changes.remove.iter().cloned().map(FieldChange::Remove);
    let set = changes.set.iter().map(|(name, value)| FieldChange::Set(shared(name), value.into()));
    let added = changes.add.iter().map(|(name, value)| FieldChange::Add(shared(name), value.into()));
    removed.chain(set).chain(added).collect()
}

impl From<&Template> for FieldValue {
    fn from(template: &Template) -> Self {
        match fixed(template).and_then(|text| HeaderValue::try_from(text).ok()) {
            Some(value) => Self::Fixed(value),
            None => Self::Made(template.clone()),
        }
    }
}

/// What a template without variables says.
fn fixed(template: &Template) -> Option<String> {
    let mut fixed = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => fixed.push_str(text),
            Piece::Variable(_) => return None,
        }
    }
    Some(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variable;

    #[test]
    fn what_is_removed_comes_first_and_what_is_added_last() {
        let text = |text: &str| Template { pieces: vec![Piece::Text(text.into())] };
        let made = Template { pieces: vec![Piece::Text("r:".into()), Piece::Variable(Variable::Route)] };
        let changes = FieldChanges {
            add: vec![("x-a".parse().unwrap(), text("1"))],
            set: vec![("x-b".parse().unwrap(), made.clone()), ("x-c".parse().unwrap(), Template::default())],
            remove: vec!["x-d".parse().unwrap()],
        };
        let [removed, made_one, empty, added] = &*in_order(&changes) else { panic!("there are four") };
        assert!(matches!(removed, FieldChange::Remove(name) if name == "x-d"));
        assert!(
            matches!(made_one, FieldChange::Set(name, FieldValue::Made(m)) if name == "x-b" && *m == made)
        );
        assert!(matches!(empty, FieldChange::Set(_, FieldValue::Fixed(value)) if value.is_empty()));
        assert!(
            matches!(added, FieldChange::Add(name, FieldValue::Fixed(value)) if name == "x-a" && value == "1")
        );
    }
}
