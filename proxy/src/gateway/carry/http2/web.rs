//! gRPC-Web on its way: what comes over a stream goes on as gRPC, and what comes back is made into what a browser can read.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::piece::Piece;
use crate::gateway::carry::failure::Failed;
use crate::gateway::grpc::{Decoder, Form, NotBase64, TYPE, is_of_trailers};
use crate::gateway::protocol::Speaks;

/// The body of a call, which may be text.
#[derive(Debug, Default)]
pub(in crate::gateway::carry) struct Text(Option<Decoder>);

impl Text {
    /// It is of a call of this form, if it is one of gRPC-Web. What was read of it before is not forgotten.
    pub(in crate::gateway::carry) fn begin(&mut self, form: Option<Form<'_>>) {
        if form.is_some_and(|form| form.is_text) {
            self.0.get_or_insert_default();
        }
    }

    /// A piece as it goes on.
    pub(super) fn read(&mut self, piece: Piece) -> Result<Piece, Failed> {
        let read = match piece {
            Piece::Data { bytes, is_last } => {
                self.decode(bytes, is_last).map(|bytes| Piece::Data { bytes, is_last })
            }
            piece => self.decode(Bytes::new(), true).map(|_| piece),
        };
        read.map_err(|error| Failed::Malformed(error.why()))
    }

    /// The bytes that these stand for, and those that were left before. `is_last`: nothing follows.
    pub(in crate::gateway::carry) fn decode(
        &mut self,
        bytes: Bytes,
        is_last: bool,
    ) -> Result<Bytes, NotBase64> {
        let Some(decoder) = &mut self.0 else { return Ok(bytes) };
        let mut out = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
        decoder.decode(&bytes, &mut out)?;
        if is_last {
            std::mem::take(decoder).end()?;
        }
        Ok(out.into())
    }
}

/// What the head of a call says otherwise as it goes on. (Its type the gateway has changed for every carrier.)
pub(in crate::gateway::carry) fn fit_call(form: Form<'_>, speaks: Speaks, fields: &mut HeaderMap) {
    if speaks == Speaks::Http2 {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if form.is_text {
        // Of what is not base64 any more, nobody knows the length.
        fields.remove(header::CONTENT_LENGTH);
    }
}

/// Makes the head of an answer into what a browser can read. `is_whole`: nothing follows it; then this is its body.
pub(in crate::gateway::carry) fn fit_answer(
    form: Form<'_>,
    head: &mut Response<()>,
    is_whole: bool,
) -> Option<Bytes> {
    let fields = head.headers_mut();
    // What is no answer of gRPC but for its last fields has no message, and no type of one.
    let came = fields.get(header::CONTENT_TYPE).filter(|_| !is_whole);
    let content_type = form.of_answer(came.unwrap_or(&TYPE).as_bytes());
    fields.insert(header::CONTENT_TYPE, content_type);
    fields.remove(header::CONTENT_LENGTH);
    if !is_whole {
        return None;
    }
    let last = form.last_piece(pairs(fields).filter(|(name, _)| is_of_trailers(name)));
    let moved: Vec<_> = fields.keys().filter(|name| is_of_trailers(name.as_str())).cloned().collect();
    for name in moved {
        fields.remove(name);
    }
    // How the call has ended is said in the body, and that is read where HTTP's status is this.
    *head.status_mut() = StatusCode::OK;
    Some(last)
}

/// The last piece of an answer that ends with these.
pub(in crate::gateway::carry) fn last_piece(form: Form<'_>, trailers: &HeaderMap) -> Bytes {
    form.last_piece(pairs(trailers))
}

fn pairs(fields: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}
