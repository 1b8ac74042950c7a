//! Writes what is made from the declarations of the configuration's keys: `cargo run -p proxy --example reference`.

use std::fs;
use std::path::Path;

use anyhow::Context;
use proxy::config::documents::{PAGE, documents};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let documents = documents(&page).with_context(|| format!("{PAGE} has no place for the tables"))?;
    for (path, content) in documents {
        fs::write(root.join(path), content).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}
