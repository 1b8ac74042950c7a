//! From raw records to instances. A record that is no registration is warned of once, counted and skipped, until it is
//! overwritten. One with unknown keys is warned of once and used.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::admission::Admission;
use super::picture::Picture;
use super::source::{Event, RawKey, RawRecord, RawValue};
use super::told::{Mark, Told};
use super::unknown::Unknown;
use super::{Change, InstanceName, Skipped};
use crate::contract::{Instance, Prefix, Record, RecordError, shorten};
use crate::log_line::{Quota, Say};

/// Decodes records, and remembers how each key was last written.
#[derive(Debug)]
pub(super) struct Decoder {
    prefix: Prefix,
    admission: Admission,
    picture: Picture,
    told: Told,
    unknown: Unknown,
    /// Bounds the lines about bad records: each put may bring one.
    quota: Quota,
}

/// What came of a batch of records.
#[derive(Debug)]
pub(super) struct Decoded<T> {
    pub items: Vec<T>,
    /// How many were skipped for the first time.
    pub skipped: u64,
    /// The last of these.
    pub last_skipped: Option<Skipped>,
    /// How many unknown keys it had that were not warned of before.
    unknown: u64,
}

/// A list that is being read.
#[derive(Debug)]
pub(super) struct Listing {
    decoded: Decoded<Instance>,
    keys: Vec<RawKey>,
    told: HashSet<Mark>,
    refused: Vec<InstanceName>,
}

impl Listing {
    pub(super) fn new() -> Self {
        Self { decoded: Decoded::new(), keys: Vec::new(), told: HashSet::new(), refused: Vec::new() }
    }
}

impl Decoder {
    pub(super) fn new(prefix: Prefix, admission: Admission) -> Self {
        let picture = Picture::new(&prefix);
        Self {
            prefix,
            admission,
            picture,
            told: Told::default(),
            unknown: Unknown::default(),
            quota: Quota::default(),
        }
    }

    pub(super) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    pub(super) fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Decodes a page of a list.
    pub(super) fn page(&mut self, records: Vec<RawRecord>, listing: &mut Listing) {
        for raw in records {
            match self.decode(&raw) {
                Ok(instance) => {
                    // What was there before was told before.
                    if self.picture.written(&raw.key) != Some(raw.written()) {
                        listing.decoded.tell_unknown(&raw, &self.unknown.news(&raw), &mut self.quota);
                    }
                    listing.decoded.items.push(instance);
                }
                Err(reason) => {
                    // The picture cannot tell whether it was warned of: it may have been taken at first, and be refused
                    // since the reservations changed.
                    let mark = self.told.mark(&raw.key, raw.written());
                    if !self.told.contains(mark) {
                        listing.decoded.skip(&raw, &reason, &mut self.quota);
                    }
                    listing.refused.extend(self.name(&raw.key).filter(|_| reason.is_refusal()));
                    listing.told.insert(mark);
                }
            }
            listing.keys.push(RawKey { written: raw.written(), key: raw.key.into() });
        }
    }

    /// Takes a complete list for the picture. Returns the instances that are refused, too.
    pub(super) fn complete(&mut self, listing: Listing) -> (Decoded<Instance>, Vec<InstanceName>) {
        self.picture.replace(listing.keys);
        self.told.replace(listing.told);
        (listing.decoded.finish(), listing.refused)
    }

    /// Decodes events. A bad record in the place of an instance ends that instance: the picture depends
    /// on what the registry holds now, not on the order in which we saw it.
    pub(super) fn events(&mut self, events: Vec<Event>) -> Decoded<Change> {
        let mut batch = Decoded::new();
        for event in events {
            let change = match event {
                Event::Put(raw) => self.put(raw, &mut batch),
                Event::Delete { key, revision } => {
                    self.told.remove(&key, self.picture.written(&key));
                    self.picture.delete(&key);
                    self.end(&key, revision)
                }
            };
            batch.items.extend(change);
        }
        batch.finish()
    }

    fn put(&mut self, raw: RawRecord, batch: &mut Decoded<Change>) -> Option<Change> {
        let written = raw.written();
        self.told.remove(&raw.key, self.picture.written(&raw.key));
        let change = match self.decode(&raw) {
            Ok(instance) => {
                batch.tell_unknown(&raw, &self.unknown.news(&raw), &mut self.quota);
                Some(Change::Put(instance))
            }
            Err(reason) => {
                batch.skip(&raw, &reason, &mut self.quota);
                if raw.key.len() <= self.prefix.longest_key() {
                    self.told.insert(&raw.key, written);
                }
                if reason.is_refusal() {
                    self.name(&raw.key).map(|name| Change::Refused { name, revision: raw.revision })
                } else {
                    self.end(&raw.key, raw.revision)
                }
            }
        };
        self.picture.put(raw.key, written);
        change
    }

    fn decode(&self, raw: &RawRecord) -> Result<Instance, RecordError> {
        let instance = decode(&self.prefix, raw)?;
        self.admission.check(&instance)?;
        Ok(instance)
    }

    fn name(&self, key: &[u8]) -> Option<InstanceName> {
        let (service, id) = self.prefix.split(key).ok()?;
        Some(InstanceName { service: service.into(), id: id.into() })
    }

    fn end(&self, key: &[u8], revision: i64) -> Option<Change> {
        let InstanceName { service, id } = self.name(key)?;
        Some(Change::Delete { service, id, revision })
    }
}

pub(crate) fn decode(prefix: &Prefix, raw: &RawRecord) -> Result<Instance, RecordError> {
    let (service, id) = prefix.split(&raw.key)?;
    let record = match &raw.value {
        RawValue::Bytes(value) => Record::decode(value)?,
        RawValue::TooLong(length) => return Err(RecordError::ValueTooLong(*length)),
    };
    Ok(Instance {
        service: Arc::from(service),
        id: Arc::from(id),
        record,
        lease: raw.lease,
        revision: raw.revision,
    })
}

/// A key for a log line.
pub(super) fn shown(key: &[u8]) -> String {
    shorten(&String::from_utf8_lossy(key))
}

impl<T> Decoded<T> {
    fn new() -> Self {
        Self { items: Vec::new(), skipped: 0, last_skipped: None, unknown: 0 }
    }

    fn skip(&mut self, raw: &RawRecord, reason: &RecordError, quota: &mut Quota) {
        self.skipped += 1;
        let (key, revision) = (shown(&raw.key), raw.revision);
        self.last_skipped = Some(Skipped { key: key.clone(), revision, reason: reason.to_string() });
        if may_tell(quota) {
            tracing::warn!(%key, revision, %reason, "skipped a record that is no registration");
        }
    }

    fn tell_unknown(&mut self, raw: &RawRecord, names: &[String], quota: &mut Quota) {
        for unknown in names {
            self.unknown += 1;
            if !may_tell(quota) {
                continue;
            }
            let (key, revision) = (shown(&raw.key), raw.revision);
            match Record::likely_key(unknown) {
                Some(likely) => tracing::warn!(
                    %key, revision, unknown, "a record has an unknown key, which is ignored: did you mean {likely}?"
                ),
                None => tracing::warn!(
                    %key, revision, unknown,
                    "a record has an unknown key, which is ignored: what is yours goes below \"metadata\""
                ),
            }
        }
    }

    fn finish(self) -> Self {
        let (skipped, unknown) = (self.skipped, self.unknown);
        if skipped + unknown > 0 {
            tracing::debug!(skipped, unknown, "there were bad records, or such with unknown keys");
        }
        self
    }
}

/// Whether a record is to be told in full.
fn may_tell(quota: &mut Quota) -> bool {
    match quota.next(Instant::now().into_std()) {
        Say::All => true,
        Say::ThatThereIsMore => {
            tracing::warn!(
                "more records than are told in a minute are no registrations, or have unknown keys: the former are \
                 counted"
            );
            false
        }
        Say::Nothing => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::{Networks, Reserved};
    use crate::watch::WatchSettings;
    use crate::watch::source::Written;
    use tokio::sync::watch;

    fn raw(id: &str, value: &str, revision: i64) -> RawRecord {
        RawRecord {
            key: Prefix::default().key("goods", id).into_bytes(),
            value: value.as_bytes().to_vec().into(),
            lease: 7,
            revision,
        }
    }

    fn list(decoder: &mut Decoder, records: Vec<RawRecord>) -> Decoded<Instance> {
        list_all(decoder, records).0
    }

    fn list_all(decoder: &mut Decoder, records: Vec<RawRecord>) -> (Decoded<Instance>, Vec<InstanceName>) {
        let mut listing = Listing::new();
        records.into_iter().for_each(|raw| decoder.page(vec![raw], &mut listing));
        decoder.complete(listing)
    }

    fn decoder() -> Decoder {
        decoder_of(WatchSettings::default()).0
    }

    fn decoder_of(settings: WatchSettings) -> (Decoder, watch::Sender<Arc<Reserved>>) {
        let (reserve, reserved) = watch::channel(Arc::default());
        (Decoder::new(Prefix::default(), Admission::new(&settings, reserved)), reserve)
    }

    fn name(id: &str) -> InstanceName {
        InstanceName { service: "goods".into(), id: id.into() }
    }

    #[test]
    fn an_address_that_is_not_permitted_is_skipped() {
        let networks = Networks { deny: vec!["10.0.0.0/8".parse().unwrap()], ..Networks::default() };
        let (mut decoder, _) = decoder_of(WatchSettings { networks, ..WatchSettings::default() });
        let (listed, refused) =
            list_all(&mut decoder, vec![raw("a", "10.0.0.1:80", 1), raw("b", "192.168.0.1:80", 2)]);
        assert_eq!((listed.items.len(), listed.skipped, refused), (1, 1, vec![name("a")]));
        let last = listed.last_skipped.unwrap();
        assert_eq!((last.key.as_str(), last.revision), (Prefix::default().key("goods", "a").as_str(), 1));
        assert!(last.reason.contains("10.0.0.1"), "{}", last.reason);
        let moved = decoder.events(vec![Event::Put(raw("b", "10.0.0.2:80", 3))]);
        assert_eq!(moved.items, [Change::Refused { name: name("b"), revision: 3 }]);
    }

    #[test]
    fn what_was_taken_and_is_refused_since_is_told_once_and_what_is_free_again_is_taken() {
        let (mut decoder, reserve) = decoder_of(WatchSettings::default());
        let records = || vec![raw("a", "10.0.0.1:80", 1), raw("b", "10.0.0.2:80", 2)];
        assert_eq!(list(&mut decoder, records()).items.len(), 2);
        let mut reserved = Reserved::default();
        reserved.add("10.0.0.1:80".parse().unwrap(), "is the registry");
        reserve.send_replace(Arc::new(reserved));
        for skipped in [1, 0] {
            let (listed, refused) = list_all(&mut decoder, records());
            assert_eq!((listed.items.len(), listed.skipped, refused), (1, skipped, vec![name("a")]));
        }
        let put = decoder.events(vec![Event::Put(raw("a", "10.0.0.1:80", 3))]);
        assert_eq!(put.items, [Change::Refused { name: name("a"), revision: 3 }]);
        assert!(put.last_skipped.unwrap().reason.ends_with("it is the registry"));
        reserve.send_replace(Arc::default());
        let (listed, refused) = list_all(&mut decoder, records());
        assert_eq!((listed.items.len(), listed.skipped, refused), (2, 0, Vec::new()));
    }

    #[test]
    fn however_many_bad_records_come_one_by_one_each_is_counted_and_a_few_are_told() {
        let mut decoder = decoder();
        for revision in 1..100 {
            assert_eq!(decoder.events(vec![Event::Put(raw("a", "nonsense", revision))]).skipped, 1);
        }
        assert_eq!(decoder.quota.next(Instant::now().into_std()), Say::Nothing);
    }

    #[test]
    fn what_was_told_is_forgotten_with_its_record() {
        let mut decoder = decoder();
        for revision in (1..100).step_by(4) {
            decoder.events(vec![
                Event::Put(raw("a", "nonsense", revision)),
                Event::Put(raw("b", "nonsense", revision + 1)),
                Event::Put(raw("a", "10.0.0.1:80", revision + 2)),
                Event::Delete { key: raw("b", "", 0).key, revision: revision + 3 },
            ]);
        }
        assert!(decoder.told.is_empty());
        decoder.events(vec![Event::Put(raw(&"k".repeat(10_000), "nonsense", 200))]);
        assert!(decoder.told.is_empty(), "nobody would know when to forget it");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_no_refusal() {
        let mut decoder = decoder();
        let (listed, refused) =
            list_all(&mut decoder, vec![raw("a", "nonsense", 1), raw("b", "0.0.0.0:80", 2)]);
        assert_eq!((listed.skipped, refused), (2, vec![name("b")]));
    }

    #[test]
    fn a_record_without_a_lease_is_refused_where_one_is_required() {
        let unleased = || RawRecord { lease: 0, ..raw("a", "10.0.0.1:80", 1) };
        let (mut decoder, _) = decoder_of(WatchSettings { require_lease: true, ..WatchSettings::default() });
        let (listed, refused) = list_all(&mut decoder, vec![unleased(), raw("b", "10.0.0.2:80", 2)]);
        assert_eq!((listed.items.len(), refused), (1, vec![name("a")]));
        let reason = listed.last_skipped.unwrap().reason;
        assert!(reason.starts_with("it has no lease"), "{reason}");
        assert_eq!(list(&mut decoder_of(WatchSettings::default()).0, vec![unleased()]).items.len(), 1);
    }

    #[test]
    fn a_bad_record_under_a_key_too_long_for_the_picture_is_told_once_too() {
        let mut decoder = decoder();
        let long = || vec![raw(&"k".repeat(10_000), "10.0.0.1:80", 1)];
        assert_eq!(list(&mut decoder, long()).skipped, 1);
        assert_eq!(list(&mut decoder, long()).skipped, 0);
    }

    #[test]
    fn a_bad_record_is_skipped_once_and_the_rest_goes_on() {
        let mut decoder = decoder();
        let records = vec![raw("a", "10.0.0.1:80", 1), raw("b", "nonsense", 2)];
        let first = list(&mut decoder, records.clone());
        assert_eq!((first.items.len(), first.skipped), (1, 1));
        let again = list(&mut decoder, records);
        assert_eq!((again.items.len(), again.skipped), (1, 0), "read again, not warned of again");
        let changed = list(&mut decoder, vec![raw("b", "other nonsense", 3)]);
        assert_eq!(changed.skipped, 1);
    }

    #[test]
    fn a_record_with_an_unknown_key_is_used_and_told_of_once() {
        let mut decoder = decoder();
        let misspelt = r#"{"address":"10.0.0.1:80","wieght":0}"#;
        let listed = list(&mut decoder, vec![raw("a", misspelt, 1)]);
        assert_eq!((listed.items.len(), listed.skipped, listed.unknown), (1, 0, 1));
        let again =
            decoder.events(vec![Event::Put(raw("a", misspelt, 2)), Event::Put(raw("b", misspelt, 3))]);
        assert_eq!((again.items.len(), again.skipped, again.unknown), (2, 0, 1));
    }

    #[test]
    fn a_bad_record_heals_when_it_is_overwritten() {
        let mut decoder = decoder();
        let bad = decoder.events(vec![Event::Put(raw("a", "nonsense", 1))]);
        assert!(matches!(bad.items[..], [Change::Delete { revision: 1, .. }]));
        let good = decoder.events(vec![Event::Put(raw("a", "10.0.0.1:80", 2))]);
        assert!(matches!(&good.items[..], [Change::Put(i)] if i.revision == 2));
        assert_eq!(decoder.picture.written(&raw("a", "", 0).key), Some(Written { revision: 2, lease: 7 }));
    }

    #[test]
    fn a_key_that_is_no_instance_changes_nothing() {
        let mut decoder = decoder();
        let key = b"/service_registry_discovery/goods".to_vec();
        let events = vec![Event::Delete { key, revision: 4 }];
        assert!(decoder.events(events).items.is_empty());
    }
}
