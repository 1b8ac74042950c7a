//! How a gateway is configured and run.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::tested;
use crate::{ports::free_address, process::Stdout};

/// Where services register.
#[derive(Clone, Debug)]
pub(super) enum Registry {
    /// At these URLs, separated by commas.
    At(String),
    /// In the gateway itself, which listens here for them.
    Embedded(SocketAddr),
}

impl Registry {
    fn section(&self) -> Value {
        match self {
            Self::At(endpoints) => json!({ "endpoints": endpoints.split(',').collect::<Vec<_>>() }),
            Self::Embedded(listen) => json!({ "embedded": { "listen": listen.to_string() } }),
        }
    }
}

/// How a gateway is configured and run.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    listen: Vec<Value>,
    routes: Vec<Value>,
    settings: Vec<(String, Value)>,
    pub(super) wrapper: Vec<String>,
    pub(super) stdout: Stdout,
    text: Option<String>,
}

/// The addresses of the files in conf/, in whose place a test has its own.
const USUAL_LISTEN: &str = "\"0.0.0.0:8080\"";
const USUAL_ADMIN: &str = "\"127.0.0.1:9090\"";
const USUAL_REGISTRY: &str = "embedded: { listen: \"127.0.0.1:2379\" }";

impl Default for GatewayOptions {
    /// One route: `/goods` to the service `goods`.
    fn default() -> Self {
        Self::without_routes().route("/goods", "goods")
    }
}

impl GatewayOptions {
    /// No route at all.
    pub fn without_routes() -> Self {
        Self {
            listen: Vec::new(),
            routes: Vec::new(),
            settings: Vec::new(),
            wrapper: Vec::new(),
            stdout: Stdout::Kept,
            text: None,
        }
    }

    /// What a file in conf/ says, but for its addresses and its registry. Settings beside it have no effect.
    pub fn of_text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::without_routes() }
    }

    /// One route more.
    pub fn route(mut self, path: &str, service: &str) -> Self {
        self.routes.push(json!({ "path": path, "service": service }));
        self
    }

    /// Serves clients here too, beside the address that it is given.
    pub fn also_listening(mut self, address: SocketAddr) -> Self {
        self.listen.push(json!(address.to_string()));
        self
    }

    /// The same, with keys of this listener: `tls`, `http2`, `proxy_protocol`, `allow`, `deny`.
    pub fn also_listening_with(mut self, address: SocketAddr, keys: Value) -> Self {
        let mut listener = json!({ "address": address.to_string() });
        if let (Value::Object(listener), Value::Object(keys)) = (&mut listener, keys) {
            listener.extend(keys);
        }
        self.listen.push(listener);
        self
    }

    /// Sets a configuration key by its path: `gateway/registry/username`.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    /// Throws its log away, for measurements.
    pub fn discard_log(mut self) -> Self {
        self.stdout = Stdout::Discarded;
        self
    }

    /// Runs it under another program: `valgrind`, with its arguments.
    pub fn under(mut self, wrapper: impl IntoIterator<Item = String>) -> Self {
        self.wrapper = wrapper.into_iter().collect();
        self
    }

    /// The text of the file.
    pub(super) fn written(
        &self,
        registry: &Registry,
        listen: SocketAddr,
        admin: SocketAddr,
        directory: &Path,
    ) -> Result<String> {
        let Some(text) = &self.text else {
            let configuration = self.configuration(registry, listen, admin, directory);
            return Ok(serde_json::to_string_pretty(&configuration)?);
        };
        let mut text = text.clone();
        let Value::Object(registry) = registry.section() else { bail!("the registry is no section") };
        let registry: Vec<_> = registry.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        for (usual, own) in [
            (USUAL_LISTEN, json!(listen.to_string()).to_string()),
            (USUAL_ADMIN, json!(admin.to_string()).to_string()),
            (USUAL_REGISTRY, registry.join("\n    ")),
        ] {
            ensure!(text.matches(usual).count() == 1, "the file does not say once: {usual}");
            text = text.replace(usual, &own);
        }
        let [pid, socket] = ["proxy.pid", "upgrade.sock"].map(|name| json!(directory.join(name)));
        let text = tested::as_tested(&text)?;
        Ok(format!("{text}pid_file: {pid}\nupgrade_sock: {socket}\n"))
    }

    pub(super) fn configuration(
        &self,
        registry: &Registry,
        listen: SocketAddr,
        admin: SocketAddr,
        directory: &Path,
    ) -> Value {
        let listen: Vec<_> =
            [json!(listen.to_string())].into_iter().chain(self.listen.iter().cloned()).collect();
        let mut configuration = json!({
            "version": 1,
            "threads": tested::threads(),
            "pid_file": directory.join("proxy.pid"),
            "upgrade_sock": directory.join("upgrade.sock"),
            "gateway": {
                "http1": tested::http1(),
                // The same for clients who speak HTTP/2.
                "http2": tested::http1(),
                "listen": listen,
                "admin": admin.to_string(),
                "registry": registry.section(),
                "routes": self.routes,
            },
        });
        for (key, value) in &self.settings {
            let mut place = &mut configuration;
            for segment in key.split('/') {
                place = &mut place[segment];
            }
            *place = value.clone();
        }
        configuration
    }

    /// What `proxy -t` may be asked of a gateway that is never started, with a registry in itself.
    ///
    /// # Errors
    /// When no port is free.
    pub fn to_check(&self, directory: &Path) -> Result<Value> {
        let [registry, listen, admin] = [free_address()?, free_address()?, free_address()?];
        Ok(self.configuration(&Registry::Embedded(registry), listen, admin, directory))
    }
}

/// A directory that nobody else can enter, as a gateway demands of its upgrade socket's.
///
/// # Errors
/// When it cannot be made.
pub fn private_directory() -> Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(private).tempdir().context("making a directory for a gateway")
}

/// Writes a configuration file of the gateway; JSON is YAML.
///
/// # Errors
/// When it cannot be written.
pub fn write_configuration(path: &Path, configuration: &Value) -> Result<()> {
    write_text(path, &serde_json::to_string_pretty(configuration)?)
}

pub(super) fn write_text(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
