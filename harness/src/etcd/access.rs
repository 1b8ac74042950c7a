//! How the tests themselves get into an etcd.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use etcd_client::{Channel, Client, ConnectOptions, OpenSslClientConfig};
use tonic::transport::Endpoint;

use crate::{
    process::{Process, Stdout},
    tls::TlsFiles,
    users::{User, Users},
};

const CONNECT: Duration = Duration::from_secs(2);
/// Bounds one run of etcdctl.
const PATIENCE: Duration = Duration::from_secs(60);

/// Certificates and users, where etcd wants them.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    pub(super) tls: Option<TlsFiles>,
    /// None until authentication is on.
    pub(super) users: Option<Users>,
}

impl Access {
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub(super) fn root(&self) -> Option<&User> {
        self.users.as_ref().map(|users| &users.root)
    }

    pub(super) async fn connect(&self, endpoint: &str, user: Option<&User>) -> Result<Client> {
        let mut options = ConnectOptions::new().with_connect_timeout(CONNECT);
        if let Some(user) = user {
            options = options.with_user(user.name.as_str(), user.password.as_str());
        }
        let client = match &self.tls {
            None => Client::from_channel(plain_channel(endpoint)?, Some(options)).await,
            Some(tls) => {
                let client = (fs::read(&tls.client_cert)?, fs::read(&tls.client_key)?);
                let config = OpenSslClientConfig::default().ca_cert_pem(&fs::read(&tls.ca)?);
                let config = config.client_cert_pem_and_key(&client.0, &client.1);
                Client::connect([endpoint], Some(options.with_openssl_tls(config))).await
            }
        };
        client.with_context(|| format!("connecting to etcd at {endpoint}"))
    }

    /// Runs `etcdctl` as root; returns what it printed.
    pub(super) async fn etcdctl(&self, endpoint: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", endpoint]);
        if let Some(root) = self.root() {
            command.args(["--user", &format!("{}:{}", root.name, root.password)]);
        }
        if let Some(tls) = &self.tls {
            command.arg("--cacert").arg(&tls.ca);
            command.arg("--cert").arg(&tls.client_cert).arg("--key").arg(&tls.client_key);
        }
        command.args(arguments);
        let mut etcdctl = Process::start(command, Stdout::Kept)
            .context("no etcdctl on PATH? `make setup` or `apt-get install etcd-client` installs it")?;
        let status = etcdctl.wait_exit(PATIENCE).await?;
        ensure!(status.success(), "etcdctl {arguments:?} failed:\n{}", etcdctl.tail());
        Ok(etcdctl.lines().join("\n"))
    }
}

/// Without Nagle's algorithm, which etcd-client leaves on: a call would wait some 40 ms for the
/// acknowledgement of the one before, and every time that a test measures would be etcd's and that.
fn plain_channel(endpoint: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?.tcp_nodelay(true).connect_timeout(CONNECT);
    Ok(Channel::Tonic(endpoint.connect_lazy()))
}
