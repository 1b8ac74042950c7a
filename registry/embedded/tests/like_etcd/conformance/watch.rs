use anyhow::{Context, Result, bail, ensure};
use etcd_client::{
    Compare, CompareOp, DeleteOptions, Error, Event, EventType, Txn, TxnOp, WatchFilterType, WatchOptions,
    WatchResponse, WatchStream,
};
use tonic::Code;

use super::{Scene, revision};
use crate::subject::Release;

async fn next(watch: &mut WatchStream) -> Result<WatchResponse> {
    watch.message().await?.context("the stream ended")
}

async fn created(watch: &mut WatchStream) -> Result<i64> {
    let answer = next(watch).await?;
    ensure!(answer.created() && !answer.canceled() && answer.events().is_empty(), "not created: {answer:?}");
    Ok(answer.watch_id())
}

/// The next `count` events, whatever the answers that bring them.
async fn events(watch: &mut WatchStream, count: usize) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    while events.len() < count {
        let answer = next(watch).await?;
        ensure!(!answer.canceled() && !answer.created(), "no events: {answer:?}");
        events.extend(answer.events().iter().cloned());
    }
    Ok(events)
}

/// `+a=1` of a put, `-a` of a delete, with its revision from `base` on.
fn said(scene: &Scene, base: i64, events: &[Event]) -> Result<String> {
    let mut said = String::new();
    for event in events {
        let kv = event.kv().context("no key")?;
        let (name, revision) = (scene.name(kv)?, kv.mod_revision() - base);
        match event.event_type() {
            EventType::Put => said += &format!("{revision}+{name}={} ", kv.value_str()?),
            EventType::Delete => said += &format!("{revision}-{name} "),
        }
        if let Some(previous) = event.prev_kv() {
            said += &format!("(was {}) ", previous.value_str()?);
        }
    }
    Ok(said.trim_end().to_owned())
}

async fn watch(scene: &mut Scene, name: &str, options: WatchOptions) -> Result<WatchStream> {
    Ok(scene.client.watch(scene.key(name), Some(options)).await?)
}

fn prefix() -> WatchOptions {
    WatchOptions::new().with_prefix()
}

pub async fn it_tells_what_comes_in_order(scene: &mut Scene) -> Result<()> {
    let base = scene.put("a", "before").await?;
    let mut stream = watch(scene, "", prefix()).await?;
    let answer = next(&mut stream).await?;
    assert!(answer.created());
    assert_eq!((answer.watch_id(), revision(answer.header())?), (0, base));
    scene.put("a", "1").await?;
    scene.put("b", "2").await?;
    scene.delete("a").await?;
    scene.delete("nothing").await?;
    scene.put("a", "3").await?;
    let events = events(&mut stream, 4).await?;
    assert_eq!(said(scene, base, &events)?, "1+a=1 2+b=2 3-a 4+a=3");
    let deleted = events[2].kv().context("no key")?;
    assert_eq!((deleted.create_revision(), deleted.version(), deleted.value().len()), (0, 0, 0));
    let created = events[3].kv().context("no key")?;
    assert_eq!((created.create_revision(), created.version()), (base + 4, 1));
    Ok(())
}

pub async fn it_tells_of_the_past_first(scene: &mut Scene) -> Result<()> {
    let first = scene.put("a", "1").await?;
    for n in 2..=1_500 {
        scene.put(if n % 3 == 0 { "b" } else { "a" }, &n.to_string()).await?;
    }
    let mut stream = watch(scene, "a", WatchOptions::new().with_start_revision(first + 1)).await?;
    created(&mut stream).await?;
    scene.put("a", "now").await?;
    let events = events(&mut stream, 1_000).await?;
    let found: Vec<_> =
        events.iter().filter_map(|event| event.kv()).map(|kv| kv.mod_revision() - first).collect();
    let expected: Vec<_> = (1..1_500).filter(|n| (n + 1) % 3 != 0).chain([1_500]).collect();
    assert_eq!(found, expected);
    Ok(())
}

pub async fn what_is_caught_up_comes_a_thousand_revisions_at_a_time(scene: &mut Scene) -> Result<()> {
    let value = "x".repeat(300);
    let first = scene.put("a", &value).await?;
    for _ in 1..1_100 {
        scene.put("a", &value).await?;
    }
    let mut stream = watch(scene, "a", WatchOptions::new().with_start_revision(first)).await?;
    created(&mut stream).await?;
    let counts = [next(&mut stream).await?.events().len(), next(&mut stream).await?.events().len()];
    assert_eq!(counts, [1_000, 100]);
    Ok(())
}

pub async fn a_large_past_comes_in_fragments(scene: &mut Scene) -> Result<()> {
    let large = "x".repeat(900 << 10);
    let first = scene.put("a", &large).await?;
    for _ in 1..6 {
        scene.put("a", &large).await?;
    }
    let options = || WatchOptions::new().with_start_revision(first);
    let mut stream = watch(scene, "a", options().with_fragment()).await?;
    created(&mut stream).await?;
    let mut parts = Vec::new();
    for _ in 0..3 {
        let answer = next(&mut stream).await?;
        parts.push((answer.events().len(), answer.0.fragment));
    }
    assert_eq!(parts, [(2, true), (2, true), (2, false)]);

    let mut stream = watch(scene, "a", options()).await?;
    created(&mut stream).await?;
    match scene.release {
        // A client that takes 4 MiB can catch up.
        Release::Embedded => {
            let parts = [next(&mut stream).await?.events().len(), next(&mut stream).await?.events().len()];
            assert_eq!(parts, [3, 3]);
        }
        Release::V3_4 | Release::V3_5 => {
            let Err(Error::GRpcStatus(status)) = stream.message().await else { bail!("5 MiB were taken") };
            assert_eq!(status.code(), Code::OutOfRange);
        }
    }
    Ok(())
}

pub async fn it_filters_and_says_what_was_there(scene: &mut Scene) -> Result<()> {
    let base = scene.revision().await?;
    scene.put("a", "1").await?;
    scene.put("a", "2").await?;
    scene.delete("a").await?;
    scene.put("a", "3").await?;
    let from = || prefix().with_start_revision(base + 1);
    let cases = [
        (from(), 4, "1+a=1 2+a=2 3-a 4+a=3"),
        (from().with_prev_key(), 4, "1+a=1 2+a=2 (was 1) 3-a (was 2) 4+a=3"),
        (from().with_filters([WatchFilterType::NoPut]), 1, "3-a"),
        (from().with_filters([WatchFilterType::NoDelete]), 3, "1+a=1 2+a=2 4+a=3"),
    ];
    for (options, count, expected) in cases {
        let mut stream = watch(scene, "", options).await?;
        created(&mut stream).await?;
        let events = events(&mut stream, count).await?;
        assert_eq!(said(scene, base, &events)?, expected);
    }
    let neither = [WatchFilterType::NoPut, WatchFilterType::NoDelete];
    let mut stream = watch(scene, "", from().with_filters(neither)).await?;
    created(&mut stream).await?;
    scene.put("a", "4").await?;
    stream.cancel(0).await?;
    assert!(next(&mut stream).await?.canceled(), "nothing is told before");
    Ok(())
}

pub async fn a_transaction_comes_at_once_and_in_its_order(scene: &mut Scene) -> Result<()> {
    let base = scene.put("d", "old").await?;
    let mut stream = watch(scene, "", prefix().with_prev_key()).await?;
    created(&mut stream).await?;
    let key = |name: &str| scene.prefix.clone() + name;
    let nested = Txn::new().when([Compare::version(key("x"), CompareOp::Equal, 0)]).and_then([TxnOp::put(
        key("a"),
        "2",
        None,
    )]);
    let txn = Txn::new().and_then([
        TxnOp::put(key("c"), "1", None),
        TxnOp::txn(nested),
        TxnOp::delete(key("d"), Some(DeleteOptions::new())),
        TxnOp::put(key("b"), "3", None),
    ]);
    scene.client.txn(txn).await?;
    let answer = next(&mut stream).await?;
    assert_eq!(said(scene, base, answer.events())?, "1+c=1 1+a=2 1-d (was old) 1+b=3");
    assert_eq!(revision(answer.header())?, base + 1);
    Ok(())
}

pub async fn what_is_deleted_and_put_at_once_was_nothing_before(scene: &mut Scene) -> Result<()> {
    let base = scene.put("x", "old").await?;
    let mut stream = watch(scene, "x", WatchOptions::new().with_prev_key()).await?;
    created(&mut stream).await?;
    let key = scene.key("x");
    // etcd takes it, because it does not see that "all that follow" holds the key.
    let all = DeleteOptions::new().with_from_key();
    let txn =
        |value: &str| [TxnOp::delete(key.clone(), Some(all.clone())), TxnOp::put(key.clone(), value, None)];
    scene.client.txn(Txn::new().and_then(txn("new"))).await?;
    scene.client.txn(Txn::new().and_then(txn("newer"))).await?;
    let events = events(&mut stream, 4).await?;
    assert_eq!(said(scene, base, &events)?, "1-x (was old) 1+x=new 2-x (was new) 2+x=newer");
    let kv = scene.get("x").await?.context("no key")?;
    assert_eq!((kv.create_revision(), kv.version()), (base + 2, 1));
    Ok(())
}

pub async fn a_compacted_start_is_created_then_cancelled(scene: &mut Scene) -> Result<()> {
    let revisions = scene.put_all(&["a", "a", "a", "a"]).await?;
    scene.client.compact(revisions[2], None).await?;
    let mut stream = watch(scene, "a", WatchOptions::new().with_start_revision(revisions[1])).await?;
    created(&mut stream).await?;
    let answer = next(&mut stream).await?;
    assert!(answer.canceled() && !answer.created());
    assert_eq!((answer.watch_id(), answer.compact_revision()), (0, revisions[2]));
    assert_eq!((answer.cancel_reason(), answer.events().len()), ("", 0));
    assert_eq!(revision(answer.header())?, 0);
    // Its id is taken until it is cancelled.
    let key = scene.key("a");
    stream.watch(key.clone(), Some(WatchOptions::new().with_watch_id(5).with_start_revision(1))).await?;
    assert_eq!(created(&mut stream).await?, 5);
    assert!(next(&mut stream).await?.compact_revision() > 0);
    stream.watch(key.clone(), Some(WatchOptions::new().with_watch_id(5))).await?;
    assert_eq!(next(&mut stream).await?.watch_id(), -1);
    stream.cancel(5).await?;
    let answer = next(&mut stream).await?;
    assert!(answer.canceled() && answer.watch_id() == 5);
    stream.watch(key, Some(WatchOptions::new().with_watch_id(5))).await?;
    assert_eq!(created(&mut stream).await?, 5);
    // The compacted revision itself is still there.
    let mut stream = watch(scene, "a", WatchOptions::new().with_start_revision(revisions[2])).await?;
    created(&mut stream).await?;
    assert_eq!(said(scene, revisions[2], &events(&mut stream, 2).await?)?, "0+a=a 1+a=a");
    Ok(())
}

pub async fn a_start_in_the_future_waits_for_it(scene: &mut Scene) -> Result<()> {
    let base = scene.revision().await?;
    let mut stream = watch(scene, "", prefix().with_start_revision(base + 3)).await?;
    created(&mut stream).await?;
    scene.put_all(&["a", "b", "c", "d"]).await?;
    assert_eq!(said(scene, base, &events(&mut stream, 2).await?)?, "3+c=c 4+d=d");
    Ok(())
}

pub async fn ids_are_counted_or_given(scene: &mut Scene) -> Result<()> {
    let key = scene.key("a");
    let mut stream = watch(scene, "a", WatchOptions::new()).await?;
    assert_eq!(created(&mut stream).await?, 0);
    for (given, expected) in [(0, 1), (7, 7), (2, 2), (0, 3), (-3, -3)] {
        stream.watch(key.clone(), Some(WatchOptions::new().with_watch_id(given))).await?;
        assert_eq!(created(&mut stream).await?, expected, "of {given}");
    }
    stream.watch(key.clone(), Some(WatchOptions::new().with_watch_id(7))).await?;
    let answer = next(&mut stream).await?;
    assert!(answer.created() && answer.canceled());
    assert_eq!(answer.watch_id(), -1);
    assert_eq!(answer.cancel_reason(), "mvcc: duplicate watch ID provided on the WatchStream");
    // An id that was cancelled is free.
    stream.cancel(7).await?;
    assert!(next(&mut stream).await?.canceled());
    stream.watch(key, Some(WatchOptions::new().with_watch_id(7))).await?;
    assert_eq!(created(&mut stream).await?, 7);
    Ok(())
}

pub async fn a_cancelled_watch_is_silent(scene: &mut Scene) -> Result<()> {
    let key = scene.key("a");
    let mut stream = watch(scene, "a", WatchOptions::new()).await?;
    created(&mut stream).await?;
    stream.watch(key, None).await?;
    created(&mut stream).await?;
    stream.cancel(99).await?; // there is none: no answer
    stream.cancel(0).await?;
    let base = scene.revision().await?;
    let answer = next(&mut stream).await?;
    assert!(answer.canceled() && !answer.created());
    assert_eq!((answer.watch_id(), answer.compact_revision(), answer.cancel_reason()), (0, 0, ""));
    assert_eq!(revision(answer.header())?, base);
    scene.put("a", "1").await?;
    scene.put("a", "2").await?;
    for expected in ["1+a=1", "2+a=2"] {
        let answer = next(&mut stream).await?;
        assert_eq!((answer.watch_id(), said(scene, base, answer.events())?.as_str()), (1, expected));
    }
    Ok(())
}

pub async fn progress_is_told_when_asked(scene: &mut Scene) -> Result<()> {
    let base = scene.put("elsewhere", "").await?;
    let next_one = WatchOptions::new().with_start_revision(base + 1);
    let mut stream = watch(scene, "a", next_one).await?;
    created(&mut stream).await?;
    for expected in [base, base + 1] {
        stream.request_progress().await?;
        let answer = next(&mut stream).await?;
        assert!(!answer.created() && !answer.canceled() && answer.events().is_empty());
        assert_eq!((answer.watch_id(), revision(answer.header())?), (-1, expected));
        scene.put("elsewhere", "").await?;
    }
    Ok(())
}

pub async fn an_empty_range_cannot_be_watched(scene: &mut Scene) -> Result<()> {
    let ends = [scene.key("a"), scene.key("")];
    for end in ends {
        let mut stream = watch(scene, "a", WatchOptions::new().with_range(end)).await?;
        let answer = next(&mut stream).await?;
        assert!(answer.created() && answer.canceled());
        assert_eq!((answer.watch_id(), answer.cancel_reason()), (-1, "mvcc: watcher range is empty"));
    }
    Ok(())
}

pub async fn a_negative_start_is_no_start(scene: &mut Scene) -> Result<()> {
    let mut stream = watch(scene, "a", WatchOptions::new().with_start_revision(-5)).await?;
    let answer = next(&mut stream).await?;
    assert!(answer.created());
    match scene.release {
        // Since 3.5.24.
        Release::Embedded => {
            assert!(answer.canceled());
            let reason = "etcdserver: mvcc: required revision has been compacted";
            assert_eq!((answer.watch_id(), answer.cancel_reason()), (-1, reason));
        }
        // It begins, and finds that its start is compacted.
        Release::V3_4 | Release::V3_5 => {
            assert!(!answer.canceled());
            let answer = next(&mut stream).await?;
            assert!(answer.canceled() && answer.compact_revision() > 0);
        }
    }
    Ok(())
}

pub async fn no_key_watches_from_the_first(scene: &mut Scene) -> Result<()> {
    let base = scene.revision().await?;
    let all = WatchOptions::new().with_from_key();
    let mut stream = scene.client.watch("", Some(all)).await?;
    created(&mut stream).await?;
    scene.put("a", "1").await?;
    assert_eq!(said(scene, base, &events(&mut stream, 1).await?)?, "1+a=1");
    Ok(())
}

pub async fn many_watches_of_a_stream_hear_the_same(scene: &mut Scene) -> Result<()> {
    const WATCHES: usize = 50;
    let base = scene.put("k", "0").await?;
    let key = scene.key("");
    let mut stream = watch(scene, "", prefix().with_start_revision(base)).await?;
    for _ in 1..WATCHES {
        stream.watch(key.clone(), Some(prefix().with_start_revision(base))).await?;
    }
    for n in 1..100 {
        scene.put("k", &n.to_string()).await?;
    }
    let mut told = vec![Vec::new(); WATCHES];
    while told.iter().any(|told| told.len() < 100) {
        let answer = next(&mut stream).await?;
        let Some(told) = told.get_mut(usize::try_from(answer.watch_id())?) else { bail!("unknown watch") };
        told.extend(answer.events().iter().filter_map(|event| event.kv()).map(|kv| kv.mod_revision() - base));
    }
    let expected: Vec<i64> = (0..100).collect();
    assert!(told.iter().all(|told| *told == expected));
    Ok(())
}

pub async fn a_large_answer_comes_in_fragments(scene: &mut Scene) -> Result<()> {
    let large = "x".repeat(1 << 20);
    for name in ["a", "b", "c", "d"] {
        scene.put(name, &large).await?;
    }
    let mut stream = watch(scene, "", prefix().with_prev_key().with_fragment()).await?;
    created(&mut stream).await?;
    scene.client.delete(scene.key(""), Some(DeleteOptions::new().with_prefix())).await?;
    let mut parts = Vec::new();
    for _ in 0..4 {
        let answer = next(&mut stream).await?;
        parts.push((answer.events().len(), answer.0.fragment));
    }
    assert_eq!(parts, [(1, true), (1, true), (1, true), (1, false)]);
    Ok(())
}

pub async fn a_client_that_asks_no_more_still_hears(scene: &mut Scene) -> Result<()> {
    let mut stream = watch(scene, "a", WatchOptions::new()).await?;
    created(&mut stream).await?;
    let (asks, mut answers) = stream.split();
    drop(asks);
    for value in ["1", "2"] {
        scene.put("a", value).await?;
        let answer = answers.message().await?.context("the stream ended")?;
        assert_eq!(answer.events()[0].kv().context("no key")?.value(), value.as_bytes());
    }
    Ok(())
}
