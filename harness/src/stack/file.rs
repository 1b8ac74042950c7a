//! A gateway's configuration file, and how files come to say something else.

use std::{
    fmt::Write,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use openssl::sha::sha256;
use serde_json::Value;

/// What holds other keys, and is not written as one line.
const SECTION: &str = "gateway";
/// Written last, one a line.
const LIST: &str = "routes";

/// A configuration as people write it: a key a line, and the routes behind all else. So a file of which only the
/// beginning has been written is still YAML, and a configuration with fewer routes.
///
/// # Errors
/// When it has no routes.
pub fn yaml(configuration: &Value) -> Result<String> {
    let mut text = String::new();
    let section = configuration[SECTION].as_object().context("the configuration has no gateway")?;
    let routes = section[LIST].as_array().context("the configuration has no routes")?;
    for (key, value) in configuration.as_object().into_iter().flatten().filter(|(key, _)| *key != SECTION) {
        writeln!(text, "{key}: {value}")?;
    }
    writeln!(text, "{SECTION}:")?;
    for (key, value) in section.iter().filter(|(key, _)| *key != LIST) {
        writeln!(text, "  {key}: {value}")?;
    }
    writeln!(text, "  {LIST}:")?;
    for route in routes {
        writeln!(text, "    - {route}")?;
    }
    Ok(text)
}

/// The revision that a gateway shows of a file which says this.
pub fn revision(text: &str) -> String {
    sha256(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text is written aside, and the new file takes the place of the one before at once.
///
/// # Errors
/// When it cannot be written.
pub fn rename_into_place(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, text).with_context(|| format!("writing {}", aside.display()))?;
    fs::rename(&aside, path).with_context(|| format!("renaming {}", aside.display()))
}

/// A directory in which a file is mounted as Kubernetes mounts a ConfigMap: the file is a link through `..data`, a link
/// to the directory with the newest files, and that link alone is replaced.
#[derive(Debug)]
pub struct ConfigMap {
    path: PathBuf,
    versions: u32,
}

impl ConfigMap {
    /// Puts such a link in the place of a file. It says what the file says.
    ///
    /// # Errors
    /// When the file cannot be read, or replaced.
    pub fn mount(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut mounted = Self { path: path.to_owned(), versions: 0 };
        mounted.replace(&text)?;
        let aside = path.with_extension("link");
        let name = path.file_name().context("the file has no name")?;
        symlink(Path::new("..data").join(name), &aside)?;
        fs::rename(&aside, path).with_context(|| format!("replacing {}", path.display()))?;
        ensure!(fs::read_to_string(path)? == text, "the link leads elsewhere");
        Ok(mounted)
    }

    /// Lets the file say this, as a changed ConfigMap does. The files before are removed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace(&mut self, text: &str) -> Result<()> {
        let directory = self.path.parent().context("the file has no directory")?;
        let name = self.path.file_name().context("the file has no name")?;
        let (before, data) = (self.version(), directory.join("..data"));
        self.versions += 1;
        let version = self.version();
        fs::create_dir(directory.join(&version))?;
        fs::write(directory.join(&version).join(name), text)?;
        let aside = directory.join("..data_tmp");
        symlink(&version, &aside)?;
        fs::rename(&aside, &data).with_context(|| format!("replacing {}", data.display()))?;
        if self.versions > 1 {
            fs::remove_dir_all(directory.join(before))?;
        }
        Ok(())
    }

    fn version(&self) -> String {
        format!("..version_{}", self.versions)
    }
}
