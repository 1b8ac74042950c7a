//! What a header of the PROXY protocol says, and how far it goes. Pure.
//!
//! The specification is haproxy's `doc/proxy-protocol.txt`, whose sections are named here. The crate `ppp` reads both
//! forms of a header; where it takes more or less than the specification does, it is decided here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::v1::{self, BinaryParseError, ParseError as LineError};
use ppp::v2::{self, ParseError as BlockError};

/// How long a header of version 1 may be: a line, with its end (2.1).
pub(in crate::gateway) const LONGEST_LINE: usize = 107;
/// So many bytes may follow the fixed part of a header of version 2. Addresses are 216 at most; what else proxies say is
/// a few hundred, and more with a client's certificate.
pub(in crate::gateway) const MOST_FOLLOWING: usize = 4096;

/// What a header of version 1 begins with.
const PROXY: &[u8] = b"PROXY ";
/// Its proxy cannot say who the client is.
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";
/// What tells the versions apart: a header of version 2 begins with it, and one of version 1 is longer than it.
const SIGNATURE: usize = v2::PROTOCOL_PREFIX.len();
/// The signature; version and command; family and transport; how many bytes follow.
const FIXED: usize = SIGNATURE + 4;
/// Version 2, command LOCAL.
const LOCAL: u8 = 0x20;
/// The transport DGRAM.
const DATAGRAM: u8 = 2;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Header {
    /// Where the client connects from. None: the proxy cannot say, or has connected for itself; then the address of the
    /// connection holds.
    pub(in crate::gateway) client: Option<SocketAddr>,
}

/// What is to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Next {
    /// So many bytes at most: all of them are the header's.
    UpTo(usize),
    /// So many bytes at most, and none behind the first line feed.
    Line(usize),
    /// Nothing: the header is whole.
    Nothing(Header),
}

/// Why a connection has no header that can be used. Reads on after "a connection is closed: ".
#[derive(Debug, thiserror::Error)]
pub(in crate::gateway) enum ProxyError {
    #[error("it ended before its PROXY header began")]
    Nothing,
    #[error("it ended after {0} bytes of its PROXY header")]
    Cut(usize),
    #[error("its PROXY header cannot be read: {0}")]
    Lost(io::Error),
    #[error(
        "it does not begin with a PROXY header: let the proxy send one, or take its network out of `proxy_protocol`"
    )]
    Missing,
    #[error("the line of its PROXY header is wrong: {0}")]
    Line(&'static str),
    #[error("the line of its PROXY header has not ended after {LONGEST_LINE} bytes")]
    Endless,
    #[error("its PROXY header says that {0} bytes follow, of which {MOST_FOLLOWING} are taken at most")]
    Long(usize),
    #[error("its PROXY header says that {length} bytes follow, but such addresses have {addresses}")]
    Short { length: usize, addresses: usize },
    #[error("its PROXY header is of version {0}: the gateway knows 1 and 2")]
    Version(u8),
    #[error("its PROXY header has the command {0}: there are 0 (LOCAL) and 1 (PROXY)")]
    Command(u8),
    #[error("its PROXY header has the address family {0}: there are 0 to 3")]
    Family(u8),
    #[error("its PROXY header has the transport {0}: a connection's is 1 (STREAM), or 0 (UNSPEC)")]
    Transport(u8),
}

impl ProxyError {
    /// A connection that has ended after so many bytes.
    pub(in crate::gateway) fn ended(after: usize) -> Self {
        if after == 0 { Self::Nothing } else { Self::Cut(after) }
    }

    /// In one word, of few.
    pub(in crate::gateway) fn reason(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Cut(_) => "cut",
            Self::Lost(_) => "lost",
            Self::Missing => "missing",
            Self::Line(_) => "malformed",
            Self::Endless | Self::Long(_) | Self::Short { .. } => "length",
            Self::Version(_) | Self::Command(_) | Self::Family(_) | Self::Transport(_) => "unsupported",
        }
    }
}

/// What is to be read next, when this is what has been read. Never more than belongs to the header: what stands behind it
/// is for others.
pub(in crate::gateway) fn next(bytes: &[u8]) -> Result<Next, ProxyError> {
    match bytes.len() {
        length @ ..SIGNATURE => Ok(Next::UpTo(SIGNATURE - length)),
        _ if bytes.starts_with(v2::PROTOCOL_PREFIX) => next_of_block(bytes),
        _ if bytes.starts_with(PROXY) => next_of_line(bytes),
        _ => Err(ProxyError::Missing),
    }
}

/// Version 2 (2.2).
fn next_of_block(bytes: &[u8]) -> Result<Next, ProxyError> {
    let Some(&[.., command, kind, high, low]) = bytes.first_chunk::<FIXED>() else {
        return Ok(Next::UpTo(FIXED - bytes.len()));
    };
    let following = usize::from(u16::from_be_bytes([high, low]));
    let client = match v2::Header::try_from(bytes) {
        // Whatever else stands there is ignored.
        _ if command == LOCAL => None,
        _ if kind & 0x0f == DATAGRAM => return Err(ProxyError::Transport(DATAGRAM)),
        Ok(header) => client_of_block(&header),
        Err(BlockError::Partial(..)) => None,
        Err(error) => return Err(of_block(&error)),
    };
    if following > MOST_FOLLOWING {
        return Err(ProxyError::Long(following));
    }
    Ok(match (FIXED + following).saturating_sub(bytes.len()) {
        0 => Next::Nothing(Header { client }),
        missing => Next::UpTo(missing),
    })
}

fn client_of_block(header: &v2::Header<'_>) -> Option<SocketAddr> {
    match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(of)) => Some(client(of.source_address, of.source_port)),
        (v2::Protocol::Stream, v2::Addresses::IPv6(of)) => Some(client(of.source_address, of.source_port)),
        _ => None,
    }
}

fn of_block(error: &BlockError) -> ProxyError {
    match *error {
        BlockError::Version(version) => ProxyError::Version(version >> 4),
        BlockError::Command(command) => ProxyError::Command(command),
        BlockError::AddressFamily(family) => ProxyError::Family(family >> 4),
        BlockError::Protocol(transport) => ProxyError::Transport(transport),
        BlockError::InvalidAddresses(length, addresses) => ProxyError::Short { length, addresses },
        // The signature is there, and nobody asks for what stands behind the addresses.
        BlockError::Incomplete(_)
        | BlockError::Prefix
        | BlockError::Partial(..)
        | BlockError::InvalidTLV(..)
        | BlockError::Leftovers(_) => ProxyError::Missing,
    }
}

/// Version 1 (2.1).
fn next_of_line(bytes: &[u8]) -> Result<Next, ProxyError> {
    if memchr::memchr(b'\n', bytes).is_some() {
        return client_of_line(bytes)
            .map(|client| Next::Nothing(Header { client }))
            .map_err(ProxyError::Line);
    }
    match LONGEST_LINE.saturating_sub(bytes.len()) {
        0 => Err(ProxyError::Endless),
        missing => Ok(Next::Line(missing)),
    }
}

/// The client of a whole line, or what is wrong with that.
fn client_of_line(line: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    // `ppp` takes a space for the carriage return, too.
    let text = line.strip_suffix(b"\r\n").ok_or("it does not end with CR LF")?;
    // What follows is ignored; `ppp` bounds the words.
    if text.strip_prefix(UNKNOWN).is_some_and(|rest| matches!(rest, [] | [b' ', ..])) {
        return Ok(None);
    }
    // `ppp` takes `+80`, as Rust does.
    if text.contains(&b'+') {
        return Err(PORTS);
    }
    match v1::Header::try_from(line).map_err(|error| of_line(&error))?.addresses {
        v1::Addresses::Unknown => Ok(None),
        v1::Addresses::Tcp4(of) => Ok(Some(client(of.source_address, of.source_port))),
        v1::Addresses::Tcp6(of) => Ok(Some(client(of.source_address, of.source_port))),
    }
}

const PORTS: &str = "its ports are not two numbers up to 65535";

fn of_line(error: &BinaryParseError) -> &'static str {
    let BinaryParseError::Parse(error) = error else { return "it is no text" };
    match error {
        LineError::Partial | LineError::MissingProtocol | LineError::InvalidProtocol => {
            "its protocol is none of TCP4, TCP6 and UNKNOWN"
        }
        LineError::InvalidSourceAddress(_) | LineError::InvalidDestinationAddress(_) => {
            "its addresses are not two of the family that it names"
        }
        LineError::InvalidSourcePort(_) | LineError::InvalidDestinationPort(_) => PORTS,
        LineError::InvalidPrefix
        | LineError::MissingPrefix
        | LineError::MissingSourceAddress
        | LineError::MissingDestinationAddress
        | LineError::MissingSourcePort
        | LineError::MissingDestinationPort
        | LineError::MissingNewLine
        | LineError::InvalidSuffix
        | LineError::HeaderTooLong => {
            "it is not a protocol, two addresses and two ports, with one space between them"
        }
    }
}

/// An IPv4 address in IPv6's form is that IPv4 address.
fn client(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into().to_canonical(), port)
}
