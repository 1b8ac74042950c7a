//! Whatever is posted is answered, and refused in JSON.

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use embedded_registry::Settings;
use harness::http::{Connection, Request};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::Value as Json;
use tokio::{runtime::Builder, time::timeout};

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
