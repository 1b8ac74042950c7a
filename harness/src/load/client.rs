//! A client that keeps a cookie.

use hyper::header::{HeaderValue, SET_COOKIE};

use super::Outcome;
use crate::http::Answer;

/// A client that keeps a cookie.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// As it sends it.
    pub(super) cookie: Option<HeaderValue>,
    /// Answers that it got.
    pub(super) visits: u64,
    instance: Option<String>,
}

impl Client {
    /// Notes who answered it, and takes a cookie that it is given.
    pub(super) fn answered(&mut self, answer: &Answer, outcome: &mut Outcome) {
        self.visits += 1;
        if let Some(cookie) = answer.header(SET_COOKIE.as_str()) {
            let (pair, _) = cookie.split_once(';').unwrap_or((cookie, ""));
            self.cookie = HeaderValue::from_str(pair).ok();
            outcome.cookies += 1;
        }
        let instance = answer.header("x-served-by").map(str::to_owned);
        outcome.moved += u64::from(self.instance.is_some() && self.instance != instance);
        self.instance = instance;
    }
}
