//! What kind of etcd a test wants, and etcd's command line for it.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::{Cluster, Etcd, Member, access::Access};
use crate::{
    ports::free_address,
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
        let (members, directory) = self.start_members(&["default"]).await?;
        let member = members.into_iter().next().context("no member was started")?;
        Ok(Etcd { member, directory })
    }

    /// Starts one of three members on free ports and waits until each serves.
    ///
    /// # Errors
    /// When etcd is not installed, a port was chosen, or a member does not serve.
    pub async fn start_cluster(self) -> Result<Cluster> {
        ensure!(self.port.is_none(), "three members cannot all have port {:?}", self.port);
        let (members, directory) = self.start_members(&["a", "b", "c"]).await?;
        Ok(Cluster { members, _directory: directory })
    }

    async fn start_members(&self, names: &[&str]) -> Result<(Vec<Member>, TempDir)> {
        for _ in 0..5 {
            if let Some(started) = self.try_start(names).await? {
                return Ok(started);
            }
        }
        bail!("etcd found its port taken five times in a row (asked for: {:?})", self.port)
    }

    /// None when somebody else took a port in the meantime.
    async fn try_start(&self, names: &[&str]) -> Result<Option<(Vec<Member>, TempDir)>> {
        let directory = tempfile::tempdir().context("making a directory for etcd")?;
        let mut members = self.run(names, directory.path())?;
        for member in &members {
            if let Err(failure) = member.wait_serving().await {
                let taken = members.iter().any(Member::found_port_taken);
                return if taken { Ok(None) } else { Err(failure) };
            }
        }
        if self.users {
            let users = Users::generate(directory.path())?;
            users.enable(members[0].client().await?).await?;
            for member in &mut members {
                member.access.users = Some(users.clone());
                member.wait_serving().await?;
            }
        }
        Ok(Some((members, directory)))
    }

    fn run(&self, names: &[&str], directory: &Path) -> Result<Vec<Member>> {
        let tls = self.tls.then(|| TlsFiles::generate(directory)).transpose()?;
        let access = Access { tls, users: None };
        let seats = names.iter().map(|name| self.seat(name)).collect::<Result<Vec<_>>>()?;
        let mut shared = shared_arguments(&seats, &access);
        shared.extend(self.token_arguments(directory)?);
        let run = |seat: &Seat| {
            let data = directory.join(seat.name);
            let arguments = [seat.arguments(&data, access.scheme()), shared.clone()].concat();
            Member::run(arguments, seat.client, data, access.clone())
        };
        seats.iter().map(run).collect()
    }

    fn seat<'a>(&self, name: &'a str) -> Result<Seat<'a>> {
        let client = match self.port {
            Some(port) => SocketAddr::from(([127, 0, 0, 1], port)),
            None => free_address()?,
        };
        Ok(Seat { name, client, peer: free_address()? })
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

/// A member's name and where it listens.
struct Seat<'a> {
    name: &'a str,
    client: SocketAddr,
    peer: SocketAddr,
}

impl Seat<'_> {
    fn arguments(&self, data: &Path, scheme: &str) -> Vec<String> {
        let Self { name, client, peer } = self;
        vec![
            format!("--name={name}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={scheme}://{client}"),
            format!("--advertise-client-urls={scheme}://{client}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{peer}"),
        ]
    }
}

/// What every member is told.
fn shared_arguments(seats: &[Seat<'_>], access: &Access) -> Vec<String> {
    let peers: Vec<_> = seats.iter().map(|seat| format!("{}=http://{}", seat.name, seat.peer)).collect();
    let mut arguments = vec![
        format!("--initial-cluster={}", peers.join(",")),
        "--logger=zap".to_owned(),
        // The cheapest hash of passwords: a test is no place to resist guessing.
        "--bcrypt-cost=4".to_owned(),
    ];
    if seats.len() > 1 {
        // Half of etcd's own times: on loopback a heartbeat is never late by more, and every lost leader
        // costs a test an election.
        arguments.extend(["--heartbeat-interval=50".to_owned(), "--election-timeout=500".to_owned()]);
    }
    if let Some(tls) = &access.tls {
        arguments.extend([
            format!("--cert-file={}", tls.server_cert.display()),
            format!("--key-file={}", tls.server_key.display()),
            format!("--trusted-ca-file={}", tls.ca.display()),
            "--client-cert-auth".to_owned(),
        ]);
    }
    arguments
}
