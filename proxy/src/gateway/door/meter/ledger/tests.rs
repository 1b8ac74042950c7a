use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::frames::raw;
use super::*;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// A connection that has begun, and its time.
struct Talk {
    ledger: Ledger,
    now: Duration,
    /// The streams that were opened.
    streams: u32,
}

impl Talk {
    fn begin() -> Self {
        let mut talk = Self { ledger: Ledger::new(), now: Duration::ZERO, streams: 0 };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        talk.ledger.receive(preface, || Duration::ZERO).unwrap();
        talk.gets(SETTINGS, 0, 0, &[0, 4, 1, 0, 0, 0]).unwrap();
        talk.gives(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).unwrap();
        talk.gets(SETTINGS, ACK, 0, &[]).unwrap();
        talk
    }

    fn gets(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Flood> {
        self.ledger.receive(&raw(kind, flags, stream, payload), || self.now)
    }

    fn gives(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Flood> {
        self.ledger.send(&raw(kind, flags, stream, payload), || self.now)
    }

    fn passes(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// The client opens a stream.
    fn opens(&mut self) -> u32 {
        self.streams += 1;
        let stream = self.streams * 2 - 1;
        self.gets(HEADERS, END_HEADERS | END_STREAM, stream, &[0x82]).unwrap();
        stream
    }

    /// The client goes on with a frame for ten seconds, ten times a millisecond.
    fn floods(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Flood> {
        for _ in 0..10_000 {
            (0..10).try_for_each(|_| self.gets(kind, flags, stream, payload))?;
            self.passes(1);
        }
        Ok(())
    }
}

#[test]
fn each_kind_of_flood_is_found() {
    let cases: [(u8, u8, u32, &[u8], Flood); 12] = [
        (SETTINGS, 0, 0, &[], Flood::Settings),
        (SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1], Flood::Settings),
        (PING, 0, 0, &[0; 8], Flood::Ping),
        // Nobody asked.
        (PING, ACK, 0, &[0; 8], Flood::Ping),
        (PRIORITY, 0, 1, &[0; 5], Flood::Priority),
        (RST_STREAM, 0, 1, &CANCEL, Flood::Reset),
        (WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1], Flood::WindowUpdate),
        (DATA, 0, 1, &[], Flood::EmptyData),
        // Padding alone.
        (DATA, 8, 1, &[1, 0], Flood::EmptyData),
        (CONTINUATION, 0, 1, &[], Flood::Continuation),
        (GOAWAY, 0, 0, &[0; 8], Flood::Goaway),
        (0x10, 0, 0, &[0; 5], Flood::Unknown),
    ];
    for (kind, flags, stream, payload, flood) in cases {
        let mut talk = Talk::begin();
        talk.opens();
        assert_eq!(talk.floods(kind, flags, stream, payload), Err(flood));
        assert!(talk.now < Duration::from_secs(2), "{flood:?} after {:?}", talk.now);
    }
}

#[test]
fn who_opens_streams_and_resets_them_at_once_is_found() {
    let mut talk = Talk::begin();
    let mut resets = 0;
    let verdict = loop {
        let stream = talk.opens();
        if let Err(flood) = talk.gets(RST_STREAM, 0, stream, &CANCEL) {
            break flood;
        }
        resets += 1;
        talk.passes(1);
    };
    assert_eq!(verdict, Flood::Reset);
    assert!((200..220).contains(&resets), "{resets}");
}

#[test]
fn who_makes_the_gateway_reset_is_found() {
    for (code, flood) in
        [(1, Flood::MadeReset), (3, Flood::MadeReset), (5, Flood::MadeReset), (7, Flood::Refused)]
    {
        let mut talk = Talk::begin();
        let mut resets = (0..5000).map(|_| {
            let stream = talk.opens();
            talk.passes(1);
            talk.gives(RST_STREAM, 0, stream, &[0, 0, 0, code])
        });
        assert_eq!(resets.find_map(Result::err), Some(flood));
    }
}

#[test]
fn after_a_flood_it_is_known_whether_a_frame_is_complete() {
    let resets = raw(RST_STREAM, 0, 1, &[0, 0, 0, 1]).repeat(300);
    for (rest, last) in [(0, Some(0)), (1, None), (9, None), (12, None)] {
        let mut ledger = Ledger::new();
        let bytes = [&resets, &resets[..rest]].concat();
        assert_eq!(ledger.send(&bytes, || Duration::ZERO), Err(Flood::MadeReset));
        assert_eq!(ledger.last_stream(), last);
    }
}

#[test]
fn what_the_codec_bounds_is_found_and_is_not_told_again() {
    let mut talk = Talk::begin();
    assert_eq!(talk.gives(GOAWAY, 0, 0, &[0; 8]), Ok(()));
    assert_eq!(talk.ledger.last_stream(), Some(0));
    assert_eq!(talk.gives(GOAWAY, 0, 0, b"\0\0\0\x07\0\0\0\x0btoo many"), Err(Flood::Codec));
    assert_eq!(talk.ledger.last_stream(), None);
}

#[test]
fn resets_that_are_the_gateways_own_or_an_instances_cost_the_client_nothing() {
    let mut talk = Talk::begin();
    for code in [0, 2, 8, 0xb].into_iter().cycle().take(20_000) {
        let stream = talk.opens();
        assert_eq!(talk.gives(RST_STREAM, 0, stream, &[0, 0, 0, code]), Ok(()));
    }
}

#[test]
fn the_first_frame_above_a_heads_is_found_and_the_next_head_begins_anew() {
    let mut talk = Talk::begin();
    for stream in [1, 3, 5] {
        talk.gets(HEADERS, 0, stream, &[0; 100]).unwrap();
        (1..5).for_each(|_| talk.gets(CONTINUATION, 0, stream, &[0; 100]).unwrap());
        talk.gets(CONTINUATION, END_HEADERS, stream, &[0; 100]).unwrap();
    }
    assert_eq!(talk.gets(CONTINUATION, 0, 5, &[]), Err(Flood::Continuation));
}

#[test]
fn a_browser_that_leaves_page_after_page_is_served() {
    let mut talk = Talk::begin();
    for _ in 0..50 {
        let streams: Vec<_> = (0..100).map(|_| talk.opens()).collect();
        for stream in &streams {
            // As it opens them: a larger window, and what comes first.
            talk.gets(WINDOW_UPDATE, 0, *stream, &[0, 0xbe, 0, 0]).unwrap();
            for _ in 0..4 {
                talk.gets(PRIORITY, 0, *stream, &[0; 5]).unwrap();
                talk.gets(0x10, 0, 0, &[0, 0, 0, 1, b'u']).unwrap();
            }
        }
        talk.passes(50);
        for stream in streams {
            assert_eq!(talk.gets(RST_STREAM, 0, stream, &CANCEL), Ok(()));
        }
        talk.passes(5000);
    }
}

#[test]
fn calls_whose_deadlines_pass_by_the_thousand_are_served() {
    let mut talk = Talk::begin();
    // A hundred at a time, each given up after 200 ms: 500 a second, for a minute, of which none is answered.
    let mut open = std::collections::VecDeque::new();
    for _ in 0..30_000 {
        open.push_back(talk.opens());
        if open.len() > 100 {
            let stream = open.pop_front().unwrap();
            assert_eq!(talk.gets(RST_STREAM, 0, stream, &CANCEL), Ok(()), "after {:?}", talk.now);
        }
        talk.passes(2);
    }
}

#[test]
fn a_client_that_asks_twice_and_gives_up_whoever_is_slower_is_served() {
    let mut talk = Talk::begin();
    for _ in 0..10_000 {
        let (faster, slower) = (talk.opens(), talk.opens());
        talk.gives(HEADERS, END_HEADERS | END_STREAM, faster, &[0x88]).unwrap();
        assert_eq!(talk.gets(RST_STREAM, 0, slower, &CANCEL), Ok(()));
        talk.passes(1);
    }
}

#[test]
fn a_download_is_served_however_little_of_its_window_is_given_back_at_a_time() {
    let mut talk = Talk::begin();
    let stream = talk.opens();
    // A window of 16 MiB is filled before the client gives anything back, 4 KiB at a time, and measures by a ping for each frame.
    for _ in 0..5 {
        (0..1024).for_each(|_| talk.gives(DATA, 0, stream, &[0; 16384]).unwrap());
        for _ in 0..4096 {
            assert_eq!(talk.gets(WINDOW_UPDATE, 0, stream, &[0, 0, 16, 0]), Ok(()));
            assert_eq!(talk.gets(WINDOW_UPDATE, 0, 0, &[0, 0, 16, 0]), Ok(()));
        }
    }
    for _ in 0..5000 {
        talk.gives(DATA, 0, stream, &[0; 100]).unwrap();
        assert_eq!(talk.gets(PING, 0, 0, &[0; 8]), Ok(()));
        assert_eq!(talk.gets(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 100]), Ok(()));
        assert_eq!(talk.gets(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 100]), Ok(()));
    }
}

#[test]
fn a_quiet_client_that_asks_whether_the_connection_is_alive_is_served_and_so_is_one_that_is_asked() {
    let mut talk = Talk::begin();
    for _ in 0..100_000 {
        talk.passes(1000);
        assert_eq!(talk.gets(PING, 0, 0, &[0; 8]), Ok(()));
    }
    for _ in 0..100_000 {
        talk.gives(PING, 0, 0, &[0; 8]).unwrap();
        assert_eq!(talk.gets(PING, ACK, 0, &[0; 8]), Ok(()));
    }
}

#[test]
fn requests_and_small_messages_are_no_flood() {
    let mut talk = Talk::begin();
    for _ in 0..100_000 {
        let stream = talk.opens();
        talk.gets(DATA, 0, stream, &[0; 5]).unwrap();
        assert_eq!(talk.gets(DATA, END_STREAM, stream, &[]), Ok(()));
    }
}

#[test]
fn the_clock_is_read_for_frames_that_cost_alone() {
    let mut ledger = Ledger::new();
    let never = || -> Duration { panic!("the clock was read") };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for stream in (1..200).step_by(2) {
        bytes.extend(raw(HEADERS, END_HEADERS, stream, &[0x82]));
        bytes.extend(raw(DATA, END_STREAM, stream, &[7; 5000]));
    }
    assert_eq!(ledger.receive(&bytes, never), Ok(()));
    assert_eq!(ledger.send(&raw(DATA, 0, 1, &[7; 16384]), never), Ok(()));
}

/// A frame of any kind that a client may send.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = select(vec![0, 1, 2, 3, 4, 6, 7, 8, 9, 0x10]);
    (kind, select(vec![0, 1, 4, 8, 9]), 0..40u32, vec(any::<u8>(), 0..20))
        .prop_map(|(kind, flags, stream, payload)| raw(kind, flags, stream, &payload))
}

/// What becomes of frames, in pieces of these lengths, each repeated so that there are floods: how many bytes were taken.
fn verdict(bytes: &[u8], cuts: &[usize], is_sent: bool) -> Result<(), Flood> {
    let mut ledger = Ledger::new();
    let now = || Duration::from_secs(1);
    if !is_sent {
        ledger.receive(&[0; 24], now)?;
    }
    let mut rest = bytes;
    for cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(*cut));
        if is_sent {
            ledger.send(piece, now)?
        } else {
            ledger.receive(piece, now)?
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_same_bytes_get_the_same_verdict_wherever_they_are_cut(
        frames in vec(frame(), 1..20),
        times in 1..200usize,
        cuts in vec(1..50usize, 1..10),
        is_sent in any::<bool>(),
    ) {
        let bytes = frames.concat().repeat(times);
        prop_assert_eq!(verdict(&bytes, &cuts, is_sent), verdict(&bytes, &[bytes.len()], is_sent));
    }

    #[test]
    fn whatever_comes_it_goes_on(bytes in vec(any::<u8>(), 0..2000), cut in 1..50usize) {
        let mut ledger = Ledger::new();
        for piece in bytes.chunks(cut) {
            let _ = ledger.receive(piece, || Duration::ZERO);
            let _ = ledger.send(piece, || Duration::ZERO);
        }
    }
}
