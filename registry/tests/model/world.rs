//! A model of etcd's history, of what it may do wrong, and of all that was ever true.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use leaseway_registry::connect::Reason;
use leaseway_registry::contract::{Instance, Prefix};
use leaseway_registry::watch::source::{Event, RawRecord, RawValue};
use leaseway_registry::watch::{Change, Update};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a registry holds at a revision.
pub type Records = BTreeMap<Vec<u8>, RawRecord>;

/// What a reader sees of them: service/instance -> address and revision.
pub type Instances = BTreeMap<String, (String, i64)>;

/// etcd, as far as a watch can tell.
pub struct World {
    pub cluster: u64,
    /// Streams and connections of an earlier one are broken.
    pub generation: u64,
    /// How often its data was replaced. That takes a restart, and so longer than a list lies idle
    /// between two pages: no list goes on across one.
    pub restarts: u32,
    /// What the registry is at.
    pub revision: i64,
    /// Watches from below are cancelled.
    pub compacted: i64,
    /// Each revision's events; none where another prefix was written.
    pub history: BTreeMap<i64, Vec<Event>>,
    /// What was there at each revision of this history.
    pub states: BTreeMap<i64, Records>,
    pub faults: Faults,
    pub changed: Arc<Notify>,
    pub witness: Witness,
    leases: i64,
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Nothing is answered.
    pub frozen: bool,
    /// Every call fails.
    pub refusing: Option<Refusal>,
    /// Every watch is cancelled as soon as it is created.
    pub cancelling: Option<Reason>,
    /// So many revisions will never be shown on a watch.
    pub losing: u32,
    /// Revisions come in fragments.
    pub fragmenting: bool,
    /// The stream breaks after the next fragment that is not the last.
    pub breaking_in_half: bool,
    /// Watches show nothing; calls are answered.
    pub holding: bool,
    /// The stream breaks after the next revision that it shows.
    pub breaking_after_one: bool,
    /// Reports that were asked for come before the events that are due.
    pub overtaking: bool,
    /// The member that is watched says that it is so many revisions behind.
    pub lagging: i64,
}

/// How calls fail.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    Closed,
    Deadline,
    Says(&'static str),
}

/// What the watch asked, and what was ever true.
#[derive(Default)]
pub struct Witness {
    pub calls: Vec<Instant>,
    /// The revision of the last complete list, until a watch is opened from it.
    pub listed: Option<i64>,
    opened: Option<i64>,
    states: Vec<(i64, Instances)>,
    puts: HashSet<(i64, String, String)>,
    ends: HashSet<(i64, String)>,
    pub violations: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            cluster: 1,
            generation: 0,
            restarts: 0,
            revision: 1,
            compacted: 0,
            history: BTreeMap::new(),
            states: BTreeMap::new(),
            faults: Faults::default(),
            changed: Arc::default(),
            witness: Witness::default(),
            leases: 0,
        };
        world.is_at(1, Records::new());
        world
    }

    pub fn records(&self) -> &Records {
        &self.states[&self.revision]
    }

    /// What a reader must see once all is calm.
    pub fn instances(&self) -> Instances {
        instances(self.records())
    }

    /// Puts these in one revision.
    pub fn put(&mut self, puts: &[(u8, &'static [u8])]) {
        let revision = self.revision + 1;
        let mut records = self.records().clone();
        let mut events = BTreeMap::new();
        for (id, value) in puts {
            self.leases += 1;
            let raw = RawRecord { key: key(*id), value: value.to_vec().into(), lease: self.leases, revision };
            records.insert(raw.key.clone(), raw.clone());
            events.insert(raw.key.clone(), Event::Put(raw));
        }
        self.happen(events.into_values().collect(), records);
    }

    /// Deletes those of these that are there, in one revision.
    pub fn delete(&mut self, ids: &[u8]) {
        let revision = self.revision + 1;
        let mut records = self.records().clone();
        let gone = ids.iter().filter_map(|id| records.remove(&key(*id)));
        let events: Vec<_> = gone.map(|raw| Event::Delete { key: raw.key, revision }).collect();
        if !events.is_empty() {
            self.happen(events, records);
        }
    }

    /// Something else is written, below another prefix.
    pub fn write_elsewhere(&mut self) {
        self.happen(Vec::new(), self.records().clone());
    }

    /// Everything before the current revision is forgotten.
    pub fn compact(&mut self) {
        self.compacted = self.revision;
        self.changed.notify_waiters();
    }

    /// A backup from so many revisions ago is restored.
    pub fn restore(&mut self, ago: i64) {
        let revision = (self.revision - ago).max(self.compacted).max(1);
        let records = self.states.range(..=revision).next_back().map(|(_, records)| records.clone());
        self.restarts += 1;
        self.start_over(revision, records.unwrap_or_default());
    }

    /// The data directory was removed: the same cluster id, and nothing in it.
    pub fn empty(&mut self) {
        self.restarts += 1;
        self.start_over(1, Records::new());
    }

    /// Another cluster answers, which holds half of the records at some revision.
    pub fn exchange(&mut self, revision: i64) {
        self.cluster += 1;
        let mut records = self.records().clone();
        let mut places = 0..;
        records.retain(|_, _| places.next().is_some_and(|place| place % 2 == 0));
        for raw in records.values_mut() {
            self.leases += 1;
            *raw = RawRecord { revision: raw.revision.min(revision), lease: self.leases, ..raw.clone() };
        }
        self.start_over(revision, records);
    }

    /// Every connection breaks.
    pub fn disconnect(&mut self) {
        self.generation += 1;
        self.changed.notify_waiters();
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.faults = Faults::default();
        self.changed.notify_waiters();
    }

    fn start_over(&mut self, revision: i64, records: Records) {
        self.history.clear();
        self.states.clear();
        // What was before is not there to be watched.
        self.compacted = revision;
        self.revision = revision;
        self.is_at(revision, records);
        self.disconnect();
    }

    fn happen(&mut self, events: Vec<Event>, records: Records) {
        self.revision += 1;
        self.witness.saw(&events);
        self.history.insert(self.revision, events);
        self.is_at(self.revision, records);
        self.changed.notify_waiters();
    }

    fn is_at(&mut self, revision: i64, records: Records) {
        self.witness.states.push((revision, instances(&records)));
        self.states.insert(revision, records);
    }
}

impl Witness {
    /// A watch is opened: the revision falls on a list alone.
    pub fn opened(&mut self, from: i64) {
        let listed = self.listed.take();
        let right = match (listed, self.opened) {
            // More where a list was read beside a watch, which went on.
            (Some(listed), _) => from > listed,
            (None, Some(before)) => from >= before,
            (None, None) => false,
        };
        if !right {
            let (before, at) = (self.opened, self.states.len());
            self.violations.push(format!("opened {from} after {before:?}, listed {listed:?}, state {at}"));
        }
        self.opened = Some(from);
    }

    /// An update says nothing that was never true.
    pub fn check(&mut self, update: &Update) {
        let fine = match update {
            Update::Reset { instances, revision, .. } => {
                let shown: Instances = instances.iter().map(seen).collect();
                self.states.iter().any(|(at, state)| at == revision && *state == shown)
            }
            Update::Apply { changes, .. } => changes.iter().all(|change| match change {
                Change::Put(instance) => {
                    let (name, (address, revision)) = seen(instance);
                    self.puts.contains(&(revision, name, address))
                }
                Change::Delete { service, id, revision } => {
                    self.ends.contains(&(*revision, format!("{service}/{id}")))
                }
                Change::Refused { name, revision } => {
                    self.ends.contains(&(*revision, format!("{}/{}", name.service, name.id)))
                }
            }),
        };
        if !fine {
            self.violations.push(format!("never true: {update:?}"));
        }
    }

    fn saw(&mut self, events: &[Event]) {
        for event in events {
            let (key, shown) = match event {
                Event::Put(raw) => (&raw.key, address(raw)),
                Event::Delete { key, .. } => (key, None),
            };
            let Some(name) = name(key) else { continue };
            match shown {
                Some(address) => self.puts.insert((event.revision(), name, address)),
                None => self.ends.insert((event.revision(), name)),
            };
        }
    }
}

pub fn seen(instance: &Instance) -> (String, (String, i64)) {
    let name = format!("{}/{}", instance.service, instance.id);
    (name, (instance.record.address.to_string(), instance.revision))
}

fn instances(records: &Records) -> Instances {
    let shown = |raw: &RawRecord| Some((name(&raw.key)?, (address(raw)?, raw.revision)));
    records.values().filter_map(shown).collect()
}

/// The last id is of a key that is no instance's.
pub const NO_INSTANCE: u8 = 9;

fn key(id: u8) -> Vec<u8> {
    let service = if id == NO_INSTANCE { "a/b" } else { "goods" };
    Prefix::default().key(service, &id.to_string()).into_bytes()
}

fn name(key: &[u8]) -> Option<String> {
    let (service, id) = Prefix::default().split(key).ok()?;
    Some(format!("{service}/{id}"))
}

/// A plain address is a registration, and nothing else that is put here.
fn address(raw: &RawRecord) -> Option<String> {
    match &raw.value {
        RawValue::Bytes(value) => {
            String::from_utf8(value.clone()).ok().filter(|text| text.starts_with("10."))
        }
        RawValue::TooLong(_) => None,
    }
}
