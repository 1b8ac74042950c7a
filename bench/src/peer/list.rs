//! The list of them.

use super::{CONTROL, HTTP2_CONTROL, Peer, Program, SECOND_CONTROL};
use crate::case::{Case, Cases};

pub(super) const LEASEWAY: Peer = Peer {
    name: "Leaseway",
    program: Program::Built("proxy", "cargo build --release --package proxy"),
    files: &[("leaseway.yaml", include_str!("../../peers/leaseway.yaml"))],
    arguments: &["-c", "@directory@/leaseway.yaml"],
    environment: &[],
    version: &["--version"],
    words: &[("http1_carrier", "ours"), ("http2_carrier", "ours")],
    request_id: Some("trace_id"),
    cases: Cases::All,
    duties: "request id, access log, a registry in it",
};

const HAPROXY: Peer = Peer {
    name: SECOND_CONTROL,
    program: Program::Installed("haproxy"),
    files: &[("haproxy.cfg", include_str!("../../peers/haproxy.cfg"))],
    // In the foreground.
    arguments: &["-db", "-f", "@directory@/haproxy.cfg"],
    environment: &[],
    version: &["-v"],
    words: &[("splice", "no")],
    request_id: Some("x-request-id"),
    cases: Cases::All,
    duties: "request id, access log",
};

/// All there are, in the order in which they are shown.
pub(super) const PEERS: &[Peer] = &[
    LEASEWAY,
    Peer {
        name: "Leaseway, `http1: pingora`",
        words: &[("http1_carrier", "pingora"), ("http2_carrier", "ours")],
        cases: Cases::Http1,
        ..LEASEWAY
    },
    Peer {
        name: "Leaseway, `http2: pingora`",
        words: &[("http1_carrier", "ours"), ("http2_carrier", "pingora")],
        cases: Cases::Http2,
        ..LEASEWAY
    },
    Peer {
        name: CONTROL,
        program: Program::Installed("nginx"),
        files: &[("nginx.conf", include_str!("../../peers/nginx.conf"))],
        // -e: where it says what is wrong before it has read its configuration.
        arguments: &["-e", "stderr", "-p", "@directory@", "-c", "@directory@/nginx.conf"],
        environment: &[],
        version: &["-v"],
        words: &[],
        request_id: Some("x-request-id"),
        cases: Cases::All,
        duties: "request id, access log",
    },
    HAPROXY,
    Peer {
        name: "HAProxy, `splice-response`",
        words: &[("splice", "")],
        cases: Cases::Only(Case::Large),
        duties: "the same; the kernel moves bodies, unseen",
        ..HAPROXY
    },
    Peer {
        name: HTTP2_CONTROL,
        program: Program::Installed("envoy"),
        files: &[("envoy.yaml", include_str!("../../peers/envoy.yaml"))],
        arguments: &[
            "--config-path",
            "@directory@/envoy.yaml",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ],
        environment: &[],
        version: &["--version"],
        words: &[],
        request_id: Some("x-request-id"),
        cases: Cases::All,
        duties: "request id, access log",
    },
    Peer {
        name: "Traefik",
        program: Program::Installed("traefik"),
        files: &[
            ("traefik.yaml", include_str!("../../peers/traefik.yaml")),
            ("routes.yaml", include_str!("../../peers/traefik-routes.yaml")),
        ],
        arguments: &["--configFile=@directory@/traefik.yaml"],
        environment: &[("GOMAXPROCS", "1")],
        version: &["version"],
        words: &[],
        request_id: None,
        cases: Cases::All,
        duties: "access log; it makes no request id",
    },
    Peer {
        name: "Caddy",
        program: Program::Installed("caddy"),
        files: &[("Caddyfile", include_str!("../../peers/Caddyfile"))],
        arguments: &["run", "--adapter", "caddyfile", "--config", "@directory@/Caddyfile"],
        environment: &[("GOMAXPROCS", "1")],
        version: &["version"],
        words: &[],
        request_id: Some("x-request-id"),
        cases: Cases::All,
        duties: "request id, access log",
    },
    Peer {
        name: "bare Pingora",
        program: Program::Built("examples/bare", "cargo build --release --package proxy --example bare"),
        files: &[],
        arguments: &["@listen@", "@backend1@", "@backend2@", "@backend3@"],
        environment: &[],
        version: &[],
        words: &[],
        request_id: None,
        cases: Cases::InClear,
        duties: "neither: it forwards, and that is all (proxy/examples/bare.rs)",
    },
];
