//! What a backend does with a call.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use super::{GRPC, framed};

/// What a backend does with a call, one after the other. If it does not end the answer, nothing more comes.
#[derive(Clone, Debug, Default)]
pub struct Act(pub Vec<Step>);

/// A part of it.
#[derive(Clone, Debug)]
pub enum Step {
    /// An interim answer.
    Interim(u16),
    /// The answer's head.
    Head {
        /// Its status.
        status: u16,
        /// Its fields.
        fields: HeaderMap,
        /// Whether it is all.
        ends: bool,
    },
    /// A piece of the answer's body.
    Data(Bytes),
    /// Sends what comes back, as it comes, to the end of the request.
    Echo,
    /// Reads the request to its end.
    Read,
    /// Waits.
    Wait(Duration),
    /// Ends the answer so.
    Trailers(HeaderMap),
    /// Ends the answer, without trailers.
    End,
    /// Resets the stream.
    Reset(Reason),
    /// Lets the connection end with the streams that it has (GOAWAY).
    GoAway,
    /// Closes the connection.
    Close,
}

/// Fields of a head or of trailers. What is no field is left out.
pub(super) fn fields<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let field = |(name, value): (&str, &str)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
    };
    let mut fields = HeaderMap::new();
    for (name, value) in pairs.into_iter().filter_map(field) {
        fields.append(name, value);
    }
    fields
}

impl Act {
    /// Nothing: the call is taken, and not answered.
    pub fn silence() -> Self {
        Self::default()
    }

    /// Answers at once with the head, sends each message back as it comes, and ends well.
    pub fn echo() -> Self {
        Self::default().head(&[]).step(Step::Echo).status_in_trailers("0", &[])
    }

    /// Reads the whole call, and answers it with these messages.
    pub fn messages(messages: &[&[u8]]) -> Self {
        let begin = Self::default().step(Step::Read).head(&[]);
        messages.iter().fold(begin, |act, message| act.data(framed(message))).status_in_trailers("0", &[])
    }

    /// Reads the whole call, and answers with a status alone (trailers-only).
    pub fn status(status: &str) -> Self {
        Self::default().step(Step::Read).trailers_only(status, &[])
    }

    /// Resets the stream.
    pub fn reset(reason: Reason) -> Self {
        Self::default().step(Step::Reset(reason))
    }

    /// Reads the whole request, and answers what is no gRPC.
    pub fn http(status: u16, pairs: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let fields = fields(pairs.iter().copied());
        let head = Step::Head { status, fields, ends: false };
        Self::default().step(Step::Read).step(head).data(body).step(Step::End)
    }

    /// One thing more.
    pub fn step(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// All that this other one does, then.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Waits then.
    pub fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// The head of an answer of gRPC, with these fields.
    pub fn head(self, pairs: &[(&str, &str)]) -> Self {
        let fields = fields([("content-type", GRPC)].iter().chain(pairs).copied());
        self.step(Step::Head { status: 200, fields, ends: false })
    }

    /// Bytes of the body.
    pub fn data(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Data(bytes.into()))
    }

    /// Ends with these trailers.
    pub fn trailers(self, pairs: &[(&str, &str)]) -> Self {
        self.step(Step::Trailers(fields(pairs.iter().copied())))
    }

    /// Ends with this status, and these trailers.
    pub fn status_in_trailers(self, status: &str, pairs: &[(&str, &str)]) -> Self {
        let trailers = fields([("grpc-status", status)].iter().chain(pairs).copied());
        self.step(Step::Trailers(trailers))
    }

    /// Ends with a head that has the status.
    pub fn trailers_only(self, status: &str, pairs: &[(&str, &str)]) -> Self {
        let fixed = [("content-type", GRPC), ("grpc-status", status)];
        let fields = fields(fixed.iter().chain(pairs).copied());
        self.step(Step::Head { status: 200, fields, ends: true })
    }
}
