//! Unknown keys in the JSON of records, such as a misspelt `weight`. The record is used without them, and each is
//! warned of once.

use std::collections::HashMap;

use super::source::{RawRecord, RawValue};
use crate::contract::{Record, shorten};

/// How many records are remembered with their unknown keys. When there are more, all are forgotten, and warned of again
/// when they are written again: others choose the names, and must not fill the memory.
const RECORDS: usize = 1_000;
/// How many unknown keys of one record are warned of. There is no warning of more: a record that has other ones each
/// time would otherwise cause one at every put.
const KEYS: usize = 8;

/// The unknown keys that were warned of, by the keys of their records.
#[derive(Debug, Default)]
pub(super) struct Unknown(HashMap<Box<[u8]>, Vec<String>>);

impl Unknown {
    /// The unknown keys of a record that were not warned of before, each shortened.
    pub(super) fn news(&mut self, raw: &RawRecord) -> Vec<String> {
        let RawValue::Bytes(value) = &raw.value else { return Vec::new() };
        // An address alone: most records have no keys.
        if value.trim_ascii_start().first() != Some(&b'{') {
            return self.forget(raw);
        }
        let keys = Record::unknown_keys(value);
        if keys.is_empty() {
            return self.forget(raw);
        }
        if self.0.len() >= RECORDS && !self.0.contains_key(&*raw.key) {
            self.0.clear();
        }
        let told = self.0.entry(raw.key.clone().into()).or_default();
        let before = told.len();
        for key in keys.iter().map(|key| shorten(key)) {
            if told.len() == KEYS {
                break;
            }
            if !told.contains(&key) {
                told.push(key);
            }
        }
        told.iter().skip(before).cloned().collect()
    }

    /// The record was corrected: should the mistake be made again, it is warned of again.
    fn forget(&mut self, raw: &RawRecord) -> Vec<String> {
        self.0.remove(&*raw.key);
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(key: &str, value: &str) -> RawRecord {
        RawRecord { key: key.into(), value: value.as_bytes().to_vec().into(), lease: 7, revision: 1 }
    }

    #[test]
    fn an_unknown_key_is_news_once_for_each_record_until_it_is_corrected() {
        let mut unknown = Unknown::default();
        let misspelt = r#"{"address":"10.0.0.1:80","wieght":0}"#;
        assert_eq!(unknown.news(&raw("/a", misspelt)), ["wieght"]);
        assert!(unknown.news(&raw("/a", misspelt)).is_empty());
        assert_eq!(unknown.news(&raw("/b", misspelt)), ["wieght"]);
        let more = r#"{"address":"10.0.0.1:80","wieght":0,"zone":"a"}"#;
        assert_eq!(unknown.news(&raw("/a", more)), ["zone"]);
        for corrected in ["10.0.0.1:80", r#"{"address":"10.0.0.1:80","weight":0}"#] {
            assert!(unknown.news(&raw("/a", corrected)).is_empty());
            assert_eq!(unknown.news(&raw("/a", misspelt)), ["wieght"]);
        }
    }

    #[test]
    fn a_record_whose_unknown_keys_alternate_is_told_of_a_few_times_and_no_more() {
        let mut unknown = Unknown::default();
        let [some, others] = ["a", "b"].map(|letter| {
            let keys: Vec<_> = (0..KEYS - 1).map(|n| format!("\"{letter}{n}\":0")).collect();
            format!("{{{}}}", keys.join(","))
        });
        assert_eq!(unknown.news(&raw("/a", &some)).len(), KEYS - 1);
        assert_eq!(unknown.news(&raw("/a", &others)), ["b0"]);
        for value in [&some, &others, &some, &others] {
            assert!(unknown.news(&raw("/a", value)).is_empty());
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut unknown = Unknown::default();
        for n in 0..=RECORDS {
            unknown.news(&raw(&n.to_string(), r#"{"x":0}"#));
        }
        assert!(unknown.0.len() <= RECORDS);
        let many = (0..100).map(|n| format!("\"{}{n}\":0", "k".repeat(100))).collect::<Vec<_>>().join(",");
        let news = unknown.news(&raw("/many", &format!("{{{many}}}")));
        assert!(news.len() <= KEYS && news.iter().all(|key| key.len() < 100), "{news:?}");
    }
}
