//! `Forwarded` (RFC 7239).

use std::net::IpAddr;

use http::HeaderName;

use super::{HIDDEN, Hop, MOST_HOPS, Said, UNKNOWN, is_host, node, scheme};
use crate::gateway::text::push_ip;
use crate::head::Head;

const NAME: HeaderName = HeaderName::from_static("forwarded");

/// So many bytes of it are read, and go on.
const LONGEST: usize = 2048;

/// What a request's `Forwarded` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded<'h> {
    pub(super) hops: Vec<Hop<'h>>,
    /// As it came, in one line. None: it did not, or not such that something can be added to it.
    pub(super) line: Option<Vec<u8>>,
}

impl<'h> Forwarded<'h> {
    /// Of what is not valid, or too much, nothing is believed: a quote that a client has opened could make text of what
    /// a proxy has added. That a proxy has told something is believed all the same.
    pub(super) fn of(head: &'h impl Head) -> Self {
        let lines: Vec<_> = head.values(&NAME).filter(|line| !line.trim_ascii().is_empty()).collect();
        if lines.is_empty() {
            return Self::default();
        }
        let length = lines.iter().map(|line| line.len()).sum::<usize>();
        let hops = lines.iter().map(|line| elements(line)).collect::<Option<Vec<_>>>();
        let hops = hops.map(|hops| hops.concat()).filter(|hops| hops.len() <= MOST_HOPS);
        match hops.filter(|_| length <= LONGEST) {
            Some(hops) if hops.is_empty() => Self::default(),
            Some(hops) => Self { hops, line: Some(lines.join(&b", "[..])) },
            None => Self { hops: vec![HIDDEN], line: None },
        }
    }
}

/// The elements of a line; none: it is not valid.
fn elements(mut line: &[u8]) -> Option<Vec<Hop<'_>>> {
    let mut hops = Vec::new();
    loop {
        let (hop, rest) = element(line)?;
        hops.extend(hop);
        match rest.split_first() {
            None => return Some(hops),
            Some((_, rest)) => line = rest,
        }
    }
}

/// The first element of a line, if it says anything, and what follows: a comma, or nothing.
fn element(mut line: &[u8]) -> Option<(Option<Hop<'_>>, &[u8])> {
    let (mut node, mut proto, mut host) = (None, None, None);
    let mut is_empty = true;
    loop {
        line = line.trim_ascii_start();
        if line.first().is_some_and(|byte| !b";,".contains(byte)) {
            let (name, value, rest) = pair(line)?;
            is_empty = false;
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            let slot = match () {
                () if is(b"for") => Some(&mut node),
                () if is(b"proto") => Some(&mut proto),
                () if is(b"host") => Some(&mut host),
                () => None,
            };
            // Two of one name are not valid, and nobody could say which is meant.
            if slot.is_some_and(|slot| slot.replace(value).is_some()) {
                return None;
            }
            line = rest.trim_ascii_start();
        }
        match line.split_first() {
            Some((b';', rest)) => line = rest,
            Some((b',', _)) | None => break,
            Some(_) => return None,
        }
    }
    let said = Said { scheme: proto.and_then(scheme), host: host.filter(|host| is_host(host)) };
    let hop = Hop { address: node.and_then(node::address), said, ..HIDDEN };
    Some(((!is_empty).then_some(hop), line))
}

/// `name=value` or `name="value"`, and what follows. (What has to be escaped is in no address and no host: it stays as it
/// is written, and is neither.)
fn pair(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, text) = token(text)?;
    let text = text.strip_prefix(b"=")?;
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (value, rest) = token(text)?;
        return Some((name, value, rest));
    };
    let mut is_escaped = false;
    let end = quoted.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    let (value, rest) = quoted.split_at_checked(end)?;
    Some((name, value, rest.get(1..)?))
}

/// What of a text is a token (RFC 9110, section 5.6.2), and what follows. Some proxies leave out the quotes around a
/// port: a colon and brackets are taken, too.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_of_value = |byte: &u8| is_of_token(*byte) || matches!(byte, b':' | b'[' | b']');
    let end = text.iter().position(|byte| !is_of_value(byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(token, _)| !token.is_empty())
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Adds an element to a line.
pub(super) fn add(mut line: Vec<u8>, address: Option<IpAddr>, said: Said<'_>) -> Vec<u8> {
    if !line.is_empty() {
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(b"for=");
    match address {
        Some(v4 @ IpAddr::V4(_)) => push_ip(&mut line, v4),
        Some(v6) => {
            line.extend_from_slice(b"\"[");
            push_ip(&mut line, v6);
            line.extend_from_slice(b"]\"");
        }
        None => line.extend_from_slice(UNKNOWN),
    }
    if let Some(scheme) = said.scheme {
        line.extend_from_slice(b";proto=");
        line.extend_from_slice(scheme.as_str().as_bytes());
    }
    if let Some(host) = said.host {
        line.extend_from_slice(b";host=");
        push_value(&mut line, host);
    }
    line
}

/// A token as it is, anything else in quotes.
fn push_value(line: &mut Vec<u8>, value: &[u8]) {
    if !value.is_empty() && value.iter().all(|byte| is_of_token(*byte)) {
        line.extend_from_slice(value);
        return;
    }
    line.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.push(b'"');
}
