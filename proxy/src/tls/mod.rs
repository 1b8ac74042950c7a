//! Certificates, and what handshakes go by: with clients, and with instances.
//!
//! ```text
//! server       what a listener's handshakes go by
//!   names        which certificate goes by the name that a client asks for; pure
//!   demand       which certificates clients show
//!     revocations  lists of those that are revoked, in a file
//!   failure      why a client's handshake failed
//!   identity     whom a client's certificate names
//!   resumed      whether it is still valid when a session goes on
//! instances    whom a service's instances have to be, for both carriers
//!   client       what handshakes with them go by
//!   connector    how they are made, and go on with sessions of before
//!   instance_error  why one has failed
//! certificate  a certificate and its key, as long as they are used: made anew when their files change
//!   pair         what two files make a certificate and its key, and why they do not
//!   ending       when it is told that one ends; pure
//! wire         what is below TLS, with clients and with instances
//! kept         what is made of files, and made anew when they change
//!   looks        when what a look has found is taken; pure
//! authorities  the certificates of authorities, in a file
//! watched      what follows its files
//! event        what is told of all that
//! error        why a file cannot be used
//! ```

mod application;
mod authorities;
mod certificate;
mod client;
mod connector;
mod demand;
mod ending;
mod error;
mod event;
mod failure;
#[cfg(test)]
pub(crate) mod fixture;
mod identity;
mod instance_error;
mod instances;
mod kept;
mod looks;
mod names;
mod pair;
mod resumed;
mod revocations;
mod server;
#[cfg(test)]
mod tests;
mod watched;
mod wire;

pub(crate) use application::Application;
pub(crate) use certificate::Expired;
pub(crate) use error::TlsError;
pub(crate) use event::{CertificateState, Event, Kind};
pub(crate) use failure::HandshakeFailure;
pub(crate) use identity::Identity;
#[cfg(test)]
pub(crate) use identity::tests::certificate;
pub(crate) use instance_error::{Fault, InstanceError, alert_of};
pub(crate) use instances::{InstanceTls, check_address};
pub(crate) use resumed::check_resumed;
pub(crate) use server::ServerTls;
pub(crate) use watched::Watched;
pub(crate) use wire::{Stream, stream};
