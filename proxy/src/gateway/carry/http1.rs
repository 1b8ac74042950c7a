//! The gateway's own carrier, for HTTP/1. A head is spliced, not built anew. A request has one task, and one buffer for
//! each direction; time, stalls and clients that leave are looked at in one wait.
//!
//! ```text
//! exchange      one request's way: it is let in, has attempts, is answered, is logged
//!   progress      how far it has come                      connect      connections to instances
//!   polls         what it waits for                        reply        answers of the gateway's own
//!   request_head  what an instance gets of the head        answer_head  what a client gets
//!   splice        lines that came, left out and added      pump         a body on its way
//!   tunnel        what an upgrade comes to                   straight     a large one, of which nothing is held
//!                                                          trailers     what stands behind a body
//! over_http2    an instance that speaks HTTP/2, as if it spoke HTTP/1
//! desk          what a request needs room for
//! ```

mod answer_head;
mod connect;
mod desk;
mod exchange;
mod over_http2;
mod polls;
mod progress;
mod pump;
mod reply;
mod request_head;
mod splice;
mod trailers;
mod tunnel;
mod web;

use std::sync::Arc;

pub(in crate::gateway) use desk::{Desk, Desks};

use crate::gateway::Gateway;
use crate::gateway::answer::Answer;
use crate::gateway::carry::{Client, Dialer};
use crate::gateway::grammar::Body;
use crate::tasks;
use crate::traffic::kept::Sweeper;
use exchange::Exchange;
use progress::{Progress, Told};
use pump::Manner;

/// What carries HTTP/1 requests to instances that speak it.
#[derive(Debug)]
pub(in crate::gateway) struct Carrier {
    pub(in crate::gateway) desks: Desks,
    /// Keeps the connections to instances that nobody uses.
    pub(in crate::gateway) sweeper: Arc<Sweeper>,
    pub(in crate::gateway) dialer: Arc<Dialer>,
}

/// What becomes of a client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum After {
    /// It serves the next one.
    Next,
    /// It is closed. `is_sending`: the client may be sending still, so what it sends is read for a while.
    Close { is_sending: bool },
    /// It is broken off, such that nobody takes what was sent for a whole answer.
    BreakOff,
}

impl Carrier {
    /// Carries the request whose head is on the desk.
    pub(in crate::gateway) async fn carry(
        &self,
        gateway: &Gateway,
        client: &mut Client,
        desk: &mut Desk,
    ) -> After {
        self.answer(gateway, client, desk, None).await
    }

    /// Answers what is no request, or no whole one.
    pub(in crate::gateway) async fn refuse(
        &self,
        gateway: &Gateway,
        client: &mut Client,
        desk: &mut Desk,
        answer: Answer,
    ) -> After {
        self.answer(gateway, client, desk, Some(answer)).await
    }

    async fn answer(
        &self,
        gateway: &Gateway,
        client: &mut Client,
        desk: &mut Desk,
        refused: Option<Answer>,
    ) -> After {
        let now = tasks::now();
        let mut request = gateway.request(now);
        let Desk { head, parsed, upload, download, answer, added } = desk;
        upload.begin(Body::of(parsed.framing()), Manner::AsIs, &request.common.trace_header);
        let mut exchange = Exchange {
            carrier: self,
            gateway,
            client,
            head: parsed.of(head.bytes()),
            request: &mut request,
            upload,
            download,
            answer,
            added,
            told: Told::default(),
            progress: Progress::begun(now),
            web_call: None,
            now,
        };
        exchange.run(refused).await
    }
}
