//! A picture of the registry, kept as a gateway would keep it.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod scripted;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::etcd::Etcd;
use leaseway_registry::connect::{ConnectionSettings, Tls, User};
use leaseway_registry::contract::Instance;
use leaseway_registry::watch::{Change, Update, Watch, WatchSettings, WatchStatus, nothing_reserved, watch};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Bounds a wait on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a watch has shown so far.
pub struct Picture {
    watch: Watch,
    driver: JoinHandle<()>,
    instances: BTreeMap<String, Instance>,
    /// The updates that were applied, newest last.
    pub updates: Vec<Update>,
}

impl Picture {
    /// Follows the default prefix.
    pub fn follow(connection: ConnectionSettings) -> Self {
        Self::follow_as(connection, WatchSettings::default())
    }

    /// Follows what the settings say.
    pub fn follow_as(connection: ConnectionSettings, settings: WatchSettings) -> Self {
        let (watch, driver) = watch(connection, settings, nothing_reserved());
        Self { watch, driver: tokio::spawn(driver.run()), instances: BTreeMap::new(), updates: Vec::new() }
    }

    /// `service/instance=address` of each, in order.
    pub fn shown(&self) -> Vec<String> {
        let shown = |(name, i): (&String, &Instance)| format!("{name}={}", i.record.address);
        self.instances.iter().map(shown).collect()
    }

    /// One instance.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances.get(name)
    }

    /// How the watch is.
    pub fn status(&self) -> WatchStatus {
        self.watch.status.borrow().clone()
    }

    /// Waits until the watch's status is as wanted.
    pub async fn until_status(
        &mut self,
        what: &str,
        wanted: impl FnMut(&WatchStatus) -> bool,
    ) -> Result<WatchStatus> {
        let mut status: watch::Receiver<WatchStatus> = self.watch.status.clone();
        let reached = tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await;
        let status = reached.with_context(|| format!("the watch's status never was: {what}"))??;
        Ok(status.clone())
    }

    /// Applies updates until the picture is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            match timeout_at(deadline, self.watch.updates.recv()).await {
                Ok(Some(update)) => self.apply(update),
                Ok(None) => bail!("the watch ended before: {what}"),
                Err(_) => bail!("never came: {what}; shown: {:?}, {:?}", self.shown(), self.status()),
            }
        }
        Ok(())
    }

    /// Applies updates until it shows just these.
    pub async fn until_shown(&mut self, expected: &[&str]) -> Result<()> {
        self.until(&format!("{expected:?}"), |p| p.shown() == expected).await
    }

    fn apply(&mut self, update: Update) {
        self.updates.push(update.clone());
        match update {
            Update::Reset { instances, .. } => {
                self.instances = instances.into_iter().map(|i| (name(&i.service, &i.id), i)).collect();
            }
            Update::Apply { changes, .. } => changes.into_iter().for_each(|c| self.change(c)),
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Put(instance) => {
                self.instances.insert(name(&instance.service, &instance.id), instance);
            }
            Change::Delete { service, id, .. } => {
                self.instances.remove(&name(&service, &id));
            }
            Change::Refused { name, .. } => {
                self.instances.remove(&self::name(&name.service, &name.id));
            }
        }
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn name(service: &str, id: &str) -> String {
    format!("{service}/{id}")
}

/// How to reach an etcd as its gateway, with whatever it wants to see.
pub fn as_reader(etcd: &Etcd) -> ConnectionSettings {
    connection(etcd, etcd.users().map(|users| &users.reader))
}

/// How to reach an etcd as one of its backends.
pub fn as_writer(etcd: &Etcd) -> ConnectionSettings {
    connection(etcd, etcd.users().map(|users| &users.writer))
}

fn connection(etcd: &Etcd, user: Option<&harness::users::User>) -> ConnectionSettings {
    ConnectionSettings {
        user: user.map(|user| User { name: user.name.clone(), password_file: user.password_file.clone() }),
        tls: etcd.tls().map(|files| Tls {
            ca: Some(files.ca.clone()),
            cert: Some(files.client_cert.clone()),
            key: Some(files.client_key.clone()),
        }),
        ..ConnectionSettings::to([etcd.endpoint()])
    }
}
