//! The leases: until when each lives, and which keys end with it.
//!
//! Pure: the time is passed in. A lease whose time is over no longer exists for any caller, even before
//! [`Leases::take_expired`] takes it out.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use crate::{allowance::Allowance, refusal::Refusal};

/// etcd's least TTL with its default election timeout, in seconds: shorter ones are lengthened.
const MIN_TTL: i64 = 2;
/// etcd's greatest TTL, in seconds; some 285 years.
const MAX_TTL: i64 = 9_000_000_000;

#[derive(Debug)]
pub(crate) struct Leases {
    by_id: HashMap<i64, Lease>,
    /// The same leases, the next to expire first.
    by_expiry: BTreeSet<(Instant, i64)>,
    max: usize,
    happened: Happened,
}

/// How many leases were granted, renewed, revoked and expired since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Happened {
    pub granted: u64,
    pub renewed: u64,
    pub revoked: u64,
    pub expired: u64,
}

#[derive(Debug)]
pub(crate) struct Lease {
    ttl: Duration,
    expires: Instant,
    keys: BTreeSet<Vec<u8>>,
}

impl Lease {
    /// The TTL that was granted, in seconds.
    pub(crate) fn ttl(&self) -> i64 {
        self.ttl.as_secs().cast_signed()
    }

    /// The time that is left, in whole seconds.
    pub(crate) fn remaining(&self, now: Instant) -> i64 {
        self.expires.saturating_duration_since(now).as_secs().cast_signed()
    }

    /// The keys that end with it, in the order of their bytes.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = &Vec<u8>> {
        self.keys.iter()
    }

    /// Whether this key ends with it.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    /// A copy of its keys, for an answer.
    pub(crate) fn copy_keys(&self, allowance: &mut Allowance) -> Result<Vec<Vec<u8>>, Refusal> {
        self.keys.iter().try_for_each(|key| allowance.answer_key(key))?;
        Ok(self.keys.iter().cloned().collect())
    }

    pub(crate) fn into_keys(self) -> impl Iterator<Item = Vec<u8>> {
        self.keys.into_iter()
    }
}

impl Leases {
    /// At most `max` leases at a time.
    pub(crate) fn new(max: usize) -> Self {
        let happened = Happened::default();
        Self { by_id: HashMap::new(), by_expiry: BTreeSet::new(), max, happened }
    }

    /// Grants a lease of this TTL, in seconds. `id` 0 lets `choose` pick one.
    pub(crate) fn grant(
        &mut self,
        id: i64,
        ttl: i64,
        now: Instant,
        mut choose: impl FnMut() -> i64,
    ) -> Result<(i64, &Lease), Refusal> {
        if ttl > MAX_TTL {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.by_id.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        if self.by_id.len() >= self.max {
            return Err(Refusal::TooManyRequests);
        }
        let mut id = id;
        while id == 0 || self.by_id.contains_key(&id) {
            id = choose();
        }
        let ttl = Duration::from_secs(ttl.max(MIN_TTL).unsigned_abs());
        let expires = now + ttl;
        self.by_expiry.insert((expires, id));
        self.happened.granted += 1;
        let lease = self.by_id.entry(id).or_insert(Lease { ttl, expires, keys: BTreeSet::new() });
        Ok((id, lease))
    }

    /// The lease, if it lives.
    pub(crate) fn get(&self, id: i64, now: Instant) -> Option<&Lease> {
        self.by_id.get(&id).filter(|lease| lease.expires > now)
    }

    /// Starts the TTL anew. Returns it in seconds; none if there is no such lease.
    pub(crate) fn keep_alive(&mut self, id: i64, now: Instant) -> Option<i64> {
        let lease = self.by_id.get_mut(&id).filter(|lease| lease.expires > now)?;
        self.by_expiry.remove(&(lease.expires, id));
        lease.expires = now + lease.ttl;
        self.by_expiry.insert((lease.expires, id));
        self.happened.renewed += 1;
        Some(lease.ttl())
    }

    /// Every lease that lives, the next to expire first.
    pub(crate) fn ids(&self, now: Instant) -> impl Iterator<Item = i64> {
        self.by_expiry.iter().filter(move |(expires, _)| *expires > now).map(|&(_, id)| id)
    }

    /// Ends a lease before its time.
    pub(crate) fn revoke(&mut self, id: i64, now: Instant) -> Result<Lease, Refusal> {
        self.get(id, now).ok_or(Refusal::LeaseNotFound)?;
        self.happened.revoked += 1;
        self.remove(id).ok_or(Refusal::LeaseNotFound)
    }

    /// The next lease whose time has come, taken out.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<Lease> {
        let &(_, id) = self.by_expiry.first().filter(|(expires, _)| *expires <= now)?;
        self.happened.expired += 1;
        self.remove(id)
    }

    /// How many leases there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn happened(&self) -> Happened {
        self.happened
    }

    /// When the next lease expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.by_expiry.first().map(|&(expires, _)| expires)
    }

    /// A key passes from one lease to another; 0 is none.
    pub(crate) fn hand_over(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.by_id.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.by_id.get_mut(&to) {
            lease.keys.insert(key.to_vec());
        }
    }

    fn remove(&mut self, id: i64) -> Option<Lease> {
        let lease = self.by_id.remove(&id)?;
        self.by_expiry.remove(&(lease.expires, id));
        Some(lease)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Leases, MAX_TTL};
    use crate::refusal::Refusal;

    fn grant(leases: &mut Leases, id: i64, ttl: i64, now: Instant) -> Result<i64, Refusal> {
        leases.grant(id, ttl, now, || 77).map(|(id, _)| id)
    }

    #[test]
    fn a_lease_is_gone_at_its_time_even_before_it_is_taken_out() {
        let (mut leases, start) = (Leases::new(10), Instant::now());
        grant(&mut leases, 1, 5, start).unwrap();
        let end = start + Duration::from_secs(5);
        assert!(leases.get(1, end - Duration::from_nanos(1)).is_some());
        assert!(leases.get(1, end).is_none());
        assert_eq!(leases.keep_alive(1, end), None);
        assert_eq!(leases.revoke(1, end).unwrap_err(), Refusal::LeaseNotFound);
        assert_eq!(leases.ids(end).count(), 0);
        assert!(leases.take_expired(end).is_some());
        assert!(leases.take_expired(end).is_none());
    }

    #[test]
    fn keeping_alive_starts_the_ttl_anew() {
        let (mut leases, start) = (Leases::new(10), Instant::now());
        grant(&mut leases, 1, 5, start).unwrap();
        let later = start + Duration::from_secs(4);
        assert_eq!(leases.keep_alive(1, later), Some(5));
        assert_eq!(leases.next_expiry(), Some(later + Duration::from_secs(5)));
        assert!(leases.take_expired(start + Duration::from_secs(8)).is_none());
    }

    #[test]
    fn leases_expire_in_the_order_of_their_ends() {
        let (mut leases, start) = (Leases::new(10), Instant::now());
        grant(&mut leases, 1, 30, start).unwrap();
        grant(&mut leases, 2, 10, start).unwrap();
        grant(&mut leases, 3, 20, start).unwrap();
        assert_eq!(leases.ids(start).collect::<Vec<_>>(), [2, 3, 1]);
        let end = start + Duration::from_secs(20);
        let expired: Vec<_> = std::iter::from_fn(|| leases.take_expired(end)).map(|l| l.ttl()).collect();
        assert_eq!(expired, [10, 20]);
    }

    #[test]
    fn a_ttl_is_at_least_two_seconds_and_at_most_etcds_bound() {
        let (mut leases, now) = (Leases::new(10), Instant::now());
        for (id, ttl, granted) in [(1, i64::MIN, 2), (2, 0, 2), (3, 1, 2), (4, 3, 3), (5, MAX_TTL, MAX_TTL)] {
            let (_, lease) = leases.grant(id, ttl, now, || 77).unwrap();
            assert_eq!(lease.ttl(), granted);
        }
        assert_eq!(grant(&mut leases, 6, MAX_TTL + 1, now), Err(Refusal::LeaseTtlTooLarge));
    }

    #[test]
    fn an_id_is_chosen_until_it_is_free() {
        let (mut leases, now) = (Leases::new(10), Instant::now());
        grant(&mut leases, 1, 5, now).unwrap();
        assert_eq!(grant(&mut leases, 1, 5, now), Err(Refusal::LeaseExists));
        let mut ids = [0, 1, 9].into_iter();
        let (id, _) = leases.grant(0, 5, now, || ids.next().unwrap()).unwrap();
        assert_eq!(id, 9);
    }

    #[test]
    fn more_leases_than_the_bound_are_refused() {
        let (mut leases, now) = (Leases::new(1), Instant::now());
        grant(&mut leases, 1, 5, now).unwrap();
        assert_eq!(grant(&mut leases, 2, 5, now), Err(Refusal::TooManyRequests));
        leases.revoke(1, now).unwrap();
        assert_eq!(grant(&mut leases, 2, 5, now), Ok(2));
    }

    #[test]
    fn a_key_hangs_on_its_last_lease_alone() {
        let (mut leases, now) = (Leases::new(10), Instant::now());
        grant(&mut leases, 1, 5, now).unwrap();
        grant(&mut leases, 2, 5, now).unwrap();
        leases.hand_over(b"a", 0, 1);
        leases.hand_over(b"b", 0, 1);
        leases.hand_over(b"a", 1, 2);
        leases.hand_over(b"b", 1, 0);
        assert_eq!(leases.get(1, now).unwrap().keys().count(), 0);
        assert_eq!(leases.get(2, now).unwrap().keys().collect::<Vec<_>>(), [&b"a".to_vec()]);
    }
}
