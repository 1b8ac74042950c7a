use super::*;
use h2::Reason;
use h2::server::{self, SendResponse};
use http::{Request, Response};
use std::future::poll_fn;
use std::sync::atomic::AtomicUsize;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::sleep;

type Peer = server::Connection<Link, Bytes>;
type Call = (Request<h2::RecvStream>, SendResponse<Bytes>);

const IDLE: Duration = Duration::from_secs(60);

/// An endpoint in memory, whose connections allow so many streams each.
#[derive(Clone)]
struct Fixture {
    pool: Arc<Multiplexed>,
    dials: Arc<AtomicUsize>,
    allows: u32,
    peers: UnboundedSender<Peer>,
}

impl Fixture {
    fn new(allows: u32) -> (Self, UnboundedReceiver<Peer>) {
        let (peers, accepted) = mpsc::unbounded_channel();
        (Self { pool: Arc::default(), dials: Arc::default(), allows, peers }, accepted)
    }

    async fn stream(&self, generation: u64, is_fresh: bool) -> Result<Stream, Failed> {
        let (dials, peers, allows) = (self.dials.clone(), self.peers.clone(), self.allows);
        let dial = move || async move {
            dials.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(1)).await;
            let (ours, theirs) = Link::pair(1 << 16);
            tokio::spawn(async move {
                let mut builder = server::Builder::new();
                if let Ok(peer) = builder.max_concurrent_streams(allows).handshake(theirs).await {
                    let _ = peers.send(peer);
                }
            });
            Ok::<_, std::io::Error>(ours)
        };
        self.pool.stream(Wanted { generation, is_fresh, idle: IDLE }, dial).await
    }

    async fn place(&self) -> Stream {
        self.stream(0, false).await.expect("there is room")
    }

    fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }
}

/// Goes on with a connection, and passes on its calls.
fn serve(mut peer: Peer) -> (JoinHandle<()>, UnboundedReceiver<Call>) {
    let (calls, called) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Some(Ok(call)) = peer.accept().await {
            let _ = calls.send(call);
        }
    });
    (task, called)
}

/// Serves every connection, and answers nothing.
fn serve_all(mut peers: UnboundedReceiver<Peer>) {
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(peer) = peers.recv().await {
            kept.push(serve(peer));
        }
    });
}

fn request() -> Request<()> {
    Request::get("http://a.example/").body(()).expect("valid")
}

fn answer(mut call: Call) {
    call.1.send_response(Response::new(()), true).expect("it is open");
}

#[tokio::test(start_paused = true)]
async fn calls_share_a_connection_until_it_is_full() {
    let (fixture, peers) = Fixture::new(2);
    serve_all(peers);
    let first = fixture.place().await;
    let second = fixture.place().await;
    assert_eq!((fixture.dials(), first.reused, second.reused), (1, false, false), "it is not idle");
    let third = fixture.place().await;
    assert_eq!((fixture.dials(), third.reused), (2, false));
    drop(second);
    let fourth = fixture.place().await;
    assert_eq!((fixture.dials(), fixture.pool.count()), (2, (2, 3)));
    drop((first, third, fourth));
    assert_eq!(fixture.pool.count(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_at_once_open_as_many_connections_as_they_need() {
    let (fixture, peers) = Fixture::new(u32::MAX);
    serve_all(peers);
    let calls = (0..1_000).map(|_| fixture.place());
    let streams = futures_util::future::join_all(calls).await;
    assert_eq!((fixture.dials(), fixture.pool.count()), (10, (10, 1_000)));
    assert!(streams.iter().all(|stream| !stream.reused && stream.life.streams() == STREAMS));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_allows_fewer_than_expected_gets_more_connections() {
    let (fixture, peers) = Fixture::new(3);
    serve_all(peers);
    let streams = futures_util::future::join_all((0..10).map(|_| fixture.place())).await;
    assert_eq!((streams.len(), fixture.dials(), fixture.pool.count()), (10, 4, (4, 10)));
}

/// A frame, byte by byte, for what h2's server does not say.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[0, 0, length, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// SETTINGS with MAX_CONCURRENT_STREAMS.
fn settings(streams: u32) -> Vec<u8> {
    frame(4, 0, 0, &[&[0, 3][..], &streams.to_be_bytes()].concat())
}

/// A pool with a connection to a peer that says what the test writes, after these SETTINGS.
async fn place_at_raw(pool: &Arc<Multiplexed>, streams: u32) -> (Result<Stream, Failed>, Link) {
    let (ours, mut theirs) = Link::pair(1 << 16);
    theirs.write_all(&settings(streams)).await.expect("it has room");
    let dial = || async { Ok::<_, std::io::Error>(ours) };
    (pool.stream(Wanted { generation: 0, is_fresh: false, idle: IDLE }, dial).await, theirs)
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_is_lowered_later_is_heeded() {
    let pool = Arc::default();
    let (first, mut peer) = place_at_raw(&pool, 3).await;
    let (second, _) = place_at_raw(&pool, 3).await;
    assert_eq!(pool.count(), (1, 2));
    peer.write_all(&settings(2)).await.expect("it has room");
    sleep(Duration::from_millis(10)).await;
    let (third, _other_peer) = place_at_raw(&pool, 3).await;
    assert_eq!(pool.count(), (2, 3));
    assert!(
        third.is_ok_and(|third| !third.reused) && first.is_ok() && second.is_ok_and(|second| !second.reused)
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_allows_no_stream_is_not_asked_again_and_again() {
    let (failed, _peer) = place_at_raw(&Arc::default(), 0).await;
    assert!(matches!(failed, Err(Failed::Declined)), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_above_the_last_stream_of_goaway_went_away_and_what_is_below_ends_well() {
    let pool = Arc::default();
    let (first, mut peer) = place_at_raw(&pool, 9).await;
    let (second, _) = place_at_raw(&pool, 9).await;
    let (mut first, mut second) = (first.expect("there is room"), second.expect("there is room"));
    let (below, _) = first.send_request(request(), true).expect("ready");
    let (above, _) = second.send_request(request(), true).expect("ready");
    sleep(Duration::from_millis(10)).await;
    peer.write_all(&frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await.expect("it has room");
    assert_eq!(fate(&above.await.expect_err("it is above")), Fate::WentAway);
    let (third, _other_peer) = place_at_raw(&pool, 9).await;
    assert!(third.is_ok_and(|third| !third.reused) && first.has_gone_away() && !first.is_closed());
    // HEADERS with END_STREAM and END_HEADERS: `:status: 200`.
    peer.write_all(&frame(1, 5, 1, &[0x88])).await.expect("it has room");
    assert!(below.await.is_ok_and(|answer| answer.status() == 200));
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_fails_fails_for_all_who_wait_for_it() {
    let (fixture, _peers) = Fixture::new(2);
    let dials = AtomicUsize::new(0);
    let call = || {
        dials.fetch_add(1, Ordering::Relaxed);
        let dial = || async {
            sleep(Duration::from_secs(1)).await;
            Err::<Link, _>("refused")
        };
        fixture.pool.stream(Wanted { generation: 0, is_fresh: false, idle: IDLE }, dial)
    };
    let outcomes = futures_util::future::join_all((0..20).map(|_| call())).await;
    for outcome in outcomes {
        let Err(Failed::Dial(error)) = outcome else { panic!("it was refused") };
        assert_eq!(error.downcast_ref(), Some(&"refused"));
    }
    assert!(fixture.pool.lock().dials.is_empty() && fixture.pool.lock().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_connection_of_a_dialler_that_has_gone() {
    let (fixture, peers) = Fixture::new(10);
    serve_all(peers);
    let dialler = tokio::spawn({
        let fixture = fixture.clone();
        async move { fixture.place().await }
    });
    tokio::task::yield_now().await;
    let other = tokio::spawn({
        let fixture = fixture.clone();
        async move { fixture.place().await }
    });
    tokio::task::yield_now().await;
    dialler.abort();
    let stream = other.await.expect("no panic");
    assert_eq!((fixture.dials(), stream.reused, fixture.pool.count()), (1, false, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_or_no_http2_fails_before_a_request_is_sent() {
    for says in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let pool = Arc::<Multiplexed>::default();
        let (ours, mut theirs) = Link::pair(1 << 16);
        theirs.write_all(says).await.expect("it has room");
        let dial = || async { Ok::<_, std::io::Error>(ours) };
        let failed = pool.stream(Wanted { generation: 0, is_fresh: false, idle: IDLE }, dial).await;
        match failed {
            Err(Failed::Silent) => assert!(says.is_empty()),
            Err(Failed::Handshake(error)) => assert!(!says.is_empty() && fate(&error) == Fate::Malformed),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_goaway_what_is_in_flight_ends_well_and_others_go_elsewhere() {
    let (fixture, mut peers) = Fixture::new(10);
    let mut stream = fixture.place().await;
    let mut peer = peers.recv().await.expect("dialled");
    let (response, _) = stream.send_request(request(), true).expect("ready");
    let call = peer.accept().await.expect("a call").expect("well");
    peer.graceful_shutdown();
    let (_task, _calls) = serve(peer);
    sleep(Duration::from_millis(10)).await;
    assert!(stream.has_gone_away() && !stream.is_closed());
    let Err(error) = stream.send_request(request(), true) else { panic!("it has gone away") };
    assert_eq!((fate(&error), fate_unsent(&error)), (Fate::WentAway, Fate::WentAway));
    let other = fixture.place().await;
    assert_eq!((fixture.dials(), other.reused), (2, false));
    answer(call);
    assert!(response.await.is_ok());
    sleep(Duration::from_millis(10)).await;
    assert!(stream.is_closed() && !other.is_closed());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_reset_or_broken_is_told_apart() {
    let (fixture, mut peers) = Fixture::new(10);
    let mut streams = Vec::new();
    let mut responses = Vec::new();
    for _ in 0..3 {
        let mut stream = fixture.place().await;
        responses.push(stream.send_request(request(), true).expect("ready").0);
        streams.push(stream);
    }
    let (task, mut calls) = serve(peers.recv().await.expect("dialled"));
    for reason in [Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR] {
        calls.recv().await.expect("a call").1.send_reset(reason);
    }
    let broken = calls.recv().await.expect("a call");
    sleep(Duration::from_millis(10)).await;
    task.abort();
    let mut fates = Vec::new();
    for response in responses {
        fates.push(fate(&response.await.expect_err("none is answered")));
    }
    drop(broken);
    assert_eq!(fates, [Fate::Declined, Fate::Reset(Reason::INTERNAL_ERROR), Fate::Broke]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_resets_its_own_stream_alone() {
    let (fixture, mut peers) = Fixture::new(10);
    let (mut leaving, mut staying) = (fixture.place().await, fixture.place().await);
    let (_task, mut calls) = serve(peers.recv().await.expect("dialled"));
    let gone = leaving.send_request(request(), true).expect("ready");
    let (response, _) = staying.send_request(request(), true).expect("ready");
    let (mut first, second) = (calls.recv().await.expect("one"), calls.recv().await.expect("two"));
    drop((gone, leaving));
    let reset = poll_fn(|cx| first.1.poll_reset(cx)).await.expect("it was reset");
    assert_eq!(reset, Reason::CANCEL);
    answer(second);
    assert!(response.await.is_ok());
    assert_eq!(fixture.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_peer_answers_no_ping_is_closed() {
    let (fixture, mut peers) = Fixture::new(10);
    let mut stream = fixture.place().await;
    let _mute = peers.recv().await.expect("dialled");
    let since = tokio::time::Instant::now();
    let (response, _) = stream.send_request(request(), true).expect("ready");
    let error = response.await.expect_err("it is mute");
    assert_eq!(fate(&error), Fate::Broke);
    let after = since.elapsed().as_secs();
    assert!((14..=17).contains(&after), "{after} s");
}

#[tokio::test(start_paused = true)]
async fn one_whose_peer_answers_pings_stays_for_a_request_that_waits() {
    let (fixture, peers) = Fixture::new(10);
    serve_all(peers);
    let mut stream = fixture.place().await;
    let (_response, _) = stream.send_request(request(), true).expect("ready");
    sleep(Duration::from_secs(600)).await;
    assert!(!stream.is_closed() && !stream.has_gone_away());
}

#[tokio::test(start_paused = true)]
async fn one_without_streams_is_closed_when_its_time_is_over() {
    let (fixture, mut peers) = Fixture::new(10);
    drop(fixture.place().await);
    let (task, _calls) = serve(peers.recv().await.expect("dialled"));
    sleep(IDLE - Duration::from_secs(2)).await;
    assert_eq!((fixture.pool.count(), task.is_finished()), ((1, 0), false));
    sleep(Duration::from_secs(5)).await;
    assert_eq!((fixture.pool.count(), task.is_finished()), ((0, 0), true));
}

#[tokio::test(start_paused = true)]
async fn another_generation_gets_another_connection_and_the_former_ends_with_its_streams() {
    let (fixture, mut peers) = Fixture::new(10);
    let former = fixture.stream(1, false).await.expect("there is room");
    let (task, _calls) = serve(peers.recv().await.expect("dialled"));
    let new = fixture.stream(2, false).await.expect("there is room");
    assert_eq!((fixture.dials(), new.reused, fixture.pool.count()), (2, false, (1, 1)));
    sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished() && !former.has_gone_away());
    drop(former);
    sleep(Duration::from_secs(1)).await;
    assert!(task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn when_the_endpoint_leaves_streams_in_flight_end_well() {
    let (fixture, mut peers) = Fixture::new(10);
    let mut stream = fixture.place().await;
    let (task, mut calls) = serve(peers.recv().await.expect("dialled"));
    let (response, _) = stream.send_request(request(), true).expect("ready");
    let call = calls.recv().await.expect("a call");
    fixture.pool.close_all();
    sleep(Duration::from_secs(100)).await;
    answer(call);
    assert!(response.await.is_ok());
    assert!(!task.is_finished());
    drop(stream);
    sleep(Duration::from_secs(1)).await;
    assert!(task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_new_connection_gets_one() {
    let (fixture, peers) = Fixture::new(10);
    serve_all(peers);
    let _first = fixture.place().await;
    let fresh = fixture.stream(0, true).await.expect("there is room");
    assert_eq!((fixture.dials(), fresh.reused), (2, false));
}
