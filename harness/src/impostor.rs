//! A server in the place of etcd that has a certificate, and writes down what it is told.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

/// A SETTINGS frame of HTTP/2 without a setting (RFC 9113, 6.5): a client may say what it wants.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A server that answers nothing. It serves until the test's process ends.
#[derive(Debug)]
pub struct Impostor {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

/// What came so far, of all connections.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Handshakes that a client broke off.
    pub refused: usize,
    /// Handshakes that succeeded.
    pub accepted: usize,
    /// What was sent after those.
    pub bytes: Vec<u8>,
}

impl Heard {
    /// Whether this text was among it.
    pub fn has(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Impostor {
    /// Starts one on 127.0.0.1 that shows this certificate, with its chain.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn start(certificate: &Path, key: &Path) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), certificate, key)
    }

    /// Likewise, on this address.
    ///
    /// # Errors
    /// When the files cannot be used, or the machine does not have the address.
    pub fn start_at(address: IpAddr, certificate: &Path, key: &Path) -> Result<Self> {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        acceptor.set_certificate_chain_file(certificate).context("reading the impostor's certificate")?;
        acceptor.set_private_key_file(key, SslFiletype::PEM).context("reading the impostor's key")?;
        acceptor.set_alpn_select_callback(|_, _| Ok(b"h2"));
        let (acceptor, listener) = (acceptor.build(), TcpListener::bind((address, 0))?);
        let (address, heard) = (listener.local_addr()?, Arc::<Mutex<Heard>>::default());
        let noted = heard.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (acceptor, noted) = (acceptor.clone(), noted.clone());
                thread::spawn(move || hear(&acceptor, stream, &noted));
            }
        });
        Ok(Self { address, heard })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What came so far.
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn hear(acceptor: &SslAcceptor, stream: TcpStream, heard: &Mutex<Heard>) {
    let note = |note: &dyn Fn(&mut Heard)| note(&mut heard.lock().unwrap_or_else(PoisonError::into_inner));
    let Ok(mut stream) = acceptor.accept(stream) else { return note(&|heard| heard.refused += 1) };
    note(&|heard| heard.accepted += 1);
    if stream.write_all(&SETTINGS).is_err() {
        return;
    }
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        note(&|heard| heard.bytes.extend_from_slice(&buffer[..count]));
    }
}
