//! What bodies consist of: each is unlike any other, so that nobody's bytes can be taken for somebody else's.

use http::HeaderMap;

/// What stands behind bodies that have trailers.
pub(super) const TRAILER: (&str, &str) = ("x-trailer", "behind it");

pub(super) fn path(stream: usize) -> String {
    format!("/goods/{stream}")
}

/// Which stream asks for this path.
pub(super) fn stream_of(path: &str) -> usize {
    path.strip_prefix("/goods/").unwrap().parse().unwrap()
}

pub(super) fn request_body(stream: usize, size: usize) -> Vec<u8> {
    drawn(stream as u64 + 1, size)
}

/// `attempt`: which one is answered so.
pub(super) fn answer_body(stream: usize, attempt: usize, size: usize) -> Vec<u8> {
    drawn((attempt as u64 + 1) << 32 | stream as u64, size)
}

/// What an answer's head says of who has made it.
pub(super) fn answer_name(stream: usize, attempt: usize) -> String {
    format!("{stream}.{attempt}")
}

pub(super) fn trailers() -> HeaderMap {
    [(TRAILER.0.parse().unwrap(), TRAILER.1.parse().unwrap())].into_iter().collect()
}

fn drawn(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}
