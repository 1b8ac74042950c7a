use std::net::SocketAddr;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use super::header::{Header, MOST_FOLLOWING, ProxyError};
use super::{checks, read};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 187];

/// A header of version 2.
fn block(command: u8, kind: u8, following: &[u8]) -> Vec<u8> {
    let length = u16::try_from(following.len()).unwrap();
    [SIGNATURE, &[command, kind], &length.to_be_bytes(), following].concat()
}

/// The addresses of version 2 for IPv6.
fn v6(client: &str) -> Vec<u8> {
    let octets = |address: &str| address.parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&octets(client)[..], &octets("2001:db8::1"), &[0xdc, 4, 1, 187]].concat()
}

fn client(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// Headers, and whom they name.
fn good() -> Vec<(Vec<u8>, Option<SocketAddr>)> {
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
    let tlvs = [&V4[..], &[1, 0, 2, b'h', b'2', 4, 0, 3, 0, 0, 0]].concat();
    vec![
        (line("TCP4 192.168.0.1 192.168.0.11 56324 443"), client("192.168.0.1:56324")),
        (line("TCP4 255.255.255.255 255.255.255.255 65535 65535"), client("255.255.255.255:65535")),
        (line("TCP6 2001:DB8::7 ::1 0 443"), client("[2001:db8::7]:0")),
        (line("TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 80 80"), client("192.0.2.7:80")),
        (line(&format!("TCP6 {longest} {longest} 65535 65535")), client(&format!("[{longest}]:65535"))),
        (line("UNKNOWN"), None),
        (line(&format!("UNKNOWN {longest} {longest} 65535 65535")), None),
        (line("UNKNOWN whatever else there is: more words, \r, \u{e9}, +1"), None),
        (block(0x21, 0x11, &V4), client("192.0.2.7:56324")),
        (block(0x21, 0x21, &v6("2001:db8::7")), client("[2001:db8::7]:56324")),
        (block(0x21, 0x21, &v6("::ffff:192.0.2.7")), client("192.0.2.7:56324")),
        (block(0x21, 0x11, &tlvs), client("192.0.2.7:56324")),
        // What it says of itself behind the addresses is ignored, also where it lies.
        (block(0x21, 0x11, &[&V4[..], &[1, 255, 255]].concat()), client("192.0.2.7:56324")),
        (block(0x21, 0x11, &[&V4[..], &[0; MOST_FOLLOWING - 12]].concat()), client("192.0.2.7:56324")),
        (block(0x21, 0x31, &[b'/'; 216]), None),
        (block(0x21, 0x10, &V4), None),
        (block(0x21, 0x00, &[]), None),
        (block(0x21, 0x01, &[7; 40]), None),
        (block(0x20, 0x00, &[]), None),
        (block(0x20, 0x11, &V4), None),
        (block(0x20, 0x11, &[]), None),
        (block(0x20, 0xff, &[9; 300]), None),
    ]
}

#[test]
fn a_header_names_its_client_and_ends_where_it_says() {
    for (header, client) in good() {
        for behind in ["", "GET / HTTP/1.1\r\n", "\n", "\r\n\r\n"] {
            let bytes = [&header, behind.as_bytes()].concat();
            for step in [1, 2, 7, bytes.len()] {
                let reading = checks::read(&bytes, step);
                assert_eq!(reading.outcome.ok(), Some(Header { client }), "{}", header.escape_ascii());
                assert_eq!(reading.taken, header.len(), "{}", header.escape_ascii());
            }
            checks::headers(&[&[3], &*bytes].concat());
        }
    }
}

#[test]
fn a_header_that_is_cut_anywhere_is_none() {
    for (header, _) in good() {
        for length in 0..header.len() {
            let reading = checks::read(&header[..length], 5);
            let reason = if length == 0 { "nothing" } else { "cut" };
            assert_eq!(reading.outcome.map_err(|error| error.reason()), Err(reason), "{length}");
            assert_eq!(reading.taken, length);
        }
    }
}

#[test]
fn what_is_no_header_says_why() {
    let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    let following = u16::try_from(MOST_FOLLOWING + 1).unwrap().to_be_bytes();
    let long = |command| [SIGNATURE, &[command, 0x11], &following].concat();
    for (bytes, reason, why) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "missing", "does not begin with"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0".to_vec(), "missing", "does not begin with"),
        (b"proxy UNKNOWN\r\n".to_vec(), "missing", "does not begin with"),
        (b"\r\n\r\n\0\r\nQUIT\r\x21\x11".to_vec(), "missing", "does not begin with"),
        (endless.into_bytes(), "length", "107"),
        (block(0x21, 0x11, &V4[..11]), "length", "11 bytes follow, but such addresses have 12"),
        (block(0x21, 0x21, &V4), "length", "12 bytes follow, but such addresses have 36"),
        (block(0x21, 0x31, &[0; 215]), "length", "215 bytes follow, but such addresses have 216"),
        (long(0x21), "length", "4097 bytes follow"),
        (long(0x20), "length", "4097 bytes follow"),
        (block(0x31, 0x11, &V4), "unsupported", "version 3"),
        (block(0x22, 0x11, &V4), "unsupported", "command 2"),
        (block(0x21, 0x41, &V4), "unsupported", "family 4"),
        (block(0x21, 0x13, &V4), "unsupported", "transport 3"),
        (block(0x21, 0x12, &V4), "unsupported", "transport 2"),
        (block(0x21, 0x02, &V4), "unsupported", "transport 2"),
    ] {
        let error = checks::read(&bytes, bytes.len()).outcome.unwrap_err();
        assert_eq!(error.reason(), reason, "{}", bytes.escape_ascii());
        assert!(error.to_string().contains(why), "{error}");
        checks::headers(&[&[1], &*bytes].concat());
    }
}

#[test]
fn a_line_that_is_not_as_it_must_be_says_why() {
    for (line, why) in [
        ("PROXY TCP5 192.0.2.7 192.0.2.1 1 2\r\n", "protocol"),
        ("PROXY  TCP4 192.0.2.7 192.0.2.1 1 2\r\n", "protocol"),
        ("PROXY UNKNOWNS\r\n", "protocol"),
        ("PROXY tcp4 192.0.2.7 192.0.2.1 1 2\r\n", "protocol"),
        ("PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n", "addresses"),
        ("PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n", "addresses"),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", "addresses"),
        ("PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n", "addresses"),
        ("PROXY TCP4 192.0.2.7\r\n", "one space"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n", "ports"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n", "ports"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n", "ports"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 1 -2\r\n", "ports"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", "ports"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n", "one space"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n", "one space"),
        ("PROXY TCP4 192.0.2.\u{0667} 192.0.2.1 1 2\r\n", "addresses"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", "CR LF"),
        ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \n", "CR LF"),
        ("PROXY UNKNOWN\n", "CR LF"),
        ("PROXY UNKNOWN \n", "CR LF"),
        ("PROXY \r\n123456", "CR LF"),
    ] {
        let error = checks::read(line.as_bytes(), line.len()).outcome.unwrap_err();
        assert_eq!(error.reason(), "malformed", "{line:?}");
        assert!(error.to_string().contains(why), "{line:?}: {error}");
        checks::headers(&[&[2], line.as_bytes()].concat());
    }
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn what_stands_behind_a_header_stays_on_the_connection_however_it_comes() {
    for (header, client) in good() {
        for step in [1, header.len() - 1, header.len() + 3] {
            let (mut proxy, mut stream) = pair().await;
            let sent = [&header, &b"GET / HTTP/1.1\r\n"[..]].concat();
            let sending = async {
                for piece in sent.chunks(step) {
                    proxy.write_all(piece).await.unwrap();
                    yield_now().await;
                }
                proxy.shutdown().await.unwrap();
            };
            let (read, ()) = tokio::join!(read(&mut stream), sending);
            assert_eq!(read.ok(), Some(Header { client }), "{}", header.escape_ascii());
            let mut behind = String::new();
            stream.read_to_string(&mut behind).await.unwrap();
            assert_eq!(behind, "GET / HTTP/1.1\r\n");
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_or_is_reset_within_its_header_is_told_so() {
    let headers = good();
    let cuts = [0, 3, 8].map(|n| &headers[n].0).into_iter();
    for (header, length) in cuts.flat_map(|header| (0..header.len()).map(move |length| (header, length))) {
        let (mut proxy, mut stream) = pair().await;
        proxy.write_all(&header[..length]).await.unwrap();
        proxy.shutdown().await.unwrap();
        let error = read(&mut stream).await.unwrap_err();
        match error {
            ProxyError::Nothing => assert_eq!(length, 0),
            ProxyError::Cut(after) => assert_eq!(after, length),
            other => panic!("{other}"),
        }
    }
    let (proxy, mut stream) = pair().await;
    proxy.set_zero_linger().unwrap();
    drop(proxy);
    let error = read(&mut stream).await.unwrap_err();
    assert_eq!(error.reason(), "lost", "{error}");
}

/// A connection that is silent in the middle of its header costs nothing but its place.
#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_go_on_is_waited_for_without_being_looked_at() {
    for begun in ["", "PRO", "PROXY TCP4 192.0.2.7 192"] {
        let (mut proxy, mut stream) = pair().await;
        proxy.write_all(begun.as_bytes()).await.unwrap();
        let mut polls = 0;
        let mut reading = std::pin::pin!(read(&mut stream));
        let counted = std::future::poll_fn(|cx| {
            polls += 1;
            reading.as_mut().poll(cx)
        });
        let late = tokio::time::timeout(std::time::Duration::from_secs(10), counted).await;
        assert!(late.is_err());
        assert!(polls <= 5, "{begun:?}: {polls}");
    }
}

#[test]
fn what_a_fuzzer_has_found_is_read_as_it_must_be() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/proxy_headers");
    let found: Vec<_> = std::fs::read_dir(directory).unwrap().collect();
    assert!(found.len() >= 20, "{}", found.len());
    found.into_iter().for_each(|entry| checks::headers(&std::fs::read(entry.unwrap().path()).unwrap()));
}

/// Headers of which some bytes are others, and bytes that begin as headers do.
fn nearly_headers() -> impl Strategy<Value = Vec<u8>> {
    let changed = (select(good()), vec((any::<Index>(), any::<u8>()), 0..4), vec(any::<u8>(), 0..20));
    let changed = changed.prop_map(|((mut header, _), changes, behind)| {
        for (at, byte) in changes {
            let at = at.index(header.len());
            header[at] = byte;
        }
        header.extend(behind);
        header
    });
    let begun = (select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE]), vec(any::<u8>(), 0..300));
    prop_oneof![changed, begun.prop_map(|(begin, rest)| [begin, &rest].concat())]
}

proptest! {
    #[test]
    fn whatever_comes_is_read_as_ppp_does_and_not_beyond_its_end(bytes in nearly_headers(), step in any::<u8>()) {
        checks::headers(&[&[step], &*bytes].concat());
    }
}
