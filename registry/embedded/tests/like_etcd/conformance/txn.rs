use anyhow::{Context, Result};
use etcd_client::{
    Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
    proto::{PbTxnOpResponse, PbTxnRequest},
};
use tonic::Code;

use super::{Scene, invalid, refused, revision};

async fn holds(scene: &mut Scene, compares: impl Into<Vec<Compare>>) -> Result<bool> {
    Ok(scene.client.txn(Txn::new().when(compares)).await?.succeeded())
}

pub async fn every_target_is_compared_in_every_way(scene: &mut Scene) -> Result<()> {
    let lease = scene.client.lease_grant(60, None).await?.id();
    let key = scene.key("a");
    let create = scene.put("a", "k").await?;
    scene.client.put(key.clone(), "m", Some(PutOptions::new().with_lease(lease))).await?;
    let modified = create + 1;
    let is = |op: CompareOp, order: i64| match op {
        CompareOp::Equal => order == 0,
        CompareOp::NotEqual => order != 0,
        CompareOp::Greater => order > 0,
        CompareOp::Less => order < 0,
    };
    for op in [CompareOp::Equal, CompareOp::NotEqual, CompareOp::Greater, CompareOp::Less] {
        for order in [-1, 0, 1] {
            // What is found is `order` beside what is wanted.
            let wanted_value = match order {
                -1 => "n",
                0 => "m",
                _ => "l",
            };
            let compares = [
                Compare::version(key.clone(), op, 2 - order),
                Compare::create_revision(key.clone(), op, create - order),
                Compare::mod_revision(key.clone(), op, modified - order),
                Compare::lease(key.clone(), op, lease - order),
                Compare::value(key.clone(), op, wanted_value),
            ];
            for compare in compares {
                let said = format!("{compare:?}");
                assert_eq!(holds(scene, [compare]).await?, is(op, order), "{said}");
            }
        }
    }
    let (yes, no) =
        (Compare::version(key.clone(), CompareOp::Equal, 2), Compare::version(key, CompareOp::Equal, 3));
    assert!(!holds(scene, [yes.clone(), no]).await?);
    assert!(holds(scene, [yes.clone(), yes]).await?);
    assert!(holds(scene, []).await?);
    Ok(())
}

pub async fn a_missing_key_compares_as_zero_but_for_its_value(scene: &mut Scene) -> Result<()> {
    let key = || scene.prefix.clone() + "missing";
    let compares = [
        (Compare::version(key(), CompareOp::Equal, 0), true),
        (Compare::create_revision(key(), CompareOp::Less, 1), true),
        (Compare::mod_revision(key(), CompareOp::Greater, -1), true),
        (Compare::lease(key(), CompareOp::NotEqual, 0), false),
        (Compare::value(key(), CompareOp::Equal, ""), false),
        (Compare::value(key(), CompareOp::NotEqual, "x"), false),
        (Compare::value(key(), CompareOp::Less, "x").with_prefix(), false),
    ];
    for (compare, expected) in compares {
        let said = format!("{compare:?}");
        assert_eq!(holds(scene, [compare]).await?, expected, "{said}");
    }
    Ok(())
}

pub async fn a_comparison_of_a_range_holds_for_all_of_it(scene: &mut Scene) -> Result<()> {
    scene.put("a", "1").await?;
    scene.put("b", "1").await?;
    scene.put("b", "2").await?;
    let prefix = || scene.prefix.clone();
    let (from, end) = (prefix() + "a", prefix() + "b");
    let compares = [
        (Compare::version(prefix(), CompareOp::Greater, 0).with_prefix(), true),
        (Compare::version(prefix(), CompareOp::Equal, 1).with_prefix(), false),
        (Compare::version(from, CompareOp::Equal, 1).with_range(end), true),
        (Compare::value(prefix(), CompareOp::Less, "3").with_prefix(), true),
        (Compare::value(prefix(), CompareOp::Less, "2").with_prefix(), false),
    ];
    for (compare, expected) in compares {
        let said = format!("{compare:?}");
        assert_eq!(holds(scene, [compare]).await?, expected, "{said}");
    }
    Ok(())
}

pub async fn a_side_runs_in_order_and_sees_its_own_writes(scene: &mut Scene) -> Result<()> {
    scene.put("a", "old").await?;
    let before = scene.revision().await?;
    let key = |name: &str| scene.prefix.clone() + name;
    let all = || Some(GetOptions::new().with_prefix());
    let nested = Txn::new()
        .when([Compare::version(key("b"), CompareOp::Equal, 0)])
        .and_then([TxnOp::put(key("c"), "3", None), TxnOp::get(key(""), all())])
        .or_else([TxnOp::put(key("d"), "4", None)]);
    let txn = Txn::new().and_then([
        TxnOp::get(key(""), all()),
        TxnOp::put(key("b"), "2", Some(PutOptions::new().with_prev_key())),
        TxnOp::get(key(""), all()),
        TxnOp::delete(key("a"), None),
        TxnOp::txn(nested),
        TxnOp::get(key(""), Some(GetOptions::new().with_prefix().with_revision(before))),
    ]);
    let answer = scene.client.txn(txn).await?;
    assert!(answer.succeeded());
    assert_eq!(revision(answer.header())?, before + 1);

    let values = |response: &TxnOpResponse| match response {
        TxnOpResponse::Get(found) => {
            found.kvs().iter().map(|kv| kv.value_str().unwrap_or("?").to_owned()).collect::<Vec<_>>()
        }
        other => panic!("no range: {other:?}"),
    };
    let parts = answer.op_responses();
    assert_eq!(values(&parts[0]), ["old"]);
    assert!(matches!(&parts[1], TxnOpResponse::Put(put) if put.prev_key().is_none()));
    assert_eq!(values(&parts[2]), ["old", "2"]);
    assert!(matches!(&parts[3], TxnOpResponse::Delete(deleted) if deleted.deleted() == 1));
    let TxnOpResponse::Txn(nested) = &parts[4] else { panic!("no nested answer") };
    assert!(nested.succeeded(), "it compared before the put of b");
    assert_eq!(values(&nested.op_responses()[1]), ["2", "3"]);
    assert_eq!(values(&parts[5]), ["old"]);
    Ok(())
}

pub async fn comparisons_come_before_every_write(scene: &mut Scene) -> Result<()> {
    let key = scene.key("a");
    let nested =
        |version| Txn::new().when([Compare::version(key.clone(), CompareOp::Equal, version)]).and_then([]);
    let txn = Txn::new().and_then([
        TxnOp::put(key.clone(), "1", None),
        TxnOp::txn(nested(0)),
        TxnOp::txn(nested(1)),
    ]);
    let parts = scene.client.txn(txn).await?.op_responses();
    assert!(matches!(&parts[1], TxnOpResponse::Txn(nested) if nested.succeeded()));
    assert!(matches!(&parts[2], TxnOpResponse::Txn(nested) if !nested.succeeded()));
    Ok(())
}

pub async fn a_transaction_is_one_revision_and_an_idle_one_none(scene: &mut Scene) -> Result<()> {
    let before = scene.revision().await?;
    let key = |name: &str| scene.prefix.clone() + name;
    let idle = [
        Txn::new(),
        Txn::new().and_then([TxnOp::get(key("a"), None)]),
        Txn::new().and_then([TxnOp::delete(key("a"), None)]),
        Txn::new().when([Compare::version(key("a"), CompareOp::Equal, 9)]).and_then([TxnOp::put(
            key("a"),
            "1",
            None,
        )]),
    ];
    for txn in idle {
        assert_eq!(revision(scene.client.txn(txn).await?.header())?, before);
    }
    let puts: Vec<_> = (0..100).map(|n| TxnOp::put(key(&format!("{n:03}")), "v", None)).collect();
    assert_eq!(revision(scene.client.txn(Txn::new().and_then(puts)).await?.header())?, before + 1);
    let all = scene.client.get(key(""), Some(GetOptions::new().with_prefix())).await?;
    assert_eq!(all.count(), 100);
    assert!(all.kvs().iter().all(|kv| kv.mod_revision() == before + 1));
    Ok(())
}

pub async fn what_cannot_be_done_undoes_all(scene: &mut Scene) -> Result<()> {
    let before = scene.revision().await?;
    let prefix = scene.prefix.clone();
    let key = |name: &str| prefix.clone() + name;
    let with = |operation: TxnOp| Txn::new().and_then([TxnOp::put(key("a"), "1", None), operation]);
    let no_lease = PutOptions::new().with_lease(4_711);
    let refusals = [
        (TxnOp::put(key("b"), "1", Some(PutOptions::new().with_ignore_lease())), invalid("key not found")),
        (
            TxnOp::put(key("b"), "1", Some(no_lease)),
            (Code::NotFound, "etcdserver: requested lease not found".to_owned()),
        ),
        (
            TxnOp::get(key("b"), Some(GetOptions::new().with_revision(before + 1))),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision".to_owned()),
        ),
    ];
    for (operation, expected) in refusals {
        assert_eq!(refused(scene.client.txn(with(operation.clone())).await), expected);
        let nested = with(TxnOp::txn(Txn::new().and_then([operation])));
        assert_eq!(refused(scene.client.txn(nested).await), expected);
    }
    assert_eq!(scene.revision().await?, before);
    assert!(scene.get("a").await?.is_none());
    // What is refused on the side that does not run does not matter.
    let other = TxnOp::put(key("b"), "1", Some(PutOptions::new().with_ignore_lease()));
    assert!(scene.client.txn(Txn::new().or_else([other])).await?.succeeded());
    Ok(())
}

pub async fn headers_within_carry_a_revision_alone(scene: &mut Scene) -> Result<()> {
    let before = scene.revision().await?;
    let key = |name: &str| scene.prefix.clone() + name;
    let operations = [
        TxnOp::delete(key("none"), None),
        TxnOp::get(key("a"), None),
        TxnOp::put(key("a"), "1", None),
        TxnOp::get(key("a"), None),
        TxnOp::txn(Txn::new()),
        TxnOp::delete(key("b"), None),
    ];
    let request: PbTxnRequest = Txn::new().and_then(operations).into();
    let answer: etcd_client::proto::PbTxnResponse =
        crate::raw::call(&scene.channel, "KV/Txn", request).await?;
    let headers = answer.responses.into_iter().map(|part| match part.response {
        Some(PbTxnOpResponse::ResponseRange(part)) => part.header,
        Some(PbTxnOpResponse::ResponsePut(part)) => part.header,
        Some(PbTxnOpResponse::ResponseDeleteRange(part)) => part.header,
        Some(PbTxnOpResponse::ResponseTxn(part)) => part.header,
        None => None,
    });
    let headers: Vec<_> = headers.collect::<Option<_>>().context("no header")?;
    let revisions: Vec<_> = headers.iter().map(|header| header.revision).collect();
    assert_eq!(revisions, [before, before, before + 1, before + 1, 0, before + 1]);
    assert!(headers.iter().all(|h| (h.cluster_id, h.member_id, h.raft_term) == (0, 0, 0)));
    let header = answer.header.context("no header")?;
    assert!(header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0);
    Ok(())
}
