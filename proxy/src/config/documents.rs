//! What is written from the declarations of the keys: the reference, the schema, and the tables in the documentation.

use config_reader::Outline;
use config_reader::document::{reference, schema, table};

use super::environment::Environment;
use super::gateway::Gateway;
use super::{declare, server};

/// The page that has the tables, in the repository.
pub const PAGE: &str = "docs/configuration.md";

const ABOVE: &str = "\
yaml-language-server: $schema=schema.json

Every key. Each is written out with its default, except for those that are required, which have none. Other keys without
a default are commented out, with an example. Unknown keys are errors.

Durations are whole numbers with a unit: 250ms, 3s, 1m, 1h. Paths are absolute.

This file is written from the declarations in proxy/src/config, by `make reference`: change those.";

/// Where the tables begin and end in the page.
const BEGIN: &str =
    "<!-- Written from the declarations in proxy/src/config, by `make reference`: change those. -->\n";
const END: &str = "<!-- So far. -->\n";

/// The documents, each with its path in the repository, as they should be. `page`: what [`PAGE`] is now; none if it has
/// no place for the tables.
#[must_use]
pub fn documents(page: &str) -> Option<[(&'static str, String); 3]> {
    let outline = outline();
    let schema = schema(&outline, "The configuration of Leaseway");
    Some([
        ("conf/reference.yaml", reference(&outline, ABOVE)),
        ("conf/schema.json", format!("{schema:#}\n")),
        (PAGE, with_tables(page, &outline)?),
    ])
}

fn outline() -> Outline {
    let environment = Environment::unknown();
    let (mut server, mut gateway) = (server::unsaid(&environment), Gateway::unsaid());
    let mut outline = Outline::default();
    declare(&mut server, &mut gateway, &mut outline, &environment);
    outline
}

fn with_tables(page: &str, outline: &Outline) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let (ours, pingoras) = (table(outline, "gateway"), table(outline, ""));
    Some(format!(
        "{before}{BEGIN}\n### Keys under `gateway:`\n\n{ours}\n### Keys at the top level\n\n{pingoras}\n{END}{after}"
    ))
}
