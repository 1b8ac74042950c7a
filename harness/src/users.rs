//! etcd users, as an operator would set them up for Leaseway.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use etcd_client::{Client, Permission};

use crate::keys::PREFIX;

/// An etcd user.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// A file (mode 0600) that holds the password and a newline.
    pub password_file: PathBuf,
}

/// The users of an etcd whose authentication is on.
#[derive(Clone, Debug)]
pub struct Users {
    /// May do everything.
    pub root: User,
    /// May read what is under [`PREFIX`]: what the gateway needs.
    pub reader: User,
    /// May read and write what is under [`PREFIX`]: what a backend needs.
    pub writer: User,
}

impl Users {
    /// Draws the passwords and writes their files into `directory`.
    pub(crate) fn generate(directory: &Path) -> Result<Self> {
        let user = |name: &str| {
            let password = format!("{:016x}", fastrand::u64(..));
            let password_file = directory.join(format!("{name}.password"));
            write_secret(&password_file, &format!("{password}\n"))?;
            anyhow::Ok(User { name: name.to_owned(), password, password_file })
        };
        Ok(Self { root: user("root")?, reader: user("gateway")?, writer: user("goods")? })
    }

    /// Creates the users and their roles in an etcd that has none, and turns authentication on.
    pub(crate) async fn enable(&self, mut client: Client) -> Result<()> {
        add_user(&mut client, &self.root).await?;
        client.role_add("root").await?;
        client.user_grant_role("root", "root").await?;
        let everything_below = PREFIX.as_bytes();
        grant(&mut client, &self.reader, Permission::read(everything_below).with_prefix()).await?;
        grant(&mut client, &self.writer, Permission::read_write(everything_below).with_prefix()).await?;
        client.auth_enable().await.context("turning etcd's authentication on")?;
        Ok(())
    }
}

async fn grant(client: &mut Client, user: &User, permission: Permission) -> Result<()> {
    add_user(client, user).await?;
    client.role_add(user.name.as_str()).await?;
    client.role_grant_permission(user.name.as_str(), permission).await?;
    client.user_grant_role(user.name.as_str(), user.name.as_str()).await?;
    Ok(())
}

async fn add_user(client: &mut Client, user: &User) -> Result<()> {
    client
        .user_add(user.name.as_str(), user.password.as_str(), None)
        .await
        .with_context(|| format!("adding the etcd user {}", user.name))?;
    Ok(())
}

/// Writes a file that its owner alone may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
