//! What is written from the declarations of the keys.

use super::*;
use crate::config::documents::{PAGE, documents};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_documents_are_those_of_the_declarations() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let documents = documents(&page).expect("docs/configuration.md has a place for the tables");
    for (path, content) in documents {
        let found = fs::read_to_string(root().join(path)).unwrap_or_default();
        let differs = found.lines().zip(content.lines()).find(|(found, expected)| found != expected);
        assert!(
            found == content,
            "{path} is not current: run `make reference`. The first difference: {differs:?}"
        );
    }
}

#[test]
fn a_page_without_a_place_for_the_tables_is_told_so() {
    assert!(documents("# Configuration\n").is_none());
}

/// An editor looks for the schema beside the file.
#[test]
fn each_example_names_the_schema_in_its_first_line() {
    for name in ["pingora.yaml", "services.yaml", "etcd-cluster.yaml", "reference.yaml"] {
        let text = fs::read_to_string(root().join("conf").join(name)).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema=schema.json\n"), "{name}");
    }
}
