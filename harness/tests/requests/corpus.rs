//! Every request of the corpus through a whole gateway: what becomes of it, and what of it reaches an instance.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, stream};
use harness::{
    stack::GatewayOptions,
    wire::{BrokenOff, Instance, Message, Wire},
};
use serde::Deserialize;
use tokio::net::TcpSocket;

use super::Fixture;

/// A connection without a byte for so long has nothing more to say; then the client closes its side.
const SILENCE: Duration = Duration::from_millis(500);
/// How many connections there are at once.
const AT_ONCE: usize = 32;
/// What tells the instance's answers from the gateway's own.
const MARK: &str = "X-Instance";

/// A row, as proxy/tests/corpus/README.md has it.
#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    raw: String,
    class: Class,
    reason: String,
    forbid: Vec<String>,
    close: bool,
    msgs: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Class {
    Accept,
    Reject,
    Either,
    Wait,
}

/// What a client of its own saw of a row.
#[derive(Debug, Default)]
struct Outcome {
    /// Statuses of the instance's answers, 1xx aside.
    served: Vec<u16>,
    /// Statuses of the gateway's own answers, 1xx aside.
    own: Vec<u16>,
    /// Whether the gateway ended the connection before the client closed its side.
    closed: bool,
}

fn rows() -> Result<Vec<Row>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/corpus/http-requests.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// An address of this machine for each row, by which the instance knows whose request it got.
fn source(number: usize) -> Ipv4Addr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 77, high, low)
}

/// Sends a row's bytes from its address, and reads until all is said.
async fn send(gateway: SocketAddr, number: usize, row: &Row) -> Result<Outcome> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source(number), 0).into())?;
    let mut wire = Wire::over(socket.connect(gateway).await?)?;
    let raw = BASE64_STANDARD.decode(&row.raw)?;
    // It may have been refused before it was sent whole.
    let _ = wire.send(&raw).await;
    let method = if raw.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let (mut outcome, mut has_finished) = (Outcome::default(), false);
    while row.class != Class::Accept || outcome.served.len() + outcome.own.len() < row.msgs {
        if !has_finished && wire.is_silent_for(SILENCE).await {
            has_finished = true;
            // It may be broken by now.
            let _ = wire.finish().await;
        }
        let answer = match wire.answer(method).await {
            Ok(answer) => answer,
            Err(error) if error.is::<BrokenOff>() => {
                let (rest, _) = wire.rest().await?;
                ensure!(rest.is_empty(), "an answer is broken off: {}", rest.escape_ascii());
                outcome.closed = !has_finished;
                break;
            }
            Err(error) => return Err(error),
        };
        let seen = if answer.head.fields.has(MARK) { &mut outcome.served } else { &mut outcome.own };
        if answer.head.status() >= 200 {
            seen.push(answer.head.status());
        }
    }
    Ok(outcome)
}

/// What is wrong with it, given what of it arrived whole.
fn judge(row: &Row, outcome: &Outcome, arrived: &[Message]) -> Result<()> {
    let Outcome { served, own, closed } = outcome;
    ensure!(
        served.iter().all(|&status| status == 200) && served.len() == arrived.len(),
        "some got no answer"
    );
    ensure!(arrived.len() <= row.msgs, "more reached the instance than is well-formed");
    // All other marks are faults of what arrived, and none of what arrived has one.
    for host in row.forbid.iter().filter_map(|mark| mark.strip_prefix("host=")) {
        ensure!(
            arrived.iter().all(|message| message.head.get("host") != Some(host)),
            "the wrong Host arrived"
        );
    }
    ensure!(*closed || !row.close, "the connection stays open");
    let is_refused = matches!(own[..], [400..=599]);
    match row.class {
        // It asks for the gateway's own abilities: RFC 9112, 3.2.4.
        Class::Accept if row.raw.starts_with("T1BUSU9OUyAqI") => {
            ensure!(
                matches!(own[..], [200..=299]) && arrived.is_empty(),
                "not answered by the gateway itself"
            );
        }
        Class::Accept => ensure!(arrived.len() == row.msgs && own.is_empty(), "refused"),
        // What comes before it may be refused too, if it has something that is forbidden.
        Class::Reject => {
            let came = arrived.len() == row.msgs || !row.forbid.is_empty();
            ensure!(came && is_refused, "not refused, or not after what comes before it");
        }
        Class::Either => {
            let is_served = arrived.len() == row.msgs && own.is_empty();
            ensure!(is_served || is_refused, "neither served nor refused");
        }
        Class::Wait => ensure!(own.is_empty() || is_refused, "answered otherwise than by a refusal"),
    }
    Ok(())
}

#[tokio::test]
async fn nothing_but_valid_requests_reaches_an_instance_and_all_of_them_do() -> Result<()> {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{MARK}: one\r\n\r\n");
    let instance = Instance::recording(move |_| answer.clone().into_bytes()).await?;
    let options = GatewayOptions::without_routes().route("/", "goods");
    let fixture = Fixture::over(&instance, options).await?;
    let (rows, gateway) = (Arc::new(rows()?), fixture.gateway.address());
    let outcomes: Vec<_> = stream::iter(rows.iter().enumerate())
        .map(|(number, row)| async move { (row, source(number), send(gateway, number, row).await) })
        .buffered(AT_ONCE)
        .collect()
        .await;

    let mut arrived = BTreeMap::<String, Vec<Message>>::new();
    for message in instance.requests() {
        let Some(client) = message.head.get("x-forwarded-for") else { bail!("whose is it? {message:?}") };
        arrived.entry(client.to_owned()).or_default().push(message);
    }
    let mut wrong: Vec<_> =
        instance.failures().iter().map(|failure| format!("not valid at the instance: {failure}")).collect();
    for (row, source, outcome) in outcomes {
        let arrived = arrived.remove(&source.to_string()).unwrap_or_default();
        let judged = outcome.and_then(|outcome| {
            judge(row, &outcome, &arrived).with_context(|| format!("{outcome:?}, {} arrived", arrived.len()))
        });
        if let Err(error) = judged {
            let raw = BASE64_STANDARD.decode(&row.raw)?;
            let shown = raw[..raw.len().min(150)].escape_ascii();
            wrong.push(format!("{} {:?} ({}) {error:#}: {shown}", row.id, row.class, row.reason));
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(arrived.is_empty(), "of nobody: {arrived:?}");
    assert!(rows.len() >= 550, "only {} rows: nothing is shown", rows.len());
    let log = fixture.gateway.process().lines().join("\n");
    assert!(!log.contains("panicked"), "{log}");
    Ok(())
}
