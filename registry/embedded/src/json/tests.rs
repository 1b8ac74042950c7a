//! The tables beside prost's messages, and JSON at random.

use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbCompactionRequest, PbCompactionResponse, PbDeleteRequest,
    PbDeleteResponse, PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest,
    PbLeaseKeepAliveResponse, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbMemberListResponse, PbPutRequest, PbPutResponse,
    PbRangeRequest, PbRangeResponse, PbStatusResponse, PbTxnRequest, PbTxnResponse, PbWatchRequest,
    PbWatchRequestUnion, PbWatchResponse,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{
    decode, encode,
    messages::{self, FieldKind, MessageType},
};
use crate::wire::{self, Value};

/// How deep a transaction within a transaction is tried.
const DEPTH: usize = 5;

/// Each field of a message alone, with a value that is no default; of a message in it each field in turn.
fn samples(message: &'static MessageType, depth: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for field in message.0 {
        let inner = match field.kind {
            FieldKind::Of(inner) if depth > 0 => samples(inner, depth - 1),
            _ => vec![Vec::new()],
        };
        for inner in inner {
            let value = match field.kind {
                FieldKind::Bool | FieldKind::Enum(_) => Value::Number(1),
                FieldKind::Int64 | FieldKind::Uint64 => Value::Number(u64::MAX - 5),
                FieldKind::Bytes | FieldKind::Text => Value::Bytes(b"<a\n\"\\ & b>"),
                FieldKind::Of(_) => Value::Bytes(&inner),
            };
            let mut sample = Vec::new();
            for _ in 0..if field.is_many { 2 } else { 1 } {
                wire::put(&mut sample, field.tag, value);
            }
            all.push(sample);
        }
    }
    all
}

/// Whether prost knows each field of the table by this number and kind: what it does not know it drops.
#[track_caller]
fn is_as<M: prost::Message + Default>(message: &'static MessageType) {
    for sample in samples(message, DEPTH) {
        let again = M::decode(&*sample).unwrap().encode_to_vec();
        assert_eq!(again, sample, "{}", json_of(message, &sample));
    }
}

fn json_of(message: &'static MessageType, bytes: &[u8]) -> String {
    let mut json = String::new();
    encode::message(message, bytes, &mut json).unwrap();
    json
}

#[test]
fn the_tables_are_those_of_etcds_own_files() {
    is_as::<PbRangeRequest>(&messages::RANGE_REQUEST);
    is_as::<PbRangeResponse>(&messages::RANGE_RESPONSE);
    is_as::<PbPutRequest>(&messages::PUT_REQUEST);
    is_as::<PbPutResponse>(&messages::PUT_RESPONSE);
    is_as::<PbDeleteRequest>(&messages::DELETE_REQUEST);
    is_as::<PbDeleteResponse>(&messages::DELETE_RESPONSE);
    is_as::<PbTxnRequest>(&messages::TXN_REQUEST);
    is_as::<PbTxnResponse>(&messages::TXN_RESPONSE);
    is_as::<PbCompactionRequest>(&messages::COMPACTION_REQUEST);
    is_as::<PbCompactionResponse>(&messages::HEADER_ALONE);
    is_as::<PbLeaseGrantRequest>(&messages::GRANT_REQUEST);
    is_as::<PbLeaseGrantResponse>(&messages::GRANT_RESPONSE);
    is_as::<PbLeaseRevokeRequest>(&messages::LEASE_ID);
    is_as::<PbLeaseRevokeResponse>(&messages::HEADER_ALONE);
    is_as::<PbLeaseKeepAliveRequest>(&messages::LEASE_ID);
    is_as::<PbLeaseKeepAliveResponse>(&messages::KEEP_ALIVE_RESPONSE);
    is_as::<PbLeaseTimeToLiveRequest>(&messages::TIME_TO_LIVE_REQUEST);
    is_as::<PbLeaseTimeToLiveResponse>(&messages::TIME_TO_LIVE_RESPONSE);
    is_as::<PbLeaseLeasesResponse>(&messages::LEASES_RESPONSE);
    is_as::<PbWatchResponse>(&messages::WATCH_RESPONSE);
    is_as::<PbMemberListResponse>(&messages::MEMBERS_RESPONSE);
    is_as::<PbStatusResponse>(&messages::STATUS_RESPONSE);
    is_as::<PbAlarmRequest>(&messages::ALARM_REQUEST);
    is_as::<PbAlarmResponse>(&messages::ALARM_RESPONSE);
}

/// prost packs the numbers of a list, which the table does not: so it is compared as a message.
#[test]
fn a_watch_is_asked_for_with_its_filters() {
    let asked = json!({ "create_request": {
        "key": "a2V5", "range_end": "ZW5k", "start_revision": "7", "progress_notify": true,
        "filters": ["NOPUT", 1, "NODELETE", null], "prev_kv": true, "watch_id": -3, "fragment": true,
    }});
    let bytes = decode::first(&messages::WATCH_REQUEST, asked.to_string().as_bytes()).unwrap();
    let request: PbWatchRequest = prost::Message::decode(&*bytes).unwrap();
    let Some(PbWatchRequestUnion::CreateRequest(create)) = request.request_union else {
        panic!("another request: {request:?}");
    };
    assert_eq!((create.key, create.range_end), (b"key".to_vec(), b"end".to_vec()));
    assert_eq!((create.start_revision, create.watch_id), (7, -3));
    assert_eq!(create.filters, [0, 1, 1, 0]);
    assert!(create.progress_notify && create.prev_kv && create.fragment);
}

#[test]
fn what_is_written_is_read_as_it_was() {
    for message in [&messages::TXN_REQUEST, &messages::TXN_RESPONSE, &messages::WATCH_RESPONSE] {
        for sample in samples(message, DEPTH) {
            let json = json_of(message, &sample);
            assert_eq!(decode::first(message, json.as_bytes()).unwrap(), sample, "{json}");
            // Nothing of Go's spelling is strange to others.
            let plain: Json = serde_json::from_str(&json).unwrap();
            assert_eq!(decode::first(message, plain.to_string().as_bytes()).unwrap(), sample, "{json}");
        }
    }
}

#[test]
fn text_is_escaped_as_go_does_it() {
    let mut json = String::new();
    encode::text("<a href=\"x\">&\\\n\t\r\u{8}\u{7f}\u{2028}é", &mut json);
    let expected = r#""\u003ca href=\"x\"\u003e\u0026\\\n\t\r\u0008"#.to_owned() + "\u{7f}\\u2028é\"";
    assert_eq!(json, expected);
}

#[test]
fn a_refused_value_is_not_repeated_but_placed() {
    let long = "x".repeat(100_000);
    let body = format!("{{\"key\":\"{long}*\"}}");
    let error = decode::first(&messages::PUT_REQUEST, body.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        error,
        "invalid value: this string, expected base64 with padding for key at line 1 column 100010"
    );
}

/// JSON that is often nearly a request.
fn json_at_random() -> impl Strategy<Value = Json> {
    let name = prop_oneof![
        Just("compare"),
        Just("success"),
        Just("failure"),
        Just("request_range"),
        Just("requestPut"),
        Just("requestTxn"),
        Just("key"),
        Just("value"),
        Just("limit"),
        Just("sort_order"),
        Just("prevKv"),
        Just("create_request"),
        Just("filters"),
        Just("target"),
        Just("ID"),
        Just("unknown"),
    ]
    .prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".*".prop_map(Json::from),
        any::<i64>().prop_map(|number| Json::from(number.to_string())),
        "[A-Za-z0-9+/]{0,8}={0,2}".prop_map(Json::from),
        Just(Json::from("ASCEND")),
        Just(Json::from("VERSION")),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_at_random_is_a_message_or_refused(json in json_at_random()) {
        for message in [&messages::TXN_REQUEST, &messages::WATCH_REQUEST, &messages::RANGE_REQUEST] {
            if let Ok(bytes) = decode::first(message, json.to_string().as_bytes()) {
                prop_assert!(encode::message(message, &bytes, &mut String::new()).is_some());
            }
        }
    }

    #[test]
    fn bytes_at_random_are_messages_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::each(&messages::TXN_REQUEST, &bytes).count();
        let _ = encode::message(&messages::TXN_RESPONSE, &bytes, &mut String::new());
    }

    #[test]
    fn what_is_cut_off_is_refused(json in json_at_random(), end in 0_usize..500) {
        let text = json.to_string();
        let cut = text.as_bytes().get(..end).unwrap_or(text.as_bytes());
        for bytes in decode::each(&messages::TXN_REQUEST, cut).take(3).flatten() {
            prop_assert!(encode::message(&messages::TXN_REQUEST, &bytes, &mut String::new()).is_some());
        }
    }
}
