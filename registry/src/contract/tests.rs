use super::*;
use crate::networks::{carried, forms};
use proptest::prelude::*;
use std::net::IpAddr;

fn split(key: &str) -> Result<(String, String), String> {
    Prefix::default()
        .split(key.as_bytes())
        .map(|(service, id)| (service.to_owned(), id.to_owned()))
        .map_err(|e| e.to_string())
}

fn reason(value: &str) -> String {
    Record::decode(value.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_key_is_read_by_segment() {
    let expected = ("goods".to_owned(), "goods-1".to_owned());
    assert_eq!(split("/service_registry_discovery/goods/goods-1"), Ok(expected));
    let shape = "the key is not {prefix}/{service}/{instance}";
    assert_eq!(split("/service_registry_discovery/goods").unwrap_err(), shape);
    assert_eq!(split("/service_registry_discovery2/goods/a").unwrap_err(), shape);
    assert!(split("/service_registry_discovery/goods/a/b").is_err());
    assert!(split("/service_registry_discovery//a").is_err());
    assert!(split("/service_registry_discovery/goods/").is_err());
}

#[test]
fn the_range_ends_with_the_slash_and_takes_no_neighbour() {
    let range = Prefix::default().range();
    let inside =
        |key: &str| range.start.as_slice() <= key.as_bytes() && key.as_bytes() < range.end.as_slice();
    assert!(inside("/service_registry_discovery/goods/1"));
    assert!(!inside("/service_registry_discovery2/goods/1"));
    assert!(!inside("/service_registry_discovery"));
}

#[test]
fn a_prefix_has_no_slash_at_its_end_and_no_empty_segment() {
    assert!(Prefix::parse("/a/b").is_ok());
    for bad in ["", "a", "/", "/a/", "/a//b", "/a\n"] {
        assert!(Prefix::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_plain_value_is_an_address_of_weight_one() {
    let record = Record::decode(b"10.0.0.5:80\n").unwrap();
    assert_eq!(record, Record::new("10.0.0.5:80".parse().unwrap()));
    assert_eq!(Record::decode(b"[2001:db8::1]:80").unwrap().address, "[2001:db8::1]:80".parse().unwrap());
}

#[test]
fn a_json_value_has_weight_and_metadata() {
    let value = br#"{"address":"10.0.0.5:80","weight":10,"metadata":{"zone":"a"},"later":[1]}"#;
    let record = Record::decode(value).unwrap();
    assert_eq!(record.weight, 10);
    assert_eq!(record.metadata.get("zone"), Some("a"));
    assert_eq!(Record::decode(br#"{"address":"10.0.0.5:80"}"#).unwrap().weight, 1);
    assert_eq!(Record::decode(br#"{"address":"10.0.0.5:80","weight":0}"#).unwrap().weight, 0);
}

#[test]
fn metadata_beyond_its_bounds_costs_an_instance_nothing_else() {
    let entries = (0..1_600).map(|n| format!("\"{n}\":\"\"")).collect::<Vec<_>>().join(",");
    let value = format!(r#"{{"metadata":{{{entries}}},"address":"10.0.0.5:80","weight":10}}"#);
    let record = Record::decode(value.as_bytes()).unwrap();
    assert_eq!((record.address.port(), record.weight), (80, 10));
    assert_eq!(record.metadata.left_out(), Some(TooMuchMetadata::Entries));
    assert_eq!(record.encode(), r#"{"address":"10.0.0.5:80","weight":10}"#);
}

#[test]
fn a_value_that_is_no_registration_says_why() {
    assert!(reason("").contains("is not an address"));
    assert!(reason("goods.local:80").contains("expected ip:port"));
    assert!(reason("10.0.0.5").contains("expected ip:port"));
    assert!(reason("{").starts_with("the value is not a record"));
    assert!(reason(r#"{"weight":1}"#).contains("missing field `address`"));
    let weight = |w: &str| reason(&format!(r#"{{"address":"10.0.0.5:80","weight":{w}}}"#));
    assert_eq!(weight("1001"), "the weight is 1001, more than 1000");
    assert_eq!(weight("65536"), "the weight is 65536, more than 1000");
    assert!(weight("-1").contains("invalid value"));
    assert!(weight("1.5").contains("invalid type"));
    assert!(reason(&"[".repeat(100_000)).contains("more than 16384"));
    let nested = format!(r#"{{"metadata":{}"#, "[".repeat(10_000));
    assert!(reason(&nested).starts_with("the value is not a record"));
    assert!(Record::decode(&[0xff]).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn an_address_that_can_never_be_a_backend_is_refused() {
    for (address, why) in [
        ("0.0.0.0:80", "unspecified"),
        ("[::]:80", "unspecified"),
        ("[::ffff:0.0.0.0]:80", "unspecified"),
        ("224.0.0.1:80", "multicast"),
        ("[ff02::1]:80", "multicast"),
        ("0.0.0.1:80", "0.0.0.0/8"),
        ("[::1:2]:80", "it carries 0.1.0.2, which is in 0.0.0.0/8"),
        ("255.255.255.255:80", "broadcast"),
        ("240.0.0.1:80", "240.0.0.0/4"),
        ("255.255.255.254:80", "240.0.0.0/4"),
        ("169.254.169.254:80", "link-local"),
        ("[fe80::1]:80", "link-local"),
        ("[::ffff:169.254.1.1]:80", "link-local"),
        ("10.0.0.5:0", "port is 0"),
        ("[fd00:ec2::254]:80", "AWS"),
        ("[fd20:ce::254]:80", "metadata"),
        ("[fd00:ec2::23]:80", "AWS"),
        ("[fd00:ec2:1::1]:80", "AWS"),
        ("[fd00:42::42]:80", "metadata"),
        ("[fd00:c1::a9fe:a9fe]:80", "metadata"),
        ("[fd00:a9fe:a9fe::1]:80", "metadata"),
        ("[fd00:100::100:200]:80", "metadata"),
        ("168.63.129.16:80", "Azure"),
        ("192.0.0.192:80", "metadata"),
        ("[64:ff9b::169.254.169.254]:80", "it carries 169.254.169.254, which is link-local"),
        ("[64:ff9b:1:a9fe:a9:fe00::]:80", "it carries 169.254.169.254, which is link-local"),
        ("[2002:a9fe:a9fe::1]:80", "it carries 169.254.169.254, which is link-local"),
        ("[2001:0:101:101::5601:5601]:80", "it carries 169.254.169.254, which is link-local"),
        ("100.100.100.200:80", "metadata"),
        ("[::ffff:100.100.100.200]:80", "metadata"),
    ] {
        assert!(reason(address).contains(why), "{address}: {}", reason(address));
    }
}

#[test]
fn the_neighbours_of_metadata_addresses_are_ordinary() {
    for address in [
        "[fd00:ec3::254]:80",
        "[fd20:ce::255]:80",
        "[fd00:42::43]:80",
        "100.100.100.201:80",
        "168.63.129.17:80",
        "192.0.0.193:80",
        "1.0.0.0:80",
        "223.255.255.255:80",
        "127.0.0.1:80",
        "[64:ff9b::10.0.0.1]:80",
    ] {
        assert!(Record::decode(address.as_bytes()).is_ok(), "{address}");
    }
}

#[test]
fn json_that_is_made_to_hurt_is_refused_with_a_short_reason() {
    let record = |rest: &str| format!(r#"{{"address":"10.0.0.5:80",{rest}}}"#);
    let deep = |open: &str, close: &str| open.repeat(2_000) + &close.repeat(2_000);
    for (value, why) in [
        (record(&format!(r#""metadata":{{"a":{}}}"#, deep("[", "]"))), "invalid type"),
        (deep(r#"{"a":"#, "}"), "expected value"),
        (record(r#""weight":1e400"#), "number out of range"),
        (record(&format!(r#""weight":{}"#, "9".repeat(10_000))), "number out of range"),
        (record(r#""weight":18446744073709551616"#), "invalid type"),
        (record(r#""weight":18446744073709551615"#), "more than 1000"),
        (record(r#""weight":1,"weight":2"#), "duplicate field `weight`"),
        (record(r#""address":"10.0.0.6:80""#), "duplicate field `address`"),
        (record(r#""metadata":{"zone":"a"},"metadata":{}"#), "duplicate field `metadata`"),
        (record(r#""weight":"10""#), "invalid type"),
        (record(r#""metadata":{"a":1}"#), "invalid type"),
        (record(r#""metadata":["a"]"#), "invalid type"),
        (record(r#""weight":null"#), "invalid type"),
    ] {
        let reason = reason(&value);
        assert!(reason.contains(why), "{reason}");
        assert!(reason.len() < 300, "{} bytes: {reason}", reason.len());
    }
    // A field that nobody reads is skipped without recursion.
    let later = record(&format!(r#""later":{}"#, deep("[", "]")));
    assert_eq!(Record::decode(later.as_bytes()).unwrap().weight, 1);
}

#[test]
fn a_value_of_a_mebibyte_is_refused_by_its_length() {
    let json = format!(r#"{{"address":"10.0.0.5:80","metadata":{{"a":"{}"}}}}"#, "x".repeat(1 << 20));
    assert!(reason(&json).starts_with("the value has 10486"));
}

#[test]
fn a_long_value_is_shortened_in_its_error() {
    assert!(reason(&"é".repeat(5_000)).len() < 300);
}

/// JSON of any shape, a few levels deep.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::Value::String(text).to_string()),
    ];
    leaf.prop_recursive(6, 64, 4, |inner| {
        let items = proptest::collection::vec(inner.clone(), 0..4);
        let fields = proptest::collection::vec(("[a-z]{0,3}", inner), 0..4);
        prop_oneof![
            items.prop_map(|items| format!("[{}]", items.join(","))),
            fields.prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_form_leads_to_what_can_never_be_a_backend(
        never in prop_oneof![
            Just([169, 254, 169, 254]), Just([168, 63, 129, 16]), Just([192, 0, 0, 192]), Just([100, 100, 100, 200]),
            (224u8.., any::<[u8; 3]>()).prop_map(|(first, [b, c, d])| [first, b, c, d]),
        ],
        noise in any::<u128>(),
    ) {
        for form in forms(never.into(), noise) {
            prop_assert!(parse_address(&SocketAddr::from((form, 80)).to_string()).is_err(), "{}", form);
        }
    }

    #[test]
    fn any_record_survives_encode_and_decode(
        ip in any::<[u8; 4]>(), port in 1u16.., weight in 0..=MAX_WEIGHT,
        metadata in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
    ) {
        let metadata = Metadata::new(metadata).expect("within the bounds");
        let record = Record { address: SocketAddr::from((ip, port)), weight, metadata };
        prop_assume!(parse_address(&record.address.to_string()).is_ok());
        prop_assert_eq!(Record::decode(record.encode().as_bytes()).unwrap(), record);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        rest in any::<Vec<u8>>(), value in any::<Vec<u8>>(), at in 0usize..64, byte in any::<u8>(),
    ) {
        let key = [b"/service_registry_discovery/", &*rest].concat();
        let _ = Prefix::default().split(&key);
        let _ = Record::decode(&value);
        let mut json = br#"{"address":"10.0.0.5:80","weight":10,"metadata":{"zone":"a"}}"#.to_vec();
        let at = at % json.len();
        json[at] = byte;
        let _ = Record::decode(&json);
    }

    #[test]
    fn no_json_makes_the_decoder_panic_or_its_reason_long(
        json in any_json(), address in "[^\"\\\\]{0,40}", weight in any::<i128>(),
    ) {
        let fields = [json.clone(), format!(r#"{{"address":{json}}}"#), format!(r#"{{"metadata":{json}}}"#)];
        let record = format!(r#"{{"address":"{address}","weight":{weight},"metadata":{{}},"later":{json}}}"#);
        for value in fields.iter().chain([&record]) {
            if let Err(error) = Record::decode(value.as_bytes()) {
                prop_assert!(error.to_string().len() < 1_000);
            }
        }
    }

    #[test]
    fn what_is_read_can_be_a_backend_and_is_written_as_it_was(
        address in prop_oneof!["[0-9.:]{7,21}", "\\[[0-9a-f:]{2,20}\\]:[0-9]{1,5}"], weight in 0u64..70_000,
    ) {
        let value = format!(r#"{{"address":"{address}","weight":{weight}}}"#);
        if let Ok(record) = Record::decode(value.as_bytes()) {
            let ip = record.address.ip();
            prop_assert!(record.address.port() > 0 && record.weight <= MAX_WEIGHT);
            let carried = carried(ip).map(|carried| IpAddr::from(carried.address));
            for ip in carried.chain([ip]) {
                prop_assert!(!ip.is_unspecified() && !ip.is_multicast() && ip == ip.to_canonical());
            }
            prop_assert_eq!(Record::decode(record.encode().as_bytes()).unwrap(), record);
        }
    }

    #[test]
    fn what_splits_joins_to_the_same_key(service in "[^/]{1,9}", id in "[^/]{1,9}") {
        let prefix = Prefix::default();
        let key = prefix.key(&service, &id);
        if let Ok(parts) = prefix.split(key.as_bytes()) {
            prop_assert_eq!(parts, (service.as_str(), id.as_str()));
        }
    }
}

#[test]
fn a_key_of_a_record_that_means_nothing_is_found_and_what_it_was_meant_to_be() {
    let unknown = |value: &str| Record::unknown_keys(value.as_bytes());
    let record = r#"{"address":"10.0.0.1:80","weight":1,"metadata":{"wieght":"0"},"wieght":0,"zone":"a"}"#;
    assert_eq!(unknown(record), ["wieght", "zone"]);
    for value in ["10.0.0.1:80", r#" {"address":"10.0.0.1:80"} "#, "{", "[]", ""] {
        assert!(unknown(value).is_empty(), "{value}");
    }
    for (written, meant) in [
        ("wieght", Some("weight")),
        ("Weight", Some("weight")),
        ("weights", Some("weight")),
        ("addres", Some("address")),
        ("meta", Some("metadata")),
        ("zone", None),
        ("", None),
    ] {
        assert_eq!(Record::likely_key(written), meant, "{written}");
    }
}
