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

/// An editor looks for the schema from where the file is.
#[test]
fn each_example_names_the_schema_in_its_first_line() {
    const NAMED: &str = "# yaml-language-server: $schema=";
    for example in [
        "conf/pingora.yaml",
        "conf/services.yaml",
        "conf/etcd-cluster.yaml",
        "conf/shop.yaml",
        "conf/reference.yaml",
        "deploy/compose/pingora.yaml",
        "deploy/systemd/pingora.yaml",
        "deploy/kubernetes/base/pingora.yaml",
        "deploy/kubernetes/tls/pingora.yaml",
    ] {
        let example = root().join(example);
        let text = fs::read_to_string(&example).unwrap();
        let named = text.lines().next().and_then(|line| line.strip_prefix(NAMED));
        let schema = named.map(|path| example.with_file_name(path).canonicalize().unwrap());
        assert_eq!(schema, Some(root().join("conf/schema.json").canonicalize().unwrap()), "{example:?}");
    }
}
