//! Who comes in and who does not: handshakes, headers of the PROXY protocol, connections that were refused, certificates.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::maker::{Maker, unix_time};

#[derive(Debug)]
pub(super) struct TlsMetrics {
    handshakes: IntCounterVec,
    handshake_failures: IntCounterVec,
    proxy_failures: IntCounterVec,
    refused: IntCounterVec,
    expiry: IntGaugeVec,
    revocations_expiry: IntGaugeVec,
    not_taken: IntGaugeVec,
    /// As they are now. Their series are made anew each time that metrics are read, so that those of one that is not named
    /// any more go.
    certificates: Mutex<Vec<CertificateSeries>>,
}

/// What is shown of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateSeries {
    /// Its file.
    pub(crate) name: String,
    pub(crate) end: Option<End>,
    /// Whether what its file has now is not taken.
    pub(crate) is_refused: bool,
}

/// When what a file has ends. (Of authorities it is not looked at.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    OfCertificate(SystemTime),
    OfRevocations(SystemTime),
}

impl TlsMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            handshakes: make.counters(
                "tls_handshakes_total",
                "TLS handshakes with clients that have ended well, by version, and whether a session was resumed.",
                &["version", "resumed"],
            )?,
            handshake_failures: make.counters(
                "tls_handshake_failures_total",
                "TLS handshakes with clients that have failed, by reason.",
                &["reason"],
            )?,
            proxy_failures: make.counters(
                "proxy_protocol_failures_total",
                "Connections that did not begin with the header of the PROXY protocol that they had to, by reason.",
                &["reason"],
            )?,
            refused: make.counters(
                "connections_refused_total",
                "Connections of clients that were closed before a request was read from them, by reason.",
                &["reason"],
            )?,
            expiry: make.gauges(
                "certificate_expiry_timestamp_seconds",
                "When a certificate ends, or the first of those that it hangs on, in Unix time.",
                &["name"],
            )?,
            revocations_expiry: make.gauges(
                "revocations_expiry_timestamp_seconds",
                "When the first list of revoked certificates in a file ends, and with it trust in clients whom its authority has signed, in Unix time.",
                &["name"],
            )?,
            not_taken: make.gauges(
                "certificates_refused",
                "1 while what a file of certificates, or of revoked ones, has is not taken, and the one before serves.",
                &["name"],
            )?,
            certificates: Mutex::default(),
        })
    }

    pub(super) fn handshake(&self, version: &str, is_resumed: bool) {
        let resumed = if is_resumed { "true" } else { "false" };
        self.handshakes.with_label_values(&[version, resumed]).inc();
    }

    pub(super) fn handshake_failed(&self, reason: &str) {
        self.handshake_failures.with_label_values(&[reason]).inc();
    }

    pub(super) fn proxy_failed(&self, reason: &str) {
        self.proxy_failures.with_label_values(&[reason]).inc();
    }

    pub(super) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    pub(super) fn certificates(&self, certificates: Vec<CertificateSeries>) {
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    pub(super) fn show(&self) {
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        [&self.expiry, &self.revocations_expiry, &self.not_taken].into_iter().for_each(IntGaugeVec::reset);
        for CertificateSeries { name, end, is_refused } in &*certificates {
            let of = |series: &IntGaugeVec, end: &SystemTime| {
                series.with_label_values(&[name.as_str()]).set(unix_time(*end));
            };
            match end {
                Some(End::OfCertificate(end)) => of(&self.expiry, end),
                Some(End::OfRevocations(end)) => of(&self.revocations_expiry, end),
                None => {}
            }
            self.not_taken.with_label_values(&[name.as_str()]).set((*is_refused).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Registry, TextEncoder};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn what_has_an_end_has_a_series_of_it_and_each_file_one_of_whether_it_is_refused() {
        let registry = Registry::new();
        let metrics = TlsMetrics::new(&Maker { registry: &registry, prefix: "leaseway_" }).unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let series = |name: &str, end: Option<End>| CertificateSeries {
            name: name.to_owned(),
            end,
            is_refused: end.is_none(),
        };
        metrics.certificates(vec![
            series("/ca", None),
            series("/crl", Some(End::OfRevocations(at(7)))),
            series("/shop", Some(End::OfCertificate(at(9)))),
        ]);
        metrics.show();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("name=")).collect();
        let expected = [
            "leaseway_certificate_expiry_timestamp_seconds{name=\"/shop\"} 9",
            "leaseway_certificates_refused{name=\"/ca\"} 1",
            "leaseway_certificates_refused{name=\"/crl\"} 0",
            "leaseway_certificates_refused{name=\"/shop\"} 0",
            "leaseway_revocations_expiry_timestamp_seconds{name=\"/crl\"} 7",
        ];
        assert_eq!(lines, expected);
    }
}
