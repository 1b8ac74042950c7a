//! What an exchange makes of an answer whose client is a browser.

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::exchange::Exchange;
use super::web;
use crate::gateway::grpc::Form;

impl Exchange {
    /// How the client wants its answer, if it is that to a call of gRPC-Web, and gRPC's.
    fn answer_form(&self, is_whole: bool) -> Option<Form<'_>> {
        self.request.web_form(&self.head).filter(|_| is_whole || self.awaits_trailers)
    }

    /// See [`web::fit_answer`].
    pub(super) fn fit_web_answer(&self, head: &mut Response<()>, is_whole: bool) -> Option<Bytes> {
        web::fit_answer(self.answer_form(is_whole)?, head, is_whole)
    }

    /// A piece of the answer as the client gets it.
    pub(super) fn fit_piece(&self, bytes: Bytes) -> Bytes {
        match self.answer_form(false) {
            Some(form) => form.piece(bytes),
            None => bytes,
        }
    }

    /// What an answer ends with that has these trailers, if its client cannot see any.
    pub(super) fn web_last_piece(&self, trailers: &HeaderMap) -> Option<Bytes> {
        Some(web::last_piece(self.request.web_form(&self.head)?, trailers))
    }
}
