//! Which watches a change concerns.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use interavl::IntervalTree;

use crate::span::Span;

/// Spans, and who wants them. However many there are, only those that hold a key are looked at to find who wants it.
#[derive(Debug)]
pub(super) struct Index<T> {
    keys: BTreeMap<Vec<u8>, BTreeSet<T>>,
    ranges: IntervalTree<Edge, BTreeSet<T>>,
}

/// Where a range begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    At(Arc<[u8]>),
    /// Behind every key that there can be. It sorts last because it stands last.
    BehindTheLastKey,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), ranges: IntervalTree::default() }
    }
}

impl<T: Copy + Ord> Index<T> {
    pub(super) fn insert(&mut self, span: Span<'_>, who: T) {
        if span.is_one_key() {
            self.keys.entry(span.key.to_vec()).or_default().insert(who);
        } else if let Some(range) = range(span) {
            self.ranges.entry(range).or_default().insert(who);
        }
    }

    pub(super) fn remove(&mut self, span: Span<'_>, who: T) {
        if span.is_one_key() {
            if self.keys.get_mut(span.key).is_some_and(|them| is_empty_without(them, who)) {
                self.keys.remove(span.key);
            }
        } else if let Some(range) = range(span)
            && self.ranges.get_mut(&range).is_some_and(|them| is_empty_without(them, who))
        {
            self.ranges.remove(&range);
        }
    }

    /// Everybody who wants this key.
    pub(super) fn who_wants(&self, key: &[u8]) -> Vec<T> {
        let this_key = Edge::At(key.into())..Edge::At([key, &[0]].concat().into());
        let ranges = self.ranges.iter_overlaps(&this_key).map(|(_, them)| them);
        self.keys.get(key).into_iter().chain(ranges).flatten().copied().collect()
    }
}

/// The range of a span; none if no key can be in it.
fn range(span: Span<'_>) -> Option<Range<Edge>> {
    let end = if span.is_to_the_last_key() { Edge::BehindTheLastKey } else { Edge::At(span.end.into()) };
    (!span.is_empty()).then(|| Edge::At(span.key.into())..end)
}

fn is_empty_without<T: Ord>(them: &mut BTreeSet<T>, who: T) -> bool {
    them.remove(&who);
    them.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Index, Span};

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0..4_u8, 0..4)
    }

    proptest! {
        #[test]
        fn it_finds_who_wants_a_key_as_asking_each_would(
            spans in proptest::collection::vec((key(), key(), any::<bool>()), 0..60),
            wanted in proptest::collection::vec(key(), 1..10),
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
            for wanted in wanted {
                let mut found: Vec<_> = index.who_wants(&wanted);
                found.sort_unstable();
                let asked = spans.iter().enumerate().filter(|(_, (key, end, stays))| {
                    *stays && Span::new(key, end).contains(&wanted)
                });
                prop_assert_eq!(found, asked.map(|(who, _)| who).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn nothing_stays_of_who_has_left() {
        let mut index = Index::default();
        for span in [Span::new(b"a", b""), Span::new(b"a", b"b"), Span::new(b"a", b"\0")] {
            index.insert(span, 1);
            index.remove(span, 1);
        }
        assert!(index.keys.is_empty() && index.ranges.iter().next().is_none());
    }
}
