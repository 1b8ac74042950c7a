use super::*;
use crate::head::tests::{FakeHead, head};
use http::Method;
use proptest::prelude::*;

const FRONT: &str = "10.0.0.1";

/// The networks `10.0.0.0/8` and `fd00::/8` are trusted.
fn common() -> Common {
    let trusted_proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into();
    Common { trusted_proxies, ..Common::default() }
}

fn with_forwarded() -> Common {
    Common { forwarded: true, ..common() }
}

fn request(fields: &[(&'static str, &str)]) -> FakeHead {
    let host = [("host", &b"inner.example"[..])];
    let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
    head(Method::GET, "/", &host.into_iter().chain(fields).collect::<Vec<_>>())
}

/// What is found out of a request, in the words in which it goes on.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    client: Option<String>,
    named: String,
    scheme: Scheme,
    list: String,
    host: String,
    forwarded: Option<String>,
}

/// Whether a request of this peer is told what only proxies are.
fn is_trusted(peer: &str, fields: &[(&'static str, &str)]) -> bool {
    let arrival =
        Arrival { peer: peer.parse().ok(), scheme: Scheme::Http, identity: None, hides_client: false };
    Origin::of(&request(fields), arrival, &common()).0.is_trusted
}

fn seen(peer: &str, fields: &[(&'static str, &str)], common: &Common) -> Seen {
    let arrival =
        Arrival { peer: peer.parse().ok(), scheme: Scheme::Http, identity: None, hides_client: false };
    let (origin, named) = Origin::of(&request(fields), arrival, common);
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    Seen {
        client: origin.client.map(|client| client.to_string()),
        list: origin.list().map_or_else(|| named.as_str().to_owned(), text),
        named: named.as_str().to_owned(),
        scheme: origin.scheme,
        host: text(origin.host().unwrap_or(&HeaderValue::from_static("inner.example"))),
        forwarded: origin.forwarded().map(text),
    }
}

/// The client that is found through a trusted proxy.
fn client(lists: &[&str]) -> Option<String> {
    let fields: Vec<_> = lists.iter().map(|list| ("x-forwarded-for", *list)).collect();
    seen(FRONT, &fields, &common()).client
}

#[test]
fn of_a_proxy_that_does_not_say_for_whom_it_has_connected_nobody_takes_the_word() {
    let (common, head) = (common(), request(&[("x-forwarded-for", "192.0.2.1")]));
    for (hides_client, client, named) in [(false, Some("192.0.2.1"), "192.0.2.1"), (true, None, "10.0.0.1")] {
        let arrival = Arrival { hides_client, ..Arrival::clear(FRONT.parse().ok()) };
        let (origin, text) = Origin::of(&head, arrival, &common);
        assert_eq!(
            (origin.client.map(|client| client.to_string()).as_deref(), text.as_str()),
            (client, named)
        );
        assert_eq!(origin.list().is_some(), !hides_client);
    }
}

#[test]
fn who_is_not_trusted_is_the_client_whatever_he_says() {
    let lies = [
        ("x-forwarded-for", "10.0.0.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=10.0.0.7;proto=https;host=evil.example"),
    ];
    for common in [common(), Common::default()] {
        let expected = Seen {
            client: Some("192.0.2.7".to_owned()),
            named: "192.0.2.7".to_owned(),
            scheme: Scheme::Http,
            list: "192.0.2.7".to_owned(),
            host: "inner.example".to_owned(),
            forwarded: None,
        };
        assert_eq!(seen("192.0.2.7", &lies, &common), expected);
        assert_eq!(seen("::ffff:192.0.2.7", &lies, &common), expected, "by one name");
    }
    let seen = seen("2001:db8::7", &lies, &with_forwarded());
    assert_eq!(seen.forwarded.as_deref(), Some("for=\"[2001:db8::7]\";proto=http;host=inner.example"));
    assert_eq!(seen.list, "2001:db8::7");
}

#[test]
fn who_comes_from_no_network_is_nobody() {
    let seen = seen("", &[("x-forwarded-for", "10.0.0.7")], &with_forwarded());
    assert_eq!((seen.client, &*seen.list, seen.forwarded), (None, "", None));
}

#[test]
fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
    for (lists, expected) in [
        (&["192.0.2.7"][..], "192.0.2.7"),
        (&["192.0.2.7, 10.0.0.2, fd00::3"], "192.0.2.7"),
        (&["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (&["10.6.6.6, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        (&["6.6.6.6", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        (&["<script>, 192.0.2.7"], "192.0.2.7"),
        (&[" ,192.0.2.7:4711,,\t10.0.0.2 , "], "192.0.2.7"),
        (&["[2001:db8::7]:80, [fd00::3], fd00::4"], "2001:db8::7"),
        (&["::ffff:192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7"),
        (&["10.0.0.4, 10.0.0.3, 10.0.0.2"], "10.0.0.4"),
        (&[], FRONT),
        (&["", ", ,"], FRONT),
    ] {
        assert_eq!(client(lists).as_deref(), Some(expected), "{lists:?}");
    }
}

#[test]
fn whom_a_trusted_proxy_hides_is_in_no_network_and_goes_by_the_nearest_name() {
    for (list, named) in [
        ("unknown", FRONT),
        ("_hidden, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.7, what, 10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ] {
        let seen = seen(FRONT, &[("x-forwarded-for", list)], &common());
        assert_eq!((seen.client, &*seen.named), (None, named), "{list}");
        assert_eq!(seen.list, format!("{list}, {FRONT}"), "it goes on all the same");
    }
}

#[test]
fn a_request_is_trusted_where_its_client_is_not_only_the_last_proxy() {
    assert!(is_trusted(FRONT, &[]));
    assert!(is_trusted(FRONT, &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")]));
    for list in ["192.0.2.7", "192.0.2.7, 10.0.0.2", "10.0.0.3, 192.0.2.7", "unknown", "unknown, 10.0.0.2"] {
        assert!(!is_trusted(FRONT, &[("x-forwarded-for", list)]), "{list}");
    }
    assert!(!is_trusted("192.0.2.7", &[("x-forwarded-for", "10.0.0.2")]));
    assert!(!is_trusted("", &[("x-forwarded-for", "10.0.0.2")]));
}

#[test]
fn a_list_goes_on_with_the_peer_behind_it() {
    let list = |lists: &[&str]| {
        let fields: Vec<_> = lists.iter().map(|list| ("x-forwarded-for", *list)).collect();
        seen(FRONT, &fields, &common()).list
    };
    assert_eq!(list(&[]), "10.0.0.1");
    assert_eq!(list(&["6.6.6.6,192.0.2.7:80 ,", "unknown"]), "6.6.6.6, 192.0.2.7:80, unknown, 10.0.0.1");
}

#[test]
fn of_a_long_list_the_end_is_read_and_goes_on() {
    let padded = format!("{}192.0.2.7", "6.6.6.6, ".repeat(1_000));
    let long = seen(FRONT, &[("x-forwarded-for", &padded)], &common());
    assert_eq!(long.client.as_deref(), Some("192.0.2.7"));
    assert_eq!(
        long.list.split(", ").count(),
        MOST_HOPS + 2,
        "those, one that stands for the rest, and the peer"
    );
    assert!(long.list.starts_with("unknown, 6.6.6.6, "), "{}", long.list);
    let padded = format!("{}, 192.0.2.7", "6".repeat(4_000));
    let seen = seen(FRONT, &[("x-forwarded-for", &padded)], &common());
    assert_eq!(seen.list, "unknown, 192.0.2.7, 10.0.0.1");
    let all_trusted = vec!["10.0.0.2"; MOST_HOPS + 1].join(",");
    assert_eq!(client(&[&all_trusted]), None, "who is cut off is known to nobody");
}

#[test]
fn scheme_and_host_are_those_of_the_hop_that_is_the_clients() {
    let said = |fields: &[(&'static str, &str)]| {
        let seen = seen(FRONT, fields, &common());
        (seen.scheme, seen.host)
    };
    let list = ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2");
    for (scheme, expected) in [
        ("https", Scheme::Https),
        ("HTTPS", Scheme::Https),
        ("wss", Scheme::Https),
        ("http", Scheme::Http),
        ("http, https, http", Scheme::Https),
        ("https, http, https", Scheme::Http),
        ("https, https", Scheme::Http),
        ("https, https, https, https", Scheme::Http),
        ("gopher", Scheme::Http),
        ("", Scheme::Http),
    ] {
        assert_eq!(said(&[list, ("x-forwarded-proto", scheme)]).0, expected, "{scheme}");
    }
    for (host, expected) in [
        ("Shop.example:8443", "Shop.example:8443"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("evil.example, shop.example, front.example", "shop.example"),
        ("evil.example, shop.example", "inner.example"),
        ("shop example", "inner.example"),
        ("shop.example/x", "inner.example"),
        ("user@shop.example", "inner.example"),
        (&"x".repeat(300), "inner.example"),
    ] {
        assert_eq!(said(&[list, ("x-forwarded-host", host)]).1, expected, "{host}");
    }
    let alone = [("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example")];
    assert_eq!(said(&alone), (Scheme::Https, "shop.example".to_owned()), "of the peer itself");
}

#[test]
fn forwarded_is_read_where_there_is_no_other_list() {
    let line = "for=6.6.6.6;proto=http;host=evil.example, For=\"[2001:db8::7]:4711\" ; PROTO=https;host=\"shop.example:443\"";
    let seen = seen(FRONT, &[("forwarded", line), ("forwarded", "by=_x;for=10.0.0.2")], &with_forwarded());
    assert_eq!((seen.client.as_deref(), seen.scheme), (Some("2001:db8::7"), Scheme::Https));
    assert_eq!(seen.host, "shop.example:443");
    assert_eq!(seen.list, "6.6.6.6, 2001:db8::7, 10.0.0.2, 10.0.0.1");
    let expected = format!("{line}, by=_x;for=10.0.0.2, for=10.0.0.1;proto=http;host=inner.example");
    assert_eq!(seen.forwarded, Some(expected));
}

#[test]
fn forwarded_beside_the_other_list_is_not_believed_even_if_it_agrees() {
    let list = ("x-forwarded-for", "192.0.2.7, what");
    let liar = ("forwarded", "for=10.6.6.6;proto=https");
    let scheme = ("x-forwarded-proto", "https");
    let both = seen(FRONT, &[("x-forwarded-for", "192.0.2.7"), liar], &common());
    assert_eq!((both.client.as_deref(), both.scheme), (Some("192.0.2.7"), Scheme::Http));
    assert_eq!(both.forwarded, None, "a lie does not go on");
    let told = seen(FRONT, &[list, liar, scheme], &with_forwarded()).forwarded.unwrap();
    assert_eq!(told, "for=192.0.2.7, for=unknown;proto=https, for=10.0.0.1;proto=http;host=inner.example");
    // Its writer knows its own address.
    let alike = ("forwarded", "for=192.0.2.7;proto=https;host=evil.example");
    for (common, goes_on) in [
        (common(), None),
        (with_forwarded(), Some("for=192.0.2.7, for=10.0.0.1;proto=http;host=inner.example")),
    ] {
        let both = seen(FRONT, &[("x-forwarded-for", "192.0.2.7"), alike], &common);
        assert_eq!((both.scheme, &*both.host), (Scheme::Http, "inner.example"));
        assert_eq!(both.forwarded.as_deref(), goes_on);
    }
    let alone = seen(FRONT, &[scheme], &with_forwarded());
    assert_eq!(alone.forwarded.as_deref(), Some("for=10.0.0.1;proto=https;host=inner.example"));
}

#[test]
fn what_is_not_valid_in_forwarded_tells_nothing_and_does_not_go_on() {
    for line in [
        "for=\", for=192.0.2.7",
        "for=\", for=\"[2001:db8::7]:80\";proto=https",
        "for=\\\", for=192.0.2.7",
        "for=192.0.2.7;for=10.6.6.6",
        "for 192.0.2.7",
        "for=",
        "=192.0.2.7",
        "for=192.0.2.7 proto=https",
        "for=\"192.0.2.7\"x",
        "for=\"_hidden\"",
        "proto=https",
        &"for=192.0.2.7,".repeat(33),
        &format!("by=_{};for=192.0.2.7", "x".repeat(3_000)),
    ] {
        let seen = seen(FRONT, &[("forwarded", line)], &with_forwarded());
        assert_eq!((seen.client, &*seen.named), (None, FRONT), "{line}");
        assert!(seen.forwarded.unwrap().ends_with("for=10.0.0.1;proto=http;host=inner.example"));
    }
}

#[test]
fn what_is_quoted_ends_where_its_writer_meant() {
    let line = "for=\"\\\", for=10.6.6.6;\\\\\", for=192.0.2.7;secret=\"a, b;\\\"c\"";
    let seen = seen(FRONT, &[("forwarded", line)], &common());
    assert_eq!((seen.client.as_deref(), &*seen.list), (Some("192.0.2.7"), "unknown, 192.0.2.7, 10.0.0.1"));
}

#[test]
fn a_host_is_quoted_where_it_must_be() {
    for (host, expected) in [
        ("shop.example", "host=shop.example"),
        ("shop.example:80", "host=\"shop.example:80\""),
        ("a\"b\\c", "host=\"a\\\"b\\\\c\""),
        ("", "host=\"\""),
    ] {
        let head = head(Method::GET, "/", &[("host", host.as_bytes())]);
        let arrival = Arrival {
            peer: "192.0.2.7".parse().ok(),
            scheme: Scheme::Https,
            identity: None,
            hides_client: false,
        };
        let (origin, _) = Origin::of(&head, arrival, &with_forwarded());
        assert_eq!(origin.forwarded().unwrap(), &format!("for=192.0.2.7;proto=https;{expected}"));
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"])
}

/// What may stand in a field: nearly right, or anything.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let member = prop::sample::select(vec![
        "10.0.0.2",
        "192.0.2.7:80",
        "[fd00::1]",
        "\"[2001:db8::7]\"",
        "unknown",
        "for=10.0.0.2",
        "for=192.0.2.7;proto=https",
        "host=\"a:1\"",
        "\"",
        "\\",
        "=",
        ";",
        "https",
        "",
    ]);
    let members = prop::collection::vec(member, 0..6).prop_map(|members| members.join(",").into_bytes());
    let byte = prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8];
    prop_oneof![members, prop::collection::vec(byte, 0..60)]
}

proptest! {
    /// And none is a panic, and all that goes on can stand in a field.
    #[test]
    fn whatever_comes_a_proxy_is_the_client_only_where_all_are_proxies(
        fields in prop::collection::vec((name(), text()), 0..5),
        forwarded: bool,
    ) {
        let common = Common { forwarded, ..common() };
        let lines: Vec<_> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
        let head = head(Method::GET, "/", &lines);
        let arrival = Arrival { peer: FRONT.parse().ok(), scheme: Scheme::Http, identity: None, hides_client: false };
        let (origin, named) = Origin::of(&head, arrival.clone(), &common);
        let hops = hops(&head).hops;
        let is_proxy = |address: Option<IpAddr>| address.is_some_and(|a| is_in(&common.trusted_proxies, a));
        prop_assert_eq!(origin.is_trusted, is_proxy(origin.client));
        if origin.is_trusted {
            prop_assert!(hops.iter().all(|hop| is_proxy(hop.address)));
        }
        if let Some(client) = origin.client {
            prop_assert_eq!(named.as_str(), client.to_string());
        }
        prop_assert!(origin.list().unwrap().as_bytes().ends_with(FRONT.as_bytes()));
        prop_assert_eq!(origin.forwarded().is_none() && forwarded, false);
        let who = Arrival { peer: "192.0.2.9".parse().ok(), ..arrival };
        prop_assert_eq!(Origin::of(&head, who.clone(), &common).0.client, who.peer, "and who is not trusted is himself");
    }

    /// The next gateway, which trusts this one, finds the same client by either list.
    #[test]
    fn what_goes_on_tells_the_next_gateway_the_same(
        fields in prop::collection::vec((name(), text()), 0..4),
    ) {
        let lines: Vec<_> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
        let head = head(Method::GET, "/", &lines);
        let arrival = Arrival { peer: FRONT.parse().ok(), scheme: Scheme::Http, identity: None, hides_client: false };
        let (origin, _) = Origin::of(&head, arrival, &with_forwarded());
        let (list, forwarded) = (origin.list().unwrap().as_bytes(), origin.forwarded().unwrap().as_bytes());
        for line in [("x-forwarded-for", list), ("forwarded", forwarded)] {
            let head = self::head(Method::GET, "/", &[line]);
            let next = Arrival { peer: "10.0.0.9".parse().ok(), scheme: Scheme::Http, identity: None, hides_client: false };
            let (next, _) = Origin::of(&head, next, &common());
            prop_assert_eq!(next.client, origin.client, "{:?}", line);
        }
    }
}
