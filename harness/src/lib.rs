//! What Leaseway's tests stand on: a real etcd and a scripted one, real processes, backends that are told
//! what to answer, a client that counts what failed.
//!
//! Nothing here depends on Leaseway's own crates: etcd is reached through `etcd-client`, the gateway and
//! its backends as processes and over sockets, as any user reaches them.

pub mod backend;
mod built;
pub mod certificates;
pub mod etcd;
pub mod fake;
pub mod grpc;
pub mod http;
pub mod impostor;
mod keys;
pub mod link;
pub mod load;
mod output;
pub mod ports;
pub mod process;
pub mod quantile;
pub mod relay;
pub mod rooms;
pub mod stack;
pub mod tls;
pub mod users;
pub mod wait;
pub mod wire;

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The topmost first.
    const ORDER: &[&str] = &[
        "stack",
        "fake",
        "etcd",
        "tls",
        "relay",
        "impostor",
        "load",
        "grpc",
        "backend",
        "http",
        "wire",
        "link",
        "certificates",
        "users",
        "keys",
        "ports",
        "process",
        "built",
        "output",
        "quantile",
        "rooms",
        "wait",
    ];

    #[test]
    fn a_module_uses_only_those_that_come_after_it_in_the_order() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(crate::rooms::check(&src, ORDER), [""; 0]);
    }
}
