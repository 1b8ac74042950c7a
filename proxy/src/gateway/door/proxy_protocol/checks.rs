//! What must hold of a header whatever bytes are given for one. A fuzz target of `fuzz/` is this function, and a test
//! gives it all that the target has found.
//!
//! The first byte says how the others come: all at once, and again so many at a time.

use std::net::{IpAddr, SocketAddr};

use ppp::{HeaderResult, v1, v2};

use super::header::{Header, LONGEST_LINE, MOST_FOLLOWING, Next, ProxyError, next};

/// What was made of a connection's bytes.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) outcome: Result<Header, ProxyError>,
    /// So many bytes were taken.
    pub(super) taken: usize,
}

/// A header is the same however it comes, nothing behind it is taken, and `ppp` reads the same.
pub(in crate::gateway) fn headers(input: &[u8]) {
    let Some((&step, bytes)) = input.split_first() else { return };
    let (whole, cut) = (read(bytes, bytes.len()), read(bytes, usize::from(step)));
    assert_eq!(told(&whole), told(&cut), "by {step}");
    assert!(whole.taken <= longest(bytes), "{whole:?}");
    let taken = &bytes[..whole.taken];
    match whole.outcome {
        Ok(header) => {
            is_read_alike(header, taken);
            assert_eq!(told(&read(taken, 1)), told(&whole));
        }
        Err(ProxyError::Nothing | ProxyError::Cut(_)) => assert_eq!(taken, bytes),
        Err(error) => assert!(by_ppp(bytes).is_none() || is_stricter(bytes), "{error}"),
    }
}

/// Reads from a connection on which so many bytes come at a time, until it ends.
pub(super) fn read(bytes: &[u8], step: usize) -> Reading {
    let (mut taken, mut here) = (0, 0);
    let outcome = loop {
        if here == taken {
            here = bytes.len().min(here + step.max(1));
        }
        let waiting = |most: usize| &bytes[taken..here.min(taken + most)];
        let length = match next(&bytes[..taken]) {
            Ok(Next::UpTo(most)) => waiting(most).len(),
            Ok(Next::Line(most)) => {
                waiting(most).split_inclusive(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len)
            }
            Ok(Next::Nothing(header)) => break Ok(header),
            Err(error) => break Err(error),
        };
        if length == 0 {
            break Err(ProxyError::ended(taken));
        }
        taken += length;
    };
    Reading { outcome, taken }
}

/// What came out, in a form that can be compared.
fn told(reading: &Reading) -> (Result<Header, String>, usize) {
    let outcome = reading.outcome.as_ref();
    (outcome.copied().map_err(ToString::to_string), reading.taken)
}

/// How far a header that begins so may go at most.
fn longest(bytes: &[u8]) -> usize {
    match (bytes.starts_with(v2::PROTOCOL_PREFIX), bytes.starts_with(b"PROXY ")) {
        (true, _) => 16 + following(bytes),
        (_, true) => line(bytes).len().clamp(12, LONGEST_LINE),
        _ => 12,
    }
}

/// How many bytes follow the fixed part of a header of version 2.
fn following(bytes: &[u8]) -> usize {
    bytes.get(14..16).map_or(0, |length| usize::from(length[0]) << 8 | usize::from(length[1]))
}

fn line(bytes: &[u8]) -> &[u8] {
    bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// What `ppp` reads: the client, and how many bytes it takes.
fn by_ppp(bytes: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
    let client = |address: IpAddr, port| Some(SocketAddr::new(address.to_canonical(), port));
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => {
            let header = header.ok()?;
            let of = match header.addresses {
                v1::Addresses::Tcp4(of) => client(of.source_address.into(), of.source_port),
                v1::Addresses::Tcp6(of) => client(of.source_address.into(), of.source_port),
                v1::Addresses::Unknown => None,
            };
            Some((of, header.header.len()))
        }
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            let of = match header.addresses {
                _ if header.command == v2::Command::Local || header.protocol != v2::Protocol::Stream => None,
                v2::Addresses::IPv4(of) => client(of.source_address.into(), of.source_port),
                v2::Addresses::IPv6(of) => client(of.source_address.into(), of.source_port),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            };
            Some((of, header.len()))
        }
    }
}

/// `ppp` reads less of what is ignored.
fn is_read_alike(header: Header, bytes: &[u8]) {
    let is_ignored = bytes.starts_with(b"PROXY UNKNOWN") || bytes[12] == 0x20;
    match by_ppp(bytes) {
        None => assert!(is_ignored && header.client.is_none()),
        read => assert_eq!(read, Some((header.client, bytes.len()))),
    }
}

/// Whether this is what `ppp` takes although it is none, or is for no connection, or is too long.
fn is_stricter(bytes: &[u8]) -> bool {
    match bytes.starts_with(v2::PROTOCOL_PREFIX) {
        true => bytes[13] & 0x0f == 2 || following(bytes) > MOST_FOLLOWING,
        false => line(bytes).contains(&b'+') || !line(bytes).ends_with(b"\r\n"),
    }
}
