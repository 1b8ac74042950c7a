//! What a registration says for people and policies, such as `zone`: little, and kept as one piece of memory.
//!
//! Anybody who may register writes it, and it reaches every gateway. So it is bounded, and as the gateway chooses
//! nobody by it, what is beyond the bounds costs an instance its metadata and not its requests: a registrar that
//! has always written 17 entries must not lose its service by a gateway's upgrade. (It does read `protocol` there: an
//! instance that loses that is spoken to as one that says nothing.)

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// The most entries that the metadata of an instance may have.
pub const MAX_METADATA_ENTRIES: usize = 16;
/// The most bytes that all its keys and values may have together, as UTF-8: what JSON puts around them, and how it
/// escapes them, does not count.
pub const MAX_METADATA_BYTES: usize = 1024;

/// What a registration says for people and policies: texts by their names, at most [`MAX_METADATA_ENTRIES`] with
/// [`MAX_METADATA_BYTES`] in all. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Metadata(Kept);

#[derive(Clone, PartialEq, Eq, Default)]
enum Kept {
    #[default]
    Nothing,
    /// Key, value, key, value, in the order of the keys, each after a character whose number is its length in
    /// bytes.
    Entries(Arc<str>),
    LeftOut(TooMuchMetadata),
}

/// Why the metadata of a record is left out: a gateway keeps no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuchMetadata {
    /// More than [`MAX_METADATA_ENTRIES`].
    #[error("the metadata has more than {MAX_METADATA_ENTRIES} entries")]
    Entries,
    /// More than [`MAX_METADATA_BYTES`].
    #[error("the metadata has more than {MAX_METADATA_BYTES} bytes, keys and values together")]
    Bytes,
}

impl Metadata {
    /// Metadata of these entries; of several with one key, the last.
    ///
    /// # Errors
    /// When there are more of them, or longer ones, than a gateway takes.
    pub fn new<K, V>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Self, TooMuchMetadata>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut gathered = Gathered::default();
        for (key, value) in entries {
            gathered.add(key.into(), value.into())?;
        }
        Ok(Self(gathered.kept()))
    }

    /// Whether there are no entries: none were given, or all were left out.
    pub fn is_empty(&self) -> bool {
        !matches!(self.0, Kept::Entries(_))
    }

    /// Why all entries were left out when the record was read, if they were.
    pub fn left_out(&self) -> Option<TooMuchMetadata> {
        match self.0 {
            Kept::LeftOut(why) => Some(why),
            Kept::Nothing | Kept::Entries(_) => None,
        }
    }

    /// The text of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All names with their texts, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = match &self.0 {
            Kept::Entries(pieces) => pieces,
            Kept::Nothing | Kept::LeftOut(_) => "",
        };
        std::iter::from_fn(move || Some((take_piece(&mut rest)?, take_piece(&mut rest)?)))
    }
}

/// Takes the first piece off; none at the end.
fn take_piece<'p>(pieces: &mut &'p str) -> Option<&'p str> {
    let mut chars = pieces.chars();
    let length = u32::from(chars.next()?);
    let (piece, rest) = chars.as_str().split_at_checked(usize::try_from(length).ok()?)?;
    *pieces = rest;
    Some(piece)
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.left_out() {
            Some(why) => f.debug_tuple("LeftOut").field(&why).finish(),
            None => f.debug_map().entries(self.iter()).finish(),
        }
    }
}

/// As a map of texts; empty if it is left out.
impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// From a map of texts. What is beyond the bounds is read, so that the rest of the record is found, and forgotten.
impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut gathered = Gathered::default();
        while let Some((key, value)) = map.next_entry()? {
            if let Err(why) = gathered.add(key, value) {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Metadata(Kept::LeftOut(why)));
            }
        }
        Ok(Metadata(gathered.kept()))
    }
}

/// Entries within the bounds.
#[derive(Default)]
struct Gathered {
    entries: BTreeMap<String, String>,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, key: String, value: String) -> Result<(), TooMuchMetadata> {
        let added = key.len() + value.len();
        let replaced = self.entries.get(&key).map_or(0, |former| key.len() + former.len());
        if replaced == 0 && self.entries.len() == MAX_METADATA_ENTRIES && !self.entries.contains_key(&key) {
            return Err(TooMuchMetadata::Entries);
        }
        self.bytes = self.bytes - replaced + added;
        if self.bytes > MAX_METADATA_BYTES {
            return Err(TooMuchMetadata::Bytes);
        }
        self.entries.insert(key, value);
        Ok(())
    }

    fn kept(&self) -> Kept {
        if self.entries.is_empty() {
            return Kept::Nothing;
        }
        // Every length is a character's number: none is greater than all bytes together.
        let length = |piece: &str| u32::try_from(piece.len()).ok().and_then(char::from_u32);
        let mut pieces = String::with_capacity(self.bytes + 2 * 2 * self.entries.len());
        for piece in self.entries.iter().flat_map(|(key, value)| [key, value]) {
            pieces.extend(length(piece));
            pieces.push_str(piece);
        }
        Kept::Entries(pieces.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Metadata {
        serde_json::from_str(json).expect(json)
    }

    fn numbered(count: usize) -> Vec<(String, String)> {
        (0..count).map(|n| (n.to_string(), "x".to_owned())).collect()
    }

    #[test]
    fn as_many_entries_as_the_bound_are_kept_and_one_more_costs_all_of_them() {
        let most = Metadata::new(numbered(MAX_METADATA_ENTRIES)).expect("within the bound");
        assert_eq!(most.iter().count(), MAX_METADATA_ENTRIES);
        assert_eq!(Metadata::new(numbered(MAX_METADATA_ENTRIES + 1)), Err(TooMuchMetadata::Entries));
        let json = |count| serde_json::to_string(&numbered(count).into_iter().collect::<BTreeMap<_, _>>());
        assert_eq!(read(&json(MAX_METADATA_ENTRIES).expect("JSON")), most);
        let beyond = read(&json(MAX_METADATA_ENTRIES + 1).expect("JSON"));
        assert_eq!((beyond.left_out(), beyond.is_empty()), (Some(TooMuchMetadata::Entries), true));
        assert_eq!(serde_json::to_string(&beyond).expect("JSON"), "{}");
    }

    #[test]
    fn keys_and_values_count_together_by_their_bytes_as_utf8() {
        // "ü" has two bytes, and as many as six in JSON.
        for filling in ["x", "ü", "\u{0}"] {
            let room = (MAX_METADATA_BYTES - 4) / filling.len();
            let entries =
                |length| [("k1", "v"), ("k", &*filling.repeat(length))].map(|(k, v)| (k, v.to_owned()));
            assert!(Metadata::new(entries(room)).is_ok(), "{filling:?}");
            assert_eq!(Metadata::new(entries(room + 1)), Err(TooMuchMetadata::Bytes), "{filling:?}");
        }
        let long = "k".repeat(MAX_METADATA_BYTES + 1);
        assert_eq!(Metadata::new([(long, "")]), Err(TooMuchMetadata::Bytes));
    }

    #[test]
    fn of_several_entries_with_one_key_the_last_counts_and_no_other() {
        let json = format!("{{{}\"a\":\"last\"}}", r#""a":"first","#.repeat(1_000));
        let metadata = read(&json);
        assert_eq!((metadata.get("a"), metadata.iter().count()), (Some("last"), 1));
        let empty = format!("{{{}\"\":\"\"}}", r#""":"","#.repeat(1_000));
        assert_eq!(read(&empty).get(""), Some(""));
    }

    #[test]
    fn what_is_left_out_is_equal_to_nothing_else() {
        let beyond = read(&format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_METADATA_BYTES)));
        assert_eq!(beyond.left_out(), Some(TooMuchMetadata::Bytes));
        assert_ne!(beyond, Metadata::default());
        assert_ne!(beyond, read(r#"{"a":"x"}"#));
    }

    #[test]
    fn what_is_no_map_of_texts_is_an_error_beyond_the_bounds_too() {
        let many = (0..100).map(|n| format!("\"{n}\":\"\",")).collect::<String>();
        for json in ["[]", "\"a\"", r#"{"a":1}"#, r#"{"a":{}}"#, "{", &format!("{{{many}")] {
            assert!(serde_json::from_str::<Metadata>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_given_in_the_order_of_the_names(
            entries in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..6),
        ) {
            if let Ok(metadata) = Metadata::new(entries.clone()) {
                prop_assert_eq!(metadata.is_empty(), entries.is_empty());
                let kept: Vec<_> = metadata.iter().collect();
                let given: Vec<_> = entries.iter().map(|(key, value)| (&**key, &**value)).collect();
                prop_assert_eq!(kept, given);
                let json = serde_json::to_string(&metadata).expect("texts");
                prop_assert_eq!(read(&json), metadata);
            }
        }
    }
}
