//! What is measured, and how much of it.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    backend::{ECHO, LARGE, SMALL},
    flood::Flood,
    stream::Handshakes,
};

/// What is done to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    Small,
    Many,
    Post,
    Large,
    Fresh,
    Idle,
    Busy,
    TlsSmall,
    TlsNew,
    TlsResumed,
    TlsIdle,
    Unread,
    SlowHeads,
    LargeHeads,
    SlowBodies,
    HalfHandshakes,
    Silent,
    GrpcUnary,
    Http2Idle,
    Flood(Flood),
}

/// All there are, in the order in which they are measured and shown.
pub(crate) const CASES: [Case; 25] = [
    Case::Small,
    Case::Many,
    Case::Post,
    Case::Large,
    Case::Fresh,
    Case::Idle,
    Case::Busy,
    Case::TlsSmall,
    Case::TlsNew,
    Case::TlsResumed,
    Case::TlsIdle,
    Case::Unread,
    Case::SlowHeads,
    Case::LargeHeads,
    Case::SlowBodies,
    Case::HalfHandshakes,
    Case::Silent,
    Case::GrpcUnary,
    Case::Http2Idle,
    Case::Flood(Flood::Reset),
    Case::Flood(Flood::Continuation),
    Case::Flood(Flood::Settings),
    Case::Flood(Flood::Ping),
    Case::Flood(Flood::Data),
    Case::Flood(Flood::Headers),
];

/// The cases that a proxy is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cases {
    All,
    /// Those of HTTP/1.
    Http1,
    /// Those of HTTP/1 without TLS.
    InClear,
    /// Those of HTTP/2, without gRPC.
    Http2,
    Only(Case),
}

/// A figure, in the unit that its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Cpu,
    User,
    Kernel,
    Rate,
    P50,
    P99,
    P999,
    /// Of one connection.
    Kilobytes,
    /// The most there was, beyond what there was before.
    Megabytes,
    /// The most there was of all.
    Resident,
    /// Requests of the others that failed, or were not answered in time.
    Unanswered,
    /// Connections of those that behave badly that are still open at the end.
    Open,
}

/// A column of a case's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Of(Measure),
    /// Over the control's, round by round.
    Beside(Measure),
    /// Over HAProxy's.
    BesideHaproxy(Measure),
    /// Over Envoy's.
    BesideEnvoy(Measure),
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    /// How long a load runs and is measured.
    pub(crate) load: Duration,
    /// How long it runs before that: threads, pools and caches warm up.
    pub(crate) warm: Duration,
    /// How long clients that behave badly do so.
    pub(crate) abuse: Duration,
    /// The last of those that fall silent has so long until it is counted as open.
    pub(crate) silence: Duration,
    /// Before memory is looked at, what is freed is freed.
    pub(crate) calm: Duration,
    /// Of all numbers of connections below, one in so many is opened.
    pub(crate) divisor: usize,
}

pub(crate) const FULL: Scale = Scale {
    rounds: 5,
    load: Duration::from_secs(3),
    warm: Duration::from_millis(500),
    abuse: Duration::from_secs(5),
    silence: Duration::from_secs(15),
    calm: Duration::from_millis(500),
    divisor: 1,
};
/// It shows that everything works, and measures nothing.
pub(crate) const SHORT: Scale = Scale {
    rounds: 1,
    load: Duration::from_millis(50),
    warm: Duration::from_millis(10),
    abuse: Duration::from_millis(100),
    silence: Duration::ZERO,
    calm: Duration::ZERO,
    divisor: 40,
};

impl Scale {
    /// So many of these connections, and at least one.
    pub(crate) fn connections(self, count: usize) -> usize {
        (count / self.divisor).max(1)
    }
}

impl Cases {
    pub(crate) fn has(self, case: Case) -> bool {
        match self {
            Self::All => true,
            Self::Http1 => !case.is_http2(),
            Self::InClear => !case.is_http2() && case.tls().is_none(),
            Self::Http2 => case.is_http2() && case != Case::GrpcUnary,
            Self::Only(only) => case == only,
        }
    }
}

impl Case {
    /// As it is asked for, and as the JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Many => "many",
            Self::Post => "post",
            Self::Large => "large",
            Self::Fresh => "fresh",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::TlsSmall => "tls-small",
            Self::TlsNew => "tls-new",
            Self::TlsResumed => "tls-resumed",
            Self::TlsIdle => "tls-idle",
            Self::Unread => "unread",
            Self::SlowHeads => "slow-heads",
            Self::LargeHeads => "large-heads",
            Self::SlowBodies => "slow-bodies",
            Self::HalfHandshakes => "half-handshakes",
            Self::Silent => "silent",
            Self::GrpcUnary => "grpc-unary",
            Self::Http2Idle => "http2-idle",
            Self::Flood(flood) => flood.name(),
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Small => "Answers of 60 bytes, 64 connections",
            Self::Many => "Answers of 60 bytes, 1,000 connections",
            Self::Post => "POST of 1 KB, answered with 1 KB, 64 connections",
            Self::Large => "Answers of 1 MiB, 64 connections",
            Self::Fresh => "Answers of 60 bytes, each on a new connection, 64 at a time",
            Self::Idle => "Answers of 60 bytes, 64 connections, beside 10,000 idle ones",
            Self::Busy => "4,000 connections, each with a request that waits for its answer",
            Self::TlsSmall => "TLS: answers of 60 bytes, 64 connections",
            Self::TlsNew => "TLS: answers of 60 bytes, each on a new connection with a full handshake",
            Self::TlsResumed => "TLS: answers of 60 bytes, each on a new connection with a resumed handshake",
            Self::TlsIdle => "TLS: answers of 60 bytes, 64 connections, beside 10,000 idle ones",
            Self::Unread => "1,000 clients that ask for 10 MB and read nothing",
            Self::SlowHeads => "2,000 clients that send a field of a request's head every second",
            Self::LargeHeads => "200 clients that send heads of 1 MB",
            Self::SlowBodies => "2,000 clients that send 1 KB of a body of 1 MB every second",
            Self::HalfHandshakes => "5,000 clients that begin a TLS handshake and fall silent",
            Self::Silent => "5,000 clients that connect to the port of TLS and send nothing",
            Self::GrpcUnary => {
                "gRPC: unary calls of 64 bytes and as many back, 64 at a time on 10 connections"
            }
            Self::Http2Idle => "HTTP/2: 10,000 idle connections",
            Self::Flood(flood) => flood.title(),
        }
    }

    /// How many connections it has, beside those of the load.
    pub(crate) fn connections(self) -> usize {
        match self {
            Self::Small | Self::Post | Self::Large | Self::Fresh => 64,
            Self::TlsSmall | Self::TlsNew | Self::TlsResumed => 64,
            Self::GrpcUnary => 10,
            Self::Many | Self::Unread | Self::Flood(_) => 1000,
            Self::Idle | Self::TlsIdle | Self::Http2Idle => 10_000,
            Self::Busy => 4000,
            Self::SlowHeads | Self::SlowBodies => 2000,
            Self::LargeHeads => 200,
            Self::HalfHandshakes | Self::Silent => 5000,
        }
    }

    /// Whether a proxy has a connection of its own for each of them.
    pub(crate) fn reaches_the_backend(self) -> bool {
        !matches!(self, Self::Idle | Self::TlsIdle | Self::Http2Idle) && !self.falls_silent()
    }

    /// How its clients shake hands, if it is one of TLS.
    pub(crate) fn tls(self) -> Option<Handshakes> {
        match self {
            Self::TlsResumed => Some(Handshakes::Resumed),
            Self::TlsSmall | Self::TlsNew | Self::TlsIdle | Self::HalfHandshakes | Self::Silent => {
                Some(Handshakes::Full)
            }
            _ => None,
        }
    }

    /// Whether its clients, or those of them that behave badly, speak HTTP/2.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::GrpcUnary | Self::Http2Idle | Self::Flood(_))
    }

    /// What its load asks for, and the size of the answer.
    pub(crate) fn asks(self) -> (&'static str, usize) {
        match self {
            Self::Post => (ECHO, 1024),
            Self::Large => LARGE,
            _ => SMALL,
        }
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        use Column::{Beside, BesideEnvoy, BesideHaproxy, Of};
        use Measure::{
            Cpu, Kernel, Kilobytes, Megabytes, Open, P50, P99, P999, Rate, Resident, Unanswered, User,
        };
        match self {
            Self::Busy => &[Of(Kilobytes), Beside(Kilobytes)],
            Self::Idle => &[Of(Kilobytes), Of(Cpu), Beside(Cpu), Of(Rate), Of(P50), Of(P99), Of(P999)],
            Self::TlsIdle => &[Of(Kilobytes), Beside(Kilobytes), Of(Cpu), Beside(Cpu)],
            // The load's core has more to do than the proxy's, so that any rate or latency would be the load's.
            Self::TlsNew | Self::TlsResumed => {
                &[Of(Cpu), Of(User), Of(Kernel), Beside(Cpu), BesideHaproxy(Cpu)]
            }
            Self::GrpcUnary => {
                &[Of(Cpu), Of(User), Of(Kernel), Beside(Cpu), BesideEnvoy(Cpu), Of(Rate), Of(P50), Of(P99)]
            }
            Self::Http2Idle => &[Of(Kilobytes), Beside(Kilobytes), BesideEnvoy(Kilobytes)],
            Self::Flood(_) => {
                &[Of(Resident), Of(Megabytes), Of(P50), Of(P99), Beside(P99), Of(Unanswered), Of(Open)]
            }
            case if case.is_abuse() => &[Of(Megabytes), Of(P50), Of(P99), Beside(P99), Of(Open)],
            _ => &[Of(Cpu), Of(User), Of(Kernel), Beside(Cpu), Of(Rate), Of(P50), Of(P99), Of(P999)],
        }
    }

    /// Whether it has clients that behave badly.
    pub(crate) fn is_abuse(self) -> bool {
        let is_busy = matches!(self, Self::Unread | Self::SlowHeads | Self::LargeHeads | Self::SlowBodies);
        is_busy || self.falls_silent() || matches!(self, Self::Flood(_))
    }

    /// Whether these do not come again when they were closed.
    pub(crate) fn comes_once(self) -> bool {
        self.falls_silent() || matches!(self, Self::Flood(_))
    }

    /// Whether these only wait.
    pub(crate) fn falls_silent(self) -> bool {
        matches!(self, Self::HalfHandshakes | Self::Silent)
    }

    /// Those that are asked for by their names; `loads` and `abuse` are those without and with bad clients, `tls` those
    /// with TLS, `http2` those of HTTP/2. All of them by no name.
    ///
    /// # Errors
    /// When a name is unknown.
    pub(crate) fn chosen(names: &[String]) -> Result<Vec<Self>> {
        let mut chosen = Vec::new();
        for name in names {
            let before = chosen.len();
            chosen.extend(CASES.into_iter().filter(|case| match name.as_str() {
                "abuse" => case.is_abuse(),
                "loads" => !case.is_abuse(),
                "tls" => case.tls().is_some(),
                "http2" => case.is_http2(),
                name => case.name() == name,
            }));
            if chosen.len() == before {
                let known = CASES.map(Self::name).join(", ");
                bail!(
                    "no case is called {name}; there are {known}, and loads, abuse, tls and http2 for many of \
                     them"
                );
            }
        }
        Ok(if names.is_empty() { CASES.to_vec() } else { chosen })
    }
}

impl Measure {
    /// As a table has it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU, us a request",
            Self::User => "user",
            Self::Kernel => "kernel",
            Self::Rate => "requests a second",
            Self::P50 => "p50, ms",
            Self::P99 => "p99, ms",
            Self::P999 => "p99.9, ms",
            Self::Kilobytes => "KB a connection",
            Self::Megabytes => "MB more",
            Self::Resident => "MB at most",
            Self::Unanswered => "others failed",
            Self::Open => "still open",
        }
    }

    /// As the JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_us",
            Self::User => "user_us",
            Self::Kernel => "kernel_us",
            Self::Rate => "requests_per_second",
            Self::P50 => "p50_ms",
            Self::P99 => "p99_ms",
            Self::P999 => "p999_ms",
            Self::Kilobytes => "kb_per_connection",
            Self::Megabytes => "mb_more",
            Self::Resident => "mb_most",
            Self::Unanswered => "others_failed",
            Self::Open => "open",
        }
    }
}

impl Column {
    pub(crate) fn title(self) -> String {
        match self {
            Self::Of(measure) => measure.title().to_owned(),
            Self::Beside(measure) => beside(measure, "nginx"),
            Self::BesideHaproxy(measure) => beside(measure, "HAProxy"),
            Self::BesideEnvoy(measure) => beside(measure, "Envoy"),
        }
    }
}

/// CPU time goes without saying.
fn beside(measure: Measure, control: &str) -> String {
    match measure {
        Measure::P99 | Measure::Kilobytes => {
            let (name, _) = measure.title().split_once([',', ' ']).unwrap_or((measure.title(), ""));
            format!("{name} beside {control}'s")
        }
        _ => format!("beside {control}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Result<Vec<Case>> {
        Case::chosen(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn cases_are_chosen_by_name_or_by_kind() {
        assert_eq!(chosen(&[]).unwrap(), CASES);
        assert_eq!(chosen(&["large", "small"]).unwrap(), [Case::Large, Case::Small]);
        assert_eq!(chosen(&["abuse"]).unwrap().len(), 12);
        assert_eq!(chosen(&["loads"]).unwrap().len(), 13);
        assert_eq!(chosen(&["tls"]).unwrap().len(), 6);
        assert_eq!(chosen(&["http2"]).unwrap().len(), 8);
        assert!(chosen(&["smal"]).unwrap_err().to_string().contains("small, many"));
    }

    #[test]
    fn every_case_and_measure_has_a_name_of_its_own() {
        let mut names = CASES.map(Case::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        let titles: Vec<_> = Case::SlowHeads.columns().iter().map(|column| column.title()).collect();
        assert_eq!(titles, ["MB more", "p50, ms", "p99, ms", "p99 beside nginx's", "still open"]);
        let titles: Vec<_> = Case::Http2Idle.columns().iter().map(|column| column.title()).collect();
        assert_eq!(titles, ["KB a connection", "KB beside nginx's", "KB beside Envoy's"]);
    }

    #[test]
    fn a_proxy_is_in_the_cases_of_what_it_speaks() {
        let of = |cases: Cases| CASES.into_iter().filter(|&case| cases.has(case)).collect::<Vec<_>>();
        assert_eq!(of(Cases::All), CASES);
        assert_eq!(of(Cases::Only(Case::Large)), [Case::Large]);
        let (tls, http2) = (chosen(&["tls"]).unwrap(), chosen(&["http2"]).unwrap());
        assert_eq!(of(Cases::InClear).len() + tls.len() + http2.len(), CASES.len());
        assert!(tls.iter().chain(&http2).all(|&case| !Cases::InClear.has(case)));
        assert_eq!(of(Cases::Http2), http2[1..]);
        assert_eq!(of(Cases::Http1).len() + http2.len(), CASES.len());
    }

    #[test]
    fn a_smoke_run_has_fewer_connections_and_never_none() {
        assert_eq!(FULL.connections(64), 64);
        assert_eq!(SHORT.connections(4000), 100);
        assert_eq!(SHORT.connections(10), 1);
    }
}
