use std::pin::Pin;
use std::time::SystemTime;

use openssl::ssl::Ssl;
use tokio_openssl::SslStream;

use super::*;
use crate::link::Tls;
use crate::tasks;
use crate::tls::fixture::{Realm, context};
use crate::tls::{Application, Expired, InstanceTls};
use crate::traffic::Traffic;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, coop, yield_now};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(1_000_000);

/// An endpoint, and the sweeper at work.
struct Bench {
    kept: Arc<Kept>,
    sweeper: Arc<Sweeper>,
    task: AbortHandle,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bench {
    fn new(most: usize) -> Self {
        Self::at(Arc::default(), most)
    }

    fn at(kept: Arc<Kept>, most: usize) -> Self {
        let sweeper = Sweeper::new(most);
        let task = tokio::spawn(sweeper.clone().run()).abort_handle();
        Self { kept, sweeper, task }
    }

    fn put(&self, link: Link) {
        self.kept.put(KeptLink::new(link, 0), LONG, tasks::now(), &self.sweeper);
    }

    fn take(&self) -> Option<KeptLink> {
        self.kept.take(0, LONG, tasks::now())
    }

    /// Keeps so many, of which the last was put back last, and returns the other sides.
    async fn keep(&self, count: usize) -> Vec<TcpStream> {
        let mut others = Vec::new();
        for _ in 0..count {
            let (link, theirs) = pair().await;
            self.put(link);
            others.push(theirs);
        }
        assert_eq!(self.kept.count(), count);
        others
    }

    /// Waits until so many are kept in all.
    async fn settles_at(&self, count: usize) {
        until(|| self.sweeper.count() == count).await;
        assert_eq!(self.kept.count(), count);
    }

    /// Waits until the sweeper has nothing to do.
    async fn rests(&self) {
        until(|| !self.kept.lock().call.as_ref().is_some_and(|call| call.is_made())).await;
    }
}

/// Waits for something that happens at once, or never.
async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < 60 * SECOND, "it never happens");
        yield_now().await;
    }
}

fn is_quiet(idle: &Idle) -> bool {
    idle.link.watcher.as_ref().unwrap().is_quiet.load(Ordering::Acquire)
}

async fn pair() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Link::Plain(ours.unwrap()), theirs.unwrap().0)
}

fn port(stream: &TcpStream) -> u16 {
    stream.local_addr().unwrap().port()
}

fn peer(link: &KeptLink) -> u16 {
    match &link.link {
        Link::Plain(stream) => stream.peer_addr().unwrap().port(),
        _ => 0,
    }
}

#[tokio::test]
async fn the_one_that_was_put_back_last_is_taken_first() {
    let bench = Bench::new(10);
    let others = bench.keep(3).await;
    let (second, first) = (bench.take().unwrap(), bench.take().unwrap());
    assert_eq!([peer(&second), peer(&first)], [port(&others[2]), port(&others[1])]);
    bench.kept.put(second, LONG, tasks::now(), &bench.sweeper);
    assert_eq!(bench.take().map(|link| peer(&link)), Some(port(&others[2])));
    assert_eq!(bench.take().map(|link| peer(&link)), Some(port(&others[0])));
    assert!(bench.take().is_none() && bench.sweeper.count() == 0);
}

#[tokio::test]
async fn one_that_ends_or_says_something_is_closed_at_once_and_the_others_stay() {
    let bench = Bench::new(10);
    let mut others = bench.keep(4).await;
    drop(others.remove(1));
    bench.settles_at(3).await;
    others[2].write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
    bench.settles_at(2).await;
    others.remove(0).set_zero_linger().unwrap();
    bench.settles_at(1).await;
    assert_eq!(bench.take().map(|link| peer(&link)), Some(port(&others[0])));
}

#[tokio::test]
async fn one_that_was_used_again_and_again_is_watched_still() {
    let bench = Bench::new(10);
    let others = bench.keep(1).await;
    for _ in 0..1_000 {
        let link = bench.take().unwrap();
        bench.kept.put(link, LONG, tasks::now(), &bench.sweeper);
    }
    drop(others);
    bench.settles_at(0).await;
}

/// Nobody sweeps: what takes one and puts one back sees for itself.
#[tokio::test]
async fn what_is_not_silent_is_neither_taken_nor_kept() {
    let bench = Bench::new(10);
    bench.task.abort();
    let mut others = bench.keep(2).await;
    let (mut link, theirs) = pair().await;
    drop((theirs, others.pop()));
    poll_fn(|cx| link.poll_stirred(cx)).await;
    bench.put(link);
    assert_eq!(bench.kept.count(), 2, "it had ended");
    until(|| !is_quiet(&bench.kept.lock().idle[1])).await;
    assert_eq!(bench.take().map(|link| peer(&link)), Some(port(&others[0])));
    assert_eq!((bench.kept.count(), bench.sweeper.count()), (0, 0));
}

#[tokio::test]
async fn one_that_was_woken_for_nothing_stays_and_is_watched() {
    let bench = Bench::new(10);
    let others = bench.keep(2).await;
    bench.rests().await;
    let watcher = bench.kept.lock().idle[0].link.watcher.clone().unwrap();
    watcher.wake_by_ref();
    assert!(!is_quiet(&bench.kept.lock().idle[0]));
    until(|| is_quiet(&bench.kept.lock().idle[0])).await;
    assert_eq!(bench.kept.count(), 2);
    drop(others);
    bench.settles_at(0).await;
}

#[tokio::test]
async fn one_that_is_taken_calls_nobody() {
    let bench = Bench::new(10);
    let others = bench.keep(1).await;
    bench.rests().await;
    let mut link = bench.take().unwrap();
    drop(others);
    // Another waker would take the watcher's place.
    until(|| !link.link.is_silent()).await;
    assert!(!bench.kept.lock().call.as_ref().unwrap().is_made());
}

/// Otherwise the sweeper would be called to every connection that a busy task puts back.
#[tokio::test]
async fn a_task_that_has_done_so_much_that_it_is_others_turn_can_keep_one() {
    let bench = Bench::new(10);
    bench.task.abort();
    let (link, _theirs) = pair().await;
    while poll_fn(|cx| Poll::Ready(pin!(coop::consume_budget()).poll(cx))).await.is_ready() {}
    bench.put(link);
    yield_now().await;
    assert!(is_quiet(&bench.kept.lock().idle[0]));
}

/// The runtime takes it to be readable still, as there might be more.
#[tokio::test]
async fn one_is_kept_whose_last_answer_filled_the_buffer_to_the_brim() {
    let bench = Bench::new(10);
    let (mut link, mut theirs) = pair().await;
    theirs.write_all(b"whole").await.unwrap();
    link.read_exact(&mut [0; 5]).await.unwrap();
    assert!(poll_fn(|cx| Poll::Ready(link.poll_stirred(cx))).await.is_ready());
    bench.put(link);
    assert!(bench.take().is_some());
}

#[tokio::test]
async fn no_more_are_kept_in_all_than_may_be() {
    let bench = Bench::new(2);
    let other = Arc::new(Kept::default());
    let _others = bench.keep(1).await;
    let mut links = Vec::new();
    for _ in 0..2 {
        let (link, theirs) = pair().await;
        other.put(KeptLink::new(link, 0), LONG, tasks::now(), &bench.sweeper);
        links.push(theirs);
    }
    assert_eq!((other.count(), bench.sweeper.count()), (1, 2));
    assert!(bench.take().is_some());
    bench.put(pair().await.0);
    assert_eq!((bench.kept.count(), bench.sweeper.count()), (1, 2), "there was room again");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_idle_for_too_long_is_not_taken_and_closed_within_a_second() {
    let bench = Bench::new(10);
    let (mut links, mut others) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (ours, theirs) = Link::pair(64);
        links.push(ours);
        others.push(theirs);
    }
    for link in links {
        bench.kept.put(KeptLink::new(link, 0), 10 * SECOND, tasks::now(), &bench.sweeper);
        tokio::time::sleep(4 * SECOND).await;
    }
    // They have been idle for 12, 8 and 4 seconds.
    bench.settles_at(2).await;
    assert!(!others[0].is_silent() && others[1].is_silent() && others[2].is_silent());
    assert!(bench.kept.take(0, 4 * SECOND, tasks::now()).is_none(), "as who takes it has it");
    tokio::time::sleep(SECOND).await;
    bench.settles_at(0).await;
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_sleeps_while_nothing_is_kept_and_comes_again() {
    let bench = Bench::new(10);
    for _ in 0..3 {
        // Nobody has asked for one before.
        let pairs = [(); 3].map(|()| Link::pair(64));
        let others = pairs.map(|(ours, theirs)| {
            bench.kept.put(KeptLink::new(ours, 0), 10 * SECOND, tasks::now(), &bench.sweeper);
            theirs
        });
        let before = tasks::now();
        // The clock goes to the next timer when nothing else is to be done: it is the sweeper's.
        for mut theirs in others {
            poll_fn(|cx| theirs.poll_stirred(cx)).await;
        }
        assert!((10 * SECOND..=11 * SECOND).contains(&(tasks::now() - before)));
        assert!(!bench.kept.lock().is_listed && bench.kept.lock().idle.capacity() == 0);
        let before = tasks::now();
        tokio::time::sleep(100_000 * SECOND).await;
        assert!(tasks::now() - before < 100_001 * SECOND);
    }
}

#[tokio::test]
async fn an_endpoint_that_leaves_has_its_connections_closed_and_keeps_none_from_then_on() {
    let traffic = Traffic::default();
    let bench = Bench::at(traffic.kept.clone(), 10);
    let others = bench.keep(3).await;
    let taken = bench.take().unwrap();
    traffic.leave();
    assert!(bench.take().is_none());
    bench.settles_at(0).await;
    bench.kept.put(taken, LONG, tasks::now(), &bench.sweeper);
    assert_eq!((bench.kept.count(), bench.sweeper.count()), (0, 0));
    for other in others {
        other.readable().await.unwrap();
        assert_eq!(other.try_read(&mut [0]).unwrap(), 0, "it was closed");
    }
}

#[tokio::test]
async fn connections_do_not_keep_their_endpoint() {
    let bench = Bench::new(10);
    let kept = Arc::new(Kept::default());
    let (link, theirs) = pair().await;
    kept.put(KeptLink::new(link, 0), LONG, tasks::now(), &bench.sweeper);
    assert_eq!(Arc::strong_count(&kept), 1);
    drop(kept);
    theirs.readable().await.unwrap();
    assert_eq!((theirs.try_read(&mut [0]).unwrap(), bench.sweeper.count()), (0, 0));
}

#[tokio::test]
async fn a_thousand_are_kept_without_a_task_and_closed_all_together() {
    let bench = Bench::new(1_000);
    let before = Handle::current().metrics().num_alive_tasks();
    let mut others = Vec::new();
    for _ in 0..1_000 {
        let (ours, theirs) = Link::pair(64);
        bench.put(ours);
        others.push(theirs);
    }
    bench.rests().await;
    assert!(bench.kept.lock().is_listed);
    assert_eq!((bench.kept.count(), Handle::current().metrics().num_alive_tasks()), (1_000, before));
    drop(others);
    bench.settles_at(0).await;
}

/// Connections that end at any moment while others take and put them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_that_has_ended_stays_whoever_is_at_work() {
    let bench = Bench::new(1_000);
    for _ in 0..50 {
        let others = bench.keep(8).await;
        let (kept, sweeper) = (bench.kept.clone(), bench.sweeper.clone());
        let user = tokio::spawn(async move {
            for _ in 0..200 {
                let links: Vec<_> = (0..4).filter_map(|_| kept.take(0, LONG, tasks::now())).collect();
                links.into_iter().for_each(|link| kept.put(link, LONG, tasks::now(), &sweeper));
                yield_now().await;
            }
        });
        for other in others {
            drop(other);
            yield_now().await;
        }
        user.await.unwrap();
        bench.settles_at(0).await;
    }
}

#[tokio::test]
async fn one_of_another_generation_is_closed_and_not_taken() {
    let bench = Bench::new(10);
    let mut others = Vec::new();
    for generation in [1, 2, 1, 0] {
        let (link, theirs) = pair().await;
        bench.kept.put(KeptLink::new(link, generation), LONG, tasks::now(), &bench.sweeper);
        others.push(theirs);
    }
    let taken = bench.kept.take(2, LONG, tasks::now());
    assert_eq!(taken.as_ref().map(peer), Some(port(&others[1])));
    bench.settles_at(0).await;
    for at in [0, 2, 3] {
        assert_eq!(others[at].read(&mut [0]).await.unwrap(), 0, "it is closed");
    }
    bench.kept.put(taken.unwrap(), LONG, tasks::now(), &bench.sweeper);
    assert!(bench.kept.take(0, LONG, tasks::now()).is_none(), "in clear");
    bench.settles_at(0).await;
}

/// A server of TLS 1.3 sends its tickets when it has read the end of the handshake: that may be long after it is over here.
#[tokio::test]
async fn tickets_that_come_late_are_nothing_that_stirs() {
    let bench = Bench::new(10);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let realm = Realm::new("any");
    let context = context(&realm.sign("127.0.0.1"), |_| ());
    let mut theirs = SslStream::new(Ssl::new(&context).unwrap(), theirs.unwrap().0).unwrap();
    let tls = InstanceTls::new(&realm.trusted(), None, Expired::Used, SystemTime::now()).unwrap();
    let ours = {
        let mut accepting = pin!(Pin::new(&mut theirs).accept());
        let ours = tokio::select! {
            biased;
            ours = tls.shake_hands(ours.unwrap(), (None, address), Application::Http1) => ours.unwrap(),
            _ = &mut accepting => panic!("the server is to wait"),
        };
        assert_eq!(ours.ssl().version_str(), "TLSv1.3");
        let link = KeptLink::new(Link::Tls(Box::new(Tls::new(ours))), 1);
        bench.kept.put(link, LONG, tasks::now(), &bench.sweeper);
        assert_eq!(bench.kept.count(), 1);
        accepting.await.unwrap();
        // Its watcher is woken, and the sweeper sees that it was for nothing.
        for _ in 0..1_000 {
            yield_now().await;
        }
        bench.rests().await;
        assert_eq!(bench.sweeper.count(), 1);
        bench.kept.take(1, LONG, tasks::now()).expect("it is as it was")
    };
    bench.kept.put(ours, LONG, tasks::now(), &bench.sweeper);
    theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
    bench.settles_at(0).await;
}
