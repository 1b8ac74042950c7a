//! Keeps what TLS goes by as the files are that the configuration names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::{Current, Site};
use crate::metrics::{CertificateSeries, Metrics};
use crate::tls::{CertificateState, Event};

/// From one look at the files to the next.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at certificates' files again and again. It has a thread of its own, which may wait for a disk.
pub(crate) struct Certificates {
    pub(crate) current: Arc<Current>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Certificates {
    /// Runs until the process ends.
    pub(crate) async fn run(self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look(SystemTime::now());
        }
    }

    fn look(&self, now: SystemTime) {
        let site = self.current.get();
        let of_listeners = site.listeners().filter_map(|listener| listener.tls.as_ref());
        of_listeners.flat_map(|tls| tls.look(now)).for_each(tell);
        site.client_tls().flat_map(|tls| tls.look(now)).for_each(tell);
        let series = |state: CertificateState| CertificateSeries {
            name: state.file,
            not_after: state.not_after,
            is_refused: state.refused.is_some(),
        };
        self.metrics.certificates(site.certificates().into_iter().map(series).collect());
    }
}

impl Site {
    /// The certificates that are shown to clients and to instances, each file once.
    pub(crate) fn certificates(&self) -> Vec<CertificateState> {
        let of_listeners = self.listeners().filter_map(|listener| listener.tls.as_ref());
        let of_listeners = of_listeners.flat_map(|tls| tls.states().to_vec());
        let states = of_listeners.chain(self.client_tls().filter_map(|tls| tls.state()));
        let by_file: BTreeMap<_, _> = states.map(|state| (state.file.clone(), state)).collect();
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
    }
}

fn time(at: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(at)
}
