//! One user of the registry writes whatever harms most, beside services of others that are under load.
//!
//! The user may write below names of its own alone, as docs/security.md asks for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use etcd_client::{Client, Permission};
use harness::{
    etcd::{Etcd, PREFIX},
    load::Outcome,
    stack::{Gateway, GatewayOptions, Goods},
    users::User,
};
use serde_json::{Map, json};
use tokio::time::sleep;

use crate::{
    context::{Context, all_up, counter, load, seen},
    measured::{Measured, bound},
};

const GOAL_MEMORY: u64 = 64_000_000;
const GOAL_SEEN: Duration = Duration::from_secs(2);
const GOODS: [&str; 3] = ["goods-1", "goods-2", "goods-3"];
/// Where the same costs etcd as much, and the gateway nothing.
const ELSEWHERE: &str = "/elsewhere/";
/// What the names of all hostile services begin with.
const HOSTILE: &str = "hostile";
/// The longest name, in bytes.
const NAME: usize = 253;
/// Of the largest values that etcd takes there are few, or they alone would be more than it keeps.
const HUGE_EVERY: u32 = 250;
const HUGE: usize = 1_000_000;

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    let hostile = hostile_user(&etcd).await?;
    let _goods = start_goods(&etcd).await?;
    let gateway = start_gateway(&etcd).await?;
    gateway.wait_instances("goods", &GOODS).await?;

    let count = context.scale.hostile;
    let mut client = etcd.client_as(&hostile).await?;
    context.say(format_args!("{count} hostile records are written twice where nobody watches"));
    let running = load(&gateway, "/goods/list").start();
    write_twice(&mut client, ELSEWHERE, count).await?;
    let control = running.stop().await;
    let before = gateway.process().peak_memory()?;

    context.say("and then among the registrations");
    let running = load(&gateway, "/goods/list").start();
    let revision = write_twice(&mut client, PREFIX, count).await?;
    let written = Instant::now();
    let seen = seen(&gateway, revision, written, bound(GOAL_SEEN)).await?;
    sleep(context.scale.fault).await;
    let outcome = running.stop().await;
    let more = gateway.process().peak_memory()?.saturating_sub(before);
    let skipped = counter(&gateway, "leaseway_registry_skipped_records_total").await?;
    ensure!(all_up(&gateway.services().await?, "goods", &GOODS), "goods are not what they were");

    measured.note(format_args!("{count} records, written twice, {skipped} skipped"));
    let verdict = if more <= GOAL_MEMORY { "" } else { " (goal MISSED)" };
    measured.note(format_args!(
        "at most {} MB more resident than {} MB{verdict}",
        more / 1_000_000,
        before / 1_000_000
    ));
    measured.time("the last one seen after", seen, GOAL_SEEN)?;
    let p99 = |outcome: &Outcome| outcome.latency(0.99).as_secs_f64() * 1000.0;
    measured.note(format_args!(
        "p99 {:.2} ms, {:.2} while the same is written elsewhere",
        p99(&outcome),
        p99(&control)
    ));
    ensure!(more <= 10 * GOAL_MEMORY, "{more} bytes more are resident");
    measured.none_failed(&outcome)
}

/// A user that may read and write below its own names, and nowhere else.
async fn hostile_user(etcd: &Etcd) -> Result<User> {
    let mut root = etcd.client().await?;
    let users = etcd.users().context("this etcd has no users")?;
    let user = User { name: HOSTILE.to_owned(), ..users.writer.clone() };
    root.user_add(HOSTILE, user.password.as_str(), None).await?;
    root.role_add(HOSTILE).await?;
    for prefix in [PREFIX, ELSEWHERE] {
        let own = Permission::read_write(format!("{prefix}{HOSTILE}")).with_prefix();
        root.role_grant_permission(HOSTILE, own).await?;
    }
    root.user_grant_role(HOSTILE, HOSTILE).await?;
    Ok(user)
}

async fn start_goods(etcd: &Etcd) -> Result<Vec<Goods>> {
    let writer = &etcd.users().context("this etcd has no users")?.writer;
    let file = writer.password_file.display().to_string();
    let arguments = ["--username", writer.name.as_str(), "--password-file", file.as_str()];
    let mut goods = Vec::new();
    for name in GOODS {
        goods.push(Goods::start(&etcd.endpoint(), name, &arguments).await?);
    }
    Ok(goods)
}

async fn start_gateway(etcd: &Etcd) -> Result<Gateway> {
    let reader = &etcd.users().context("this etcd has no users")?.reader;
    let options = GatewayOptions::default()
        .set("gateway/registry/username", reader.name.as_str())
        .set("gateway/registry/password_file", reader.password_file.display().to_string())
        .discard_log();
    Gateway::start(&etcd.endpoint(), options).await
}

/// Writes so many records one by one, as fast as etcd takes them, and again with other values; the revision of
/// the last.
async fn write_twice(client: &mut Client, prefix: &str, count: u32) -> Result<i64> {
    let mut revision = 0;
    for (round, number) in (0..2).flat_map(|round| (0..count).map(move |number| (round, number))) {
        let (key, value) = record(prefix, number, round);
        let answer = client.put(key, value, None).await?;
        revision = answer.header().context("etcd's answer has no header")?.revision();
    }
    Ok(revision)
}

/// A record that harms in a way of its own; each way comes as often as any other.
fn record(prefix: &str, number: u32, round: u32) -> (Vec<u8>, Vec<u8>) {
    let name = format!("{HOSTILE}-{number}");
    let long = format!("{name:-<NAME$}");
    let port = 1 + (number + round) % 65_000;
    let [_, _, a, b] = number.to_be_bytes();
    let address = format!("10.1.{a}.{b}:{port}");
    let below = |service: &str, instance: &str| format!("{prefix}{service}/{instance}").into_bytes();
    if number.is_multiple_of(HUGE_EVERY) {
        return (below(&name, "huge"), vec![b'x'; HUGE]);
    }
    match number % 12 {
        // As many keys as 16 KiB hold.
        0 => (below(&name, "keys"), with_metadata(&address, 1_800, "")),
        // As much as is taken, of a service of its own with the longest names.
        1 => (below(&long, &long), with_metadata(&address, 16, &"v".repeat(50))),
        2 => (below(&name, "long-values"), with_metadata(&address, 3, &"v".repeat(5_000))),
        // One service with very many instances.
        3 => (below(HOSTILE, &long), address.into_bytes()),
        4 => (below(&name, &"i".repeat(30_000)), address.into_bytes()),
        5 => ([below(&name, "").as_slice(), b"\xff\xfe\n\x1b[2J"].concat(), address.into_bytes()),
        6 => (below(&name, &"deep/".repeat(1_000)), address.into_bytes()),
        7 => (below(&name, "nested"), [b"{\"address\":".as_slice(), &b"[".repeat(16_000)].concat()),
        8 => (below(&name, "not-text"), (0..16_000_u32).map(|byte| (byte % 256) as u8).collect()),
        9 => (below(&name, "address"), nowhere(number).into_bytes()),
        10 => (
            below(&name, "weight"),
            format!("{{\"address\":\"{address}\",\"weight\":{number}9999}}").into_bytes(),
        ),
        // A port of somebody else's machine, which comes and goes.
        _ => (below(&name, "scan"), format!("10.2.{a}.{b}:{port}").into_bytes()),
    }
}

/// A record with so many keys of metadata, each with this value.
fn with_metadata(address: &str, keys: u32, value: &str) -> Vec<u8> {
    let metadata: Map<_, _> = (0..keys).map(|key| (format!("{key:x}"), json!(value))).collect();
    json!({ "address": address, "metadata": metadata }).to_string().into_bytes()
}

/// An address that no instance may have.
fn nowhere(number: u32) -> String {
    const NOWHERE: [&str; 8] = [
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "255.255.255.255",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
    ];
    format!("{}:80", NOWHERE[number as usize / 12 % NOWHERE.len()])
}
