#[path = "../../../proxy/src/gateway/door/checks/mod.rs"]
pub(super) mod checks;
#[path = "../../../proxy/src/gateway/door/grammar/mod.rs"]
mod grammar;
