//! Services that register themselves in etcd under a lease, and those who want to know where they are.
//!
//! A backend keeps itself registered with a [`Registrar`](register::Registrar); a gateway follows all
//! registrations with a [`watch`](watch::watch()). Both keep to one [`contract`]: the layout of the keys and the
//! format of the values, which any program in any language can write with etcd's own tools.
//!
//! | module | |
//! |---|---|
//! | [`register`] | keeps one instance registered |
//! | [`watch`] | a live picture of all registrations |
//! | [`contract`] | keys and values: what is read and written |
//! | [`connect`] | how etcd is reached, and what went wrong if it is not |
//! | [`networks`] | which addresses instances may have |
//! | [`backoff`] | how long to wait after a failure |
//! | [`log_line`] | makes log lines safe that quote what others have written |
//!
//! # A backend that registers itself
//!
//! ```no_run
//! use leaseway_registry::connect::{ConnectionSettings, Tls, User};
//! use leaseway_registry::{contract::Prefix, register::{Registrar, Registration}};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let etcd = ConnectionSettings {
//!     user: Some(User { name: "goods".into(), password_file: "/run/secrets/etcd-password".into() }),
//!     tls: Some(Tls { ca: Some("/etc/goods/etcd-ca.pem".into()), ..Tls::default() }), // also cert and key
//!     ..ConnectionSettings::to(["https://etcd-1:2379", "https://etcd-2:2379"])
//! }; // for an etcd without both: ConnectionSettings::to(["http://127.0.0.1:2379"])
//! let registration = Registration::new("goods", "goods-1", "10.0.0.5:80".parse()?);
//! let registrar = Registrar::start(etcd, Prefix::default(), registration)?;
//! // ... serve requests until told to stop, then:
//! registrar.deregister().await; // gateways send nothing new from here on
//! // ... finish what is in flight and exit
//! # Ok(())
//! # }
//! ```

#![warn(unreachable_pub)]

pub mod backoff;
pub mod connect;
pub mod contract;
pub mod log_line;
pub mod networks;
pub mod register;
#[doc(hidden)]
pub mod timing;
pub mod watch;

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The topmost first.
    const ORDER: &[&str] =
        &["register", "watch", "connect", "contract", "networks", "backoff", "timing", "log_line"];

    #[test]
    fn a_module_uses_only_those_that_come_after_it_in_the_order() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(harness::rooms::check(&src, ORDER), [""; 0]);
    }
}

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
