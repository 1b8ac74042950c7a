//! What kind of etcd a test wants, and etcd's command line for it.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use super::{Etcd, data, run};
use crate::{
    ports::{free_address, says_taken},
    tls::TlsFiles,
    users::{Users, write_secret},
};

/// The tokens that etcd gives to authenticated clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthToken {
    /// Random tokens that etcd keeps in memory.
    Simple {
        /// How long an unused one lasts; whole seconds.
        ttl: Duration,
    },
    /// Signed tokens (HS256).
    Jwt {
        /// How long each lasts; whole seconds.
        ttl: Duration,
    },
}

/// What kind of etcd a test wants.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    users: bool,
    tls: bool,
    port: Option<u16>,
    auth_token: Option<AuthToken>,
}

impl Builder {
    /// With authentication on and the users of [`Users`].
    pub fn users(mut self) -> Self {
        self.users = true;
        self
    }

    /// Over TLS, with certificates demanded of clients.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// On this port; a free one by default.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With this kind of token; etcd's own default (simple, 300 s) otherwise.
    pub fn auth_token(mut self, token: AuthToken) -> Self {
        self.auth_token = Some(token);
        self
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When etcd is not installed, its port is taken, or it does not serve.
    pub async fn start(self) -> Result<Etcd> {
        for _ in 0..5 {
            if let Some(etcd) = self.try_start().await? {
                return Ok(etcd);
            }
        }
        bail!("etcd found its port taken five times in a row (asked for: {:?})", self.port)
    }

    /// None when somebody else took a port in the meantime.
    async fn try_start(&self) -> Result<Option<Etcd>> {
        let directory = tempfile::tempdir().context("making a directory for etcd")?;
        let tls = self.tls.then(|| TlsFiles::generate(directory.path())).transpose()?;
        let users = self.users.then(|| Users::generate(directory.path())).transpose()?;
        let address = match self.port {
            Some(port) => SocketAddr::from(([127, 0, 0, 1], port)),
            None => free_address()?,
        };
        let mut arguments = arguments(directory.path(), address, free_address()?, tls.as_ref());
        arguments.extend(self.token_arguments(directory.path())?);
        let process = run(&arguments)?;
        let mut etcd = Etcd { process, arguments, address, directory, users: None, tls };
        if let Err(failure) = etcd.wait_serving().await {
            let taken = etcd.process.has_ended() && says_taken(&etcd.process.lines());
            return if taken { Ok(None) } else { Err(failure) };
        }
        etcd.enable(users).await?;
        Ok(Some(etcd))
    }

    fn token_arguments(&self, directory: &Path) -> Result<Vec<String>> {
        Ok(match self.auth_token {
            None => Vec::new(),
            Some(AuthToken::Simple { ttl }) => {
                vec!["--auth-token=simple".to_owned(), format!("--auth-token-ttl={}", ttl.as_secs())]
            }
            Some(AuthToken::Jwt { ttl }) => {
                let key = directory.join("jwt.key");
                write_secret(&key, &format!("{:032x}", fastrand::u128(..)))?;
                let (key, ttl) = (key.display(), ttl.as_secs());
                vec![format!("--auth-token=jwt,priv-key={key},sign-method=HS256,ttl={ttl}s")]
            }
        })
    }
}

fn arguments(directory: &Path, client: SocketAddr, peer: SocketAddr, tls: Option<&TlsFiles>) -> Vec<String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut arguments = vec![
        format!("--data-dir={}", data(directory).display()),
        format!("--listen-client-urls={scheme}://{client}"),
        format!("--advertise-client-urls={scheme}://{client}"),
        format!("--listen-peer-urls=http://{peer}"),
        format!("--initial-advertise-peer-urls=http://{peer}"),
        format!("--initial-cluster=default=http://{peer}"),
        "--logger=zap".to_owned(),
        // The cheapest hash of passwords: a test is no place to resist guessing.
        "--bcrypt-cost=4".to_owned(),
    ];
    if let Some(tls) = tls {
        arguments.extend([
            format!("--cert-file={}", tls.server_cert.display()),
            format!("--key-file={}", tls.server_key.display()),
            format!("--trusted-ca-file={}", tls.ca.display()),
            "--client-cert-auth".to_owned(),
        ]);
    }
    arguments
}
