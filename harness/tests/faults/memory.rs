//! What the gateway asks of the system's memory.

use anyhow::Result;
use harness::stack::{Gateway, GatewayOptions};

#[tokio::test]
async fn it_takes_no_huge_pages() -> Result<()> {
    let gateway = Gateway::start_with_registry(GatewayOptions::default()).await?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process().pid()))?;
    // proc(5): 0 where PR_SET_THP_DISABLE is set.
    assert!(status.lines().any(|line| line == "THP_enabled:\t0"), "{status}");
    Ok(())
}
