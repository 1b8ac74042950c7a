//! Many registrars in one process, each with connections of its own, as many processes would have them.
//!
//! `registrars ENDPOINT SERVICE COUNT` registers `SERVICE/1` to `SERVICE/COUNT` and keeps them registered
//! until it is killed. Nobody listens at their addresses.

use anyhow::{Context, Result, bail};
use leaseway_registry::connect::ConnectionSettings;
use leaseway_registry::contract::Prefix;
use leaseway_registry::register::{Registrar, Registration};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, service, count] = arguments.as_slice() else {
        bail!("usage: registrars ENDPOINT SERVICE COUNT");
    };
    let count: u16 = count.parse().with_context(|| format!("{count} is no number of registrars"))?;
    let mut registrars = Vec::new();
    for number in 1..=count {
        let registration = Registration::new(service, number.to_string(), ([127, 0, 0, 1], number).into());
        let connection = ConnectionSettings::to([endpoint]);
        registrars.push(Registrar::start(connection, Prefix::default(), registration)?);
    }
    std::future::pending().await
}
