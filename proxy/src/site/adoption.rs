//! Which services a route leads to whose paths name them. Pure: `now` is passed in.
//!
//! Whoever registers under an allowed name is adopted while there is room. One whose last instance leaves stays, so that
//! a restart costs no more than it must, until another needs its place: of those that have no endpoints, the one that
//! has had none for longest goes first. Of one that has endpoints nobody takes the place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// The services that a route has adopted, and may adopt no more than so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    most: usize,
    /// In the order in which they came.
    taken: Vec<Place>,
    /// Those for which there is no place.
    left_out: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    service: Arc<str>,
    /// Since when it has no endpoints.
    empty_since: Option<Instant>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Vec::new(), left_out: Vec::new() }
    }

    /// Those that have a place.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.taken.iter().map(|place| &place.service)
    }

    /// Those for which there is no place.
    pub(super) fn left_out(&self) -> &[Arc<str>] {
        &self.left_out
    }

    /// What they are next. `there`: the services of allowed names that have endpoints.
    pub(super) fn next(&self, there: &BTreeSet<Arc<str>>, now: Instant) -> Self {
        let mut taken = self.taken.clone();
        for place in &mut taken {
            let is_there = there.contains(&place.service);
            place.empty_since = if is_there { None } else { place.empty_since.or(Some(now)) };
        }
        let known: BTreeSet<_> = self.services().collect();
        let mut left_out = Vec::new();
        for service in there.iter().filter(|service| !known.contains(service)) {
            let place = Place { service: service.clone(), empty_since: None };
            if taken.len() < self.most {
                taken.push(place);
            } else if let Some(longest) = longest_empty(&taken) {
                taken.remove(longest);
                taken.push(place);
            } else {
                left_out.push(service.clone());
            }
        }
        Self { most: self.most, taken, left_out }
    }

    /// The same of a route that allows other names, and may adopt `most`. `before`: these, in the places that all routes
    /// of the former configuration had. Where there are too many, those without endpoints go first, and then the newest.
    pub(super) fn carried<'p>(
        before: impl IntoIterator<Item = &'p Places>,
        most: usize,
        allows: impl Fn(&str) -> bool,
    ) -> Self {
        let mut known = BTreeSet::new();
        let places = before.into_iter().flat_map(|places| &places.taken);
        let places = places.filter(|place| allows(&place.service) && known.insert(place.service.clone()));
        let (mut taken, empty): (Vec<_>, Vec<_>) =
            places.cloned().partition(|place| place.empty_since.is_none());
        taken.extend(empty);
        taken.truncate(most);
        Self { most, taken, left_out: Vec::new() }
    }

    /// These services, all of which have endpoints.
    pub(super) fn of(services: impl IntoIterator<Item = Arc<str>>) -> Self {
        let taken = services.into_iter().map(|service| Place { service, empty_since: None });
        Self { taken: taken.collect(), ..Self::new(usize::MAX) }
    }
}

/// The place whose service has had no endpoints for longest.
fn longest_empty(taken: &[Place]) -> Option<usize> {
    let empty = taken.iter().enumerate().filter_map(|(at, place)| Some((place.empty_since?, at)));
    empty.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn set(services: &[&str]) -> BTreeSet<Arc<str>> {
        services.iter().map(|service| Arc::from(*service)).collect()
    }

    fn names(places: &Places) -> Vec<&str> {
        places.services().map(|service| &**service).collect()
    }

    fn left_out(places: &Places) -> Vec<&str> {
        places.left_out().iter().map(|service| &**service).collect()
    }

    #[test]
    fn whoever_registers_is_adopted_until_there_is_no_place_left() {
        let now = Instant::now();
        let places = Places::new(2).next(&set(&["b"]), now);
        assert_eq!(names(&places), ["b"]);
        let places = places.next(&set(&["a", "b", "c"]), now);
        assert_eq!((names(&places), left_out(&places)), (vec!["b", "a"], vec!["c"]));
        assert_eq!(places.next(&set(&["a", "b"]), now).left_out(), []);
    }

    #[test]
    fn one_without_endpoints_stays_until_its_place_is_needed_and_who_is_empty_for_longest_goes_first() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let places = Places::new(3).next(&set(&["a", "b", "c"]), now);
        let places = places.next(&set(&["a", "c"]), now + second).next(&set(&["c"]), now + 2 * second);
        assert_eq!(names(&places), ["a", "b", "c"]);
        let places = places.next(&set(&["c", "d"]), now + 3 * second);
        assert_eq!((names(&places), left_out(&places)), (vec!["a", "c", "d"], vec![]));
        let back = places.next(&set(&["a", "c", "d"]), now + 4 * second);
        let gone_again = back.next(&set(&["c", "d"]), now + 5 * second);
        assert_eq!(gone_again.taken[0].empty_since, Some(now + 5 * second), "it was there meanwhile");
    }

    #[test]
    fn another_configuration_keeps_those_that_it_allows_and_of_too_many_those_with_endpoints() {
        let now = Instant::now();
        let places = Places::new(9).next(&set(&["a", "b", "c", "x"]), now).next(&set(&["b", "c", "x"]), now);
        let others = Places::new(9).next(&set(&["b", "d"]), now);
        let kept = |most| Places::carried([&places, &others], most, |service| service != "x");
        assert_eq!(names(&kept(9)), ["b", "c", "d", "a"]);
        assert_eq!(names(&kept(2)), ["b", "c"]);
    }

    proptest! {
        #[test]
        fn nobody_who_has_endpoints_loses_his_place_and_there_are_never_too_many(
            most in 1_usize..5,
            steps in proptest::collection::vec(proptest::collection::btree_set("[a-h]", 0..8), 0..20),
        ) {
            let (mut places, mut now) = (Places::new(most), Instant::now());
            for step in steps {
                let there: BTreeSet<Arc<str>> = step.iter().map(|service| Arc::from(service.as_str())).collect();
                now += Duration::from_secs(1);
                let next = places.next(&there, now);
                let kept: BTreeSet<_> = next.services().cloned().collect();
                prop_assert_eq!(kept.len(), next.taken.len(), "nobody twice");
                prop_assert!(kept.len() <= most);
                prop_assert!(places.services().all(|service| kept.contains(service) || !there.contains(service)));
                let out: BTreeSet<_> = next.left_out().iter().cloned().collect();
                prop_assert!(there.iter().all(|service| kept.contains(service) != out.contains(service)));
                prop_assert!(out.is_empty() || kept.iter().all(|service| there.contains(service)));
                prop_assert_eq!(&next.next(&there, now), &next, "once is enough");
                places = next;
            }
        }
    }
}
