//! Text with variables in it.

use std::fmt;

use config_reader::{closest, quoted};

use crate::config::Value;

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

/// Where a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a header of a request or of an answer.
    Header,
    /// In an error answer of the gateway's own, which knows a status and a message.
    ErrorAnswer,
}

/// Why a text is no template. Each reads on after the text that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum TemplateError {
    #[error("has the unknown variable {{{name}}}: {hint}")]
    Unknown { name: String, hint: String },
    #[error("has the variable {{{0}}}, which only the gateway's error answers know")]
    Elsewhere(&'static str),
    #[error("has a \"{{\" that is not closed: a brace that is meant itself is written twice")]
    Open,
    #[error("has a \"}}\" that closes nothing: a brace that is meant itself is written twice")]
    Closing,
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

    /// The name of the first one that is written in a text.
    pub(super) fn first_in(text: &str) -> Option<&'static str> {
        let is_in = |name: &str| text.contains(&format!("{{{name}}}"));
        Self::ALL.into_iter().map(|(name, _)| name).find(|name| is_in(name))
    }

    /// Whether it is text that the client has written.
    fn is_of_client(self) -> bool {
        matches!(self, Self::Host | Self::Method | Self::Path)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map(|(name, _)| name).unwrap_or_default()
    }

    fn is_known_in(self, place: Place) -> bool {
        place == Place::ErrorAnswer || !matches!(self, Self::Status | Self::Message)
    }

    fn parse(name: &str, place: Place) -> Result<Self, TemplateError> {
        match Self::ALL.into_iter().find(|(known, _)| *known == name) {
            Some((_, variable)) if variable.is_known_in(place) => Ok(variable),
            Some((known, _)) => Err(TemplateError::Elsewhere(known)),
            None => {
                let known = Self::ALL.into_iter().filter(|(_, variable)| variable.is_known_in(place));
                let known: Vec<_> = known.map(|(known, _)| known).collect();
                let meant =
                    closest(name, known.iter().copied()).map(|meant| format!("did you mean {{{meant}}}?"));
                let hint = meant.unwrap_or_else(|| format!("expected one of {}", known.join(", ")));
                let name = name.chars().take(40).collect();
                Err(TemplateError::Unknown { name, hint })
            }
        }
    }
}

impl Template {
    pub(super) fn read(value: &Value<'_>, place: Place) -> Option<Self> {
        let text = value.text()?;
        value.accept(Self::parse(text, place).map_err(|error| format!("{} {error}", quoted(text))))
    }

    fn parse(text: &str, place: Place) -> Result<Self, TemplateError> {
        let (mut template, mut rest) = (Self::default(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            template.push_text(before);
            rest = if let Some(after) = from.strip_prefix("{{") {
                template.push_text("{");
                after
            } else if let Some(after) = from.strip_prefix("}}") {
                template.push_text("}");
                after
            } else if let Some(after) = from.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or(TemplateError::Open)?;
                template.pieces.push(Piece::Variable(Variable::parse(name, place)?));
                after
            } else {
                return Err(TemplateError::Closing);
            };
        }
        template.push_text(rest);
        Ok(template)
    }

    /// The name of the first variable that is text of the client's own.
    pub(super) fn of_client(&self) -> Option<&'static str> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Variable(variable) if variable.is_of_client() => Some(variable.name()),
            Piece::Variable(_) | Piece::Text(_) => None,
        })
    }

    fn push_text(&mut self, more: &str) {
        match self.pieces.last_mut() {
            _ if more.is_empty() => {}
            Some(Piece::Text(text)) => text.push_str(more),
            _ => self.pieces.push(Piece::Text(more.to_owned())),
        }
    }
}

/// As it is written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Variable(variable) => write!(f, "{{{}}}", variable.name())?,
            }
        }
        Ok(())
    }
}
