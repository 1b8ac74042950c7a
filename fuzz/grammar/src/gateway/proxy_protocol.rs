#[path = "../../../../proxy/src/gateway/door/proxy_protocol/checks.rs"]
pub(super) mod checks;
#[path = "../../../../proxy/src/gateway/door/proxy_protocol/header.rs"]
mod header;
