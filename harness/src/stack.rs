//! A running gateway and running backends, as a user starts them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    ports::{ensure_listening, says_taken},
    process::Process,
    wait::eventually,
};

mod gateway;
mod goods;
mod options;
mod services;

pub use gateway::Gateway;
pub use goods::Goods;
pub use options::{GatewayOptions, write_configuration};
pub use services::{Endpoint, Services};

/// Bounds a start and every wait for something to be noticed, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// False when the process ended because somebody else had taken one of its addresses.
async fn wait_listening(process: &Process, addresses: &[SocketAddr]) -> Result<bool> {
    let listening = eventually("it listens", PATIENCE, async || {
        if process.has_ended() {
            return Ok(false);
        }
        addresses.iter().try_for_each(|&address| ensure_listening(process, address))?;
        Ok(true)
    });
    let listens = listening.await.with_context(|| process.tail())?;
    ensure!(listens || says_taken(&process.lines()), "it ended while it started:\n{}", process.tail());
    Ok(listens)
}
