//! What the door and the carrier of HTTP/1 do together, step by step. (What they do whatever happens is the model's.)

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::bench::{Bench, rest, tunnel, until};
use crate::link::Link;
use crate::tasks::now;

const SECOND: Duration = Duration::from_secs(1);

/// So many tunnels: a task for each client, which hears the end of its tunnel, says after how many seconds from now that
/// was, and has not closed its own side; and the instance's sides.
async fn tunnels(bench: &mut Bench, count: usize) -> (JoinSet<(u64, Link)>, Vec<Link>) {
    let (mut clients, mut instances, mut ends) = (Vec::new(), Vec::new(), JoinSet::new());
    for _ in 0..count {
        let (client, instance) = tunnel(bench).await;
        clients.push(client);
        instances.push(instance);
    }
    let begun = now();
    for mut client in clients {
        ends.spawn(async move {
            rest(&mut client).await;
            ((now() - begun).as_secs(), client)
        });
    }
    (ends, instances)
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_tunnels_whose_instance_has_left_are_spread_over_the_time_for_that() {
    fastrand::seed(7);
    let mut bench = Bench::with("timeouts: {tunnel_drain: 100s}");
    let (ends, instances) = tunnels(&mut bench, 60).await;
    bench.register(0);
    let (ends, clients): (Vec<_>, Vec<_>) = ends.join_all().await.into_iter().unzip();
    let in_each = [0, 1, 2, 3].map(|quarter| ends.iter().filter(|end| **end / 25 == quarter).count());
    assert_eq!(in_each.iter().sum::<usize>(), 60, "{ends:?}");
    assert!(in_each.iter().all(|count| (7..=23).contains(count)), "{in_each:?}");
    drop((clients, instances));
}

#[tokio::test(start_paused = true)]
async fn when_the_instance_itself_is_gone_the_rest_of_its_tunnels_end_at_once() {
    fastrand::seed(7);
    let mut bench = Bench::with("timeouts: {tunnel_drain: 100s}");
    let (ends, instances) = tunnels(&mut bench, 60).await;
    bench.register(0);
    sleep(50 * SECOND).await;
    drop(instances);
    let (ends, clients): (Vec<_>, Vec<_>) = ends.join_all().await.into_iter().unzip();
    let at_once = ends.iter().filter(|end| **end == 50).count();
    assert!(at_once > 15 && ends.iter().all(|end| *end <= 50), "{ends:?}");
    sleep(SECOND).await;
    assert_eq!(bench.lifecycle.requests_in_flight(), 0, "what clients have not closed goes on");
    drop(clients);
}

#[tokio::test(start_paused = true)]
async fn without_a_time_for_that_a_tunnel_goes_on_when_its_instance_has_left() {
    let mut bench = Bench::with("timeouts: {tunnel_drain: off}");
    let (mut client, mut instance) = tunnel(&mut bench).await;
    bench.register(0);
    for _ in 0..3 {
        sleep(1_000 * SECOND).await;
        client.write_all(b"ping").await.unwrap();
        until(&mut instance, "ping").await;
        instance.write_all(b"pong").await.unwrap();
        until(&mut client, "pong").await;
    }
    instance.shutdown().await.unwrap();
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!((rest(&mut instance).await, rest(&mut client).await), ("bye".into(), String::new()));
}

/// The answer is longer than the request: both are on their way together until it is complete.
#[tokio::test(start_paused = true)]
async fn what_a_client_sends_when_it_has_its_answer_reaches_no_instance() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nfirst;").await.unwrap();
    let mut instance = bench.instance().await;
    until(&mut instance, "first;").await;
    let head = "HTTP/1.1 413 No\r\nContent-Length: 2000\r\n\r\n";
    instance.write_all(format!("{head}{}", "x".repeat(1_000)).as_bytes()).await.unwrap();
    until(&mut client, "xxxx").await;
    client.write_all(b"meanwhile;").await.unwrap();
    until(&mut instance, "meanwhile;").await;
    instance.write_all("y".repeat(1_000).as_bytes()).await.unwrap();
    until(&mut client, &"y".repeat(1_000)).await;
    client.write_all(b"afterwards;ended.").await.unwrap();
    assert_eq!(rest(&mut instance).await, "");
    assert_eq!(rest(&mut client).await, "", "it gets one answer");
}

/// It is read for a while still, but the process waits for requests alone.
#[tokio::test(start_paused = true)]
async fn a_refused_client_that_goes_on_sending_does_not_hold_up_a_stop() {
    let bench = Bench::new();
    let (mut reads, mut writes) = tokio::io::split(bench.client());
    writes.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut reads, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    bench.stop();
    let stopped = now();
    assert_eq!(bench.lifecycle.drained(30 * SECOND).await, 0);
    assert!(now() - stopped < SECOND, "{:?}", now() - stopped);
    writes.write_all(b"on and on").await.unwrap();
    assert_eq!(bench.door.bells.count(), 1, "it is read still");
    while bench.door.bells.count() > 0 {
        let _ = writes.write_all(b"and on").await;
        sleep(SECOND).await;
    }
    assert!(now() - stopped <= bench.door.linger() + 2 * SECOND, "{:?}", now() - stopped);
}
