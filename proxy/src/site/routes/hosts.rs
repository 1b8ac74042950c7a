//! Which of the routes that name a host takes a request.

use std::collections::HashMap;

use super::paths::Paths;
use crate::config::{HostRank, Match, Rank};

/// The routes of each host that is named.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<[u8]>, Paths>,
    /// By what follows the star and the dot.
    below: HashMap<Box<[u8]>, Paths>,
    /// How long these are, the longest first.
    lengths: Vec<usize>,
}

impl Hosts {
    /// `ranks`: the places of one host's routes, in their order; this host is behind those that were added. `routes`:
    /// what all routes take.
    pub(super) fn push(&mut self, host: HostRank<'_>, ranks: &[Rank<'_>], routes: &[&Match]) {
        let paths = Paths::new(ranks, routes);
        match host {
            HostRank::Exact(host) => _ = self.exact.insert(host.as_bytes().into(), paths),
            HostRank::Below(_, host) => {
                self.below.insert(host.as_bytes().into(), paths);
                if self.lengths.last() != Some(&host.len()) {
                    self.lengths.push(host.len());
                }
            }
            HostRank::Any => {}
        }
    }

    /// The first route of this host that takes the path and of which all else holds, too.
    pub(super) fn find(&self, host: &[u8], path: &str, holds: impl Fn(usize) -> bool) -> Option<usize> {
        let of = |paths: &Paths| paths.find(path, &holds);
        if let Some(found) = self.exact.get(host).and_then(of) {
            return Some(found);
        }
        let below = |length: &usize| {
            let (labels, name) = host.split_at_checked(host.len().checked_sub(*length)?)?;
            labels.strip_suffix(b".").filter(|labels| !labels.is_empty())?;
            self.below.get(name).and_then(of)
        };
        self.lengths.iter().find_map(below)
    }
}
