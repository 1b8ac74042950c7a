//! The control of the gateway's own cost: a bare Pingora proxy with static upstreams, and the trivial
//! backends that both forward to.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use harness::{
    etcd::{Etcd, key},
    http,
    ports::free_address,
    process::{Process, Stdout, binary},
    stack::{Gateway, GatewayOptions},
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const BACKENDS: usize = 3;
/// Generous for a start under valgrind.
const PATIENCE: Duration = Duration::from_secs(120);

/// A body of 60 bytes.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n\r\n\
    ............................................................";

/// Starts backends that answer every request at once, as long as this process runs. They take a request
/// without a body for what ends in an empty line: all that the load sends.
pub(crate) async fn start_backends() -> Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for _ in 0..BACKENDS {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding a trivial backend")?;
        addresses.push(listener.local_addr()?);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream));
            }
        });
    }
    Ok(addresses)
}

async fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = ([0; 8192], 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            stream.write_all(ANSWER).await?;
            filled = 0;
        } else if read == 0 {
            return Ok(());
        }
    }
}

/// The controls: the example's name, and what to call it.
pub(crate) const CONTROLS: [(&str, &str); 2] = [
    ("bare", "bare Pingora proxy, as it comes"),
    ("bare_mimalloc", "bare Pingora proxy, the gateway's allocator"),
];

/// The gateway and its controls, side by side.
pub(crate) struct Contenders {
    pub(crate) gateway: Gateway,
    /// In the order of [`CONTROLS`].
    pub(crate) controls: Vec<Bare>,
    _etcd: Etcd,
}

/// A running bare proxy.
pub(crate) struct Bare {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Contenders {
    /// All with a thread per core, before the same backends, the log thrown away, under `wrapper` if it is
    /// not empty.
    pub(crate) async fn start(backends: &[SocketAddr], wrapper: &[&str]) -> Result<Self> {
        let etcd = Etcd::start().await?;
        for backend in backends {
            etcd.put(&key("goods", &backend.port().to_string()), backend.to_string()).await?;
        }
        let wrapper: Vec<String> = wrapper.iter().map(|&word| word.to_owned()).collect();
        // As many as the bare proxy takes.
        let threads = std::thread::available_parallelism()?.get();
        let options = GatewayOptions::default().set("threads", threads).discard_log().under(wrapper.clone());
        let gateway = Gateway::start(&etcd.endpoint(), options).await?;
        gateway.wait_services(|services| services.endpoints("goods").len() == backends.len()).await?;
        let mut controls = Vec::new();
        for (example, _) in CONTROLS {
            controls.push(Bare::start(example, backends, &wrapper).await?);
        }
        Ok(Self { gateway, controls, _etcd: etcd })
    }
}

impl Bare {
    async fn start(example: &str, backends: &[SocketAddr], wrapper: &[String]) -> Result<Self> {
        let program = binary(&format!("examples/{example}"))
            .context("the bare proxies are examples: `cargo build --release -p proxy --examples`")?;
        let address = free_address()?;
        let mut words = wrapper.to_vec();
        words.extend([program.display().to_string(), address.to_string()]);
        words.extend(backends.iter().map(ToString::to_string));
        let Some((program, arguments)) = words.split_first() else { bail!("no command") };
        let mut command = Command::new(program);
        command.args(arguments);
        let process = Process::start(command, Stdout::Discarded)?;
        eventually("the bare proxy answers", PATIENCE, async || {
            let status = http::get(address, "/goods").await?.status;
            ensure!(status == 200, "it answers {status}");
            Ok(())
        })
        .await
        .with_context(|| process.tail())?;
        Ok(Self { process, address })
    }
}
