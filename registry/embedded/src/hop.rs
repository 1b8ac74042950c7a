//! What a gateway writes into each request that it sends on: its name in `CDN-Loop` (RFC 8586).

use tonic::codegen::http::HeaderMap;

/// The name of each gateway in `CDN-Loop`: which one it is does not matter.
pub const GATEWAY: &str = "leaseway";

/// Whether a gateway has sent a request on. Such a one comes from a client, whom neither a gateway's registry nor its
/// admin port is for: somebody has registered their address as an instance's.
pub fn is_from_gateway(headers: &HeaderMap) -> bool {
    let lines = headers.get_all("cdn-loop");
    lines.iter().any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_gateway))
}

/// Whether a member of the list in `CDN-Loop` is a gateway, whatever parameters it has.
pub fn is_gateway(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(GATEWAY.as_bytes())
}
