use anyhow::{Context, Result};
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp,
    proto::{
        PbAlarmRequest, PbAuthenticateRequest, PbAuthenticateResponse, PbCompactionRequest, PbCompare,
        PbDeleteRequest, PbLeaseGrantRequest, PbLeaseRevokeRequest, PbLeaseTimeToLiveRequest, PbPutRequest,
        PbPutResponse, PbRangeRequest, PbRangeResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
        PbWatchResponse,
    },
};
use futures_util::{StreamExt, stream};
use prost::Message;
use tonic::{
    Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, metadata::MetadataValue,
    transport::Channel,
};
use tonic_prost::ProstCodec;

use super::{Scene, invalid, refused};
use crate::{
    raw::{Compression, call, exchange, refusal},
    subject::Release,
};

pub async fn keys_must_be_given(scene: &mut Scene) -> Result<()> {
    let empty = invalid("key is not provided");
    assert_eq!(refused(scene.client.get("", None).await), empty);
    assert_eq!(refused(scene.client.put("", "v", None).await), empty);
    assert_eq!(refused(scene.client.delete("", None).await), empty);
    let compare = Txn::new().when([Compare::version("", CompareOp::Equal, 0)]);
    assert_eq!(refused(scene.client.txn(compare).await), empty);
    for operation in [TxnOp::get("", None), TxnOp::put("", "", None), TxnOp::delete("", None)] {
        // On the side that does not run, too.
        assert_eq!(refused(scene.client.txn(Txn::new().or_else([operation])).await), empty);
    }
    Ok(())
}

pub async fn put_must_not_contradict_itself(scene: &mut Scene) -> Result<()> {
    let key = scene.key("a");
    let value = PutOptions::new().with_ignore_value();
    assert_eq!(refused(scene.client.put(key.clone(), "v", Some(value)).await), invalid("value is provided"));
    let lease = PutOptions::new().with_ignore_lease().with_lease(1);
    assert_eq!(refused(scene.client.put(key, "v", Some(lease)).await), invalid("lease is provided"));
    Ok(())
}

pub async fn a_transaction_has_at_most_128_operations(scene: &mut Scene) -> Result<()> {
    let too_many = invalid("too many operations in txn request");
    let key = |n: usize| format!("{}{n}", scene.prefix);
    let gets = |count: usize| (0..count).map(|n| TxnOp::get(key(n), None)).collect::<Vec<_>>();
    let compares =
        |count: usize| (0..count).map(|n| Compare::version(key(n), CompareOp::Equal, 0)).collect::<Vec<_>>();
    let allowed = Txn::new().when(compares(128)).and_then(gets(128)).or_else(gets(128));
    assert!(scene.client.txn(allowed).await?.succeeded());
    let nested = |outer: usize, inner: usize| {
        let mut operations = gets(outer - 1);
        operations.push(TxnOp::txn(Txn::new().and_then(gets(inner))));
        Txn::new().and_then(operations)
    };
    let refusals = [
        Txn::new().and_then(gets(129)),
        Txn::new().or_else(gets(129)),
        Txn::new().when(compares(129)),
        nested(28, 101),
    ];
    for txn in refusals {
        assert_eq!(refused(scene.client.txn(txn).await), too_many);
    }
    assert!(scene.client.txn(nested(28, 100)).await?.succeeded());
    Ok(())
}

fn put(scene: &Scene, name: &str) -> TxnOp {
    TxnOp::put(scene.key(name), "v", None)
}

fn delete(scene: &Scene, name: &str) -> TxnOp {
    TxnOp::delete(scene.key(name), None)
}

fn delete_range(scene: &Scene, name: &str, end: &str) -> TxnOp {
    TxnOp::delete(scene.key(name), Some(DeleteOptions::new().with_range(scene.key(end))))
}

pub async fn a_key_is_written_once_in_a_transaction(scene: &mut Scene) -> Result<()> {
    let txn = |operations: Vec<TxnOp>| Txn::new().and_then(operations);
    let inner = |operations: Vec<TxnOp>| TxnOp::txn(Txn::new().and_then(operations));
    let s = &*scene;
    let refusals = vec![
        vec![put(s, "a"), put(s, "a")],
        vec![put(s, "a"), delete(s, "a")],
        vec![delete(s, "a"), put(s, "a")],
        vec![put(s, "b"), delete_range(s, "a", "c")],
        vec![put(s, "a"), inner(vec![put(s, "a")])],
        vec![inner(vec![put(s, "a")]), inner(vec![put(s, "a")])],
        vec![inner(vec![inner(vec![put(s, "a")])]), put(s, "a")],
        vec![inner(vec![put(s, "b")]), delete_range(s, "a", "c")],
        vec![inner(vec![delete(s, "a")]), put(s, "a")],
        vec![inner(vec![delete(s, "a")]), inner(vec![put(s, "a")])],
        vec![delete_range(s, "a", "b"), delete_range(s, "b", "d"), put(s, "c")],
    ];
    let count = refusals.len();
    for (n, operations) in refusals.into_iter().enumerate() {
        let answer = scene.client.txn(txn(operations)).await;
        assert_eq!(refused(answer), invalid("duplicate key given in txn request"), "{n} of {count}");
    }
    Ok(())
}

pub async fn what_may_overlap_in_a_transaction(scene: &mut Scene) -> Result<()> {
    let inner =
        |success: Vec<TxnOp>, failure: Vec<TxnOp>| TxnOp::txn(Txn::new().and_then(success).or_else(failure));
    let s = &*scene;
    let from = |name| TxnOp::delete(s.key(name), Some(DeleteOptions::new().with_from_key()));
    let allowed = vec![
        vec![delete(s, "a"), delete(s, "a"), delete_range(s, "a", "c")],
        vec![put(s, "c"), delete_range(s, "a", "c")],
        vec![inner(vec![put(s, "a")], vec![put(s, "a")])],
        vec![inner(vec![put(s, "a")], vec![delete(s, "a")])],
        // etcd looks at nested puts before it knows of later nested deletes.
        vec![inner(vec![put(s, "a")], vec![]), inner(vec![delete(s, "a")], vec![])],
        // etcd takes the end of "all that follow" at its word.
        vec![from("x"), put(s, "y")],
        vec![put(s, "z"), delete_range(s, "z", "a")],
    ];
    for operations in allowed {
        scene.client.txn(Txn::new().and_then(operations)).await?;
    }
    // What was put before all that follow were deleted is deleted, and the other way round.
    assert!(scene.get("y").await?.is_some());
    let from = TxnOp::delete(scene.key("x"), Some(DeleteOptions::new().with_from_key()));
    scene.client.txn(Txn::new().and_then([put(scene, "y"), from])).await?;
    assert!(scene.get("y").await?.is_none());
    Ok(())
}

pub async fn what_no_client_sends_is_survived(scene: &mut Scene) -> Result<()> {
    let channel = scene.channel.clone();
    let txn = async |request| call::<PbTxnRequest, PbTxnResponse>(&channel, "KV/Txn", request).await;
    let nothing = PbTxnRequest { success: vec![PbTxnRequestOp { request: None }], ..Default::default() };
    let refused = txn(nothing).await.map_err(|status| refusal(&status));
    assert_eq!(refused.unwrap_err(), invalid("key not found"));

    scene.put("a", "v").await?;
    let key = scene.key("a").into_bytes();
    let compare = |compare: PbCompare| PbTxnRequest { compare: vec![compare], ..Default::default() };
    // Without a wanted value it is zero or empty; what is unknown is equal, or holds.
    let cases = [
        (PbCompare { key: key.clone(), target: 0, result: 1, ..Default::default() }, true),
        (PbCompare { key: key.clone(), target: 3, result: 0, ..Default::default() }, false),
        (PbCompare { key: key.clone(), target: 3, result: 1, ..Default::default() }, true),
        (PbCompare { key: key.clone(), target: 99, result: 0, ..Default::default() }, true),
        (PbCompare { key: key.clone(), target: 99, result: 3, ..Default::default() }, false),
        (PbCompare { key: key.clone(), target: 0, result: 99, ..Default::default() }, true),
    ];
    for (case, expected) in cases {
        let said = format!("{case:?}");
        assert_eq!(txn(compare(case)).await?.succeeded, expected, "{said}");
    }
    if scene.release == Release::Embedded {
        // Since 3.6; older ones end in a panic.
        for (order, target) in [(99, 0), (0, 99), (-1, 1)] {
            let request = PbRangeRequest {
                key: key.clone(),
                sort_order: order,
                sort_target: target,
                ..Default::default()
            };
            let answer = call::<_, PbRangeResponse>(&channel, "KV/Range", request).await;
            assert_eq!(refusal(&answer.unwrap_err()), invalid("invalid sort option"));
        }
    }
    let revision = GetOptions::new().with_revision(-7);
    assert_eq!(scene.client.get(key, Some(revision)).await?.kvs().len(), 1, "no revision is the newest");

    let answer = call::<_, PbPutResponse>(&channel, "KV/Put", NoPut { key: 7 }).await;
    assert_eq!(answer.unwrap_err().code(), Code::Internal);
    Ok(())
}

/// What no put can be read from: its key is a number.
#[derive(Clone, PartialEq, Message)]
struct NoPut {
    #[prost(uint64, tag = "1")]
    key: u64,
}

pub async fn the_largest_write_is_a_mebibyte_and_a_half(scene: &mut Scene) -> Result<()> {
    const LARGEST: usize = 1_572_864;
    let key = scene.key("a");
    let value = |size: usize| {
        let request = PbPutRequest { key: key.clone().into(), value: vec![b'x'; size], ..Default::default() };
        let around = request.encoded_len() - size;
        vec![b'x'; size - around]
    };
    // etcd wraps a write into an entry of its log: a few bytes more, not always the same.
    let too_large = invalid("request is too large");
    assert_eq!(refused(scene.client.put(key.clone(), value(LARGEST - 16), None).await), too_large);
    scene.client.put(key.clone(), value(LARGEST - 24), None).await?;
    let txn = |size| Txn::new().and_then([TxnOp::put(key.clone(), value(size), None)]);
    assert_eq!(refused(scene.client.txn(txn(LARGEST)).await), too_large);
    scene.client.txn(txn(LARGEST - 100)).await?;
    scene.client.delete(key, None).await?;
    Ok(())
}

pub async fn a_message_has_a_size(scene: &mut Scene) -> Result<()> {
    const LARGEST: usize = 2 * 1024 * 1024;
    let request = PbPutRequest { key: b"a".to_vec(), value: vec![b'x'; LARGEST], ..Default::default() };
    let size = request.encoded_len();
    let answer = call::<_, PbPutResponse>(&scene.channel, "KV/Put", request).await;
    let text = format!("grpc: received message larger than max ({size} vs. {LARGEST})");
    assert_eq!(refusal(&answer.unwrap_err()), (Code::ResourceExhausted, text));
    Ok(())
}

pub async fn what_is_unknown_is_named(scene: &mut Scene) -> Result<()> {
    let unimplemented = |text: &str| (Code::Unimplemented, text.to_owned());
    let malformed = |text: &str| (Code::ResourceExhausted, text.to_owned());
    let cases = [
        ("/etcdserverpb.KV/Nothing", unimplemented("unknown method Nothing for service etcdserverpb.KV")),
        ("/etcdserverpb.Auth/Nothing", unimplemented("unknown method Nothing for service etcdserverpb.Auth")),
        ("/v3lockpb.Lock/Nothing", unimplemented("unknown method Nothing for service v3lockpb.Lock")),
        ("/some.Service/Some", unimplemented("unknown service some.Service")),
        ("/a/b/c", unimplemented("unknown service a/b")),
        ("/nothing", malformed("malformed method name: \"/nothing\"")),
    ];
    for (path, expected) in cases {
        let answer = exchange::<_, ()>(&scene.channel, path, Request::new(()), Compression::None).await;
        assert_eq!(refusal(&answer.unwrap_err()), expected, "{path}");
    }
    Ok(())
}

pub async fn a_made_up_token_is_refused(scene: &mut Scene) -> Result<()> {
    let (release, key) = (scene.release, scene.key("a").into_bytes());
    let range = PbRangeRequest { key: key.clone(), ..Default::default() };
    let put = PbPutRequest { key: key.clone(), ..Default::default() };
    let delete = PbDeleteRequest { key, ..Default::default() };
    let grant = PbLeaseGrantRequest { ttl: 60, id: 0 };
    let invalid = Some((Code::Unauthenticated, "etcdserver: invalid auth token".to_owned()));
    for name in ["token", "authorization"] {
        let with = Tokened { channel: &scene.channel, name };
        let refused = [
            with.call("KV/Range", range.clone()).await,
            with.call("KV/Put", put.clone()).await,
            with.call("KV/DeleteRange", delete.clone()).await,
            with.call("KV/Txn", PbTxnRequest::default()).await,
            with.call("KV/Compact", PbCompactionRequest { revision: 1, physical: false }).await,
            with.call("Lease/LeaseGrant", grant).await,
            with.call("Lease/LeaseRevoke", PbLeaseRevokeRequest { id: 1 }).await,
        ];
        assert_eq!(refused, std::array::from_fn(|_| invalid.clone()));
        if release != Release::V3_4 {
            // There the alarm is refused in other words, and the status is not there.
            let refused = [
                with.call("Maintenance/Alarm", PbAlarmRequest::default()).await,
                with.call("Auth/AuthStatus", ()).await,
            ];
            assert_eq!(refused, [invalid.clone(), invalid.clone()]);
        }
        let answered = [
            with.call("Lease/LeaseTimeToLive", PbLeaseTimeToLiveRequest { id: 1, keys: true }).await,
            with.call("Lease/LeaseLeases", ()).await,
            with.call("Cluster/MemberList", ()).await,
            with.call("Maintenance/Status", ()).await,
        ];
        assert_eq!(answered, [const { None }; 4]);
    }
    Ok(())
}

/// Calls that carry a token, under this name.
struct Tokened<'a> {
    channel: &'a Channel,
    name: &'static str,
}

impl Tokened<'_> {
    /// What is refused; none if it is answered.
    async fn call(&self, method: &str, message: impl Message + 'static) -> Option<(Code, String)> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(self.name, MetadataValue::from_static("made-up"));
        let path = format!("/etcdserverpb.{method}");
        let answer = exchange::<_, ()>(self.channel, &path, request, Compression::None).await;
        answer.err().map(|status| refusal(&status))
    }
}

pub async fn a_watch_with_a_made_up_token_is_cancelled(scene: &mut Scene) -> Result<()> {
    let create = WatchRequest { create: Some(WatchCreateRequest { key: scene.key("a").into_bytes() }) };
    // The stream stays open until it is answered.
    let mut request = Request::new(stream::iter([create]).chain(stream::pending()));
    request.metadata_mut().insert("token", MetadataValue::from_static("made-up"));
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let codec = ProstCodec::<WatchRequest, PbWatchResponse>::default();
    let mut client = Grpc::new(scene.channel.clone());
    client.ready().await?;
    let answer = client.streaming(request, path, codec).await?.into_inner().message().await?;
    let answer = answer.context("no answer")?;
    assert!(answer.created && answer.canceled);
    let unauthenticated = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    let expected = match scene.release {
        Release::V3_4 | Release::Embedded => (-1, unauthenticated),
        // Later ones say why.
        Release::V3_5 => (0, "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
    };
    assert_eq!((answer.watch_id, answer.cancel_reason.as_str()), expected);
    Ok(())
}

#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchCreateRequest {
    #[prost(bytes, tag = "1")]
    key: Vec<u8>,
}

pub async fn authentication_is_off(scene: &mut Scene) -> Result<()> {
    let request = PbAuthenticateRequest { name: "root".to_owned(), password: "x".to_owned() };
    let answer: Result<PbAuthenticateResponse, Status> =
        call(&scene.channel, "Auth/Authenticate", request).await;
    let text = "etcdserver: authentication is not enabled".to_owned();
    assert_eq!(refusal(&answer.unwrap_err()), (Code::FailedPrecondition, text));

    let status: Result<AuthStatus, Status> = call(&scene.channel, "Auth/AuthStatus", ()).await;
    match scene.release {
        Release::V3_4 => assert_eq!(status.unwrap_err().code(), Code::Unimplemented, "it is new in 3.5"),
        Release::V3_5 | Release::Embedded => assert_eq!(status?, AuthStatus { enabled: false, revision: 1 }),
    }
    Ok(())
}

#[derive(Clone, PartialEq, Message)]
struct AuthStatus {
    #[prost(bool, tag = "2")]
    enabled: bool,
    #[prost(uint64, tag = "3")]
    revision: u64,
}
