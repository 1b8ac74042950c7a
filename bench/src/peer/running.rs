//! A proxy that runs, alone on its core.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    etcd::{client, key},
    http,
    ports::free_address,
    process::{Process, Stdout},
    stack::private_directory,
    wait::eventually,
};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use super::{Found, Identity, template::Words};
use crate::{
    backend::SMALL,
    calls::Callers,
    case::{Case, Cases},
    load::{End, Idle, Load},
    stream::{Handshakes, Tls},
    usage,
};

/// For a start, or an end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a proxy runs, before whom, and as whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) core: usize,
    pub(crate) backends: &'a [SocketAddr],
    /// Those that speak gRPC.
    pub(crate) call_backends: &'a [SocketAddr],
    pub(crate) identity: &'a Identity,
    /// Whether it is stopped in order when it has been measured.
    pub(crate) is_stopped: bool,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    /// Where it serves in clear.
    pub(crate) address: SocketAddr,
    /// Where it serves with TLS, if it does.
    pub(crate) tls_address: SocketAddr,
    /// Where it serves HTTP/2 in clear, if it does.
    pub(crate) http2_address: SocketAddr,
    /// Holds its configuration.
    _directory: TempDir,
}

impl Drop for Running {
    /// Ends what it has started: nginx's worker goes on without its master. The process itself ends behind this.
    fn drop(&mut self) {
        for id in usage::started_by(self.process.pid()).unwrap_or_default() {
            let _ = kill(id, Signal::SIGKILL);
        }
    }
}

impl Running {
    /// Starts it, and waits until it answers, also in HTTP/2 or gRPC if that is what the case is about.
    ///
    /// # Errors
    /// When it does not; the error shows its last lines.
    pub(crate) async fn start(found: &Found, place: Place<'_>, case: Case) -> Result<Self> {
        let directory = private_directory()?;
        let addresses @ [address, tls_address, http2_address] =
            [free_address()?, free_address()?, free_address()?];
        let words = words(found, addresses, place, &directory)?;
        for (name, template) in found.peer.files {
            let text = words.fill(template).with_context(|| format!("in bench/peers/{name}"))?;
            fs::write(directory.path().join(name), text).with_context(|| format!("writing {name}"))?;
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &place.core.to_string()]).arg(&found.program);
        for argument in found.peer.arguments {
            command.arg(words.fill(argument)?);
        }
        command.envs(found.peer.environment.iter().copied()).current_dir(directory.path());
        // A gateway that is run as a service would keep its snapshot there.
        command.env_remove("STATE_DIRECTORY");
        // The access log of those that write it to stdout goes where that of the others goes: to /dev/null.
        let process = Process::start(command, Stdout::Discarded)?;
        let running = Self { process, address, tls_address, http2_address, _directory: directory };
        let failure =
            || format!("{} does not answer; its last lines:\n{}", found.peer.name, running.process.tail());
        running.wait_ready(found, &words, place).await.with_context(failure)?;
        running.wait_http2(case).await.with_context(failure)?;
        Ok(running)
    }

    /// Has it stop by itself.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait_exit(PATIENCE).await?;
        Ok(())
    }

    async fn wait_ready(&self, found: &Found, words: &Words, place: Place<'_>) -> Result<()> {
        if found.peer.has_registry() {
            let registry = format!("http://{}", words.value("registry")?);
            self.wait_until("it takes registrations", async || register(&registry, place).await).await?;
        }
        self.wait_until("it answers", async || {
            let answer = http::get(self.address, SMALL.0).await?;
            ensure!(answer.status == 200 && answer.body.len() == SMALL.1, "it answers {answer:?}");
            // What it is said to do it does.
            let has_id = found.peer.request_id.is_none_or(|name| answer.header(name).is_some());
            ensure!(has_id, "no request id in {answer:?}");
            Ok(())
        })
        .await?;
        if found.peer.cases == Cases::InClear {
            return Ok(());
        }
        let load = Load::get(self.tls_address, SMALL, 1).over(Tls::new(Handshakes::Full)?);
        let ask = async || load.clone().run(End::Requests(1)).await.ensure_all_answered();
        self.wait_until("it answers over TLS", ask).await
    }

    async fn wait_http2(&self, case: Case) -> Result<()> {
        let address = self.http2_address;
        let call =
            async || Callers::open(address, 1, 1).await?.run(End::Requests(1)).await.ensure_all_answered();
        let ask = async || Idle::open_http2(address, SMALL, 1).await?.ensure_open();
        match case {
            Case::GrpcUnary => self.wait_until("it answers a call", call).await,
            case if case.is_http2() => self.wait_until("it answers over HTTP/2", ask).await,
            _ => Ok(()),
        }
    }

    /// Asks `probe` until it says so; not of a process that has ended.
    async fn wait_until(&self, what: &str, probe: impl AsyncFn() -> Result<()>) -> Result<()> {
        let runs = eventually(what, PATIENCE, async || match self.process.has_ended() {
            true => Ok(false),
            false => probe().await.map(|()| true),
        });
        ensure!(runs.await?, "it ended while it started");
        Ok(())
    }
}

async fn register(registry: &str, place: Place<'_>) -> Result<()> {
    let mut client = client(registry).await?;
    for (service, backends) in [("backends", place.backends), ("calls", place.call_backends)] {
        for backend in backends {
            client.put(key(service, &backend.port().to_string()), backend.to_string(), None).await?;
        }
    }
    Ok(())
}

fn words(
    found: &Found,
    [address, tls_address, http2_address]: [SocketAddr; 3],
    place: Place<'_>,
    directory: &TempDir,
) -> Result<Words> {
    let mut words = Words::default();
    words.set("directory", directory.path().display());
    words.set("listen", address);
    words.set("host", address.ip());
    words.set("port", address.port());
    words.set("tls_listen", tls_address);
    words.set("tls_port", tls_address.port());
    words.set("http2_listen", http2_address);
    words.set("http2_port", http2_address.port());
    words.set("certificate", place.identity.certificate.display());
    words.set("key", place.identity.key.display());
    words.set("certificate_and_key", place.identity.both.display());
    for (number, backend) in (1..).zip(place.backends) {
        words.set(format!("backend{number}"), backend);
        words.set(format!("backend{number}_port"), backend.port());
    }
    for (number, backend) in (1..).zip(place.call_backends) {
        words.set(format!("call_backend{number}"), backend);
        words.set(format!("call_backend{number}_port"), backend.port());
    }
    for (word, value) in found.peer.words {
        words.set(*word, value);
    }
    if found.peer.has_registry() {
        words.set("admin", free_address()?);
        words.set("registry", free_address()?);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::list::PEERS;

    #[test]
    fn every_configuration_and_command_is_filled_whether_the_proxy_is_there_or_not() {
        let backends = [8001, 8002, 8003].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let call_backends = [9001, 9002].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let place = Place {
            core: 0,
            backends: &backends,
            call_backends: &call_backends,
            identity: &Identity::make().unwrap(),
            is_stopped: false,
        };
        let addresses = [80, 443, 8080].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for peer in PEERS {
            let found = Found { peer, program: "none".into(), version: String::new() };
            let directory = private_directory().unwrap();
            let words = words(&found, addresses, place, &directory).unwrap();
            for (name, template) in peer.files {
                let text = words.fill(template).unwrap_or_else(|error| panic!("{name}: {error}"));
                let names_both = text.contains("8001") && text.contains("9001");
                let is_meant = names_both || peer.has_registry() || *name == "traefik.yaml";
                assert!(is_meant, "{name} does not name the backends:\n{text}");
            }
            for argument in peer.arguments {
                words.fill(argument).unwrap_or_else(|error| panic!("{}: {error}", peer.name));
            }
        }
    }
}
