//! `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, as trusted proxies write them.

use http::HeaderName;

use super::{HIDDEN, Hop, MOST_HOPS, node};
use crate::config::Scheme;
use crate::head::Head;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// No address with its port is longer.
const LONGEST: usize = 64;

/// The hops of `X-Forwarded-For`, as they stand there: of many, the last ones. Who is before them counts as hidden.
pub(super) fn hops(head: &impl Head) -> Vec<Hop<'_>> {
    let members: Vec<_> = members(head, &FOR).collect();
    let mut hops: Vec<_> = members.iter().rev().take(MOST_HOPS).map_while(|member| hop(member)).collect();
    if hops.len() < members.len() {
        hops.push(HIDDEN);
    }
    hops.reverse();
    hops
}

fn hop(member: &[u8]) -> Option<Hop<'_>> {
    let hop = Hop { address: node::address(member), text: Some(member), ..HIDDEN };
    (member.len() <= LONGEST).then_some(hop)
}

/// What `X-Forwarded-Proto` says of the hop `at` of so many.
pub(super) fn scheme(head: &impl Head, hops: usize, at: usize) -> Option<Scheme> {
    super::scheme(of_hop(head, &PROTO, hops, at)?)
}

/// What `X-Forwarded-Host` says of the hop `at` of so many.
pub(super) fn host(head: &impl Head, hops: usize, at: usize) -> Option<&[u8]> {
    of_hop(head, &HOST, hops, at).filter(|host| super::is_host(host))
}

/// Most proxies send one value, in place of what came; some add theirs behind it, and then there is one of each hop. What
/// is neither was not written by proxies alone.
fn of_hop<'h>(head: &'h impl Head, name: &HeaderName, hops: usize, at: usize) -> Option<&'h [u8]> {
    let members: Vec<_> = members(head, name).collect();
    match members[..] {
        [only] => Some(only),
        _ if members.len() == hops => members.get(at).copied(),
        _ => None,
    }
}

/// The members of a list in one field or several; empty ones mean nothing.
fn members<'h>(head: &'h impl Head, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let members = head.values(name).flat_map(|line| line.split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}
