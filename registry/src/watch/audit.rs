//! The auditor: compares the picture with a list of the registry's keys, while the watch goes on.
//!
//! A watch shows what etcd sends. etcd has lost events around compactions (etcd#18089, #19179), and one that
//! was emptied and has caught up in revisions opens a watch as if nothing had happened. Neither can be seen
//! on the watch.
//!
//! An audit reads the keys and how each was last written, page by page, at the one revision that its first
//! page showed. Pages are compared as they come. What differs may differ because its event is still under
//! way, so it is looked at again when the watch has reached that revision. Keys that events have touched above
//! it are left out. Decisions are pure: time and chance are passed in.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::picture::{Difference, Picture};
use super::source::{Cursor, Page, RawKey, Written};
use super::sync::is_another;
use crate::backoff::Backoff;

/// The first audit of a watch that is live (again) starts within this time. It is drawn, so that many
/// gateways that lost the same registry do not list it all at once.
const FIRST: Duration = Duration::from_secs(1);
/// The time between two audits is drawn from this part of the setting below it to as much above it.
const JITTER: f64 = 0.1;
/// The rest between two pages: an audit is in no hurry, and the registry has others to serve.
const REST: Duration = Duration::from_millis(10);
/// Before an audit that failed is tried again, and a list that somebody has asked for.
pub(super) const RETRY: Backoff = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(30) };
/// Between two questions for the watch's progress.
const ASK: Duration = Duration::from_millis(500);
/// How many reports in a row, with no event between them, show that a quiet watch has reached a revision.
/// Before etcd 3.4.25 and 3.5.8 a single one may overtake events that are under way; those arrive long
/// before the next is asked for.
const REPORTS: u32 = 3;

/// Says when to audit, and what an audit has found.
#[derive(Debug)]
pub(super) struct Auditor {
    /// None: never.
    interval: Option<Duration>,
    phase: Phase,
    /// Audits in a row that failed.
    failures: u32,
    /// Audits in a row that found a difference.
    repairs: u32,
    /// Keys that were deleted since the audit began -> the revision of the deletion.
    deleted: HashMap<Box<[u8]>, i64>,
}

#[derive(Debug)]
enum Phase {
    /// There is no watch, or audits are off.
    Idle,
    Due {
        at: Instant,
    },
    /// The next page is due at this time; none: it is being read.
    Listing {
        audit: Audit,
        cursor: Cursor,
        at: Option<Instant>,
    },
    /// Everything is listed, and what differs awaits the watch.
    Awaiting {
        audit: Audit,
        ask_at: Instant,
        /// Reports in a row at or above the audit's revision.
        reports: u32,
        /// Whether something has come since the last judgement that could change it.
        news: bool,
    },
}

/// An audit under way.
#[derive(Debug)]
struct Audit {
    cluster: u64,
    /// The latest revision that the watch had seen when the audit began.
    seen: i64,
    /// The revision that the list shows; 0 before its first page.
    revision: i64,
    /// What differed when its page was compared: each key and how it is listed, none if it is not.
    differing: BTreeMap<Box<[u8]>, Option<Written>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum AuditStep {
    /// Read a page of the list.
    Read(Cursor),
    /// Ask how far the watch is.
    AskProgress,
}

/// What an audit has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The picture equals the registry at this revision, or is ahead of it.
    Equal { revision: i64 },
    /// The picture differs in these keys.
    Differs(Vec<Difference>),
    /// The registry is behind what the watch has seen of it, or another cluster answers.
    AnotherHistory,
}

impl Auditor {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self { interval, phase: Phase::Idle, failures: 0, repairs: 0, deleted: HashMap::new() }
    }

    /// The watch has become live. The first audit comes the later, the more audits in a row have found a difference: a
    /// picture that differs again and again must not be listed in a busy loop.
    pub(super) fn watching(&mut self, now: Instant, chance: f64) {
        let Some(interval) = self.interval else { return };
        let wait = FIRST.saturating_mul(1 << self.repairs.min(16)).min(interval);
        self.phase = Phase::Due { at: now + wait.mul_f64(chance) };
    }

    /// The watch is lost, and with it what an audit could wait for.
    pub(super) fn lost(&mut self) {
        self.rest(Phase::Idle);
    }

    /// When [`Auditor::step`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Due { at } => Some(*at),
            Phase::Listing { at, .. } => *at,
            Phase::Awaiting { ask_at, .. } => Some(*ask_at),
        }
    }

    /// What to do, if anything is due; `seen` is the latest revision of which the watch has seen anything.
    pub(super) fn step(&mut self, now: Instant, seen: i64, cluster: u64) -> Option<AuditStep> {
        if self.due().is_none_or(|at| at > now) {
            return None;
        }
        match &mut self.phase {
            Phase::Idle => None,
            Phase::Due { .. } => {
                let audit = Audit { cluster, seen, revision: 0, differing: BTreeMap::new() };
                let cursor = Cursor::default();
                self.phase = Phase::Listing { audit, cursor: cursor.clone(), at: None };
                Some(AuditStep::Read(cursor))
            }
            Phase::Listing { cursor, at, .. } => {
                *at = None;
                Some(AuditStep::Read(cursor.clone()))
            }
            Phase::Awaiting { ask_at, .. } => {
                *ask_at = now + ASK;
                Some(AuditStep::AskProgress)
            }
        }
    }

    /// Compares a page that was read with the picture.
    pub(super) fn page(
        &mut self,
        page: &Page<RawKey>,
        picture: &Picture,
        now: Instant,
        chance: f64,
    ) -> Option<Finding> {
        let Phase::Listing { mut audit, cursor, .. } = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return None;
        };
        // A linearizable read never shows less than what a watch of the same registry has shown.
        if page.revision < audit.seen || is_another(audit.cluster, page.cluster) {
            return Some(self.end(Finding::AnotherHistory, now, chance));
        }
        audit.revision = page.revision;
        let differences = picture.differences(&cursor, &page.items, page.next.as_ref());
        audit.differing.extend(differences.into_iter().map(|d| (d.key, d.listed)));
        self.phase = match page.next.clone() {
            Some(cursor) => Phase::Listing { audit, cursor, at: Some(now + REST) },
            None => Phase::Awaiting { audit, ask_at: now, reports: 0, news: true },
        };
        None
    }

    /// The audit's call has failed.
    pub(super) fn failed(&mut self, now: Instant, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        self.rest(Phase::Due { at: now + RETRY.delay(self.failures, chance) });
    }

    /// The watch has shown that a key was deleted.
    pub(super) fn deleted(&mut self, key: &[u8], revision: i64) {
        if matches!(self.phase, Phase::Listing { .. } | Phase::Awaiting { .. }) {
            self.deleted.insert(key.into(), revision);
        }
    }

    /// The watch has shown events: a report may have overtaken more of them.
    pub(super) fn events(&mut self) {
        if let Phase::Awaiting { reports, .. } = &mut self.phase {
            *reports = 0;
        }
    }

    /// The registry has reported its newest revision on the stream.
    pub(super) fn report(&mut self, revision: i64) {
        if let Phase::Awaiting { audit, reports, news, .. } = &mut self.phase
            && revision >= audit.revision
        {
            *reports += 1;
            *news = true;
        }
    }

    /// Says what the audit has found, once everything is listed and it can be said. `next` is the first revision that
    /// the watch has not seen. If nothing differs, that is found at once. If something does, it may be because an
    /// event is still under way, so it is found only once the watch has reached the list's revision.
    pub(super) fn judge(
        &mut self,
        next: i64,
        picture: &Picture,
        now: Instant,
        chance: f64,
    ) -> Option<Finding> {
        let Phase::Awaiting { audit, reports, news, .. } = &mut self.phase else { return None };
        let reached = next > audit.revision || *reports >= REPORTS;
        if !std::mem::take(news) && !reached {
            return None;
        }
        let deleted = &self.deleted;
        audit.differing.retain(|key, listed| {
            let shown = picture.written(key);
            let touched = shown.map(|w| w.revision).max(deleted.get(key).copied());
            touched.is_none_or(|at| at <= audit.revision) && shown != *listed
        });
        let verdict = if audit.differing.is_empty() {
            Finding::Equal { revision: audit.revision }
        } else if reached {
            let differing = std::mem::take(&mut audit.differing).into_iter();
            Finding::Differs(differing.map(|(key, listed)| Difference { key, listed }).collect())
        } else {
            return None;
        };
        Some(self.end(verdict, now, chance))
    }

    fn end(&mut self, verdict: Finding, now: Instant, chance: f64) -> Finding {
        self.failures = 0;
        let equal = matches!(verdict, Finding::Equal { .. });
        self.repairs = if equal { 0 } else { self.repairs.saturating_add(1) };
        let wait = self.interval.map(|i| i.mul_f64(1.0 + JITTER * (2.0 * chance - 1.0)));
        self.rest(wait.filter(|_| equal).map_or(Phase::Idle, |wait| Phase::Due { at: now + wait }));
        verdict
    }

    fn rest(&mut self, phase: Phase) {
        self.phase = phase;
        self.deleted = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Prefix;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn at(revision: i64) -> Written {
        Written { revision, lease: 7 }
    }

    fn key(name: &str, revision: i64) -> RawKey {
        RawKey { key: name.as_bytes().into(), written: at(revision) }
    }

    fn picture(keys: &[(&str, i64)]) -> Picture {
        let mut picture = Picture::new(&Prefix::default());
        picture.replace(keys.iter().map(|(name, revision)| key(name, *revision)).collect());
        picture
    }

    fn page(keys: &[(&str, i64)], revision: i64) -> Page<RawKey> {
        let items = keys.iter().map(|(name, revision)| key(name, *revision)).collect();
        Page { items, revision, cluster: 7, next: None }
    }

    /// An auditor that has read all of a list; the watch had seen everything up to 10 when it began.
    fn listed(picture: &Picture, listed: &[(&str, i64)], revision: i64) -> (Auditor, Instant) {
        let now = Instant::now();
        let mut auditor = Auditor::new(Some(INTERVAL));
        auditor.watching(now, 0.0);
        assert_eq!(auditor.step(now, 10, 7), Some(AuditStep::Read(Cursor::default())));
        assert_eq!(auditor.due(), None, "while a page is read nothing is due");
        assert_eq!(auditor.page(&page(listed, revision), picture, now, 0.5), None);
        (auditor, now)
    }

    fn differs(keys: &[(&str, Option<i64>)]) -> Option<Finding> {
        let difference = |(name, listed): &(&str, Option<i64>)| Difference {
            key: name.as_bytes().into(),
            listed: listed.map(at),
        };
        Some(Finding::Differs(keys.iter().map(difference).collect()))
    }

    #[test]
    fn an_equal_picture_is_found_at_once_and_audited_again_after_the_interval() {
        let picture = picture(&[("a", 3), ("b", 9)]);
        let (mut auditor, now) = listed(&picture, &[("a", 3), ("b", 9)], 40);
        assert_eq!(auditor.judge(11, &picture, now, 0.5), Some(Finding::Equal { revision: 40 }));
        assert_eq!(auditor.due(), Some(now + INTERVAL));
    }

    #[test]
    fn the_interval_is_drawn_within_a_tenth() {
        for (chance, tenths) in [(0.0, 54), (1.0, 66)] {
            let picture = picture(&[]);
            let (mut auditor, now) = listed(&picture, &[], 10);
            auditor.judge(11, &picture, now, chance);
            let wait = auditor.due().unwrap() - now;
            assert!(wait.abs_diff(Duration::from_secs(tenths)) < Duration::from_millis(1), "{wait:?}");
        }
    }

    #[test]
    fn a_difference_stands_once_the_watch_has_reached_the_list() {
        let picture = picture(&[("a", 3), ("ghost", 4)]);
        let (mut auditor, now) = listed(&picture, &[("a", 8), ("lost", 9)], 12);
        assert_eq!(auditor.judge(11, &picture, now, 0.5), None, "an event may be under way");
        let expected = differs(&[("a", Some(8)), ("ghost", None), ("lost", Some(9))]);
        assert_eq!(auditor.judge(13, &picture, now, 0.5), expected);
        assert_eq!(auditor.due(), None, "the next audit is that of the next watch");
    }

    #[test]
    fn an_event_that_was_under_way_makes_no_difference() {
        let mut picture = picture(&[("a", 3), ("b", 4)]);
        let (mut auditor, now) = listed(&picture, &[("a", 11)], 12);
        assert_eq!(auditor.judge(11, &picture, now, 0.5), None);
        picture.put(b"a".to_vec(), at(11));
        picture.delete(b"b");
        auditor.deleted(b"b", 12);
        assert_eq!(auditor.judge(13, &picture, now, 0.5), Some(Finding::Equal { revision: 12 }));
    }

    #[test]
    fn keys_that_events_touch_after_the_list_are_left_out() {
        let mut picture = picture(&[("a", 3), ("b", 4)]);
        let now = Instant::now();
        let mut auditor = Auditor::new(Some(INTERVAL));
        auditor.watching(now, 0.0);
        auditor.step(now, 10, 7);
        // Both happen after the list at 12 was made, and are shown before it arrives.
        picture.put(b"a".to_vec(), at(13));
        picture.delete(b"b");
        auditor.deleted(b"b", 14);
        auditor.page(&page(&[("a", 3), ("b", 4)], 12), &picture, now, 0.5);
        assert_eq!(auditor.judge(15, &picture, now, 0.5), Some(Finding::Equal { revision: 12 }));
    }

    #[test]
    fn a_key_that_was_deleted_before_the_list_is_not_left_out() {
        let mut picture = picture(&[("a", 3)]);
        let now = Instant::now();
        let mut auditor = Auditor::new(Some(INTERVAL));
        auditor.watching(now, 0.0);
        auditor.step(now, 10, 7);
        picture.delete(b"a");
        auditor.deleted(b"a", 11);
        // Put again at 12, and that event is lost.
        auditor.page(&page(&[("a", 12)], 12), &picture, now, 0.5);
        assert_eq!(auditor.judge(13, &picture, now, 0.5), differs(&[("a", Some(12))]));
    }

    #[test]
    fn a_quiet_watch_is_asked_and_believed_at_the_third_report() {
        let picture = picture(&[]);
        let (mut auditor, mut now) = listed(&picture, &[("lost", 9)], 12);
        assert_eq!(auditor.judge(11, &picture, now, 0.5), None);
        auditor.report(11);
        for report in 1..=3 {
            assert_eq!(auditor.step(now, 10, 7), Some(AuditStep::AskProgress));
            assert_eq!(auditor.step(now, 10, 7), None, "not twice");
            auditor.report(12);
            let expected = if report == 3 { differs(&[("lost", Some(9))]) } else { None };
            assert_eq!(auditor.judge(11, &picture, now, 0.5), expected);
            now += ASK;
        }
    }

    #[test]
    fn reports_that_events_follow_prove_nothing() {
        let picture = picture(&[]);
        let (mut auditor, now) = listed(&picture, &[("late", 12)], 12);
        for _ in 0..10 {
            auditor.report(20);
            auditor.report(20);
            auditor.events();
            assert_eq!(auditor.judge(12, &picture, now, 0.5), None);
        }
    }

    #[test]
    fn a_registry_behind_the_watch_or_another_cluster_is_another_history() {
        for (revision, cluster) in [(9, 7), (12, 8)] {
            let picture = picture(&[]);
            let now = Instant::now();
            let mut auditor = Auditor::new(Some(INTERVAL));
            auditor.watching(now, 0.0);
            auditor.step(now, 10, 7);
            let page = Page { cluster, ..page(&[], revision) };
            assert_eq!(auditor.page(&page, &picture, now, 0.5), Some(Finding::AnotherHistory));
        }
    }

    #[test]
    fn pages_are_read_one_after_the_other_with_a_rest_between() {
        let picture = picture(&[("a", 3), ("b", 4)]);
        let now = Instant::now();
        let mut auditor = Auditor::new(Some(INTERVAL));
        auditor.watching(now, 0.0);
        auditor.step(now, 10, 7);
        let second = Cursor { after: Some(b"a"[..].into()), revision: 12 };
        let first = Page { next: Some(second.clone()), ..page(&[("a", 3)], 12) };
        assert_eq!(auditor.page(&first, &picture, now, 0.5), None);
        assert_eq!(auditor.step(now, 10, 7), None);
        assert_eq!(auditor.step(now + REST, 11, 7), Some(AuditStep::Read(second)));
        auditor.page(&page(&[("b", 4)], 12), &picture, now, 0.5);
        assert_eq!(auditor.judge(11, &picture, now, 0.5), Some(Finding::Equal { revision: 12 }));
    }

    #[test]
    fn a_failed_audit_is_tried_again_with_backoff_and_a_lost_watch_ends_it() {
        let now = Instant::now();
        let mut auditor = Auditor::new(Some(INTERVAL));
        auditor.watching(now, 0.0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            auditor.step(auditor.due().unwrap(), 11, 7);
            auditor.failed(now, 1.0);
            waits.push((auditor.due().unwrap() - now).as_secs());
        }
        assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
        auditor.lost();
        assert_eq!(auditor.due(), None);
        auditor.watching(now, 1.0);
        assert_eq!(auditor.due(), Some(now + FIRST));
    }

    #[test]
    fn a_picture_that_differs_each_time_is_not_listed_in_a_loop() {
        let picture = picture(&[]);
        let mut now = Instant::now();
        let mut auditor = Auditor::new(Some(INTERVAL));
        let mut waits = Vec::new();
        for _ in 0..8 {
            auditor.watching(now, 1.0);
            waits.push((auditor.due().unwrap() - now).as_secs());
            now = auditor.due().unwrap();
            auditor.step(now, 10, 7);
            auditor.page(&page(&[("a", 3)], 12), &picture, now, 0.5);
            assert!(matches!(auditor.judge(13, &picture, now, 0.5), Some(Finding::Differs(_))));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn without_an_interval_there_is_no_audit() {
        let mut auditor = Auditor::new(None);
        auditor.watching(Instant::now(), 0.0);
        assert_eq!(auditor.due(), None);
    }
}
