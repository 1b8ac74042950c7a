//! Whether a binary is what its sources say now. `cargo test` builds the tests, and not the programs that they start.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

/// Refuses a binary that is older than one of its sources, which cargo has listed beside it. A list that is not there
/// refuses nothing. Of manifests it says nothing, rightly: cargo builds nothing anew for most of what changes in them.
///
/// # Errors
/// A source is newer, or gone.
pub fn check(binary: &Path) -> Result<()> {
    let Ok(list) = fs::read_to_string(binary.with_extension("d")) else { return Ok(()) };
    let built = modified(binary)?;
    for source in sources(&list) {
        if !modified(&source).is_ok_and(|changed| changed <= built) {
            let release = if binary.iter().any(|part| part == "release") { " --release" } else { "" };
            bail!(
                "{} was built before {} changed: run `cargo build --workspace{release}` first, and name --examples \
                 where it is one",
                binary.display(),
                source.display()
            );
        }
    }
    Ok(())
}

fn modified(file: &Path) -> Result<SystemTime> {
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified());
    modified.with_context(|| format!("cannot tell when {} changed", file.display()))
}

/// Those of a rule as make writes it, `target: source source`: a space in a name has a backslash before it.
fn sources(rule: &str) -> Vec<PathBuf> {
    let (_, sources) = rule.split_once(": ").unwrap_or_default();
    let sources = sources.trim_end().replace("\\ ", "\0");
    sources.split(' ').filter(|source| !source.is_empty()).map(|s| s.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, time::Duration};

    /// A binary of this age, in seconds, and its sources with theirs.
    fn checked(binary: u64, sources: &[(&str, u64)]) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let write = |name: &str, age| {
            let path = directory.path().join(name);
            File::create(&path).unwrap().set_modified(now - Duration::from_secs(age)).unwrap();
            path
        };
        let binary = write("proxy", binary);
        let paths = sources.iter().map(|(name, age)| write(name, *age));
        let paths: Vec<_> = paths.map(|path| path.display().to_string().replace(' ', "\\ ")).collect();
        fs::write(binary.with_extension("d"), format!("{}: {}\n", binary.display(), paths.join(" ")))
            .unwrap();
        check(&binary).map_err(|error| error.to_string())
    }

    #[test]
    fn a_binary_that_is_newer_than_its_sources_is_taken() {
        assert_eq!(checked(10, &[("main.rs", 20), ("a name with spaces.rs", 10)]), Ok(()));
    }

    #[test]
    fn one_that_is_older_than_any_of_them_is_refused_and_the_command_named() {
        for newer in ["main.rs", "a name with spaces.rs"] {
            let sources =
                ["main.rs", "a name with spaces.rs"].map(|name| (name, 20 * u64::from(name != newer)));
            let told = checked(10, &sources).unwrap_err();
            assert!(told.contains(&format!("{newer} changed: run `cargo build --workspace`")), "{told}");
        }
    }

    #[test]
    fn one_whose_source_is_gone_is_refused_and_one_without_a_list_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("proxy");
        fs::write(&binary, "").unwrap();
        assert!(check(&binary).is_ok());
        fs::write(binary.with_extension("d"), "proxy: /nowhere/main.rs\n").unwrap();
        assert!(check(&binary).unwrap_err().to_string().contains("/nowhere/main.rs"));
    }
}
