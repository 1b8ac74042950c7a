//! All routes, in the order in which they are tried.

use super::columns::Columns;
use super::words;
use crate::config::{Config, order};

/// The routes of a configuration as a table, in the order in which they are tried. One of several hosts has a line for
/// each of them.
#[must_use]
pub fn table(config: &Config) -> String {
    let routes = &config.gateway.routes;
    let mut rows = Columns::new();
    rows.push(["HOST", "PATH", "CONDITIONS", "DOES", "NAME"].map(str::to_owned));
    for rank in order(routes.iter().map(|route| &route.takes)) {
        let Some(route) = routes.get(rank.number) else { continue };
        let further = route.takes.further().to_string();
        let conditions = if further.is_empty() { "-" } else { further.trim_start() }.to_owned();
        let path = route.takes.path.to_string();
        rows.push([rank.host.to_string(), path, conditions, words::does(&route.action), route.name.clone()]);
    }
    rows.to_string()
}
