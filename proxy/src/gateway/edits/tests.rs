use super::*;
use crate::config::{self, Piece, Template, Variable};
use crate::gateway::fixture::{Fixture, Setup, from, with_certificate};
use crate::gateway::origin::Arrival;
use crate::gateway::request::Request;
use crate::head::Head;
use crate::head::tests::{FakeHead, head};
use crate::site::Common;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use std::convert::Infallible;
use std::sync::Arc;

/// A head's fields, as a carrier has them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sent(Vec<(String, String)>);

impl Sent {
    fn of(head: &FakeHead) -> Self {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        Self(head.fields.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect())
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl FieldsToSend for Sent {
    type Error = Infallible;

    fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    fn set(&mut self, name: &Bytes, value: &[u8]) -> Result<(), Infallible> {
        let name = std::str::from_utf8(name).unwrap().to_lowercase();
        self.remove(&name);
        self.add(&name.into(), value)
    }

    fn add(&mut self, name: &Bytes, value: &[u8]) -> Result<(), Infallible> {
        let name = std::str::from_utf8(name).unwrap().to_lowercase();
        self.0.push((name, std::str::from_utf8(value).unwrap().to_owned()));
        Ok(())
    }
}

/// `{route}` is a variable, anything else is text.
fn template(text: &str) -> Template {
    let variable = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let variable = variable.and_then(|name| Variable::ALL.into_iter().find(|(known, _)| *known == name));
    let piece = variable.map_or(Piece::Text(text.into()), |(_, variable)| Piece::Variable(variable));
    Template { pieces: vec![piece] }
}

fn fields(remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> config::FieldChanges {
    let name = |name: &str| name.parse::<HeaderName>().unwrap();
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, value)| (name(n), template(value))).collect();
    config::FieldChanges {
        remove: remove.iter().map(|n| name(n)).collect(),
        set: pairs(set),
        add: pairs(add),
    }
}

fn fixture(changes: &config::Changes) -> Fixture {
    Setup { changes: changes.clone(), ..Setup::of(2) }.build()
}

/// A request that came so, and goes to the first endpoint.
fn request(fixture: &Fixture, head: &FakeHead) -> Request {
    let mut request = fixture.sent_to(0);
    request.begin(head, from("192.0.2.7"));
    request
}

fn sent(changes: &config::Changes, head: &FakeHead) -> Sent {
    let fixture = fixture(changes);
    let request = request(&fixture, head);
    let mut sent = Sent::of(head);
    let Ok(()) = RequestEdits::of(&request, head, request.started).apply(&mut sent);
    sent
}

fn answered(changes: &config::Changes, status: u16, fields: &[(&str, &str)]) -> Sent {
    let fixture = fixture(changes);
    let head = head(Method::GET, "/goods", &[("host", b"Shop.example:80")]);
    let request = request(&fixture, &head);
    let mut sent = Sent(fields.iter().map(|(n, value)| ((*n).to_owned(), (*value).to_owned())).collect());
    let status = StatusCode::from_u16(status).unwrap();
    let Ok(()) = AnswerEdits::of_gateway(&request, &head, status).apply(&mut sent);
    sent.remove("trace_id");
    sent
}

#[test]
fn what_a_client_may_not_say_does_not_go_on_and_the_rest_does() {
    let head = head(
        Method::GET,
        "/goods",
        &[
            ("host", b"shop.example"),
            ("connection", b"keep-alive"),
            ("x-real-ip", b"10.0.0.1"),
            ("x-forwarded-for", b"10.0.0.1"),
            ("x_forwarded_for", b"10.0.0.1"),
            ("trace_id", b"mine"),
            ("tracestate", b"a=b"),
            ("cdn-loop", b"edge"),
            ("accept", b"one"),
            ("accept", b"two"),
        ],
    );
    let sent = sent(&config::Changes::default(), &head);
    for name in ["connection", "x-real-ip", "x_forwarded_for", "tracestate"] {
        assert_eq!(sent.all(name), [""; 0], "{name}");
    }
    assert_eq!(sent.all("accept"), ["one", "two"]);
    assert_eq!(sent.all("host"), ["shop.example"]);
    assert_eq!(sent.all("x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(sent.all("x-forwarded-proto"), ["http"]);
    assert_eq!(sent.all("x-forwarded-host"), ["shop.example"]);
    assert_eq!(sent.all("cdn-loop"), ["edge, leaseway"]);
    let [trace_id] = sent.all("trace_id")[..] else { panic!("{sent:?}") };
    assert!(sent.all("traceparent")[0].contains(trace_id) && trace_id.len() == 32);
}

#[test]
fn a_route_removes_then_sets_then_adds() {
    let changes = config::Changes {
        request: fields(
            &["x-a", "x-b"],
            &[("x-b", "set"), ("x-c", "set"), ("x-route", "{route}"), ("x-to", "{instance}")],
            &[("x-c", "added"), ("x-d", "added"), ("x-d", "{service}")],
        ),
        ..config::Changes::default()
    };
    let lines: [(&str, &[u8]); 5] =
        [("host", b"a"), ("x-a", b"came"), ("x-b", b"came"), ("x-c", b"came"), ("x-d", b"came")];
    let sent = sent(&changes, &head(Method::GET, "/goods", &lines));
    for (name, expected) in [
        ("x-a", &[][..]),
        ("x-b", &["set"]),
        ("x-c", &["set", "added"]),
        ("x-d", &["came", "added", "goods"]),
        ("x-route", &["/goods"]),
        ("x-to", &["0"]),
    ] {
        assert_eq!(sent.all(name), expected, "{name}");
    }
}

#[test]
fn what_a_route_removes_or_sets_goes_on_in_no_other_spelling() {
    let changes = config::Changes {
        request: fields(&["x-internal", "x_under"], &[("x-user", "set")], &[("x-tag", "added")]),
        ..config::Changes::default()
    };
    let came: Vec<(&str, &[u8])> = [
        "x-internal",
        "x_internal",
        "x.internal",
        "x-under",
        "x-user",
        "x_user",
        "x!user",
        "x-tag",
        "x_tag",
        "x-users",
        "xuser",
    ]
    .map(|name| (name, &b"came"[..]))
    .into();
    let sent = sent(&changes, &head(Method::GET, "/goods", &came));
    for name in ["x-internal", "x_internal", "x.internal", "x-under", "x_user", "x!user"] {
        assert_eq!(sent.all(name), [""; 0], "{name}");
    }
    for (name, expected) in [
        ("x-user", &["set"][..]),
        ("x-tag", &["came", "added"]),
        ("x_tag", &["came"]),
        ("x-users", &["came"]),
        ("xuser", &["came"]),
    ] {
        assert_eq!(sent.all(name), expected, "{name}");
    }
}

/// The configuration refuses such a route; if it did not, the gateway would still have the last word.
#[test]
fn no_route_speaks_for_the_gateway() {
    let ours = [("x-forwarded-for", "10.0.0.1"), ("trace_id", "mine"), ("cdn-loop", "none")];
    let changes = config::Changes {
        request: fields(&["x-forwarded-host"], &ours, &ours),
        response: fields(&["trace_id"], &[], &[]),
        ..config::Changes::default()
    };
    let head = head(Method::GET, "/goods", &[("host", b"a")]);
    let sent = sent(&changes, &head);
    assert_eq!(sent.all("x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(sent.all("x-forwarded-host"), ["a"]);
    assert_eq!(sent.all("cdn-loop"), ["leaseway"]);
    assert_ne!(sent.all("trace_id"), ["mine"]);
}

#[test]
fn an_instance_gets_the_host_that_its_route_says_else_the_clients_else_its_own_address() {
    let own = config::Changes {
        host: Some(HeaderValue::from_static("goods.internal")),
        ..config::Changes::default()
    };
    let none = config::Changes::default();
    let with_host = head(Method::GET, "/goods", &[("host", b"a")]);
    let without = head(Method::GET, "/goods", &[]);
    let of_target = head(Method::GET, "http://a/goods", &[]);
    for (changes, head, expected, asked) in [
        (&own, &with_host, Some("goods.internal"), Some("a")),
        (&own, &without, Some("goods.internal"), None),
        (&none, &with_host, None, Some("a")),
        (&none, &of_target, None, Some("a")),
        (&none, &without, Some("10.0.0.0:80"), None),
    ] {
        let fixture = fixture(changes);
        let request = request(&fixture, head);
        let edits = RequestEdits::of(&request, head, request.started);
        assert_eq!(edits.host().as_ref().map(|host| host.to_str().unwrap()), expected, "{head:?}");
        let mut sent = Sent::of(head);
        let Ok(()) = edits.apply(&mut sent);
        assert_eq!(sent.all("x-forwarded-host").first().copied(), asked, "{head:?}");
    }
}

#[test]
fn the_target_stays_as_it_came_unless_the_route_makes_another_path_and_keeps_its_query() {
    let fixture = fixture(&config::Changes::default());
    let head = head(Method::GET, "/api/x?a=%2F&&b", &[]);
    let mut request = request(&fixture, &head);
    assert_eq!(RequestEdits::of(&request, &head, request.started).target(), None);
    request.changes_path("/x", head.query());
    assert_eq!(RequestEdits::of(&request, &head, request.started).target(), Some(&b"/x?a=%2F&&b"[..]));
    request.changes_path("/x", None);
    assert_eq!(RequestEdits::of(&request, &head, request.started).target(), Some(&b"/x"[..]));
    request.changes_path("/x", Some(b""));
    assert_eq!(
        RequestEdits::of(&request, &head, request.started).target(),
        Some(&b"/x?"[..]),
        "an empty query is one"
    );
}

#[test]
fn an_answer_is_changed_as_its_route_says_and_what_goes_before_it_is_not() {
    let changes = config::Changes {
        response: fields(&["server"], &[("x-by", "{instance}"), ("x-host", "{host}")], &[("vary", "origin")]),
        ..config::Changes::default()
    };
    let came = [("server", "x"), ("vary", "accept")];
    for status in [200, 404, 101] {
        let sent = answered(&changes, status, &came);
        assert_eq!(sent.all("server"), [""; 0]);
        assert_eq!(sent.all("vary"), ["accept", "origin"]);
        assert_eq!((sent.all("x-by"), sent.all("x-host")), (vec!["0"], vec!["shop.example"]));
    }
    assert_eq!(answered(&changes, 103, &came).0.len(), 2);
}

#[test]
fn over_tls_all_that_names_the_scheme_says_so() {
    let changes = config::Changes {
        request: fields(&[], &[("x-spoken", "{scheme}")], &[]),
        ..config::Changes::default()
    };
    let (fixture, head) = (fixture(&changes), head(Method::GET, "/goods", &[("host", b"a")]));
    let shown = with_certificate("192.0.2.7", "pay", "spiffe://pay");
    for (arrival, scheme) in [(from("192.0.2.7"), "http"), (Arrival { identity: None, ..shown }, "https")] {
        let mut request = fixture.sent_to(0);
        request.common = Arc::new(Common { forwarded: true, ..Common::default() });
        request.begin(&head, arrival);
        let mut sent = Sent::of(&head);
        let Ok(()) = RequestEdits::of(&request, &head, request.started).apply(&mut sent);
        assert_eq!((sent.all("x-spoken"), sent.all("x-forwarded-proto")), (vec![scheme], vec![scheme]));
        assert_eq!(sent.all("forwarded"), [format!("for=192.0.2.7;proto={scheme};host=a")]);
    }
}

/// What an instance is told of certificates, by whatever name; this network is trusted.
fn told_of_certificates(head: &FakeHead, arrival: Arrival) -> Vec<(String, String)> {
    let fixture = fixture(&config::Changes::default());
    let mut request = fixture.sent_to(0);
    let trusted_proxies = ["10.0.0.0/8".parse().unwrap()].into();
    request.common =
        Arc::new(Common { trusted_proxies, trace_header: "trace_id".into(), ..Common::default() });
    request.begin(head, arrival);
    let mut sent = Sent::of(head);
    let Ok(()) = RequestEdits::of(&request, head, request.started).apply(&mut sent);
    assert_eq!(sent.all("x-forwarded-proto"), [request.origin.scheme.as_str()]);
    sent.0.into_iter().filter(|(name, _)| name.contains("cert")).collect()
}

#[test]
fn nobody_speaks_for_a_certificate_but_who_has_seen_it() {
    let lie = &b"Hash=1;Subject=\"CN=admin\";URI=spiffe://admin"[..];
    let names = [
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
        "x-forwarded_client.cert",
        "x-forwarded-tls-client-cert",
        "client-cert",
        "client_cert_chain",
    ];
    let head = head(Method::GET, "/", &names.map(|name| (name, lie)));
    let shown = with_certificate("192.0.2.7", "pay", "spiffe://pay");
    let identity = shown.identity.clone().unwrap();
    let hash: String = identity.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    let ours = format!("Hash={hash};Subject=\"CN=pay\";URI=spiffe://pay");
    let lie = std::str::from_utf8(lie).unwrap();
    let name = "x-forwarded-client-cert";
    for (arrival, expected) in [
        (from("192.0.2.7"), None),
        (Arrival { peer: None, ..from("192.0.2.7") }, None),
        (shown.clone(), Some(ours.clone())),
        (Arrival { peer: None, ..shown.clone() }, Some(ours.clone())),
        (from("10.0.0.1"), Some(lie.to_owned())),
        (Arrival { peer: "10.0.0.1".parse().ok(), ..shown }, Some(format!("{lie},{ours}"))),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|value| (name.to_owned(), value)).collect();
        assert_eq!(told_of_certificates(&head, arrival.clone()), expected, "{arrival:?}");
    }
}

proptest! {
    #[test]
    fn a_forged_certificate_never_comes_through(
        fields in prop::collection::vec((prop::sample::select(vec![
            "x-forwarded-client-cert", "x_forwarded_client_cert", "x.forwarded.client-cert", "client-cert",
        ]), "[ -~]{0,20}"), 0..4),
        is_shown: bool,
    ) {
        let lines: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let (honest, head) = (head(Method::GET, "/", &[]), head(Method::GET, "/", &lines));
        let shown = with_certificate("192.0.2.7", "pay", "spiffe://pay");
        let alone = told_of_certificates(&honest, shown.clone());
        let arrival = if is_shown { shown } else { from("192.0.2.7") };
        let expected = if is_shown { alone } else { Vec::new() };
        prop_assert_eq!(told_of_certificates(&head, arrival), expected);
    }
}
