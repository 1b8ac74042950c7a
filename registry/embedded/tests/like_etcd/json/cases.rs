//! The same requests to a real etcd 3.5 and to the embedded registry: the same statuses, the same bytes.
//!
//! What differs: what is said of JSON that is no request, where etcd shows what its libraries say.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::http::{self, Answer, Request};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
    try_join,
};

use super::{
    bounds::raw,
    plain::{plain, revision},
    post,
};
use crate::subject::{PATIENCE, Release, Subject};

/// In this order, for some build on others.
const CASES: &[(&str, &str)] = &[
    ("kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    ("kv/put", r#"{"key":"Zm9v","value":"YmF6","prev_kv":true}"#),
    ("kv/put", r#"{"key":"Zm9v","value":"YmF6","prevKv":true}"#),
    ("kv/put", r#"{"value":"YmFy"}"#),
    ("kv/put", r#"{"key":"Zm9v","lease":"99"}"#),
    ("kv/put", r#"{"key":"Zm9v","lease":99}"#),
    ("kv/put", r#"{"key":"Zm9v","value":"eA==","ignore_value":true}"#),
    ("kv/put", r#"{"key":"Zm9v","ignoreValue":true}"#),
    ("kv/put", r#"{"key":"bm9uZQ==","ignore_lease":true}"#),
    // What a range may be asked, spelt in all ways.
    ("kv/range", r#"{"key":"Zm9v"}"#),
    ("kv/range", r#"  {"key":"Zm9v"}  "#),
    ("kv/range", r#"{"key":"Zm9v"}}"#),
    ("kv/range", r#"{"key":"Zm9v"} trailing"#),
    ("kv/range", r#"{"key":"Zm9v"}{"key":"YQ=="}"#),
    ("kv/range", r#"{"key":"Zm9v","bogus":1,"more":[{"a":null}]}"#),
    ("kv/range", r#"{"KEY":"Zm9v"}"#),
    ("kv/range", r#"{"key":"Zm9v","key":"YQ=="}"#),
    ("kv/range", r#"{"key":"AA==","range_end":"AA=="}"#),
    ("kv/range", r#"{"key":"AA==","rangeEnd":"AA=="}"#),
    ("kv/range", r#"{"key":"AA==","rangeEnd":"AA==","limit":"1"}"#),
    ("kv/range", r#"{"key":"AA==","rangeEnd":"AA==","count_only":true}"#),
    ("kv/range", r#"{"key":"AA==","rangeEnd":"AA==","keysOnly":true}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":10}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"10"}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"  7 "}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"-0"}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":-1}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":null,"serializable":null,"sort_order":null}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":9223372036854775807}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"9223372036854775808"}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":99999999999999999999}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":10.0}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":1e1}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":10.5}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"1e1"}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"x"}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":""}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"007"}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":"+7"}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":true}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":{}}"#),
    ("kv/range", r#"{"key":"Zm9v","limit":[]}"#),
    ("kv/range", r#"{"key":"Zm9v","revision":"999999999999999999"}"#),
    ("kv/range", r#"{"key":"Zm9v","sort_order":"DESCEND","sort_target":"MOD"}"#),
    ("kv/range", r#"{"key":"Zm9v","sortOrder":1,"sortTarget":2}"#),
    ("kv/range", r#"{"key":"Zm9v","sort_order":"BOGUS"}"#),
    ("kv/range", r#"{"key":"Zm9v","sort_order":"descend"}"#),
    ("kv/range", r#"{"key":"Zm9v","sort_order":"1"}"#),
    ("kv/range", r#"{"key":"Zm9v","sort_order":1.0}"#),
    ("kv/range", r#"{"key":"Zm9v","sort_order":4294967296}"#),
    ("kv/range", r#"{"key":"Zm9v","keys_only":"true"}"#),
    ("kv/range", r#"{"key":"Zm9v","keys_only":1}"#),
    // Base64.
    ("kv/range", r#"{"key":"Z m9v"}"#),
    ("kv/range", r#"{"key":"Zm9"}"#),
    ("kv/range", r#"{"key":"Zm8"}"#),
    ("kv/range", r#"{"key":"_-8="}"#),
    ("kv/range", r#"{"key":"YR=="}"#),
    ("kv/range", r#"{"key":"YQ==YQ=="}"#),
    ("kv/range", r#"{"key":"YQ=a"}"#),
    ("kv/range", r#"{"key":"=="}"#),
    ("kv/range", r#"{"key":"YWFhYWE"}"#),
    ("kv/range", r#"{"key":"Zm\n9\r\nv"}"#),
    ("kv/range", r#"{"key":"\u005am9v"}"#),
    ("kv/range", r#"{"key":""}"#),
    ("kv/range", r#"{"key":1}"#),
    ("kv/range", r#"{"key":true}"#),
    ("kv/range", r#"{"key":{}}"#),
    ("kv/range", r#"{"key":null}"#),
    // What is no request.
    ("kv/range", ""),
    ("kv/range", "   "),
    ("kv/range", "{}"),
    ("kv/range", "null"),
    ("kv/range", "x"),
    ("kv/range", "{"),
    ("kv/range", r#"{"key"#),
    ("kv/range", r#"{"key":"Zm9v",}"#),
    ("kv/range", r#"{"key" "Zm9v"}"#),
    ("kv/range", r#"{key:"Zm9v"}"#),
    ("kv/range", "[]"),
    ("kv/range", "true"),
    ("kv/range", "1"),
    ("kv/range", r#""Zm9v""#),
    ("kv/range", "\u{feff}{}"),
    ("kv/range", r#"{"bogus":01}"#),
    ("kv/range", "{\"key\":\"\u{1}\"}"),
    // Transactions.
    (
        "kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"VERSION","result":"GREATER","version":"0"}],
            "success":[{"request_range":{"key":"Zm9v"}},{"requestPut":{"key":"YQ==","value":"YQ=="}},
            {"request_delete_range":{"key":"Yg==","prevKv":true}},{"request_txn":{}}]}"#,
    ),
    ("kv/txn", r#"{"compare":[{"key":"Zm9v","target":3,"result":0,"value":"YQ=="}],"failure":[]}"#),
    ("kv/txn", r#"{"compare":[{"key":"YQ==","target":"CREATE","createRevision":"1"}]}"#),
    (
        "kv/txn",
        r#"{"compare":[{"key":"YQ==","target":"LEASE","lease":0}],"success":[{"requestTxn":{"success":[{"request_range":{"key":"YQ=="}}]}}]}"#,
    ),
    ("kv/txn", r#"{"compare":[{"target":"VERSION","version":null,"key":"Zm9v"}]}"#),
    ("kv/txn", r#"{"compare":[{"target":"VERSION","version":{},"key":"Zm9v"}]}"#),
    ("kv/txn", r#"{"compare":[{"target":"x"}]}"#),
    ("kv/txn", r#"{"compare":[null]}"#),
    ("kv/txn", r#"{"success":[{}]}"#),
    ("kv/txn", r#"{"success":[null]}"#),
    ("kv/txn", r#"{"success":{}}"#),
    ("kv/txn", r#"{"success":"x"}"#),
    ("kv/txn", r#"{"success":[[]]}"#),
    ("kv/txn", r#"{"success":[1]}"#),
    ("kv/txn", r#"{"success":null}"#),
    ("kv/txn", r#"{"success":[{"request_put":null}]}"#),
    ("kv/txn", r#"{"success":[{"request_put":{}}]}"#),
    ("kv/txn", r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"#),
    ("kv/txn", "{}"),
    // Leases.
    ("lease/grant", r#"{"TTL":"600","ID":"7"}"#),
    ("lease/grant", r#"{"TTL":600,"ID":7}"#),
    ("lease/grant", r#"{"TTL":600,"ID":"-8"}"#),
    ("lease/grant", r#"{"TTL":"99999999999","ID":9}"#),
    ("kv/put", r#"{"key":"bGVhc2Vk","value":"YmFy","lease":"7"}"#),
    ("kv/range", r#"{"key":"bGVhc2Vk"}"#),
    ("lease/keepalive", r#"{"ID":"7"}"#),
    ("lease/keepalive", r#"{"ID":77}"#),
    ("lease/keepalive", "{\"ID\":\"7\"}\n{\"ID\":7}{}"),
    ("lease/keepalive", r#"{"ID":"7"} x"#),
    ("lease/keepalive", ""),
    ("lease/keepalive", "x"),
    ("lease/keepalive", "[]"),
    ("lease/timetolive", r#"{"ID":"9"}"#),
    ("kv/lease/timetolive", r#"{"ID":9,"keys":true}"#),
    ("lease/leases", "{}"),
    ("kv/lease/leases", ""),
    ("kv/lease/revoke", r#"{"ID":"7"}"#),
    ("lease/revoke", r#"{"ID":7}"#),
    ("lease/revoke", r#"{"ID":-8}"#),
    ("lease/revoke", "{}"),
    ("kv/lease/grant", r#"{"TTL":5}"#),
    ("kv/lease/keepalive", "{}"),
    // The rest.
    ("kv/deleterange", r#"{"key":"Zm9v","prev_kv":true}"#),
    ("kv/deleterange", r#"{"key":"Zm9v"}"#),
    ("kv/deleterange", "{}"),
    ("kv/compaction", r#"{"revision":"FIRST"}"#),
    ("kv/compaction", r#"{"revision":FIRST,"physical":true}"#),
    ("kv/compaction", "{}"),
    ("kv/compaction", r#"{"revision":"999999999999999999"}"#),
    ("maintenance/alarm", "{}"),
    ("maintenance/alarm", r#"{"action":"GET","memberID":"0","alarm":"NOSPACE"}"#),
    ("maintenance/alarm", r#"{"action":"DEACTIVATE","alarm":1}"#),
    ("maintenance/alarm", r#"{"action":"BOGUS"}"#),
    ("auth/authenticate", r#"{"name":"a","password":"b"}"#),
    ("auth/authenticate", r#"{"name":1}"#),
    ("auth/status", "{}"),
    ("nothing", "{}"),
    ("kv/range/", r#"{"key":"Zm9v"}"#),
    ("", "{}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_answered_as_by_etcd() -> Result<()> {
    let (embedded, etcd) = try_join!(Subject::start(Release::Embedded), Subject::start(Release::V3_5))?;
    let (ours, theirs) = try_join!(base(embedded.address()), base(etcd.address()))?;
    let mut differences = Vec::new();
    for (path, body) in CASES {
        for prefix in ["/v3", "/v3beta"] {
            if prefix == "/v3beta" && !body.is_empty() && path.ends_with("grant") {
                continue; // the second would find what the first granted
            }
            let path = format!("{prefix}/{path}");
            let (embedded, etcd) = try_join!(
                post(embedded.address(), &path, from(body, ours)),
                post(etcd.address(), &path, from(body, theirs))
            )?;
            let (embedded, etcd) = (shown(&embedded, ours)?, shown(&etcd, theirs)?);
            if embedded != etcd {
                differences.push(format!("{path} {body}\n  {embedded}\n  etcd: {etcd}"));
            }
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    println!("{} cases", CASES.len());
    Ok(())
}

/// Where a token counts that nobody can have, and where it does not.
const WITH_TOKEN: [(&str, &str); 11] = [
    ("kv/put", r#"{"key":"Zm9v"}"#),
    ("kv/range", r#"{"key":"Zm9v"}"#),
    ("kv/deleterange", r#"{"key":"Zm9v"}"#),
    ("kv/txn", "{}"),
    ("lease/grant", r#"{"ID":7,"TTL":600}"#),
    ("lease/revoke", r#"{"ID":7}"#),
    ("lease/keepalive", r#"{"ID":7}"#),
    ("lease/leases", "{}"),
    ("maintenance/alarm", "{}"),
    ("auth/authenticate", "{}"),
    ("nothing", "{}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refused_where_etcd_refuses_it() -> Result<()> {
    let (embedded, etcd) = try_join!(Subject::start(Release::Embedded), Subject::start(Release::V3_5))?;
    let (ours, theirs) = try_join!(base(embedded.address()), base(etcd.address()))?;
    for (path, body) in WITH_TOKEN {
        let send = |address| {
            let request = Request::post(format!("/v3/{path}")).header("content-type", "application/json");
            let request = request.header("authorization", "made.up").body(body.into());
            async move { http::send(address, request?).await }
        };
        let (embedded, etcd) = try_join!(send(embedded.address()), send(etcd.address()))?;
        assert_eq!(shown(&embedded, ours)?, shown(&etcd, theirs)?, "{path}");
    }
    Ok(())
}

async fn base(address: SocketAddr) -> Result<i64> {
    let answer = post(address, "/v3/kv/range", r#"{"key":"bm9uZQ=="}"#).await?;
    revision(&answer.text()).context("no revision")
}

/// A body with the first revision that there was in it.
fn from(body: &str, base: i64) -> String {
    body.replace("FIRST", &(base + 1).to_string())
}

/// Status, type and body.
fn shown(answer: &Answer, base: i64) -> Result<String> {
    let kind = answer.header("content-type").unwrap_or_default();
    Ok(format!("{} {kind} {}", answer.status, said(&answer.text(), base)?))
}

/// What is said in etcd's own words is as it is, and what its libraries say is not.
fn said(text: &str, base: i64) -> Result<String> {
    if let Ok(json) = serde_json::from_str::<Json>(text)
        && let Some(error) = json["error"].as_str()
        && !["etcdserver: ", "mvcc: "].iter().any(|own| error.starts_with(own))
    {
        ensure!(json["message"] == *error && !error.is_empty(), "{text}");
        return Ok(format!("code {}", json["code"]));
    }
    plain(text, base)
}

/// What a watch is asked, and how many lines it answers.
const WATCHES: &[(&str, usize)] = &[
    (r#"{"create_request":{"key":"Zm9v"}}"#, 1),
    (r#"{"createRequest":{"key":"Zm9v","start_revision":"0","watchId":"5"}}"#, 1),
    (r#"{"create_request":{"key":"AA==","range_end":"AA==","start_revision":"FIRST"}}"#, 2),
    (r#"{"create_request":{"key":"AA==","range_end":"AA==","start_revision":FIRST,"prev_kv":true}}"#, 2),
    (
        r#"{"create_request":{"key":"AA==","range_end":"AA==","start_revision":"FIRST","filters":["NODELETE"]}}"#,
        2,
    ),
    (r#"{"create_request":{"key":"AA==","range_end":"AA==","start_revision":"FIRST","filters":[0]}}"#, 2),
    (
        r#"{"create_request":{"key":"Zm9v","filters":["NOPUT",1,"NODELETE"]}} {"create_request":{"key":"YQ=="}}
        {"cancel_request":{"watch_id":0}}{"progress_request":{}}"#,
        4,
    ),
    (r#"{"create_request":{"key":"Zm9v","range_end":"YQ=="}}"#, 1),
    (r#"{"create_request":{"key":"Zm9v"}} x {"create_request":{"key":"Zm9v"}}"#, 1),
    (r#"{"create_request":{}}"#, 1),
    (r#"{} {"create_request":{"key":"Zm9v"}}"#, 1),
    (r#"{"create_request":{"key":"Zm9v","watch_id":3}}{"create_request":{"key":"Zm9v","watch_id":3}}"#, 2),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_watch_is_told_what_etcd_tells() -> Result<()> {
    let (embedded, etcd) = try_join!(Subject::start(Release::Embedded), Subject::start(Release::V3_5))?;
    let (ours, theirs) = try_join!(past(embedded.address()), past(etcd.address()))?;
    for (asked, lines) in WATCHES {
        let (embedded, etcd) = try_join!(
            watch(embedded.address(), asked, *lines, ours),
            watch(etcd.address(), asked, *lines, theirs)
        )?;
        assert_eq!(embedded, etcd, "{asked}");
    }
    for refused in ["x", "[]", r#"{"create_request":{"key":1}}"#, r#"{"create_request":{"filters":["X"]}}"#] {
        let answers = try_join!(
            post(embedded.address(), "/v3/watch", refused),
            post(etcd.address(), "/v3/watch", refused)
        )?;
        assert_eq!(shown(&answers.0, ours)?, shown(&answers.1, theirs)?, "{refused}");
    }
    Ok(())
}

/// Something to hear of; the revision before it.
async fn past(address: SocketAddr) -> Result<i64> {
    let base = base(address).await?;
    for (path, body) in [
        ("put", r#"{"key":"Zm9v","value":"YmFy"}"#),
        ("put", r#"{"key":"Zm9v","value":"YmF6"}"#),
        ("deleterange", r#"{"key":"Zm9v"}"#),
        (
            "txn",
            r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"Yg==","value":"PD4m"}}]}"#,
        ),
    ] {
        let answer = post(address, &format!("/v3/kv/{path}"), body).await?;
        ensure!(answer.status == 200, "{}", answer.text());
    }
    Ok(base)
}

async fn watch(address: SocketAddr, asked: &str, lines: usize, base: i64) -> Result<Vec<String>> {
    let asked = from(asked, base);
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let head = "POST /v3/watch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{asked}", asked.len()).as_bytes()).await?;
    let mut heard = Vec::new();
    let mut line = String::new();
    let listening = async {
        while heard.len() < lines {
            line.clear();
            ensure!(stream.read_line(&mut line).await? > 0, "the connection ended");
            // The others are of HTTP.
            if line.starts_with('{') {
                heard.push(plain(&line, base)?);
            }
        }
        Ok(())
    };
    timeout(PATIENCE, listening).await.with_context(|| format!("{asked}: nothing more comes"))??;
    Ok(heard)
}

/// Requests as bytes, each ending the connection.
const HTTP: &[&str] = &[
    "GET /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "HEAD /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "PUT /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    "DELETE /v3/watch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /v3/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /v2/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /v3alpha/kv/range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /health?exclude=NOSPACE HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /health HTTP/1.0\r\n\r\n",
    "HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "POST /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "GET /health/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "POST /v3/kv/range?key=YQ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    // In chunks, and after leave.
    "POST /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n5\r\n{\"key\r\n9\r\n\":\"YQ==\"}\r\n0\r\n\r\n",
    "POST /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
        Expect: 100-continue\r\nContent-Length: 14\r\n\r\n{\"key\":\"YQ==\"}",
    // Two at once.
    "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 29\r\n\r\n{\"key\":\"YQ==\",\"value\":\"YQ==\"}\
        POST /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
        Content-Length: 14\r\n\r\n{\"key\":\"YQ==\"}",
    "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn http_is_spoken_as_etcd_speaks_it() -> Result<()> {
    let (embedded, etcd) = try_join!(Subject::start(Release::Embedded), Subject::start(Release::V3_5))?;
    let (ours, theirs) = try_join!(base(embedded.address()), base(etcd.address()))?;
    for bytes in HTTP {
        let answers = try_join!(raw(embedded.address(), bytes), raw(etcd.address(), bytes))?;
        assert_eq!(heard(&answers.0, ours)?, heard(&answers.1, theirs)?, "{bytes}");
    }
    Ok(())
}

/// Statuses and bodies, one after the other.
fn heard(answer: &str, base: i64) -> Result<Vec<String>> {
    let lines = answer.split("\r\n").filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [version, status, ..] if version.starts_with("HTTP/1.") => Some(Ok(format!("{version} {status}"))),
        _ if line.starts_with('{') && !line.contains("Host") => Some(plain(line, base)),
        _ => None,
    });
    lines.collect()
}
