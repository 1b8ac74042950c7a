//! An embedded registry of its own: `cargo run -p embedded-registry --example serve [ADDRESS]`.

use std::{env, net::SocketAddr, time::SystemTime};

use anyhow::{Context, Result};
use embedded_registry::{Server, Settings, first_revision};

#[tokio::main]
async fn main() -> Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let address: SocketAddr = address.parse().with_context(|| format!("{address} is not an address"))?;
    let listener = Server::bind(address)?;
    let server = Server::new(Settings::default(), first_revision(SystemTime::now()));
    let shutdown = async {
        // Without the signal it serves on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    Ok(server.serve(listener, shutdown).await?)
}
