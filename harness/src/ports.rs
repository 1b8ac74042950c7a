//! Loopback ports: finding free ones, and telling whose they are.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::Process;

/// Below Linux's ephemeral range (32768 and up): while a server is down, no outgoing connection of
/// another process takes its port, and a connect to the dead port cannot meet itself.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// The ports in turn, from any one on. So none is given twice in a process, as long as there are others: the port of a server
/// that is down for a while is still that server's.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));

/// A loopback address whose port nobody listens on now. Another process may take it before the caller binds
/// it: start again with another one then.
///
/// # Errors
/// When a hundred ports in a row are taken.
pub fn free_address() -> Result<SocketAddr> {
    for _ in 0..100 {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = RANGE.start + turn % (RANGE.end - RANGE.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free loopback port found in {RANGE:?}: is something else holding them all?")
}

/// Checks that it is this process that listens there: an answer alone may be somebody else's, who took
/// the port first.
///
/// # Errors
/// When it does not.
pub(crate) fn ensure_listening(process: &Process, address: SocketAddr) -> Result<()> {
    let SocketAddr::V4(address) = address else { bail!("{address} is not an IPv4 address") };
    let inode = listening_inode(address)?.with_context(|| format!("nobody listens on {address}"))?;
    let socket = format!("socket:[{inode}]");
    let descriptors = format!("/proc/{}/fd", process.pid());
    let mut descriptors = fs::read_dir(&descriptors).with_context(|| format!("reading {descriptors}"))?;
    let is_held = descriptors.any(|entry| {
        entry
            .and_then(|entry| fs::read_link(entry.path()))
            .is_ok_and(|target| target.as_os_str() == socket.as_str())
    });
    ensure!(is_held, "somebody else listens on {address}");
    Ok(())
}

/// The inode of the listening socket, as proc_net_tcp(5) shows it.
fn listening_inode(address: SocketAddrV4) -> Result<Option<String>> {
    const LISTEN: &str = "0A";
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = fs::read_to_string("/proc/net/tcp").context("reading /proc/net/tcp")?;
    let inode = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_it = fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&LISTEN);
        if is_it { fields.get(9).map(|&inode| inode.to_owned()) } else { None }
    });
    Ok(inode)
}

/// Whether a process's output says that its address was taken: by another process, or by another of its own.
pub(crate) fn says_taken(output: &[String]) -> bool {
    output.iter().any(|line| line.to_ascii_lowercase().contains("in use") || line.contains("overlaps with"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let given: std::collections::HashSet<_> = (0..500).map(|_| free_address().unwrap()).collect();
        assert_eq!(given.len(), 500);
    }
}
