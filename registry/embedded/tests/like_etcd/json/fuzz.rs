//! Whatever is sent is survived; whatever is posted is answered, and refused in JSON.

use std::cell::RefCell;

use anyhow::{Context, Error, Result, ensure};
use embedded_registry::Settings;
use harness::http::{self, Connection, Request};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    time::timeout,
};

use crate::subject::{Embedded, PATIENCE};

const PATHS: [&str; 9] = [
    "kv/put",
    "kv/range",
    "kv/deleterange",
    "kv/txn",
    "kv/compaction",
    "lease/grant",
    "lease/keepalive",
    "maintenance/status",
    "auth/enable",
];

/// Bytes, text, or what begins as a request does.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::sample::select(vec![
        r#"{"key":"#,
        r#""a2V5""#,
        r#","value":"#,
        "null",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "1e9",
        "-1",
        r#""9""#,
        r#""success":"#,
        r#""requestPut":"#,
        r#""compare":"#,
        r#""limit":"#,
        "true",
        " ",
        "\\u0000",
        "\u{feff}",
    ]);
    prop_oneof![
        vec(any::<u8>(), 0..300),
        ".{0,100}".prop_map(String::into_bytes),
        vec(likely, 0..20).prop_map(|parts| parts.concat().into_bytes()),
    ]
}

#[test]
fn whatever_is_posted_is_answered_in_json() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let registry = runtime.block_on(async { Embedded::start(Settings::default()) })?;
    let strategy = (prop::sample::select(PATHS.to_vec()), body());
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let connection = runtime.block_on(Connection::open(registry.address))?;
    let connection = RefCell::new(connection);
    TestRunner::new(config).run(&strategy, |(path, body)| {
        let posted = runtime.block_on(post(&mut connection.borrow_mut(), path, body));
        posted.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    })?;
    Ok(())
}

async fn post(connection: &mut Connection, path: &str, body: Vec<u8>) -> Result<()> {
    let request = Request::post(format!("/v3/{path}")).header("content-type", "application/json");
    let answer =
        timeout(PATIENCE, connection.send(request.body(body.into())?)).await.context("no answer")??;
    ensure!([200, 400, 404, 500, 501].contains(&answer.status), "{}", answer.status);
    for line in answer.text().lines() {
        let json: Json = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let is_error = json["error"].is_string() && json["code"].is_i64() && json["message"].is_string();
        ensure!((answer.status != 200) == is_error, "{} {json}", answer.status);
    }
    Ok(())
}

/// Bytes, or a head that is nearly one.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::sample::select(vec![
        "POST ",
        "GET ",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "/v3/kv/put",
        "/health",
        "http://a",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "Host: localhost\r\n",
        "Host: [::1\r\n",
        "Host: \u{e9}\r\n",
        "Content-Length: 9\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Type: application/json\r\n",
        "\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n",
        "{}",
        ":",
        "Expect: 100-continue\r\n",
    ]);
    prop_oneof![vec(any::<u8>(), 0..300), vec(likely, 0..12).prop_map(|parts| parts.concat().into_bytes()),]
}

#[test]
fn whatever_is_sent_the_next_is_answered() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let registry = runtime.block_on(async { Embedded::start(Settings::default()) })?;
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&head(), |bytes| {
        let sent = async {
            let mut stream = TcpStream::connect(registry.address).await?;
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            // It may be broken off.
            let _ =
                timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.context("it is not closed")?;
            let health = http::get(registry.address, "/health").await?;
            ensure!(health.status == 200, "{}", health.text());
            Ok(())
        };
        runtime.block_on(sent).map_err(|error: Error| TestCaseError::fail(format!("{error:#}")))
    })?;
    Ok(())
}
