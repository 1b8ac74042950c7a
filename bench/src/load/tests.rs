use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;
use crate::backend::{Backend, ECHO, HOLD, LARGE, SMALL};

/// A server that answers each request with these bytes, and then closes if it is told to.
async fn server(answer: &'static [u8], closes: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(answer).await;
                    if closes {
                        return;
                    }
                }
            });
        }
    });
    (address, accepted)
}

async fn outcome(answer: &'static [u8], closes: bool) -> Outcome {
    let (address, _) = server(answer, closes).await;
    Load::get(address, ("/", 2), 1).run(End::Requests(2)).await
}

#[tokio::test]
async fn all_that_the_backend_serves_is_read_whole() {
    let backend = Backend::start().await.unwrap();
    let [target, ..] = backend.addresses;
    for load in [
        Load::get(target, SMALL, 3),
        Load::get(target, LARGE, 3),
        Load::post(target, ECHO, 100_000, 3),
        Load::get(target, SMALL, 3).fresh(),
    ] {
        let outcome = load.clone().run(End::Requests(5)).await;
        outcome.ensure_all_answered().unwrap();
        assert_eq!(outcome.answered, 15, "{load:?}");
        assert!(outcome.milliseconds(0.5) > 0.0 && outcome.milliseconds(0.5) <= outcome.milliseconds(1.0));
    }
}

#[tokio::test]
async fn requests_are_held_until_they_are_released() {
    let backend = Backend::start().await.unwrap();
    let [target, ..] = backend.addresses;
    let load = tokio::spawn(async move { Load::get(target, HOLD, 4).run(End::Requests(2)).await });
    for _ in 0..2 {
        backend.wait_held(4, PATIENCE).await.unwrap();
        backend.release();
    }
    assert_eq!(load.await.unwrap().answered, 8);
}

#[tokio::test]
async fn an_answer_that_is_wrong_or_torn_is_a_failure_and_says_why() {
    for (answer, closes, why) in [
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\nok".as_slice(), false, "status 502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok.", false, "3 bytes in place of 2"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", true, "closed before"),
        (b"HTTP/1.1 200 OK\r\nContent-", true, "closed before"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok.", false, "more bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", true, "no Content-Length"),
    ] {
        let outcome = outcome(answer, closes).await;
        assert_eq!((outcome.answered, outcome.failed), (0, 2), "{why}");
        let told = outcome.ensure_all_answered().unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_unless_one_of_both_wants_it_closed() {
    for (answer, fresh, connections) in [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".as_slice(), false, 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true, 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false, 5),
    ] {
        let (address, accepted) = server(answer, false).await;
        let mut load = Load::get(address, ("/", 2), 1);
        load.fresh = fresh;
        load.run(End::Requests(5)).await.ensure_all_answered().unwrap();
        assert_eq!(accepted.load(Ordering::Relaxed), connections);
    }
}

#[tokio::test]
async fn kept_connections_are_open_before_a_run_and_kept_for_the_next() {
    let (address, accepted) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false).await;
    let mut load = Load::get(address, ("/", 2), 3).open().await;
    assert!(load.streams.iter().all(Option::is_some));
    for _ in 0..2 {
        let outcome = load.run(End::Requests(2)).await;
        assert_eq!((outcome.answered, outcome.failed), (6, 0));
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 3);
}

#[test]
fn at_a_rate_the_connections_take_turns() {
    let load = Load::get("127.0.0.1:1".parse().unwrap(), ("/", 2), 4).per_second(100);
    let due = |number, turn| load.due(number, turn).unwrap();
    let [begin, next, second] = [due(0, 0), due(1, 0), due(0, 1)];
    assert_eq!([begin, next, second].map(|due| due.as_millis()), [0, 10, 40]);
    assert_eq!(due(3, 24), Duration::from_millis(990), "the hundredth");
}

#[tokio::test]
async fn a_load_ends_when_its_time_is_over() {
    let backend = Backend::start().await.unwrap();
    let load = Load::get(backend.addresses[0], SMALL, 2).per_second(100);
    let outcome = load.run(End::After(Duration::from_millis(200))).await;
    assert_eq!((outcome.answered, outcome.failed), (20, 0));
}

#[tokio::test]
async fn nobody_listening_is_a_failure() {
    let address = harness::ports::free_address().unwrap();
    let outcome = Load::get(address, ("/", 2), 1).run(End::Requests(1)).await;
    assert!(outcome.ensure_all_answered().unwrap_err().to_string().contains("connecting to"));
    assert!(outcome.milliseconds(0.5).is_nan());
}

#[tokio::test]
async fn idle_connections_that_were_closed_are_told() {
    let (address, _) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false).await;
    let idle = Idle::open(&Load::get(address, ("/", 2), 5)).await.unwrap();
    idle.ensure_open().unwrap();
    let (address, _) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true).await;
    let idle = Idle::open(&Load::get(address, ("/", 2), 5)).await.unwrap();
    let told = harness::wait::eventually("they are closed", PATIENCE, async || {
        ensure!(idle.ensure_open().is_err());
        Ok(())
    });
    told.await.unwrap();
}
