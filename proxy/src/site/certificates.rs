//! Keeps what TLS goes by as the files are that the configuration names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use super::{Current, Site};
use crate::metrics::{CertificateSeries, End, Metrics};
use crate::tasks::joined;
use crate::tls::{CertificateState, Event, Kind, Watched};

/// From one look at the files to the next.
const LOOK: Duration = Duration::from_secs(1);
/// What is new is taken when two looks agree: so soon after it was found there is another. Who writes files takes less from one
/// to the next, and who replaces them each second does not escape.
const AGAIN: Duration = Duration::from_millis(250);
/// So often at most: the files may have changed between two looks.
const MOST_AGAIN: u32 = 2;
/// How long the next look waits for the one before.
const MOMENT: Duration = Duration::from_millis(50);
/// How long a look may take before that is told, and the others go on without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at certificates' files again and again.
pub(crate) struct Certificates {
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    /// Looks that have not ended. No other begins beside one, or a disk that hangs would take a thread each second.
    hanging: Vec<(Arc<dyn Watched>, JoinHandle<()>)>,
}

impl Certificates {
    pub(crate) fn new(current: Arc<Current>, metrics: Arc<Metrics>) -> Self {
        Self { current, metrics, hanging: Vec::new() }
    }

    /// Runs until the process ends.
    pub(crate) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look(SystemTime::now()).await;
        }
    }

    /// Looks at all of them, and again at those of which the first look has found something new.
    async fn look(&mut self, now: SystemTime) {
        self.hanging.retain(|(_, look)| !look.is_finished());
        let site = self.current.get();
        let mut watched = site.watched();
        self.look_at_each(&mut watched, now).await;
        for _ in 0..MOST_AGAIN {
            if watched.is_empty() {
                break;
            }
            sleep(AGAIN).await;
            self.look_at_each(&mut watched, now).await;
        }
        let series = |state: CertificateState| CertificateSeries {
            name: state.file,
            end: state.not_after.and_then(|end| match state.kind {
                Kind::Certificate => Some(End::OfCertificate(end)),
                Kind::Revocations => Some(End::OfRevocations(end)),
                Kind::Authorities => None,
            }),
            is_refused: state.refused.is_some(),
        };
        self.metrics.certificates(site.certificates().into_iter().map(series).collect());
    }

    /// Leaves those that want another look. It goes from one to the next, so that few threads do it; one that is slow holds up
    /// the others for a moment.
    async fn look_at_each(&mut self, watched: &mut Vec<Arc<dyn Watched>>, now: SystemTime) {
        let deadline = Instant::now() + PATIENCE;
        let mut slow = Vec::new();
        watched.retain(|one| !self.hanging.iter().any(|(hanging, _)| Arc::ptr_eq(hanging, one)));
        for one in std::mem::take(watched) {
            let mut look = begin_look(&one, now);
            match timeout(MOMENT, &mut look).await {
                Ok(ended) => watched.extend(wants_another(one, ended)),
                Err(_) => slow.push((one, look)),
            }
        }
        for (one, mut look) in slow {
            match timeout_at(deadline, &mut look).await {
                Ok(ended) => watched.extend(wants_another(one, ended)),
                Err(_) => {
                    tell_hanging(one.as_ref());
                    self.hanging.push((one, look));
                }
            }
        }
    }
}

/// On a thread that may wait for a disk.
fn begin_look(watched: &Arc<dyn Watched>, now: SystemTime) -> JoinHandle<()> {
    let watched = watched.clone();
    spawn_blocking(move || watched.look(now).into_iter().for_each(tell))
}

fn wants_another(watched: Arc<dyn Watched>, ended: Result<(), JoinError>) -> Option<Arc<dyn Watched>> {
    joined(ended).and_then(|()| watched.is_waiting().then_some(watched))
}

fn tell_hanging(watched: &dyn Watched) {
    let files: Vec<_> = watched.states().into_iter().map(|state| state.file).collect();
    tracing::error!(
        files = files.join(" "),
        "these files cannot be read in {} s: is their disk well? No change of them is taken until they are",
        PATIENCE.as_secs()
    );
}

impl Site {
    /// The certificates that are shown to clients and to instances, and what theirs are verified by, each file once.
    pub(crate) fn certificates(&self) -> Vec<CertificateState> {
        let mut by_file = BTreeMap::<String, CertificateState>::new();
        for state in self.watched().into_iter().flat_map(|watched| watched.states()) {
            let state = match by_file.remove(&state.file) {
                Some(other) => other.and(state),
                None => state,
            };
            by_file.insert(state.file.clone(), state);
        }
        by_file.into_values().collect()
    }
}

fn tell(event: Event) {
    match event {
        Event::Renewed { file, not_after: None, .. } => {
            tracing::info!(file, "authorities read anew: they are used from now on");
        }
        Event::Renewed { file, names, not_after: Some(end) } => {
            tracing::info!(file, names = names.join(" "), not_after = %time(end), "certificate read anew: it is used from now on");
        }
        Event::Refused { file, why } => {
            tracing::error!(
                file,
                "what this file has now is not used, and what it had before still is: {why}"
            );
        }
        Event::Recovered { file } => {
            tracing::info!(file, "this file has again what is used");
        }
        Event::EndsSoon { file, names, not_after, days } => {
            let (names, not_after) = (names.join(" "), time(not_after));
            tracing::warn!(file, names, %not_after, "this certificate ends in {days} days: renew it");
        }
        Event::Ended { file, names, not_after } => {
            let (names, not_after) = (names.join(" "), time(not_after));
            tracing::error!(file, names, %not_after, "this certificate has ended: clients refuse it. Renew it");
        }
        Event::RevocationsEndSoon { file, place, not_after } => {
            let not_after = time(not_after);
            tracing::warn!(file, list = place, %not_after, "this list of revoked certificates ends soon: renew it");
        }
        Event::RevocationsEnded { file, place, not_after } => {
            let not_after = time(not_after);
            tracing::error!(
                file,
                list = place,
                %not_after,
                "this list of revoked certificates has ended: no client whom its authority has signed is let in. Renew it"
            );
        }
    }
}

fn time(at: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(at)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;
    use crate::config::{self, CertificateFiles, ListenerTls};
    use crate::site::drafts::{bench, config, draft};
    use crate::tls::fixture::{Hanging, Realm};

    /// Listeners with a certificate each.
    fn site(certificates: &[CertificateFiles]) -> Site {
        let mut config = config("[{path: /goods, service: goods}]", "{}");
        let listener = |(port, files): (u16, &CertificateFiles)| config::Listener {
            tls: Some(ListenerTls { certificates: vec![files.clone()], client: None }),
            ..config::Listener::clear(([127, 0, 0, 1], port).into())
        };
        config.listen = (1..).zip(certificates).map(listener).collect();
        let (materials, _writer) = bench(&config);
        draft(&config, &Site::default(), &materials).site
    }

    fn certificates(site: Site) -> (Certificates, Arc<Current>) {
        let current = Arc::new(Current::new(site));
        (Certificates::new(current.clone(), Arc::new(Metrics::new().unwrap())), current)
    }

    async fn look_twice(certificates: &mut Certificates) {
        certificates.look(SystemTime::now()).await;
        certificates.look(SystemTime::now()).await;
    }

    /// Ten times as fast as it goes: a clock that is paused stands still while a thread waits for a disk.
    async fn look_in_fast_time(certificates: &mut Certificates) {
        let mut look = pin!(certificates.look(SystemTime::now()));
        let tick = Duration::from_millis(1);
        while look.as_mut().now_or_never().is_none() {
            std::thread::sleep(tick);
            advance(tick * 10).await;
        }
    }

    fn refused(site: &Site) -> Vec<bool> {
        site.certificates().iter().map(|state| state.refused.is_some()).collect()
    }

    #[tokio::test]
    async fn what_is_refused_of_a_file_in_one_place_is_shown_though_it_is_used_in_another() {
        let realm = Realm::new("one");
        for refused_first in [true, false] {
            let files = realm.sign("shop.net");
            let copy = files.key.with_extension("copy");
            std::fs::copy(&files.key, &copy).unwrap();
            let other = CertificateFiles { key: copy.clone(), ..files.clone() };
            let both = if refused_first { [other, files] } else { [files, other] };
            let (mut certificates, current) = certificates(site(&both));
            std::fs::write(&copy, "").unwrap();
            look_twice(&mut certificates).await;
            assert_eq!(refused(&current.get()), [true]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_hangs_keeps_those_of_others_from_nothing_and_takes_one_thread() {
        let realm = Realm::new("one");
        let (hanging, other) = (realm.sign("hangs.net"), realm.sign("shop.net"));
        let (mut certificates, current) = certificates(site(&[hanging.clone(), other.clone()]));
        let file = Hanging::at(&hanging.cert);
        look_in_fast_time(&mut certificates).await;
        std::fs::write(&other.key, "").unwrap();
        look_in_fast_time(&mut certificates).await;
        assert_eq!(certificates.hanging.len(), 1);
        assert_eq!(refused(&current.get()), [false, true]);
        file.end();
        let (_, look) = certificates.hanging.first_mut().unwrap();
        look.await.unwrap();
        look_twice(&mut certificates).await;
        assert!(certificates.hanging.is_empty());
        assert_eq!(refused(&current.get()), [true, true]);
    }
}
