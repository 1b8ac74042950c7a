//! At random, by weight: one draw and a binary search over the cumulative weights.

use crate::directory::{Endpoints, Entry};

pub(super) fn pick<'e>(endpoints: &'e Endpoints, tried: &[u64], chance: u64) -> Option<&'e Entry> {
    let entries = endpoints.entries();
    let cumulative = endpoints.cumulative();
    let total = *cumulative.last()?;
    let point = scale(chance, total)?;
    // The first entry whose cumulative weight exceeds the point; one that adds nothing never does first.
    let drawn = entries.get(cumulative.partition_point(|sum| *sum <= point))?;
    if !tried.contains(&drawn.endpoint.id) {
        return Some(drawn);
    }
    pick_untried(entries, tried, chance)
}

/// Draws again among the best rank that is left. Rare (a retry that drew its predecessor), so a walk will
/// do. The low bits of the chance are as good as new: the first draw used its high ones.
fn pick_untried<'e>(entries: &'e [Entry], tried: &[u64], chance: u64) -> Option<&'e Entry> {
    let untried = || entries.iter().filter(|e| !tried.contains(&e.endpoint.id));
    let best = untried().filter_map(Entry::rank).min()?;
    let candidates = || untried().filter(|e| e.rank() == Some(best));
    let total = candidates().map(|e| u32::from(e.weight)).fold(0, u32::saturating_add);
    let mut point = scale(chance << 32, total)?;
    candidates().find(|entry| {
        let weight = u32::from(entry.weight);
        let hit = point < weight;
        point = point.saturating_sub(weight);
        hit
    })
}

/// A point from 0 up to, but not including, `total`, from the chance's high 32 bits; none if there is none.
fn scale(chance: u64, total: u32) -> Option<u32> {
    let point = ((chance >> 32) * u64::from(total)) >> 32;
    u32::try_from(point).ok().filter(|point| *point < total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{self, Directory};
    use registry::contract::{Instance, Record};
    use registry::watch::{Change, Update};
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Instant;

    fn directory(weights: &[u16]) -> Arc<Directory> {
        let (directory, mut writer) = directory::new(["goods"]);
        let instance = |(n, weight): (usize, &u16)| Instance {
            service: "goods".into(),
            id: n.to_string().into(),
            record: Record { weight: *weight, ..Record::new(([10, 0, 0, 1], n as u16 + 1).into()) },
            lease: 0,
            revision: 1,
        };
        let instances = weights.iter().enumerate().map(instance).collect();
        writer.stage(Update::Reset { instances, revision: 1 });
        writer.publish(Instant::now);
        directory
    }

    fn shares(weights: &[u16], tried: &[u64], draws: u32) -> HashMap<u64, f64> {
        let directory = directory(weights);
        let service = directory.service("goods").unwrap();
        let endpoints = service.endpoints();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut counts = HashMap::new();
        for _ in 0..draws {
            if let Some(entry) = pick(&endpoints, tried, rng.u64(..)) {
                *counts.entry(entry.endpoint.id).or_insert(0.0) += 1.0 / f64::from(draws);
            }
        }
        counts
    }

    fn assert_near(share: f64, expected: f64) {
        assert!((share - expected).abs() < 0.01, "{share} is not near {expected}");
    }

    #[test]
    fn shares_follow_the_weights() {
        let shares = shares(&[1, 2, 5, 0], &[], 100_000);
        assert_near(shares[&1], 0.125);
        assert_near(shares[&2], 0.25);
        assert_near(shares[&3], 0.625);
        assert!(!shares.contains_key(&4), "a draining endpoint gets nothing");
    }

    #[test]
    fn what_was_tried_is_not_chosen_and_the_rest_keeps_its_shares() {
        let shares = shares(&[4, 1, 3], &[1], 100_000);
        assert!(!shares.contains_key(&1));
        assert_near(shares[&2], 0.25);
        assert_near(shares[&3], 0.75);
    }

    /// Endpoints from 1 on with these weights, of which those in `suspect` are no longer registered.
    fn doubted(weights: &[(&str, u16)], suspect: &[&str]) -> Arc<Directory> {
        let (directory, mut writer) = directory::new(["goods"]);
        for &(id, weight) in weights {
            let instance = Instance {
                service: "goods".into(),
                id: id.into(),
                record: Record { weight, ..Record::new(([10, 0, 0, 1], weight).into()) },
                lease: 0,
                revision: 1,
            };
            writer.stage(Update::Apply { changes: vec![Change::Put(instance)], revision: 1 });
        }
        for id in suspect {
            let gone = Change::Delete { service: "goods".into(), id: (*id).into(), revision: 2 };
            writer.stage(Update::Apply { changes: vec![gone], revision: 2 });
        }
        writer.publish(Instant::now);
        directory
    }

    #[test]
    fn an_endpoint_in_doubt_is_chosen_only_where_no_other_is_left() {
        let service = doubted(&[("a", 1), ("b", 3), ("c", 1)], &["b"]).service("goods").unwrap();
        let endpoints = service.endpoints();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut id = |tried: &[u64]| pick(&endpoints, tried, rng.u64(..)).map(|e| e.endpoint.id);
        for _ in 0..1000 {
            assert_ne!(id(&[]), Some(2));
            assert_eq!(id(&[1]), Some(3), "of the same rank");
            assert_eq!(id(&[1, 3]), Some(2), "the next rank");
        }
        assert_eq!(id(&[1, 2, 3]), None);
    }

    #[test]
    fn endpoints_in_doubt_have_their_shares_among_each_other() {
        let service = doubted(&[("a", 1), ("b", 3)], &["a", "b"]).service("goods").unwrap();
        let endpoints = service.endpoints();
        let mut rng = fastrand::Rng::with_seed(7);
        let draws = (0..100_000).filter_map(|_| pick(&endpoints, &[], rng.u64(..)));
        let second = draws.filter(|e| e.endpoint.id == 2).count();
        assert_near(second as f64 / 100_000.0, 0.75);
    }

    #[test]
    fn nothing_is_chosen_where_there_is_nothing_left() {
        assert!(shares(&[], &[], 10).is_empty());
        assert!(shares(&[0, 0], &[], 10).is_empty());
        assert!(shares(&[1, 0], &[1], 10).is_empty());
    }

    #[test]
    fn the_ends_of_chance_choose_the_ends_of_the_list() {
        let directory = directory(&[1, 1, 1]);
        let service = directory.service("goods").unwrap();
        let endpoints = service.endpoints();
        let id = |chance| pick(&endpoints, &[], chance).unwrap().endpoint.id;
        assert_eq!((id(0), id(u64::MAX)), (1, 3));
    }
}
