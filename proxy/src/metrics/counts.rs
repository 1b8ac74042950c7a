//! Counts of which each has a label.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Counts by a label that has few values.
#[derive(Debug, Default)]
pub(super) struct ByLabel(Mutex<BTreeMap<&'static str, u64>>);

impl ByLabel {
    pub(super) fn count(&self, label: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(label).or_default() += 1;
    }

    pub(super) fn each(&self, mut show: impl FnMut(&str, u64)) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().for_each(|(label, count)| show(label, *count));
    }
}

/// Counts by status, without a look-up: a hundred statuses have a place each once the first of them comes.
#[derive(Debug, Default)]
pub(super) struct ByStatus([OnceLock<Box<[AtomicU64; 100]>>; 10]);

impl ByStatus {
    /// A status has three digits at most.
    pub(super) fn count(&self, status: u16) {
        let Some(hundred) = self.0.get(usize::from(status / 100)) else { return };
        let places = hundred.get_or_init(|| Box::new([const { AtomicU64::new(0) }; 100]));
        if let Some(place) = places.get(usize::from(status % 100)) {
            place.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn each(&self, mut show: impl FnMut(&str, u64)) {
        for (hundred, places) in self.0.iter().enumerate() {
            for (rest, count) in places.get().into_iter().flat_map(|places| places.iter()).enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    show(&(100 * hundred + rest).to_string(), count);
                }
            }
        }
    }
}

/// Counts by the hundreds of statuses.
#[derive(Debug, Default)]
pub(super) struct ByClass([AtomicU64; 10]);

impl ByClass {
    /// As they are shown: like a status, so that `5..` finds errors here as there.
    const NAMES: [&str; 10] = ["0", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"];

    /// A status has three digits at most.
    pub(super) fn count(&self, status: u16) {
        if let Some(place) = self.0.get(usize::from(status / 100)) {
            place.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn of(&self, hundred: usize) -> u64 {
        self.0.get(hundred).map_or(0, |place| place.load(Ordering::Relaxed))
    }

    pub(super) fn all(&self) -> u64 {
        self.0.iter().map(|place| place.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn each(&self, mut show: impl FnMut(&str, u64)) {
        for (name, count) in Self::NAMES.iter().zip(&self.0) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                show(name, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_three_digits_is_counted_by_itself() {
        let counted = ByStatus::default();
        for status in [0, 99, 100, 200, 200, 599, 999, 1_000, u16::MAX] {
            counted.count(status);
        }
        let mut shown = Vec::new();
        counted.each(|status, count| shown.push((status.to_owned(), count)));
        let expected = [("0", 1), ("99", 1), ("100", 1), ("200", 2), ("599", 1), ("999", 1)];
        assert_eq!(shown, expected.map(|(status, count)| (status.to_owned(), count)));
    }
    #[test]
    fn statuses_of_one_hundred_are_counted_together() {
        let counted = ByClass::default();
        for status in [0, 99, 101, 200, 299, 404, 500, 503, 599, 999, 1_000, u16::MAX] {
            counted.count(status);
        }
        let mut shown = Vec::new();
        counted.each(|class, count| shown.push((class.to_owned(), count)));
        let expected = [("0", 2), ("1xx", 1), ("2xx", 2), ("4xx", 1), ("5xx", 3), ("9xx", 1)];
        assert_eq!(shown, expected.map(|(class, count)| (class.to_owned(), count)));
        assert_eq!((counted.all(), counted.of(5)), (10, 3));
    }
}
