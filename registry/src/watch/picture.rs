//! What the updates have shown so far: each key and how it was last written. Bad records are part of it, so that an
//! audit does not take them for a difference from the registry.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::source::{Cursor, RawKey, Written};
use crate::contract::Prefix;

/// Every key below the prefix, and how it was last written.
#[derive(Debug)]
pub(super) struct Picture {
    keys: BTreeMap<Box<[u8]>, Written>,
    /// Longer keys are no registrations and are left out: they could fill the memory.
    longest: usize,
}

/// A key that the picture shows otherwise than a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub key: Box<[u8]>,
    /// How the list shows it; none if it is not listed.
    pub listed: Option<Written>,
}

impl Picture {
    pub(super) fn new(prefix: &Prefix) -> Self {
        Self { keys: BTreeMap::new(), longest: prefix.longest_key() }
    }

    pub(super) fn written(&self, key: &[u8]) -> Option<Written> {
        self.keys.get(key).copied()
    }

    pub(super) fn put(&mut self, key: Vec<u8>, written: Written) {
        if key.len() <= self.longest {
            self.keys.insert(key.into(), written);
        }
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    /// Puts a complete list in the place of what was known.
    pub(super) fn replace(&mut self, listed: Vec<RawKey>) {
        let fits = |key: &RawKey| key.key.len() <= self.longest;
        self.keys = listed.into_iter().filter(fits).map(|RawKey { key, written }| (key, written)).collect();
    }

    /// In which keys a page of a list, in their order, differs from the picture. Of the picture, only the keys between
    /// the page's cursor and the next one are compared.
    pub(super) fn differences(
        &self,
        at: &Cursor,
        listed: &[RawKey],
        next: Option<&Cursor>,
    ) -> Vec<Difference> {
        let from = at.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let to = next.and_then(|c| c.after.as_deref()).map_or(Bound::Unbounded, Bound::Included);
        let mut shown = self.keys.range::<[u8], _>((from, to)).peekable();
        let mut differences = Vec::new();
        let mut differs = |key: &[u8], listed| differences.push(Difference { key: key.into(), listed });
        for RawKey { key, written } in listed.iter().filter(|k| k.key.len() <= self.longest) {
            while let Some((gone, _)) = shown.next_if(|(shown, _)| *shown < key) {
                differs(gone, None);
            }
            let same = shown.next_if(|(shown, _)| *shown == key);
            if same.is_none_or(|(_, shown)| shown != written) {
                differs(key, Some(*written));
            }
        }
        shown.for_each(|(gone, _)| differs(gone, None));
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(revision: i64) -> Written {
        Written { revision, lease: 7 }
    }

    fn listed(keys: &BTreeMap<u8, i64>) -> Vec<RawKey> {
        keys.iter().map(|(key, revision)| RawKey { key: [*key].into(), written: at(*revision) }).collect()
    }

    fn some_keys() -> impl Strategy<Value = BTreeMap<u8, i64>> {
        proptest::collection::btree_map(0u8..12, 1i64..4, 0..12)
    }

    /// Compares page by page, as an audit does.
    fn differences(picture: &Picture, listed: &[RawKey], page: usize) -> Vec<(u8, Option<Written>)> {
        let mut from = Cursor::default();
        let mut found = Vec::new();
        let mut rest = listed;
        loop {
            let (items, more) = rest.split_at(page.min(rest.len()));
            rest = more;
            let after = items.last().map(|k| k.key.clone());
            let next = (!rest.is_empty()).then_some(Cursor { after, revision: 1 });
            found.extend(picture.differences(&from, items, next.as_ref()));
            match next {
                Some(next) => from = next,
                None => return found.into_iter().map(|d| (d.key[0], d.listed)).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn each_difference_is_found_once_whatever_the_pages(
            shown in some_keys(), there in some_keys(), page in 1usize..6,
        ) {
            let mut picture = Picture::new(&Prefix::default());
            picture.replace(listed(&shown));
            let expected: Vec<_> = (0..12)
                .filter(|key| shown.get(key) != there.get(key))
                .map(|key| (key, there.get(&key).copied().map(at)))
                .collect();
            prop_assert_eq!(differences(&picture, &listed(&there), page), expected);
        }
    }

    #[test]
    fn a_key_that_another_history_wrote_at_the_same_revision_differs() {
        let mut picture = Picture::new(&Prefix::default());
        picture.put(b"a".to_vec(), at(3));
        let written = Written { lease: 8, ..at(3) };
        let listed = [RawKey { key: b"a"[..].into(), written }];
        let found = picture.differences(&Cursor::default(), &listed, None);
        assert_eq!(found, [Difference { key: b"a"[..].into(), listed: Some(written) }]);
    }

    #[test]
    fn a_key_that_is_too_long_to_be_a_registration_is_no_part_of_it() {
        let mut picture = Picture::new(&Prefix::default());
        let long = vec![b'k'; 10_000];
        picture.put(long.clone(), at(1));
        picture.replace(vec![RawKey { key: long.clone().into(), written: at(1) }]);
        assert_eq!(picture.written(&long), None);
        let listed = [RawKey { key: long.into(), written: at(1) }];
        assert_eq!(picture.differences(&Cursor::default(), &listed, None), []);
    }
}
