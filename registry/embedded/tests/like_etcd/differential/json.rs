//! The same operations as JSON over HTTP/1, and the answers compared letter by letter. At the end of a sequence a
//! watch is told all of it.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use harness::http::{Connection, Request};
use serde_json::{Map, Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
    try_join,
};

use super::operation::{Compare, Delete, LEASES, Operation, Part, Put, Range, Span, Target, Txn};
use crate::{
    json::plain::{plain, revision},
    subject::{PATIENCE, Release, Subject},
};

/// A real etcd and an embedded registry.
pub struct Pair {
    embedded: Side,
    etcd: Side,
    sequences: u32,
}

/// One of the two, in one sequence after the other.
struct Side {
    connection: Connection,
    subject: Subject,
    spelling: Spelling,
    prefix: String,
    first_lease: i64,
    /// The newest revision when the sequence began: what is told counts from here.
    base: i64,
    newest: i64,
    /// How far the history is gone.
    compacted: i64,
}

/// What etcd takes in two ways.
#[derive(Clone, Copy, Debug, Default)]
struct Spelling {
    camel_case: bool,
    numbers_as_strings: bool,
}

/// Status and body.
type Answer = (u16, String);

impl Pair {
    pub async fn start(release: Release) -> Result<Self> {
        let (mut embedded, mut etcd) = try_join!(Side::start(Release::Embedded), Side::start(release))?;
        // A past that both have, longer than any operation looks back, and that both have compacted.
        for side in [&mut embedded, &mut etcd] {
            side.open(0).await?;
            for _ in 0..20 {
                side.put("past").await?;
            }
            side.perform(&Operation::Compact { revision: 0 }).await?;
        }
        Ok(Self { embedded, etcd, sequences: 0 })
    }

    /// Goes through a sequence of operations; an error is a difference.
    pub async fn compare(&mut self, operations: &[Operation]) -> Result<()> {
        self.sequences += 1;
        try_join!(self.embedded.open(self.sequences), self.etcd.open(self.sequences))?;
        for (n, operation) in operations.iter().enumerate() {
            let (embedded, etcd) = try_join!(self.embedded.perform(operation), self.etcd.perform(operation))
                .with_context(|| format!("operation {n}, {operation:?}"))?;
            ensure!(
                embedded == etcd,
                "operation {n}, {operation:?}: the embedded registry answers\n{embedded:?}\nand etcd\n{etcd:?}"
            );
        }
        let (embedded, etcd) = try_join!(self.embedded.watch(), self.etcd.watch())?;
        ensure!(embedded == etcd, "a watch is told\n{embedded}\nand by etcd\n{etcd}");
        try_join!(self.embedded.close(), self.etcd.close())?;
        Ok(())
    }
}

impl Side {
    async fn start(release: Release) -> Result<Self> {
        let subject = Subject::start(release).await?;
        Ok(Self {
            connection: Connection::open(subject.address()).await?,
            subject,
            spelling: Spelling::default(),
            prefix: String::new(),
            first_lease: 0,
            base: 0,
            newest: 0,
            compacted: 0,
        })
    }

    async fn open(&mut self, sequence: u32) -> Result<()> {
        self.spelling = Spelling { camel_case: sequence % 2 == 1, numbers_as_strings: sequence / 2 % 2 == 1 };
        self.prefix = format!("s{sequence:08}/");
        self.first_lease = 1_000_000 + 16 * i64::from(sequence);
        self.put("first").await?;
        self.base = self.newest;
        Ok(())
    }

    /// Leaves no lease behind.
    async fn close(&mut self) -> Result<()> {
        for lease in 0..LEASES {
            self.perform(&Operation::Revoke { lease }).await?; // it may be gone
        }
        Ok(())
    }

    async fn perform(&mut self, operation: &Operation) -> Result<Answer> {
        let (path, request) = match operation {
            Operation::Range(range) => ("kv/range", self.range(range)),
            Operation::Put(put) => ("kv/put", self.put_request(put)),
            Operation::Delete(delete) => ("kv/deleterange", self.delete(delete)),
            Operation::Txn(txn) => ("kv/txn", self.txn(txn)),
            Operation::Compact { revision } => {
                ("kv/compaction", json!({ "revision": self.newest + revision, "physical": true }))
            }
            Operation::Grant { lease, ttl } => {
                ("lease/grant", json!({ "ID": self.lease(*lease), "TTL": ttl }))
            }
            Operation::Revoke { lease } => ("lease/revoke", json!({ "ID": self.lease(*lease) })),
            Operation::KeepAlive { lease } => ("lease/keepalive", json!({ "ID": self.lease(*lease) })),
            Operation::TimeToLive { lease } => {
                ("kv/lease/timetolive", json!({ "ID": self.lease(*lease), "keys": true }))
            }
            Operation::Leases => ("lease/leases", json!({})),
            // There is one for all, at the end.
            Operation::Watch(_) | Operation::Cancel { .. } => return Ok((0, String::new())),
        };
        let (status, answer) = self.post(path, &request).await?;
        if let (200, Operation::Compact { .. }) = (status, operation) {
            self.compacted = request["revision"].as_i64().context("no revision")?;
        }
        let answer = match operation {
            Operation::TimeToLive { .. } => timeless(&answer)?,
            Operation::Leases => self.own_leases(&answer)?,
            _ => plain(&answer, self.base)?,
        };
        Ok((status, answer))
    }

    async fn put(&mut self, name: &str) -> Result<()> {
        let key = base64(&format!("{}{name}", self.prefix));
        let (status, answer) = self.post("kv/put", &json!({ "key": key })).await?;
        ensure!(status == 200, "{answer}");
        Ok(())
    }

    async fn post(&mut self, path: &str, request: &Json) -> Result<Answer> {
        let request = self.spelling.of(request).to_string();
        let head = Request::post(format!("/v3/{path}")).header("content-type", "application/json");
        let sending = self.connection.send(head.body(request.into())?);
        let answer = timeout(PATIENCE, sending).await.context("no answer")??;
        self.newest = self.newest.max(revision(&answer.text()).unwrap_or(0));
        Ok((answer.status, answer.text()))
    }

    /// The events of the sequence, however many come at a time.
    async fn watch(&mut self) -> Result<String> {
        self.put("last").await?;
        let request = json!({ "create_request": {
            "key": base64(&self.prefix),
            "range_end": base64(&self.prefix.replace('/', "0")),
            "start_revision": self.base.max(self.compacted) + 1,
            "prev_kv": true,
        }});
        let mut stream = ask(self.subject.address(), &self.spelling.of(&request).to_string()).await?;
        let last = format!(r#""mod_revision":"{}""#, self.newest);
        let listening = async {
            let mut all = String::new();
            let mut line = String::new();
            while !line.contains(&last) {
                line.clear();
                ensure!(stream.read_line(&mut line).await? > 0, "the connection ended");
                if let Some((_, events)) = line.split_once(r#""events":["#) {
                    all.push_str(events.strip_suffix("]}}\n").context("another end")?);
                    all.push(',');
                }
            }
            Ok(all)
        };
        let told: Result<String> = timeout(PATIENCE, listening).await.context("the watch is silent")?;
        plain(&told?, self.base)
    }

    /// etcd tells them in any order, and those of others.
    fn own_leases(&self, answer: &str) -> Result<String> {
        let answer: Json = serde_json::from_str(answer)?;
        let ids = answer["leases"].as_array().into_iter().flatten();
        let own = (self.first_lease..).take(LEASES.into()).map(|id| Json::from(id.to_string()));
        let own: Vec<_> = own.collect();
        let mut ids: Vec<_> = ids.map(|lease| &lease["ID"]).filter(|id| own.contains(id)).collect();
        ids.sort_by_key(|id| id.to_string());
        Ok(format!("{ids:?}"))
    }

    fn lease(&self, lease: u8) -> i64 {
        self.first_lease + i64::from(lease)
    }

    fn key(&self, key: u8) -> String {
        base64(&format!("{}{}", self.prefix, char::from(b'a' + key)))
    }

    /// A key, and where the range ends if it is one.
    fn span(&self, span: Span) -> Map<String, Json> {
        let (key, end) = match span {
            Span::Key(key) => (key, None),
            Span::Between(start, end) => (start, Some(self.key(end))),
            Span::From(start) => (start, Some(base64("\0"))),
        };
        let mut fields = Map::from_iter([("key".to_owned(), self.key(key).into())]);
        fields.extend(end.map(|end| ("range_end".to_owned(), end.into())));
        fields
    }

    fn range(&self, range: &Range) -> Json {
        let at = |revision: Option<i64>| revision.map_or(0, |revision| self.newest + revision);
        let [min_mod, max_mod, min_create, max_create] = range.filters.map(at);
        with(
            self.span(range.span),
            json!({
                "limit": range.limit, "revision": at(range.revision),
                // By another target equals come in any order.
                "sort_order": (["NONE", "ASCEND", "DESCEND"][range.sort.0 as usize]), "sort_target": "KEY",
                "keys_only": range.keys_only, "count_only": range.count_only,
                "min_mod_revision": min_mod, "max_mod_revision": max_mod,
                "min_create_revision": min_create, "max_create_revision": max_create,
            }),
        )
    }

    fn put_request(&self, put: &Put) -> Json {
        let lease = put.lease.filter(|_| !put.ignore_lease).map_or(0, |lease| self.lease(lease));
        let value = if put.ignore_value { String::new() } else { base64_of(&[put.value]) };
        with(
            self.span(Span::Key(put.key)),
            json!({
                "value": value, "lease": lease, "prev_kv": put.previous,
                "ignore_value": put.ignore_value, "ignore_lease": put.ignore_lease,
            }),
        )
    }

    fn delete(&self, delete: &Delete) -> Json {
        with(self.span(delete.span), json!({ "prev_kv": delete.previous }))
    }

    fn txn(&self, txn: &Txn) -> Json {
        let side = |parts: &[Part]| parts.iter().map(|part| self.part(part)).collect::<Json>();
        json!({
            "compare": txn.compares.iter().map(|compare| self.compare(compare)).collect::<Json>(),
            "success": side(&txn.success), "failure": side(&txn.failure),
        })
    }

    fn part(&self, part: &Part) -> Json {
        match part {
            Part::Range(range) => json!({ "request_range": self.range(range) }),
            Part::Put(put) => json!({ "request_put": self.put_request(put) }),
            Part::Delete(delete) => json!({ "request_delete_range": self.delete(delete) }),
            Part::Txn(txn) => json!({ "request_txn": self.txn(txn) }),
        }
    }

    fn compare(&self, compare: &Compare) -> Json {
        let target = match compare.target {
            Target::Version(version) => json!({ "target": "VERSION", "version": version }),
            Target::Create(revision) => {
                json!({ "target": "CREATE", "create_revision": self.newest + revision })
            }
            Target::Mod(revision) => json!({ "target": "MOD", "mod_revision": self.newest + revision }),
            Target::Value(value) => json!({ "target": "VALUE", "value": base64_of(&[value]) }),
            Target::Lease(lease) => {
                json!({ "target": "LEASE", "lease": lease.map_or(0, |lease| self.lease(lease)) })
            }
        };
        let result = ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"][compare.result as usize];
        let Json::Object(mut fields) = with(self.span(compare.span), target) else { return Json::Null };
        fields.insert("result".to_owned(), result.into());
        fields.into()
    }
}

impl Spelling {
    fn of(self, json: &Json) -> Json {
        match json {
            Json::Object(fields) => {
                fields.iter().map(|(name, value)| (self.name(name), self.of(value))).collect()
            }
            Json::Array(all) => all.iter().map(|one| self.of(one)).collect(),
            Json::Number(number) if self.numbers_as_strings => number.to_string().into(),
            other => other.clone(),
        }
    }

    fn name(self, name: &str) -> String {
        if !self.camel_case {
            return name.to_owned();
        }
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| {
            let (head, tail) = part.split_at(1);
            all + &head.to_uppercase() + tail
        })
    }
}

fn with(mut fields: Map<String, Json>, more: Json) -> Json {
    if let Json::Object(more) = more {
        fields.extend(more);
    }
    fields.into()
}

/// Seconds pass, and etcd's order of keys is random.
fn timeless(answer: &str) -> Result<String> {
    let mut answer: Json = serde_json::from_str(answer)?;
    if let Some(keys) = answer["keys"].as_array_mut() {
        keys.sort_by_key(Json::to_string);
    }
    let is_gone = answer["TTL"] == "-1";
    Ok(format!("{} {} {is_gone} {}", answer["ID"], answer["grantedTTL"], answer["keys"]))
}

async fn ask(address: SocketAddr, request: &str) -> Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    // HTTP/1.0: nothing comes between the lines of a long answer.
    let head = "POST /v3/watch HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let length = request.len();
    stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{request}").as_bytes()).await?;
    let mut status = String::new();
    stream.read_line(&mut status).await?;
    if !status.contains(" 200 ") {
        bail!("{request} is answered {status}");
    }
    Ok(stream)
}

fn base64(text: &str) -> String {
    base64_of(text.as_bytes())
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
