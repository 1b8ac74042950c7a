use std::collections::BTreeMap;

use anyhow::{Context, Result};
use etcd_client::{DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget};
use tonic::Code;

use super::{Scene, invalid, refused, revision};

pub async fn a_put_counts_revisions_and_versions(scene: &mut Scene) -> Result<()> {
    let before = scene.revision().await?;
    let first = scene.put("a", "1").await?;
    let second = scene.put("a", "2").await?;
    assert_eq!((first, second), (before + 1, before + 2));
    let kv = scene.get("a").await?.context("no key")?;
    assert_eq!((kv.create_revision(), kv.mod_revision(), kv.version(), kv.lease()), (first, second, 2, 0));
    assert_eq!(kv.value(), b"2");
    assert_eq!(scene.revision().await?, second);
    Ok(())
}

pub async fn a_deleted_key_starts_anew(scene: &mut Scene) -> Result<()> {
    scene.put("a", "1").await?;
    scene.put("a", "2").await?;
    scene.delete("a").await?;
    assert!(scene.get("a").await?.is_none());
    let again = scene.put("a", "3").await?;
    let kv = scene.get("a").await?.context("no key")?;
    assert_eq!((kv.create_revision(), kv.mod_revision(), kv.version()), (again, again, 1));
    Ok(())
}

pub async fn a_range_is_one_key_or_a_stretch_or_all_that_follow(scene: &mut Scene) -> Result<()> {
    scene.put_all(&["b", "a", "ab", "c"]).await?;
    let end = scene.key("c");
    assert_eq!(scene.names("a", GetOptions::new()).await?, ["a"]);
    assert_eq!(scene.names("a", GetOptions::new().with_prefix()).await?, ["a", "ab"]);
    assert_eq!(scene.names("a", GetOptions::new().with_range(end)).await?, ["a", "ab", "b"]);
    assert_eq!(scene.names("", GetOptions::new().with_prefix()).await?, ["a", "ab", "b", "c"]);
    let before = scene.key("a");
    assert_eq!(scene.names("b", GetOptions::new().with_range(before.clone())).await?.len(), 0);
    assert_eq!(scene.names("a", GetOptions::new().with_range(before)).await?.len(), 0);

    let rest = scene.client.get(scene.key("b"), Some(GetOptions::new().with_from_key())).await?;
    assert_eq!(rest.kvs()[0].key_str()?, scene.key("b"));
    assert_eq!(rest.kvs()[1].key_str()?, scene.key("c"));
    let all = scene.client.get("", Some(GetOptions::new().with_all_keys())).await?;
    assert!(all.count() >= 4);
    assert_eq!(all.count(), i64::try_from(all.kvs().len())?);
    Ok(())
}

pub async fn a_limit_says_whether_there_is_more_and_how_many_in_all(scene: &mut Scene) -> Result<()> {
    scene.put_all(&["a", "b", "c"]).await?;
    for (limit, found, more) in [(1, 1, true), (2, 2, true), (3, 3, false), (4, 3, false), (0, 3, false)] {
        let options = GetOptions::new().with_prefix().with_limit(limit);
        let answer = scene.client.get(scene.key(""), Some(options)).await?;
        assert_eq!((answer.kvs().len(), answer.more(), answer.count()), (found, more, 3), "limit {limit}");
    }
    let negative = GetOptions::new().with_prefix().with_limit(-1);
    assert_eq!(scene.names("", negative).await?.len(), 3);
    Ok(())
}

pub async fn keys_only_and_count_only_leave_the_rest_out(scene: &mut Scene) -> Result<()> {
    let revisions = scene.put_all(&["a", "b"]).await?;
    let keys = GetOptions::new().with_prefix().with_keys_only();
    let keys = scene.client.get(scene.key(""), Some(keys)).await?;
    assert_eq!((keys.kvs().len(), keys.count()), (2, 2));
    assert!(keys.kvs().iter().all(|kv| kv.value().is_empty()));
    assert_eq!(keys.kvs()[1].mod_revision(), revisions[1]);
    let count = GetOptions::new().with_prefix().with_count_only().with_limit(1);
    let count = scene.client.get(scene.key(""), Some(count)).await?;
    assert_eq!((count.kvs().len(), count.count(), count.more()), (0, 2, false));
    Ok(())
}

pub async fn ranges_are_sorted_as_asked(scene: &mut Scene) -> Result<()> {
    // Of a, b, c: versions 2, 3, 1; values z, x, y; created and last changed in this order.
    for (name, value) in [("c", ""), ("a", ""), ("b", ""), ("b", ""), ("a", "z"), ("b", "x")] {
        scene.put(name, value).await?;
    }
    scene.delete("c").await?;
    scene.put("c", "y").await?;
    let expected = BTreeMap::from([
        ("key", (SortTarget::Key, "abc")),
        ("version", (SortTarget::Version, "cab")),
        ("create", (SortTarget::Create, "abc")),
        ("mod", (SortTarget::Mod, "abc")),
        ("value", (SortTarget::Value, "bca")),
    ]);
    for (by, (target, ascending)) in expected {
        let descending: String = ascending.chars().rev().collect();
        let orders = [
            (SortOrder::Ascend, ascending),
            (SortOrder::Descend, descending.as_str()),
            // Nothing said, what is not the key ascends.
            (SortOrder::None, ascending),
        ];
        for (order, expected) in orders {
            let options = || GetOptions::new().with_prefix().with_sort(target, order);
            assert_eq!(scene.names("", options()).await?.concat(), expected, "{by} {order:?}");
            let first = scene.names("", options().with_limit(2)).await?.concat();
            assert_eq!(first, expected[..2], "the first two by {by} {order:?}");
        }
    }
    Ok(())
}

pub async fn a_limit_without_an_order_cuts_before_it_sorts(scene: &mut Scene) -> Result<()> {
    // By key a to e, by value the other way round.
    for (name, value) in [("a", "5"), ("b", "4"), ("c", "3"), ("d", "2"), ("e", "1")] {
        scene.put(name, value).await?;
    }
    let first = scene.revision().await? - 4;
    let options = |order| GetOptions::new().with_prefix().with_sort(SortTarget::Value, order).with_limit(2);
    // Of two that are asked for, three are looked at.
    assert_eq!(scene.names("", options(SortOrder::None)).await?.concat(), "cb");
    assert_eq!(scene.names("", options(SortOrder::Ascend)).await?.concat(), "ed");
    let filtered = options(SortOrder::None).with_min_mod_revision(first);
    assert_eq!(scene.names("", filtered).await?.concat(), "ed", "what is filtered is looked at as a whole");
    let answer = scene.client.get(scene.key(""), Some(options(SortOrder::None))).await?;
    assert_eq!((answer.more(), answer.count()), (true, 5));
    Ok(())
}

pub async fn filters_on_revisions_leave_the_count_alone(scene: &mut Scene) -> Result<()> {
    let created = scene.put_all(&["a", "b", "c", "d"]).await?;
    let changed = scene.put("a", "again").await?;
    let options = || GetOptions::new().with_prefix();
    let cases = [
        (options().with_min_mod_revision(created[2]), "acd", false),
        (options().with_max_mod_revision(created[2]), "bc", false),
        (options().with_min_mod_revision(changed), "a", false),
        (options().with_min_create_revision(created[1]), "bcd", false),
        (options().with_max_create_revision(created[1]), "ab", false),
        (options().with_min_create_revision(created[1]).with_max_mod_revision(created[2]), "bc", false),
        (options().with_min_create_revision(created[1]).with_limit(2), "bc", true),
    ];
    for (options, expected, more) in cases {
        let answer = scene.client.get(scene.key(""), Some(options)).await?;
        let names: Vec<_> = answer.kvs().iter().map(|kv| scene.name(kv)).collect::<Result<_>>()?;
        assert_eq!((names.concat().as_str(), answer.more(), answer.count()), (expected, more, 4));
    }
    Ok(())
}

pub async fn a_past_revision_is_read_as_it_was(scene: &mut Scene) -> Result<()> {
    let first = scene.put("a", "1").await?;
    let second = scene.put("b", "1").await?;
    let third = scene.put("a", "2").await?;
    let fourth = scene.delete("b").await?;
    for (at, expected) in [(first, "a1"), (second, "a1b1"), (third, "a2b1"), (fourth, "a2"), (0, "a2")] {
        let options = GetOptions::new().with_prefix().with_revision(at);
        let answer = scene.client.get(scene.key(""), Some(options)).await?;
        let mut found = String::new();
        for kv in answer.kvs() {
            found += &(scene.name(kv)? + kv.value_str()?);
        }
        assert_eq!(found, expected, "at {at}");
        assert_eq!(revision(answer.header())?, fourth, "the header is of now");
    }
    let counted = GetOptions::new().with_prefix().with_revision(third).with_count_only();
    assert_eq!(scene.client.get(scene.key(""), Some(counted)).await?.count(), 2);
    Ok(())
}

pub async fn a_put_says_what_was_there(scene: &mut Scene) -> Result<()> {
    let with_previous = || Some(PutOptions::new().with_prev_key());
    let key = scene.key("a");
    assert!(scene.client.put(key.clone(), "1", with_previous()).await?.prev_key().is_none());
    let second = scene.client.put(key.clone(), "2", with_previous()).await?;
    let previous = second.prev_key().context("no previous key")?;
    assert_eq!((previous.value(), previous.version()), (&b"1"[..], 1));
    assert!(scene.client.put(key, "3", None).await?.prev_key().is_none());
    Ok(())
}

pub async fn a_put_may_keep_the_value_or_the_lease(scene: &mut Scene) -> Result<()> {
    let lease = scene.client.lease_grant(60, None).await?.id();
    let key = scene.key("a");
    let missing = scene.client.put(key.clone(), "", Some(PutOptions::new().with_ignore_value())).await;
    assert_eq!(refused(missing), invalid("key not found"));
    let missing = scene.client.put(key.clone(), "v", Some(PutOptions::new().with_ignore_lease())).await;
    assert_eq!(refused(missing), invalid("key not found"));

    scene.put("a", "v").await?;
    let with_lease = PutOptions::new().with_ignore_value().with_lease(lease);
    scene.client.put(key.clone(), "", Some(with_lease)).await?;
    let kv = scene.get("a").await?.context("no key")?;
    assert_eq!((kv.value(), kv.lease(), kv.version()), (&b"v"[..], lease, 2));
    scene.client.put(key, "w", Some(PutOptions::new().with_ignore_lease())).await?;
    let kv = scene.get("a").await?.context("no key")?;
    assert_eq!((kv.value(), kv.lease(), kv.version()), (&b"w"[..], lease, 3));
    scene.client.lease_revoke(lease).await?;
    assert!(scene.get("a").await?.is_none());
    Ok(())
}

pub async fn a_delete_says_how_many_and_what_they_were(scene: &mut Scene) -> Result<()> {
    let last = *scene.put_all(&["a", "b", "c"]).await?.last().context("no revision")?;
    let nothing = scene.client.delete(scene.key("x"), None).await?;
    assert_eq!((nothing.deleted(), revision(nothing.header())?), (0, last), "no new revision");
    let options = DeleteOptions::new().with_range(scene.key("c")).with_prev_key();
    let two = scene.client.delete(scene.key("a"), Some(options)).await?;
    assert_eq!((two.deleted(), revision(two.header())?), (2, last + 1), "one revision");
    let previous: Vec<_> = two.prev_kvs().iter().map(|kv| scene.name(kv)).collect::<Result<_>>()?;
    assert_eq!(previous, ["a", "b"]);
    let rest = scene.client.delete(scene.key(""), Some(DeleteOptions::new().with_prefix())).await?;
    assert_eq!((rest.deleted(), rest.prev_kvs().len()), (1, 0));
    Ok(())
}

pub async fn what_is_compacted_or_to_come_cannot_be_read(scene: &mut Scene) -> Result<()> {
    let compacted = (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted".to_owned());
    let future = (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision".to_owned());
    let revisions = scene.put_all(&["a", "a", "b", "a"]).await?;
    let [old, at, _, newest] = revisions[..] else { unreachable!("four puts") };
    let answer = scene.client.compact(at, None).await?;
    assert_eq!(revision(answer.header())?, newest);
    assert_eq!(refused(scene.client.compact(at, None).await), compacted);
    assert_eq!(refused(scene.client.compact(old, None).await), compacted);
    assert_eq!(refused(scene.client.compact(newest + 1, None).await), future);

    let at_revision = |revision| Some(GetOptions::new().with_revision(revision));
    let key = scene.key("a");
    assert_eq!(refused(scene.client.get(key.clone(), at_revision(old)).await), compacted);
    assert_eq!(scene.client.get(key.clone(), at_revision(at)).await?.kvs()[0].mod_revision(), at);
    assert_eq!(refused(scene.client.get(key.clone(), at_revision(newest + 1)).await), future);
    assert_eq!(scene.client.get(key, at_revision(newest)).await?.kvs()[0].mod_revision(), newest);
    Ok(())
}
