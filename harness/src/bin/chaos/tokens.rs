//! Tokens expire, passwords and roles change, while registrations are put all the time.
//!
//! etcd asks for a token when a stream is opened, not later: so the stream is cut after each expiry.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use etcd_client::{Client, Permission};
use harness::{
    etcd::{AuthToken, Etcd, PREFIX, key},
    relay::Relay,
    stack::{Gateway, GatewayOptions},
    users::{User, Users},
    wait::eventually,
};
use tokio::time::sleep;

use crate::{
    context::{Context, counter},
    difference::{Vanished, converged},
    measured::Measured,
    relayed::endpoints,
};

const TTL: Duration = Duration::from_secs(5);
/// etcd looks for expired tokens once a second.
const EXPIRED: Duration = Duration::from_millis(6200);
/// So that each audit, which needs no new stream, finds its token expired.
const AUDIT: &str = "7s";
/// How long a role is without its permission, and a password file without the new password.
const LOCKED_OUT: Duration = Duration::from_secs(1);
const PUT_EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections in a second that are no stampede yet.
const CONNECTIONS_PER_SECOND: usize = 5;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let simple = Expiries::start(context, "simple", AuthToken::Simple { ttl: TTL }).await?;
    let jwt = Expiries::start(context, "JWT", AuthToken::Jwt { ttl: TTL }).await?;
    let (simple, jwt) = tokio::try_join!(simple.run(), jwt.run())?;
    measured.note(simple);
    measured.note(jwt);
    Ok(())
}

/// An etcd whose tokens expire, and a gateway on it.
struct Expiries<'a> {
    context: &'a Context,
    kind: &'static str,
    etcd: Etcd,
    users: Users,
    relays: [Relay; 1],
    gateway: Gateway,
}

impl<'a> Expiries<'a> {
    async fn start(context: &'a Context, kind: &'static str, token: AuthToken) -> Result<Self> {
        let etcd = Etcd::builder().users().auth_token(token).start().await?;
        let relays = [Relay::start(etcd.address()).await?];
        let users = etcd.users().context("this etcd has no users")?.clone();
        let password_file = users.reader.password_file.display().to_string();
        // The guard would cover up what the watch misses; what the auditor finds is counted.
        let options = GatewayOptions::default()
            .set("gateway/registry/username", users.reader.name.as_str())
            .set("gateway/registry/password_file", password_file)
            .set("gateway/registry/audit", AUDIT)
            .set("gateway/registry/guard/share", 1);
        let gateway = Gateway::start(&endpoints(&relays), options).await?;
        Ok(Self { context, kind, etcd, users, relays, gateway })
    }

    /// What was measured, in words.
    async fn run(self) -> Result<String> {
        let begun = Instant::now();
        let stop = AtomicBool::new(false);
        let faults = async {
            let done = self.expire_all().await;
            stop.store(true, Ordering::Relaxed);
            done
        };
        let (put, ()) = tokio::try_join!(put_until(&self.etcd, &stop), faults)?;

        self.converged().await?;
        let services = self.gateway.services().await?;
        let shown = services.endpoints("numbered").len();
        ensure!(shown == put, "{shown} of {put} registrations are shown");
        let repaired = counter(&self.gateway, "leaseway_registry_repaired_keys_total").await?;
        ensure!(repaired == 0.0, "the watch missed {repaired} events; the auditor found them");

        let connections = self.relays[0].accepted();
        let limit = begun.elapsed().as_secs() as usize * CONNECTIONS_PER_SECOND;
        ensure!(connections <= limit, "{connections} connections in {:?}", begun.elapsed());
        let (kind, expiries) = (self.kind, self.context.scale.expiries);
        Ok(format!("{kind}: {shown} of {put} events after {expiries} expiries, {connections} connections"))
    }

    /// As [`converged`], each time with a token that is younger than its life.
    async fn converged(&self) -> Result<()> {
        eventually("the gateway has caught up", PATIENCE, async || {
            let mut root = self.etcd.client().await?;
            converged(&mut root, &self.gateway, Vanished::Differs, Instant::now(), TTL / 2).await?;
            Ok(())
        })
        .await
    }

    async fn expire_all(&self) -> Result<()> {
        let last = self.context.scale.expiries;
        for expiry in 1..=last {
            sleep(EXPIRED).await;
            if expiry == 1 || expiry == last {
                self.change_password(expiry).await?;
            }
            if expiry == 2 || expiry == last {
                self.change_role().await?;
            }
            self.relays[0].reset();
            self.context.say(format_args!("{}: a token has expired, and the stream is cut", self.kind));
        }
        sleep(LOCKED_OUT).await;
        Ok(())
    }

    /// In etcd first, then in the file: in between the gateway has the wrong one.
    async fn change_password(&self, expiry: u32) -> Result<()> {
        let User { name, password_file, .. } = &self.users.reader;
        let password = format!("changed-{expiry}");
        let mut root = self.etcd.client().await?;
        root.user_change_password(name.as_str(), password.as_str()).await?;
        self.relays[0].reset();
        self.context.say(format_args!("{}: the password has changed, and the stream is cut", self.kind));
        sleep(LOCKED_OUT).await;
        fs::write(password_file, password).with_context(|| format!("writing {}", password_file.display()))
    }

    /// The role loses its permission and gets it back: in between the gateway may not read.
    async fn change_role(&self) -> Result<()> {
        let role = self.users.reader.name.as_str();
        let mut root = self.etcd.client().await?;
        let whole = etcd_client::RoleRevokePermissionOptions::new().with_prefix();
        root.role_revoke_permission(role, PREFIX, Some(whole)).await?;
        self.relays[0].reset();
        self.context.say(format_args!("{}: the role may not read, and the stream is cut", self.kind));
        sleep(LOCKED_OUT).await;
        // A call may outlast the token that it was begun with.
        let mut root = self.etcd.client().await?;
        root.role_grant_permission(role, Permission::read(PREFIX).with_prefix()).await?;
        Ok(())
    }
}

/// Puts numbered registrations until it is told to stop; how many.
async fn put_until(etcd: &Etcd, stop: &AtomicBool) -> Result<usize> {
    let (mut client, mut number) = (etcd.client().await?, 0);
    while !stop.load(Ordering::Relaxed) {
        match put(&mut client, number).await {
            Ok(()) => number += 1,
            // Its own token has expired.
            Err(_) => client = etcd.client().await?,
        }
        sleep(PUT_EVERY).await;
    }
    Ok(number)
}

async fn put(client: &mut Client, number: usize) -> Result<()> {
    // Below 1,024 are neither etcd's ports nor ours, to which the gateway sends nothing.
    let port = 1 + number % 1_000;
    client.put(key("numbered", &number.to_string()), format!("127.0.0.1:{port}"), None).await?;
    Ok(())
}
