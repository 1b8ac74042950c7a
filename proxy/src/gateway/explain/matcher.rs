//! The routes of a configuration, ready to be looked through.

use super::Question;
use crate::config::Config;
use crate::head::Head;
use crate::path::normalise;
use crate::site::{Asked, Routes};

/// The routes of a configuration, ready to be looked through: as the gateway does it for each request.
#[derive(Debug)]
pub struct Matcher(Routes<usize>);

impl Matcher {
    /// Of all routes of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self(Routes::new(config.gateway.routes.iter().zip(0..)))
    }

    /// The place in the file of the route that takes a request; none: none does.
    #[must_use]
    pub fn find(&self, question: &Question) -> Option<usize> {
        self.of(question, &normalise(question.head.path())?)
    }

    /// The same of a request whose path is normalised.
    pub(super) fn of(&self, question: &Question, path: &str) -> Option<usize> {
        let Question { head, scheme, client } = question;
        self.0.find(&Asked::of(head, path, *scheme, *client, None)).copied()
    }
}
