//! Leaseway: a reverse proxy for services that register themselves in etcd under a lease.
//!
//! Its rooms, the topmost first. Each may use those below it, none above:
//!
//! ```text
//! server      how the gateway starts and stops
//! admin       what operators ask
//! gateway     the way of a request
//! site        what a configuration says of requests: routes, times, limits
//! discovery   the registry's updates and health's findings -> the directory
//! snapshot    the directory in a file
//! health      what acts on endpoints' health
//! balance     whom a request goes to
//! metrics     what is counted
//! lookout     which addresses no instance may have
//! lifecycle   from ready to gone
//! directory   who is there
//! traffic     what requests leave behind at an endpoint
//! link        a connection, to a client or to an instance
//! tls         certificates, and what handshakes go by
//! tasks       what all that runs beside the requests has in common
//! causes      errors in plain words
//! head        a request's head, whoever has parsed it
//! authority   the host that a client names
//! cli         the command line
//! config      the configuration file
//! path        a request's path in its normal form
//! forged      headers by which proxies tell who asked
//! logging     where log lines go
//! grpc        gRPC's status codes
//! ```
//!
//! `main` is above them; the registry itself is the crate `leaseway-registry`. A test holds the sources against this
//! order, which is written here alone.
//!
//! Public is what `main`, the examples and the tests outside use, and nothing else.

#![warn(unreachable_pub)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "read with --document-private-items: it is no library for others"
)]

mod admin;
mod authority;
pub mod balance;
mod causes;
pub mod cli;
pub mod config;
pub mod directory;
pub mod discovery;
mod forged;
mod gateway;
mod grpc;
mod head;
mod health;
mod lifecycle;
mod link;
pub mod logging;
mod lookout;
pub mod metrics;
mod path;
pub mod server;
pub mod site;
mod snapshot;
mod tasks;
mod tls;
pub mod traffic;

pub use gateway::explain;

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn each_room_uses_only_those_below_it_in_the_order_above() {
        let doc = include_str!("lib.rs").split("//! ```").nth(1).expect("the list of rooms");
        let lines = doc.lines().skip(1).filter_map(|line| line.strip_prefix("//! "));
        let order: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
        assert!(order.len() > 10, "{order:?}");
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(harness::rooms::check(&src, &order), [""; 0]);
    }
}
