//! `Proxy-Status` (RFC 9209): what went wrong, for programs, on error answers of the gateway's own.
//!
//! Everybody is told the kind of error and what the answer's text says. How often it was tried, and with which instances,
//! is only for proxies that are trusted, as it says how the site is built: not for who asks through one. What an instance says in its answers' field of
//! this name, being a proxy itself, goes on as it is.

use http::HeaderValue;

use super::answer::Answer;
use super::error_kind::Kind;
use super::request::{FailedAttempt, Request};

/// What the field says of this answer to a request; none: the answer is no error, or the field is turned off.
pub(super) fn of(request: &Request, answer: Answer) -> Option<HeaderValue> {
    let (kind, message) = answer.error().filter(|_| request.common.proxy_status)?;
    let mut details = message.to_owned();
    if request.origin.is_trusted {
        details.push_str(&attempts(request.attempts_begun(), request.failures()));
    }
    value(kind, &details)
}

fn attempts(begun: u8, failed: &[FailedAttempt]) -> String {
    if begun == 0 {
        return String::new();
    }
    let failed =
        failed.iter().map(|failed| format!("{} {}", failed.endpoint.instance, failed.cause.as_str()));
    format!("; attempts: {begun}; failed: {}", failed.collect::<Vec<_>>().join(", "))
}

/// A string of structured fields (RFC 8941, section 3.3.3) has no letters but ASCII's.
fn value(kind: Kind, details: &str) -> Option<HeaderValue> {
    let mut text = format!("leaseway; error={}; details=\"", kind.as_str());
    for letter in details.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            ' '..='~' => text.push(letter),
            _ => text.push('?'),
        }
    }
    text.push('"');
    text.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::cause::Ending;
    use crate::gateway::fixture::{Fixture, Setup, from, get};
    use crate::head::tests::{FakeHead, head};
    use crate::site::Common;
    use http::Method;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// A request whose two attempts were refused and not opened in time.
    fn failed_twice(fixture: &Fixture, peer: &str, head: &FakeHead, proxy_status: bool) -> Request {
        let mut request = fixture.sent_to(0);
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        request.common = Arc::new(Common { trusted_proxies, proxy_status, ..Common::default() });
        request.begin(head, from(peer));
        request.failed(Ending::Refused, "refused".into(), fixture.now);
        request.goes_to(fixture.chosen(1), false, fixture.now);
        request.begin_attempt();
        request.failed(Ending::ConnectTimeout, "too late".into(), fixture.now);
        request
    }

    #[test]
    fn only_who_is_trusted_is_told_what_was_tried() {
        let fixture = Setup::of(2).build();
        let answer = Answer::to(Ending::ConnectTimeout, false, false).unwrap();
        let said = |peer, is_on| of(&failed_twice(&fixture, peer, &get(), is_on), answer);
        let public = "leaseway; error=connection_timeout; details=\"no endpoint could be reached\"";
        assert_eq!(said("192.0.2.7", true).unwrap(), public);
        let of = |n| fixture.endpoint(n).instance.clone();
        let (first, second) = (of(0), of(1));
        let told = format!(
            "{}; attempts: 2; failed: {first} refused, {second} connect_timeout\"",
            public.trim_end_matches('"')
        );
        assert_eq!(said("10.0.0.7", true).unwrap(), &told);
        assert_eq!(said("192.0.2.7", false), None);
        let through_it = head(Method::GET, "/goods", &[("x-forwarded-for", b"192.0.2.7")]);
        let request = failed_twice(&fixture, "10.0.0.7", &through_it, true);
        assert_eq!(self::of(&request, answer).unwrap(), public, "a client, though through a proxy");
    }

    #[test]
    fn a_request_without_an_attempt_tells_of_none() {
        let fixture = Setup::of(0).build();
        let mut request = fixture.request();
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        request.common = Arc::new(Common { trusted_proxies, proxy_status: true, ..Common::default() });
        request.begin(&get(), from("10.0.0.7"));
        let expected = "leaseway; error=destination_not_found; details=\"no route takes this request\"";
        assert_eq!(of(&request, Answer::NO_ROUTE).unwrap(), expected);
        assert_eq!(of(&request, Answer::itself(false)), None, "a probe is told in another way");
    }

    proptest! {
        #[test]
        fn whatever_an_instance_is_called_the_field_stays_one(details in "[\\PC\"\\\\\r\n\0]{0,40}") {
            let value = value(Kind::ConnectionRefused, &details).unwrap();
            let text = value.to_str().unwrap();
            let text = text.strip_prefix("leaseway; error=connection_refused; details=\"").unwrap();
            let text = text.strip_suffix('"').unwrap().replace("\\\\", "").replace("\\\"", "");
            prop_assert!(!text.contains(['"', '\\']), "{text}");
        }
    }
}
