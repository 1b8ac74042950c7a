//! The gateway's own carrier, for clients who speak HTTP/2, whatever the instance speaks. Each request is a stream and has a
//! task of its own; what it waits for, a client who leaves, an instance that falls silent, touches that stream alone. Frames,
//! windows and the compression of heads are the h2 crate's.
//!
//! ```text
//! serving       a client's connection, from its preface to its end
//!   leaving       when it ends: pure                    bodies     which of a client's bodies go on
//! exchange      one request's way: it is let in, has attempts, is answered, is logged
//!   polls         what it waits for                     connect    how it comes to an instance
//!   client        its client's stream                   instance   an instance, whatever it speaks
//!   upload        its body on its way                   download   that of its answer
//! head          a request's head as it came             heads      what instances and clients get of heads
//!   shortened     what is left of one that is too long
//!   spaces        white space around values
//! piece         a piece of a body                       begun      a connection of which something was read
//! to_browser  what an exchange makes of an answer whose client is a browser
//! ```

mod begun;
mod bodies;
mod client;
mod connect;
mod download;
mod exchange;
mod head;
mod heads;
mod instance;
mod leaving;
mod piece;
mod polls;
mod serving;
mod shortened;
mod spaces;
#[cfg(test)]
mod tests;
mod to_browser;
mod upload;
pub(super) mod web;

use std::sync::Arc;

use super::Dialer;
use crate::gateway::Gateway;
use crate::gateway::origin::Arrival;
use crate::traffic::in_flight::InFlight;
use crate::traffic::kept::Sweeper;
pub(in crate::gateway) use begun::Begun;
use bodies::Bodies;
pub(super) use head::leave_out_of_connection;
pub(super) use instance::{AnswerBegin, OverHttp2};
pub(super) use piece::{Piece, fit_trailers};
pub(in crate::gateway) use serving::{PREFACE, spread};
pub(in crate::gateway) use shortened::LONGEST_READ;

/// Carries the requests of clients who speak HTTP/2.
#[derive(Debug)]
pub(in crate::gateway) struct Carrier {
    pub(in crate::gateway) gateway: Arc<Gateway>,
    /// Keeps the connections to instances, in HTTP/1, that nobody uses.
    pub(in crate::gateway) sweeper: Arc<Sweeper>,
    pub(in crate::gateway) dialer: Arc<Dialer>,
}

/// What the requests of one connection share.
#[derive(Debug)]
struct Shared {
    carrier: Arc<Carrier>,
    arrival: Arrival,
    bodies: Bodies,
    /// Those that have not ended.
    open: Arc<InFlight>,
}

impl Shared {
    fn carrier(&self) -> &Arc<Carrier> {
        &self.carrier
    }

    fn gateway(&self) -> &Arc<Gateway> {
        &self.carrier.gateway
    }

    fn arrival(&self) -> Arrival {
        self.arrival.clone()
    }

    fn bodies(&self) -> &Bodies {
        &self.bodies
    }
}
