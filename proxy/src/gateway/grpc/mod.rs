//! What the gateway knows of gRPC's calls, whoever carries them: pure.
//!
//! ```text
//! call     which requests are calls, and of what
//! timeout  how long a call may take, as its client says
//! end      how a call has ended
//! answer   the gateway's own answers in gRPC's shape
//! web      gRPC-Web: what becomes of a call of a browser, and of the answer to it
//! ```
//!
//! By <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, `PROTOCOL-WEB.md` and
//! `http-grpc-status-mapping.md` beside it.

mod answer;
mod call;
mod end;
mod timeout;
mod web;

pub(super) use answer::{last_of, own};
pub(super) use call::{Call, Kind, Name};
pub(super) use end::{AnswerHead, End};
pub(super) use timeout::Timeout;
pub(super) use web::{Decoder, Form, NotBase64, is_of_trailers};
