//! tools/pgo.sh: a profile is merged by what has the compiler's version of LLVM, or nothing is built.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// What `pgo.sh --tool` says where llvm-profdata says that it is of this version: its output, or its error.
fn tool_of(version: &str) -> Result<Result<String, String>> {
    let directory = tempfile::tempdir()?;
    let profdata = directory.path().join("llvm-profdata");
    fs::write(&profdata, format!("#!/bin/sh\necho LLVM\necho '  Debian LLVM version {version}'\n"))?;
    fs::set_permissions(&profdata, fs::Permissions::from_mode(0o755))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/pgo.sh");
    let asked = Command::new(script).arg("--tool").env("LLVM_PROFDATA", &profdata).output()?;
    let text =
        |bytes| String::from_utf8(bytes).map(|text| text.replace(profdata.to_string_lossy().as_ref(), "IT"));
    Ok(if asked.status.success() { Ok(text(asked.stdout)?) } else { Err(text(asked.stderr)?) })
}

/// The major version of the compiler's LLVM.
fn llvm() -> Result<u32> {
    let said = String::from_utf8(Command::new("rustc").arg("-vV").output()?.stdout)?;
    let version = said.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let (major, _) = version.and_then(|version| version.split_once('.')).context("rustc names no LLVM")?;
    Ok(major.parse()?)
}

#[test]
fn one_of_the_compilers_version_is_taken_whatever_its_minor_version_is() -> Result<()> {
    let said = tool_of(&format!("{}.99.0", llvm()?))?;
    assert_eq!(said.as_deref(), Ok("IT\n"));
    Ok(())
}

#[test]
fn one_of_another_version_is_refused_with_what_to_install() -> Result<()> {
    let llvm = llvm()?;
    let Err(said) = tool_of(&format!("{}.1.8", llvm - 1))? else {
        anyhow::bail!("it is taken");
    };
    for part in [format!("(IT is of {})", llvm - 1), format!("llvm-{llvm}"), "LLVM_PROFDATA".to_owned()] {
        ensure!(said.contains(&part), "it does not say {part}: {said}");
    }
    Ok(())
}
