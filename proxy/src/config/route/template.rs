//! Text with variables in it.

/// Text with variables in it: `{route}`. A brace is written twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Variable(Variable),
}

/// What a template may say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    /// The request's trace id.
    TraceId,
    /// The client's address.
    Client,
    /// The route's name.
    Route,
    /// The service that the request goes to; empty if there is none.
    Service,
    /// The id of the instance that the attempt goes to; empty if there is none.
    Instance,
    /// The host that the client asked for, without its port.
    Host,
    /// `http` or `https`.
    Scheme,
    /// The method.
    Method,
    /// The client's own path, without its query.
    Path,
    /// The status of the answer; empty in a request.
    Status,
    /// What went wrong, in an error answer of the gateway's own; else empty.
    Message,
}

impl Variable {
    /// All of them, by the names under which they are written.
    pub(crate) const ALL: [(&'static str, Self); 11] = [
        ("trace_id", Self::TraceId),
        ("client", Self::Client),
        ("route", Self::Route),
        ("service", Self::Service),
        ("instance", Self::Instance),
        ("host", Self::Host),
        ("scheme", Self::Scheme),
        ("method", Self::Method),
        ("path", Self::Path),
        ("status", Self::Status),
        ("message", Self::Message),
    ];
}
