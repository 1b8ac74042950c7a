//! Which watches a change concerns.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::span::Span;

/// Spans, and who wants them. One key is found at once, however many there are; ranges are tried one by one,
/// each only once however many want it, and only those that start at or before the key.
#[derive(Debug)]
pub(super) struct Index<T> {
    keys: BTreeMap<Vec<u8>, BTreeSet<T>>,
    /// By start, then by end.
    ranges: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, BTreeSet<T>>>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), ranges: BTreeMap::new() }
    }
}

impl<T: Copy + Ord> Index<T> {
    pub fn insert(&mut self, span: Span<'_>, who: T) {
        if span.is_one_key() {
            self.keys.entry(span.key.to_vec()).or_default().insert(who);
        } else {
            let ends = self.ranges.entry(span.key.to_vec()).or_default();
            ends.entry(span.end.to_vec()).or_default().insert(who);
        }
    }

    pub fn remove(&mut self, span: Span<'_>, who: T) {
        if span.is_one_key() {
            remove_from(&mut self.keys, span.key, who);
        } else if let Some(ends) = self.ranges.get_mut(span.key) {
            remove_from(ends, span.end, who);
            if ends.is_empty() {
                self.ranges.remove(span.key);
            }
        }
    }

    /// Everybody who wants this key.
    pub fn who_wants<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = T> + 'a {
        let ranges = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        let ends = ranges.flat_map(|(start, ends)| ends.iter().map(move |(end, them)| (start, end, them)));
        let containing = ends.filter(|(start, end, _)| Span::new(start, end).contains(key));
        self.keys.get(key).into_iter().chain(containing.map(|(_, _, them)| them)).flatten().copied()
    }
}

fn remove_from<T: Ord>(keys: &mut BTreeMap<Vec<u8>, BTreeSet<T>>, key: &[u8], who: T) {
    if let Some(them) = keys.get_mut(key) {
        them.remove(&who);
        if them.is_empty() {
            keys.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Index, Span};

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0..3_u8, 0..3)
    }

    proptest! {
        #[test]
        fn it_finds_who_wants_a_key_as_asking_each_would(
            spans in proptest::collection::vec((key(), key(), any::<bool>()), 0..20),
            wanted in key(),
        ) {
            let mut index = Index::default();
            for (who, (key, end, _)) in spans.iter().enumerate() {
                index.insert(Span::new(key, end), who);
            }
            for (who, (key, end, stays)) in spans.iter().enumerate() {
                if !stays {
                    index.remove(Span::new(key, end), who);
                }
            }
            let mut found: Vec<_> = index.who_wants(&wanted).collect();
            found.sort_unstable();
            let asked = spans.iter().enumerate().filter(|(_, (key, end, stays))| {
                *stays && Span::new(key, end).contains(&wanted)
            });
            prop_assert_eq!(found, asked.map(|(who, _)| who).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_stays_of_who_has_left() {
        let mut index = Index::default();
        for span in [Span::new(b"a", b""), Span::new(b"a", b"b"), Span::new(b"a", b"\0")] {
            index.insert(span, 1);
            index.remove(span, 1);
        }
        assert!(index.keys.is_empty() && index.ranges.is_empty());
    }
}
