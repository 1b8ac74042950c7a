//! Who asks, over what and for which host, where a request comes through proxies; and what the gateway says of itself.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    backend::{Backend, Recorded, Reply},
    etcd::key,
    http::{self, Answer, Connection, Request},
    ports::free_address,
    stack::{Gateway, GatewayOptions},
};
use serde_json::{Value, json};

use super::{Fixture, malformed::PATIENCE};

/// A proxy that the gateways here trust.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// And somebody whom they do not.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);

/// What a client may claim to come from and for. The address is that of a proxy that is trusted.
const LIES: [(&str, &str); 7] = [
    ("x-forwarded-for", "127.0.0.9, 127.0.0.9"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.example"),
    ("forwarded", "for=127.0.0.9;proto=https;host=evil.example"),
    ("x-real-ip", "127.0.0.9"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-prefix", "/evil"),
];

/// The gateway's usual options, and a proxy that is trusted.
fn trusting(proxies: &[Ipv4Addr]) -> GatewayOptions {
    GatewayOptions::default().set("gateway/trusted_proxies", json!(proxies))
}

async fn with_goods(options: GatewayOptions) -> Result<(Fixture, Backend)> {
    let fixture = Fixture::start(options).await?;
    let backend = Backend::start("a", Reply::ok("hello")).await?;
    fixture.register("goods", &[&backend]).await?;
    Ok((fixture, backend))
}

/// A GET for `/goods` on `shop.example` from this address, with these fields.
async fn get(gateway: &Gateway, from: Ipv4Addr, fields: &[(&str, &str)]) -> Result<Answer> {
    let mut request = Request::get("/goods").header("host", "shop.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut connection = Connection::open_from(from, gateway.address()).await?;
    Ok(connection.send(request.body(Bytes::new())?).await?)
}

/// The client as the log names it, of the request that was answered so.
async fn logged(gateway: &Gateway, answer: &Answer) -> Result<String> {
    let trace_id = answer.header("trace_id").context("no trace id")?;
    let is_its = |line: &str| line.contains(trace_id) && line.contains("\"client\"");
    let line: Value = serde_json::from_str(&gateway.process().wait_for_line(is_its, PATIENCE).await?)?;
    Ok(line["client"].as_str().context("no client")?.to_owned())
}

fn told(arrived: &Recorded) -> [Option<&str>; 4] {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"].map(|name| arrived.header(name))
}

#[tokio::test]
async fn a_client_that_is_not_trusted_cannot_say_who_it_is() -> Result<()> {
    for (switch, forwarded) in [("off", None), ("on", Some("for=127.0.0.5;proto=http;host=shop.example"))] {
        let (fixture, backend) = with_goods(trusting(&[FRONT]).set("gateway/forwarded", switch)).await?;
        let answer = get(&fixture.gateway, STRANGER, &LIES).await?;
        assert_eq!(answer.status, 200);
        let arrived = backend.last()?;
        assert_eq!(told(&arrived), [Some("127.0.0.5"), Some("http"), Some("shop.example"), forwarded]);
        for (name, value) in &arrived.headers {
            let value = value.to_str()?;
            assert!(!value.contains("127.0.0.9") && !value.contains("evil"), "{name}: {value}");
        }
        assert_eq!(logged(&fixture.gateway, &answer).await?, "127.0.0.5");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_behind_two_gateways_is_known_to_both_and_to_the_instance() -> Result<()> {
    // The one in front connects from 127.0.0.1, and it trusts nobody.
    let (inner, backend) = with_goods(trusting(&[Ipv4Addr::LOCALHOST])).await?;
    let outer = Fixture::start(GatewayOptions::default()).await?;
    outer.etcd.put(&key("goods", "inner"), inner.gateway.address().to_string()).await?;
    outer.gateway.wait_instances("goods", &["inner"]).await?;

    for lies in [&[][..], &LIES, &[("x-forwarded-for", "127.0.0.1, \"")]] {
        let answer = get(&outer.gateway, STRANGER, lies).await?;
        assert_eq!(answer.status, 200);
        let expected = [Some("127.0.0.5, 127.0.0.1"), Some("http"), Some("shop.example"), None];
        assert_eq!(told(&backend.last()?), expected, "{lies:?}");
        for gateway in [&outer.gateway, &inner.gateway] {
            assert_eq!(logged(gateway, &answer).await?, "127.0.0.5");
        }
    }
    let past_it = get(&inner.gateway, STRANGER, &LIES).await?;
    assert_eq!(told(&backend.last()?)[0], Some("127.0.0.5"));
    assert_eq!(logged(&inner.gateway, &past_it).await?, "127.0.0.5");
    Ok(())
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_believed_and_goes_on() -> Result<()> {
    let (fixture, backend) = with_goods(trusting(&[FRONT])).await?;
    let said = [
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7:4711"),
        ("x-forwarded-for", "127.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.shop.example:8443"),
        ("x-real-ip", "192.0.2.7"),
        ("x-forwarded-port", "8443"),
    ];
    let answer = get(&fixture.gateway, FRONT, &said).await?;
    let arrived = backend.last()?;
    let list = "6.6.6.6, 192.0.2.7:4711, 127.0.0.9, 127.0.0.9";
    assert_eq!(told(&arrived), [Some(list), Some("https"), Some("www.shop.example:8443"), None]);
    assert_eq!(arrived.headers.get_all("x-forwarded-for").iter().count(), 1);
    assert_eq!(arrived.header("host"), Some("shop.example"));
    for name in ["x-real-ip", "x-forwarded-port"] {
        assert_eq!(arrived.header(name), None, "{name} is not known to be the proxy's own");
    }
    assert_eq!(logged(&fixture.gateway, &answer).await?, "192.0.2.7");

    let answer =
        get(&fixture.gateway, FRONT, &[("forwarded", "for=\"[2001:db8::7]:1\";proto=https")]).await?;
    let expected = [
        Some("2001:db8::7, 127.0.0.9"),
        Some("https"),
        Some("shop.example"),
        Some("for=\"[2001:db8::7]:1\";proto=https"),
    ];
    assert_eq!(told(&backend.last()?), expected);
    assert_eq!(logged(&fixture.gateway, &answer).await?, "2001:db8::7");
    Ok(())
}

#[tokio::test]
async fn routes_and_redirects_go_by_the_client_and_the_scheme_that_a_proxy_names() -> Result<()> {
    let routes = json!([
        { "match": { "path": "/goods", "client": ["192.0.2.0/24", "127.0.0.9"] }, "service": "goods" },
        { "match": { "path": "/goods", "scheme": "http" }, "redirect": { "scheme": "https" } },
        { "path": "/goods", "answer": { "status": 403 } },
    ]);
    let (fixture, _backend) = with_goods(trusting(&[FRONT]).set("gateway/routes", routes)).await?;
    let (inside, outside) = (("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "198.51.100.7"));
    let (secure, host) = (("x-forwarded-proto", "https"), ("x-forwarded-host", "www.shop.example"));
    for (from, fields, status, location) in [
        (FRONT, &[inside][..], 200, None),
        (FRONT, &[], 200, None),
        (FRONT, &[("x-forwarded-for", "unknown"), secure], 403, None),
        (FRONT, &[outside, secure], 403, None),
        (FRONT, &[outside], 302, Some("https://shop.example/goods")),
        (FRONT, &[outside, host], 302, Some("https://www.shop.example/goods")),
        (STRANGER, &[inside, secure, host], 302, Some("https://shop.example/goods")),
    ] {
        let answer = get(&fixture.gateway, from, fields).await?;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{from}: {fields:?}");
    }
    Ok(())
}

/// As many a balancer is set up: it writes `X-Forwarded-For` and passes the rest on.
#[tokio::test]
async fn what_a_client_writes_past_a_proxy_changes_neither_scheme_nor_where_it_is_sent() -> Result<()> {
    let routes = json!([
        { "match": { "host": "shop.example", "path": "/goods", "scheme": "http" }, "redirect": { "scheme": "https" } },
        { "path": "/goods", "service": "goods" },
    ]);
    let (fixture, _backend) = with_goods(trusting(&[FRONT]).set("gateway/routes", routes)).await?;
    let list = ("x-forwarded-for", "192.0.2.7");
    for lie in [
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=192.0.2.7;proto=https"),
        ("forwarded", "for=192.0.2.7;host=evil.example"),
    ] {
        let answer = get(&fixture.gateway, FRONT, &[list, lie]).await?;
        let led = (answer.status, answer.header("location"));
        assert_eq!(led, (302, Some("https://shop.example/goods")), "{lie:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hash_goes_by_the_client_that_the_proxy_names() -> Result<()> {
    let options = trusting(&[FRONT]).set("gateway/services/goods/balance", json!({ "hash": "client" }));
    let fixture = Fixture::start(options).await?;
    let backends = [Backend::start("a", Reply::ok("")).await?, Backend::start("b", Reply::ok("")).await?];
    fixture.register("goods", &[&backends[0], &backends[1]]).await?;
    let mut served = Vec::new();
    for round in 0..2 {
        for client in 0..16 {
            // The port is another each time.
            let list = format!("192.0.2.{client}:{}", 1000 + round);
            let answer = get(&fixture.gateway, FRONT, &[("x-forwarded-for", &list)]).await?;
            served.push(answer.header("x-served-by").context("no name")?.to_owned());
        }
    }
    assert_eq!(served[..16], served[16..]);
    assert!(served.iter().any(|name| name == "a") && served.iter().any(|name| name == "b"));
    Ok(())
}

#[tokio::test]
async fn forwarded_and_via_are_added_where_they_are_on() -> Result<()> {
    let options = trusting(&[FRONT]).set("gateway/forwarded", "on").set("gateway/via", "on");
    let (fixture, backend) = with_goods(options).await?;
    let said = [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=127.0.0.9"),
        ("via", "2 front"),
    ];
    backend.script([Reply::Answer(200, vec![("via", "1.1 cache".to_owned())], Bytes::new())]);
    let answer = get(&fixture.gateway, FRONT, &said).await?;
    let arrived = backend.last()?;
    let forwarded = "for=192.0.2.7;proto=https, for=127.0.0.9;proto=http;host=shop.example";
    assert_eq!(arrived.header("forwarded"), Some(forwarded));
    let lines = |headers: &http::HeaderMap| {
        headers.get_all("via").iter().flat_map(|value| value.to_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(lines(&arrived.headers), ["2 front", "1.1 leaseway"]);
    assert_eq!(lines(&answer.headers), ["1.1 cache", "1.1 leaseway"]);

    let old = "GET /goods HTTP/1.0\r\nHost: shop.example:80\r\n\r\n";
    assert_eq!(http::raw(fixture.gateway.address(), old.as_bytes(), PATIENCE).await?.status(), Some(200));
    let arrived = backend.last()?;
    assert_eq!(arrived.header("via"), Some("1.0 leaseway"));
    assert_eq!(arrived.header("forwarded"), Some("for=127.0.0.1;proto=http;host=\"shop.example:80\""));
    Ok(())
}

#[tokio::test]
async fn a_reload_changes_whom_the_gateway_trusts() -> Result<()> {
    let (fixture, backend) = with_goods(trusting(&[])).await?;
    let said = [("x-forwarded-for", "192.0.2.7")];
    get(&fixture.gateway, FRONT, &said).await?;
    assert_eq!(told(&backend.last()?)[0], Some("127.0.0.9"));
    let revision = fixture.gateway.reload(&trusting(&[FRONT])).await?;
    fixture.gateway.wait_revision(&revision).await?;
    get(&fixture.gateway, FRONT, &said).await?;
    assert_eq!(told(&backend.last()?)[0], Some("192.0.2.7, 127.0.0.9"));
    Ok(())
}

#[tokio::test]
async fn an_error_answer_says_in_proxy_status_what_went_wrong() -> Result<()> {
    let fixture = Fixture::start(trusting(&[FRONT])).await?;
    let status = async |from, fields| {
        let answer = get(&fixture.gateway, from, fields).await?;
        anyhow::Ok(answer.header("proxy-status").map(str::to_owned))
    };
    let nobody = "leaseway; error=destination_unavailable; details=\"no endpoint is registered\"";
    assert_eq!(status(STRANGER, &[]).await?.as_deref(), Some(nobody));
    let nowhere = http::get(fixture.gateway.address(), "/nowhere").await?;
    let no_route = nowhere.header("proxy-status").context("none")?;
    assert!(no_route.starts_with("leaseway; error=destination_not_found; details=\""), "{no_route}");

    fixture.etcd.put(&key("goods", "the-instance"), free_address()?.to_string()).await?;
    fixture.gateway.wait_instances("goods", &["the-instance"]).await?;
    let refused = "leaseway; error=connection_refused; details=\"no endpoint could be reached";
    assert_eq!(status(STRANGER, &[]).await?, Some(format!("{refused}\"")));
    let through_it = [("x-forwarded-for", "192.0.2.7")];
    assert_eq!(status(FRONT, &through_it).await?, Some(format!("{refused}\"")), "it is the client's answer");
    let told = status(FRONT, &[]).await?.context("none")?;
    assert!(told.starts_with(refused) && told.contains("the-instance refused"), "{told}");
    Ok(())
}

#[tokio::test]
async fn proxy_status_is_of_the_gateways_own_errors_alone_and_can_be_turned_off() -> Result<()> {
    let (fixture, backend) = Fixture::with_goods().await?;
    let own = ("proxy-status", "other; error=http_response_timeout".to_owned());
    backend.script([Reply::Answer(504, vec![own.clone()], Bytes::new()), Reply::status(502)]);
    let passed = fixture.gateway.get("/goods").await?;
    assert_eq!((passed.status, passed.header("proxy-status")), (504, Some(&*own.1)));
    assert_eq!(fixture.gateway.get("/goods").await?.header("proxy-status"), None);
    assert_eq!(fixture.gateway.get("/").await?.header("proxy-status"), None, "a probe");

    let off = Fixture::start(GatewayOptions::default().set("gateway/proxy_status", "off")).await?;
    let answer = off.gateway.get("/nowhere").await?;
    assert_eq!((answer.status, answer.header("proxy-status")), (404, None));
    Ok(())
}
