//! What the gateway knows of gRPC's calls, whoever carries them: pure.
//!
//! ```text
//! kind     which requests are calls
//! call     what a call is of, and what it carries along
//! timeout  how long a call may take, as its client says
//! end      how a call has ended
//! last     the fields that an answer ends with
//! web      gRPC-Web: what becomes of a call of a browser, and of the answer to it
//! ```
//!
//! By <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, `PROTOCOL-WEB.md` and
//! `http-grpc-status-mapping.md` beside it.

mod call;
mod end;
mod kind;
mod last;
mod timeout;
mod web;

pub(super) use call::{Call, Name};
pub(super) use end::{AnswerHead, End, of_http};
pub(super) use kind::Kind;
pub(super) use last::{TYPE, head_that_ends, last_fields};
pub(super) use timeout::Timeout;
pub(super) use web::{Decoder, Form, NotBase64, is_of_trailers};
