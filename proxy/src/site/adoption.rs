//! Which services a route leads to whose paths name them. Pure: `now` is passed in.
//!
//! Whoever registers under an allowed name is adopted while there is room; of several that come at once, those come first
//! that registered first: what somebody is called gives him no place. One whose last instance leaves stays, so that a
//! restart costs no more than it must, until another needs its place, and not before it has been empty for a while: of
//! those, the one that has had no endpoints for longest goes first. Of one that has endpoints nobody takes the place.
//!
//! Services that the configuration names, as one that is allowed or by their addresses, ask nothing of the others: their
//! number is bounded by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::contract::Instance;

use crate::config::{self, ServicesAllowed};
use crate::directory::Policy;
use crate::tasks;

/// So long a service must have had no endpoints before another may have its place: it may be a restart.
const GRACE: Duration = Duration::from_secs(60);

/// The services that have endpoints, with the lowest revision of their registrations.
pub(super) type There = BTreeMap<Arc<str>, i64>;

/// Which services may have a place at a route.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    by: ServicesAllowed,
    /// Those whose addresses the configuration gives.
    given: BTreeSet<String>,
}

impl Allowed {
    pub(super) fn new(by: &ServicesAllowed, services: &config::Services) -> Self {
        let given = services.given().filter(|name| by.allow(name)).map(ToOwned::to_owned).collect();
        Self { by: by.clone(), given }
    }

    pub(super) fn allow(&self, service: &str) -> bool {
        self.by.allow(service)
    }

    /// Whether the configuration names it, so that it does not count.
    fn is_named(&self, service: &str) -> bool {
        self.by.names(service) || self.given.contains(service)
    }

    /// How many services may have a place that it does not name.
    fn most(&self) -> usize {
        self.by.most
    }
}

/// The services that a route has adopted, and may adopt no more than so many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Places {
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
    /// Those that have a place.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.taken.iter().map(|place| &place.service)
    }

    /// Those for which there is no place.
    pub(super) fn left_out(&self) -> &[Arc<str>] {
        &self.left_out
    }

    /// What they are next.
    pub(super) fn next(&self, there: &There, allowed: &Allowed, now: Instant) -> Self {
        let mut taken = self.taken.clone();
        for place in &mut taken {
            let is_there = there.contains_key(&place.service);
            place.empty_since = if is_there { None } else { place.empty_since.or(Some(now)) };
        }
        let known: BTreeSet<_> = self.services().collect();
        let come = there.iter().filter(|(service, _)| allowed.allow(service) && !known.contains(service));
        let mut come: Vec<_> = come.collect();
        come.sort_by_key(|(_, revision)| **revision);
        let mut room =
            allowed.most().saturating_sub(taken.iter().filter(|place| place.counts(allowed)).count());
        let mut left_out = Vec::new();
        for (service, _) in come {
            let place = Place { service: service.clone(), empty_since: None };
            if !place.counts(allowed) {
                taken.push(place);
            } else if room > 0 {
                room -= 1;
                taken.push(place);
            } else if let Some(longest) = longest_empty(&taken, allowed, now) {
                taken.remove(longest);
                taken.push(place);
            } else {
                left_out.push(service.clone());
            }
        }
        Self { taken, left_out }
    }

    /// The same of a route that allows others. `before`: these, in the places that all routes of the former configuration
    /// had. Where there are too many, those without endpoints go first, and then the newest.
    pub(super) fn carried<'p>(before: impl IntoIterator<Item = &'p Places>, allowed: &Allowed) -> Self {
        let mut known = BTreeSet::new();
        let places = before.into_iter().flat_map(|places| &places.taken);
        let places =
            places.filter(|place| allowed.allow(&place.service) && known.insert(place.service.clone()));
        let (mut taken, empty): (Vec<_>, Vec<_>) =
            places.cloned().partition(|place| place.empty_since.is_none());
        taken.extend(empty);
        let mut room = allowed.most();
        taken.retain(|place| {
            let is_in = !place.counts(allowed) || room > 0;
            room -= usize::from(is_in && place.counts(allowed));
            is_in
        });
        Self { taken, left_out: Vec::new() }
    }

    /// These services, all of which have endpoints.
    pub(super) fn of(services: impl IntoIterator<Item = Arc<str>>) -> Self {
        let taken = services.into_iter().map(|service| Place { service, empty_since: None });
        Self { taken: taken.collect(), left_out: Vec::new() }
    }
}

impl Place {
    /// Whether it is one of those of which there may be so many.
    fn counts(&self, allowed: &Allowed) -> bool {
        !allowed.is_named(&self.service)
    }
}

/// Of the places that may be given to others, the one whose service has had no endpoints for longest.
fn longest_empty(taken: &[Place], allowed: &Allowed, now: Instant) -> Option<usize> {
    let empty = taken.iter().enumerate().filter_map(|(at, place)| Some((place.empty_since?, at)));
    let is_over = |since: Instant| now.saturating_duration_since(since) >= GRACE;
    empty.filter(|(since, at)| is_over(*since) && taken[*at].counts(allowed)).min().map(|(_, at)| at)
}

/// The services of these registrations that the routes of a configuration adopt if no others are there, with what it says
/// of their endpoints.
pub(crate) fn adopted_of(
    config: &config::Gateway,
) -> impl Fn(&[Instance]) -> Vec<(Arc<str>, Policy)> + Send + use<> {
    let services = config.services.clone();
    let allowed = config.routes.iter().filter_map(config::Route::allowed);
    let allowed: Vec<_> = allowed.map(|allowed| Allowed::new(allowed, &services)).collect();
    move |instances| {
        let there = there(instances.iter().map(|instance| (&instance.service, instance.revision)));
        let places = allowed.iter().map(|allowed| Places::default().next(&there, allowed, tasks::now()));
        let adopted: BTreeSet<_> =
            places.flat_map(|places| places.services().cloned().collect::<Vec<_>>()).collect();
        let policy = |name: Arc<str>| (name.clone(), Policy::from(services.get(&name)));
        adopted.into_iter().map(policy).collect()
    }
}

/// Who is there, by the services and revisions of registrations.
pub(super) fn there<'s>(registrations: impl IntoIterator<Item = (&'s Arc<str>, i64)>) -> There {
    let mut there = There::new();
    for (service, revision) in registrations {
        let lowest = there.entry(service.clone()).or_insert(revision);
        *lowest = revision.min(*lowest);
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServicePattern;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// All names, and these by themselves.
    fn allowed(most: usize, named: &[&str]) -> Allowed {
        let named = named.iter().map(|name| ServicePattern::Exact((*name).to_owned()));
        let patterns = named.chain([ServicePattern::Prefix(String::new())]).collect();
        Allowed { by: ServicesAllowed { patterns, most }, given: BTreeSet::new() }
    }

    /// All as old as each other.
    fn set(services: &[&str]) -> There {
        services.iter().map(|service| (Arc::from(*service), 1)).collect()
    }

    fn names(places: &Places) -> Vec<&str> {
        places.services().map(|service| &**service).collect()
    }

    fn left_out(places: &Places) -> Vec<&str> {
        places.left_out().iter().map(|service| &**service).collect()
    }

    #[test]
    fn whoever_registers_is_adopted_until_there_is_no_place_left() {
        let (now, two) = (Instant::now(), allowed(2, &[]));
        let places = Places::default().next(&set(&["b"]), &two, now);
        assert_eq!(names(&places), ["b"]);
        let places = places.next(&set(&["a", "b", "c"]), &two, now);
        assert_eq!((names(&places), left_out(&places)), (vec!["b", "a"], vec!["c"]));
        assert_eq!(places.next(&set(&["a", "b"]), &two, now).left_out(), []);
    }

    #[test]
    fn of_several_that_come_at_once_those_come_first_that_registered_first() {
        let there: Vec<(Arc<str>, i64)> =
            vec![("a".into(), 9), ("b".into(), 7), ("c".into(), 8), ("b".into(), 30)];
        let there = there_of(&there);
        let places = Places::default().next(&there, &allowed(2, &[]), Instant::now());
        assert_eq!((names(&places), left_out(&places)), (vec!["b", "c"], vec!["a"]));
    }

    fn there_of(registrations: &[(Arc<str>, i64)]) -> There {
        there(registrations.iter().map(|(service, revision)| (service, *revision)))
    }

    #[test]
    fn those_that_the_configuration_names_take_nobody_elses_place_and_nobody_takes_theirs() {
        let now = Instant::now();
        let mut one = allowed(1, &["n"]);
        one.given.insert("g".to_owned());
        let places = Places::default().next(&set(&["g", "n", "x", "y"]), &one, now);
        assert_eq!((names(&places), left_out(&places)), (vec!["g", "n", "x"], vec!["y"]));
        let places = places.next(&set(&["x", "y"]), &one, now).next(&set(&["x", "y"]), &one, now + GRACE);
        assert_eq!((names(&places), left_out(&places)), (vec!["g", "n", "x"], vec!["y"]));
        let carried = Places::carried([&places], &one);
        assert_eq!(names(&carried), ["x", "g", "n"]);
    }

    #[test]
    fn one_without_endpoints_stays_until_its_place_is_needed_and_who_is_empty_for_longest_goes_first() {
        let (now, three) = (Instant::now(), allowed(3, &[]));
        let places = Places::default().next(&set(&["a", "b", "c"]), &three, now);
        let places = places.next(&set(&["a", "c"]), &three, now + SECOND);
        let places = places.next(&set(&["c"]), &three, now + 2 * SECOND);
        assert_eq!(names(&places), ["a", "b", "c"]);
        let places = places.next(&set(&["c", "d"]), &three, now + 3 * SECOND + GRACE);
        assert_eq!((names(&places), left_out(&places)), (vec!["a", "c", "d"], vec![]));
        let back = places.next(&set(&["a", "c", "d"]), &three, now + 4 * SECOND + GRACE);
        let gone_again = back.next(&set(&["c", "d"]), &three, now + 5 * SECOND + GRACE);
        let since = gone_again.taken[0].empty_since;
        assert_eq!(since, Some(now + 5 * SECOND + GRACE), "it was there meanwhile");
    }

    #[test]
    fn the_place_of_one_that_restarts_is_nobody_elses() {
        let (now, one) = (Instant::now(), allowed(1, &[]));
        let places = Places::default().next(&set(&["a"]), &one, now);
        let gone = places.next(&set(&["b"]), &one, now);
        assert_eq!((names(&gone), left_out(&gone)), (vec!["a"], vec!["b"]));
        let later = gone.next(&set(&["b"]), &one, now + GRACE - SECOND);
        assert_eq!(names(&later.next(&set(&["a", "b"]), &one, now + GRACE)), ["a"]);
        assert_eq!(names(&later.next(&set(&["b"]), &one, now + GRACE)), ["b"]);
    }

    #[test]
    fn another_configuration_keeps_those_that_it_allows_and_of_too_many_those_with_endpoints() {
        let (now, all) = (Instant::now(), allowed(9, &[]));
        let places = Places::default().next(&set(&["sa", "sb", "sc", "x"]), &all, now);
        let places = places.next(&set(&["sb", "sc", "x"]), &all, now);
        let others = Places::default().next(&set(&["sb", "sd"]), &all, now);
        let kept = |most| {
            let by = ServicesAllowed { patterns: vec![ServicePattern::Prefix("s".to_owned())], most };
            Places::carried([&places, &others], &Allowed { by, given: BTreeSet::new() })
        };
        assert_eq!(names(&kept(9)), ["sb", "sc", "sd", "sa"]);
        assert_eq!(names(&kept(2)), ["sb", "sc"]);
    }

    proptest! {
        #[test]
        fn nobody_who_has_endpoints_loses_his_place_and_there_are_never_too_many(
            most in 1_usize..5,
            steps in proptest::collection::vec(proptest::collection::btree_map("[a-h]", 0_i64..9, 0..8), 0..20),
        ) {
            let allowed = allowed(most, &["h"]);
            let (mut places, mut now) = (Places::default(), Instant::now());
            for step in steps {
                let there: There = step.iter().map(|(name, revision)| (Arc::from(name.as_str()), *revision)).collect();
                now += GRACE / 2;
                let next = places.next(&there, &allowed, now);
                let kept: BTreeSet<_> = next.services().cloned().collect();
                prop_assert_eq!(kept.len(), next.taken.len(), "nobody twice");
                prop_assert!(kept.iter().filter(|name| &***name != "h").count() <= most);
                prop_assert!(places.services().all(|name| kept.contains(name) || !there.contains_key(name)));
                let out: BTreeSet<_> = next.left_out().iter().cloned().collect();
                prop_assert!(there.keys().all(|name| kept.contains(name) != out.contains(name)));
                let is_free = |place: &Place| place.empty_since.is_some_and(|since| since + GRACE <= now);
                let counted = next.taken.iter().filter(|place| place.counts(&allowed));
                prop_assert!(out.is_empty() || counted.clone().count() == most && !counted.clone().any(is_free));
                prop_assert_eq!(&next.next(&there, &allowed, now), &next, "once is enough");
                places = next;
            }
        }
    }
}
