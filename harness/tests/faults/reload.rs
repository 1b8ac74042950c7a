//! A configuration that changes while the gateway runs.

mod bad_input;
mod mistakes;
mod process;
mod registry;
mod removed;
mod rules;
mod state;
mod ways;

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use harness::{
    backend::{Backend, Reply},
    etcd::{self, key},
    stack::{Gateway, GatewayOptions, Services, file},
    wait::eventually,
};
use serde_json::{Value, json};

use crate::PATIENCE;

/// The file is looked at once a second.
const LOOK: Duration = Duration::from_secs(1);
/// Within this time a change that was to be applied by itself would have been, on a machine that is not busy.
const SEVERAL_LOOKS: Duration = Duration::from_millis(2_500);

const APPLIED: &str = "configuration applied";
const UNCHANGED: &str = "the configuration says what it said: nothing changes";
const REFUSED: &str = "the configuration was not taken: serving on with the one before";
const MISTAKE: &str = "mistake in the configuration";
const UNREADABLE: &str = "the configuration cannot be read: serving on with the one before";

/// A gateway that is its own registry.
struct Fixture {
    gateway: Gateway,
    registry: Client,
}

impl Fixture {
    async fn start(options: &GatewayOptions) -> Result<Self> {
        let gateway = Gateway::start_with_registry(options.clone()).await?;
        let registry = etcd::client(&format!("http://{}", gateway.registry_address()?)).await?;
        Ok(Self { gateway, registry })
    }

    /// A backend that is registered as an instance of a service, and known to the gateway.
    async fn backend(&self, service: &str, instance: &str, usual: Reply) -> Result<Backend> {
        let backend = Backend::start(instance, usual).await?;
        self.register(service, instance, &backend).await?;
        Ok(backend)
    }

    async fn register(&self, service: &str, instance: &str, backend: &Backend) -> Result<()> {
        let mut registry = self.registry.clone();
        registry.put(key(service, instance), backend.address().to_string(), None).await?;
        let is_known = |services: &Services| services.instances(service).contains(&instance);
        self.gateway.wait_services(is_known).await.map(drop)
    }

    /// What a file with these options says.
    fn text(&self, options: &GatewayOptions) -> Result<String> {
        file::yaml(&self.gateway.configuration(options))
    }

    /// Puts a file that says this in the place of the one before, and waits for nothing.
    fn put(&self, text: &str) -> Result<()> {
        file::rename_into_place(&self.gateway.file(), text)
    }

    /// The same in the same file. A gateway that reads it meanwhile finds it empty, or half of it.
    fn overwrite(&self, text: &str) -> Result<()> {
        let path = self.gateway.file();
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Waits until it is applied without being asked for.
    async fn wait_applied(&self, text: &str) -> Result<()> {
        self.gateway.wait_revision(&file::revision(text)).await
    }

    /// Waits until a file that says this is refused; returns what `/readyz` shows of it.
    async fn wait_rejected(&self, text: &str) -> Result<Value> {
        let revision = file::revision(text);
        self.wait_rejection(|rejected| rejected["revision"] == *revision).await
    }

    async fn wait_rejection(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let shown = eventually("/readyz shows what is awaited", PATIENCE, async || {
            let mut config = self.gateway.config().await?;
            ensure!(wanted(&config["rejected"]), "/readyz shows {config}");
            Ok(config["rejected"].take())
        });
        shown.await.with_context(|| self.gateway.process().tail())
    }

    /// The lines with this message that came after the first `since`.
    fn said(&self, since: usize, message: &str) -> Vec<Value> {
        said(&self.gateway.process().lines_since(since), message)
    }

    /// The same, once there is one: the log is written a little later than things happen.
    async fn wait_said(&self, since: usize, message: &str) -> Result<Vec<Value>> {
        let is_it = |line: &str| line.contains(&format!("\"message\":\"{message}\""));
        self.gateway.process().wait_for_line_since(since, is_it, PATIENCE).await?;
        Ok(self.said(since, message))
    }

    async fn status(&self, path: &str) -> Result<u16> {
        Ok(self.gateway.get(path).await?.status)
    }
}

fn said(lines: &[String], message: &str) -> Vec<Value> {
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// Two services, `goods` and `other`, at `/goods` and `/other`.
fn two() -> GatewayOptions {
    GatewayOptions::default().route("/other", "other")
}

/// One route, `/goods`, with more keys.
fn goods_with(keys: Value) -> GatewayOptions {
    let mut route = json!({ "path": "/goods", "service": "goods" });
    if let (Value::Object(route), Value::Object(keys)) = (&mut route, keys) {
        route.extend(keys);
    }
    GatewayOptions::default().set("gateway/routes", json!([route]))
}

/// One route, and settings of its service.
fn goods_set(settings: Value) -> GatewayOptions {
    GatewayOptions::default().set("gateway/services", json!({ "goods": settings }))
}

/// An answer after this time.
fn late(wait: Duration) -> Reply {
    Reply::After(wait, Box::new(Reply::ok("late")))
}
