//! Where the services are whose addresses the configuration gives: names are resolved again and again, and what the last
//! resolution that succeeded has found stays until the next one that does.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::GivenAddress;
use crate::directory::{Given, GivenEndpoint};
use crate::health::rounds::{Question, Rounds};
use crate::lookout::Machine;
use crate::tasks::now;

/// From one resolution of a name to the next.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same, as long as it has never been resolved.
const SOON: Duration = Duration::from_secs(2);
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Resolutions at once. The others wait for their turn.
const MAX_RUNNING: usize = 16;
/// Of the addresses of one name, so many become instances: those that come first in their order.
const MOST: usize = 100;

/// Resolves names for as long as services are wanted.
#[derive(Debug)]
pub(super) struct Names<M: Machine> {
    machine: M,
    services: BTreeMap<Arc<str>, Vec<Place>>,
    /// Whose names are resolved, by the numbers of their questions.
    asking: HashMap<u64, Arc<str>>,
    last: u64,
    rounds: Rounds<Lookup<M>>,
}

/// One of a service's addresses.
#[derive(Debug, Clone)]
struct Place {
    given: GivenAddress,
    /// None: it is no name.
    question: Option<u64>,
    /// In their order, [`MOST`] at most.
    found: Vec<SocketAddr>,
    last: Last,
    /// Whether the last answer that succeeded had more than are used.
    is_cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// There was none yet.
    None,
    Succeeded,
    Failed,
}

/// What is to be told of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) service: Arc<str>,
    pub(super) address: GivenAddress,
    pub(super) what: What,
    /// How many addresses of it are in use.
    pub(super) known: usize,
}

/// See [`News`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// It could not be resolved, for this reason, and could before.
    Failed(String),
    /// It can be resolved again.
    Succeeded,
    /// It stands for so many addresses, which are more than are used.
    TooMany(usize),
}

/// What came of resolutions.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// Those services whose addresses may be others.
    pub(super) services: Vec<Arc<str>>,
    /// How many failed.
    pub(super) failures: usize,
    pub(super) news: Vec<News>,
}

impl<M: Machine> Names<M> {
    pub(super) fn new(machine: M) -> Self {
        let (services, asking, rounds) = (BTreeMap::new(), HashMap::new(), Rounds::new(MAX_RUNNING));
        Self { machine, services, asking, last: 0, rounds }
    }

    /// From now on the names of these services are resolved, and of no others. What is known of a name stays. Returns the
    /// services whose addresses may be others.
    pub(super) fn want(&mut self, wanted: Vec<(Arc<str>, Arc<[GivenAddress]>)>) -> Vec<Arc<str>> {
        let mut former = std::mem::take(&mut self.services);
        let mut changed = Vec::new();
        for (service, addresses) in wanted {
            let known = former.remove(&service).unwrap_or_default();
            let is_same = known.iter().map(|place| &place.given).eq(&*addresses);
            let places = if is_same {
                known
            } else {
                changed.push(service.clone());
                self.places(&service, &addresses, known)
            };
            self.services.insert(service, places);
        }
        former.into_values().flatten().for_each(|place| self.stop(&place));
        changed
    }

    fn places(&mut self, service: &Arc<str>, given: &[GivenAddress], mut known: Vec<Place>) -> Vec<Place> {
        let mut places = Vec::with_capacity(given.len());
        for given in given {
            match known.iter().position(|place| place.given == *given) {
                Some(at) => places.push(known.swap_remove(at)),
                None => places.push(self.place(service, given)),
            }
        }
        known.iter().for_each(|place| self.stop(place));
        places
    }

    fn place(&mut self, service: &Arc<str>, given: &GivenAddress) -> Place {
        let given = given.clone();
        if let Some(address) = given.address() {
            return Place {
                given,
                question: None,
                found: vec![address],
                last: Last::Succeeded,
                is_cut: false,
            };
        }
        self.last += 1;
        self.asking.insert(self.last, service.clone());
        let lookup = Lookup { machine: self.machine.clone(), name: given.clone() };
        self.rounds.start(self.last, lookup, INTERVAL, now());
        Place { given, question: Some(self.last), found: Vec::new(), last: Last::None, is_cut: false }
    }

    fn stop(&mut self, place: &Place) {
        if let Some(question) = place.question {
            self.asking.remove(&question);
            self.rounds.stop(question);
        }
    }

    /// Waits until names were resolved, or could not be. May be dropped while it waits without losing one.
    pub(super) async fn outcomes(&mut self) -> Outcomes {
        let answers = self.rounds.answers().await;
        let mut outcomes = Outcomes::default();
        for (question, answer) in answers {
            self.answered(question, answer, &mut outcomes);
        }
        outcomes
    }

    fn answered(&mut self, question: u64, answer: io::Result<Vec<SocketAddr>>, outcomes: &mut Outcomes) {
        let Some(service) = self.asking.get(&question) else { return };
        let places = self.services.get_mut(service).into_iter().flatten();
        let Some(place) = places.into_iter().find(|place| place.question == Some(question)) else { return };
        if answer.is_err() {
            outcomes.failures += 1;
            if place.found.is_empty() {
                self.rounds.bring_forward(question, SOON);
            }
        }
        for what in place.follow(answer) {
            let (service, address, known) = (service.clone(), place.given.clone(), place.found.len());
            outcomes.news.push(News { service, address, what, known });
        }
        outcomes.services.push(service.clone());
    }

    /// Whether a name of this service has had no answer yet.
    pub(super) fn are_awaited(&self, service: &str) -> bool {
        self.services.get(service).is_some_and(|places| places.iter().any(|place| place.last == Last::None))
    }

    /// Whether any name has had no answer yet.
    pub(super) fn are_any_awaited(&self) -> bool {
        self.services.keys().any(|service| self.are_awaited(service))
    }

    /// All services.
    pub(super) fn services(&self) -> Vec<Arc<str>> {
        self.services.keys().cloned().collect()
    }

    /// Where a service is, as far as that is known.
    pub(super) fn given(&self, service: &Arc<str>) -> Given {
        let places = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        let id = |place: &Place, address: &SocketAddr| match place.question {
            None => place.given.to_string().into(),
            Some(_) => format!("{}/{}", place.given, address.ip()).into(),
        };
        let of = |place: &Place| -> Vec<GivenEndpoint> {
            let host = place.question.map(|_| Arc::from(place.given.host()));
            let endpoint = |address: &SocketAddr| {
                let (id, address, host) = (id(place, address), *address, host.clone());
                GivenEndpoint { id, address, host }
            };
            place.found.iter().map(endpoint).collect()
        };
        let endpoints: Vec<_> = places.iter().flat_map(of).collect();
        // An empty service would help nobody: what it had before may still be right.
        let is_whole = !endpoints.is_empty() && places.iter().all(|place| place.last != Last::None);
        Given { service: service.clone(), endpoints, is_whole }
    }
}

impl Place {
    /// Takes an answer, and says what is new about that.
    fn follow(&mut self, answer: io::Result<Vec<SocketAddr>>) -> Vec<What> {
        let (had_failed, was_cut) = (self.last == Last::Failed, self.is_cut);
        let mut news = Vec::new();
        match answer {
            Ok(mut found) => {
                let count = found.len();
                found.truncate(MOST);
                (self.found, self.last, self.is_cut) = (found, Last::Succeeded, count > MOST);
                news.extend(had_failed.then_some(What::Succeeded));
                news.extend((self.is_cut && !was_cut).then_some(What::TooMany(count)));
            }
            Err(error) => {
                self.last = Last::Failed;
                news.extend((!had_failed).then(|| What::Failed(error.to_string())));
            }
        }
        news
    }
}

/// What a name stands for.
#[derive(Debug, Clone)]
struct Lookup<M> {
    machine: M,
    name: GivenAddress,
}

impl<M: Machine> Question for Lookup<M> {
    type Answer = io::Result<Vec<SocketAddr>>;

    async fn ask(self) -> Self::Answer {
        let found = timeout(PATIENCE, self.machine.resolve(self.name.host(), self.name.port())).await;
        let found =
            found.unwrap_or_else(|_| Err(io::Error::other(format!("no answer within {PATIENCE:?}"))))?;
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let mut found: Vec<_> = found.into_iter().map(canonical).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests;
