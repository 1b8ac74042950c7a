//! What a gateway writes into each request that it sends on: its name in `CDN-Loop` (RFC 8586).

use tonic::codegen::http::HeaderMap;

/// The name of every gateway in `CDN-Loop`. All have the same one.
pub const GATEWAY: &str = "leaseway";

/// Whether a gateway has sent this request on. Then it is a client's, and has come to a registry or an admin port only
/// because somebody registered that address as an instance's. It must be refused.
pub fn is_from_gateway(headers: &HeaderMap) -> bool {
    let lines = headers.get_all("cdn-loop");
    lines.iter().any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_gateway))
}

/// Whether a member of the list in `CDN-Loop` is a gateway, whatever parameters it has.
pub fn is_gateway(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(GATEWAY.as_bytes())
}
