//! Pingora's own keys, at the top level of the file.
//!
//! Pingora ignores what it does not know, and asserts or unwraps some of what it does: here every key
//! is checked first. The keys and their meaning are those of pingora-core 0.9.1,
//! `server/configuration/mod.rs`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use pingora::server::configuration::ServerConf;

use super::access::Who;
use super::environment::Environment;
use super::machine::Need;
use super::run_directory::RunDirectory;
use super::{Section, Value};

/// How many endpoints one request is tried on at most.
pub const ATTEMPTS: usize = 3;

/// Idle connections to instances that are kept, per thread. Pingora's own 128 is soon full: a service
/// of 200 instances would open a new connection for most of its requests.
const POOL_SIZE: usize = 1024;

/// The longest path of a Unix socket in bytes: `sun_path` without its final zero. Pingora unwraps.
const SOCKET_PATH: usize = 107;

/// Root's user id.
const ROOT: u32 = 0;

const SECONDS: RangeInclusive<u64> = 1..=86_400;
const SECONDS_OR_NONE: RangeInclusive<u64> = 0..=86_400;
const THREADS: RangeInclusive<usize> = 1..=1_024;
const THREADS_OR_NONE: RangeInclusive<usize> = 0..=1_024;
const BLOCKING_THREADS: RangeInclusive<usize> = 1..=32_768;
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;

/// Reads Pingora's keys. Says also which run directory is used, if ours is.
pub(super) fn read(root: &mut Section<'_>, environment: &Environment) -> (ServerConf, Option<RunDirectory>) {
    let mut conf = ServerConf {
        version: 1,
        threads: environment.cores.get(),
        upstream_keepalive_pool_size: POOL_SIZE,
        max_retries: ATTEMPTS,
        ..ServerConf::default()
    };
    root.required("version", "1", |value| value.number(1..=1));
    root.set("daemon", &mut conf.daemon, |value| value.boolean());
    let is_daemon = is_daemon(&conf, environment);
    read_process(root, &mut conf, is_daemon);
    remark_user(root, is_daemon);
    read_threads(root, &mut conf);
    read_connections(root, &mut conf);
    let run_directory = read_run_files(root, &mut conf, is_daemon, environment);
    refuse_others(root);
    (conf, run_directory)
}

fn is_daemon(conf: &ServerConf, environment: &Environment) -> bool {
    conf.daemon || environment.daemon
}

/// Who needs all that the gateway needs while it runs: whom a daemon becomes, else who starts it.
pub(super) fn user(conf: &ServerConf, environment: &Environment) -> Who {
    match &conf.user {
        Some(user) if is_daemon(conf, environment) => Who::of_daemon(user, conf.group.as_deref()),
        _ => Who::of_this_process(),
    }
}

fn read_process(root: &mut Section<'_>, conf: &mut ServerConf, is_daemon: bool) {
    root.set("error_log", &mut conf.error_log, |value| value.path(daemon_file(is_daemon)));
    root.set("user", &mut conf.user, |value| value.name(Need::User));
    root.set("group", &mut conf.group, |value| value.name(Need::Group));
    root.set("working_directory", &mut conf.working_directory, |value| {
        value.path(Need::Directory).map(PathBuf::from)
    });
    let slot = &mut conf.daemon_wait_for_ready;
    root.set("daemon_wait_for_ready", slot, |value| value.boolean());
    let seconds = |value: Value<'_>| value.number(SECONDS).and_then(NonZeroU64::new);
    let slot = &mut conf.daemon_ready_timeout_seconds;
    root.set("daemon_ready_timeout_seconds", slot, seconds);
    let slot = &mut conf.daemon_notify_timeout_seconds;
    root.set("daemon_notify_timeout_seconds", slot, seconds);
    let slot = &mut conf.graceful_shutdown_timeout_seconds;
    root.set("graceful_shutdown_timeout_seconds", slot, |value| value.number(SECONDS_OR_NONE));
}

/// The keys whose values differ.
pub(super) fn differences(a: &ServerConf, b: &ServerConf) -> Vec<String> {
    let fields = |conf| match serde_json::to_value(conf) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (a, b) = (fields(a), fields(b));
    a.into_iter().filter(|(key, value)| b.get(key) != Some(value)).map(|(key, _)| key).collect()
}

/// Of a process that stays in the foreground Pingora changes no user and no group.
fn remark_user(root: &Section<'_>, is_daemon: bool) {
    for key in ["user", "group"] {
        if !is_daemon && root.is_set(key) {
            root.remark(key, "is of a daemon only: it does nothing without `daemon: true` or `proxy -d`");
        }
    }
}

fn read_threads(root: &mut Section<'_>, conf: &mut ServerConf) {
    root.set("threads", &mut conf.threads, |value| value.number(THREADS));
    let slot = &mut conf.listener_tasks_per_fd;
    root.set("listener_tasks_per_fd", slot, |value| value.number(THREADS));
    let slot = &mut conf.work_stealing;
    root.set("work_stealing", slot, |value| value.boolean());
    let slot = &mut conf.max_blocking_threads;
    root.set("max_blocking_threads", slot, |value| value.number(BLOCKING_THREADS));
    let slot = &mut conf.blocking_threads_ttl_seconds;
    root.set("blocking_threads_ttl_seconds", slot, |value| value.number(SECONDS));
    let slot = &mut conf.fast_timeout_to_tokio_threshold_seconds;
    root.set("fast_timeout_to_tokio_threshold_seconds", slot, |value| {
        // No value is Pingora's own way to say "never".
        match value.is_null() {
            true => Some(None),
            false => value.number(SECONDS).map(Some),
        }
    });
}

fn read_connections(root: &mut Section<'_>, conf: &mut ServerConf) {
    root.set("ca_file", &mut conf.ca_file, |value| value.path(Need::Certificates));
    root.set("client_bind_to_ipv4", &mut conf.client_bind_to_ipv4, |v| addresses::<Ipv4Addr>(&v, "IPv4"));
    root.set("client_bind_to_ipv6", &mut conf.client_bind_to_ipv6, |v| addresses::<Ipv6Addr>(&v, "IPv6"));
    let slot = &mut conf.upstream_keepalive_pool_size;
    root.set("upstream_keepalive_pool_size", slot, |value| value.number(CONNECTIONS));
    let slot = &mut conf.upstream_debug_ssl_keylog;
    root.set("upstream_debug_ssl_keylog", slot, |value| value.boolean());
    read_offload(
        root,
        ("upstream_connect_offload_threadpools", &mut conf.upstream_connect_offload_threadpools),
        ("upstream_connect_offload_thread_per_pool", &mut conf.upstream_connect_offload_thread_per_pool),
    );
    read_offload(
        root,
        ("downstream_tls_offload_threadpools", &mut conf.downstream_tls_offload_threadpools),
        ("downstream_tls_offload_thread_per_pool", &mut conf.downstream_tls_offload_thread_per_pool),
    );
}

fn addresses<A: FromStr + ToString>(value: &Value<'_>, family: &str) -> Option<Vec<String>> {
    let parse = |text: &str| text.parse::<A>().map_err(|_| format!("is not an {family} address"));
    value.list(|item| item.parse(parse).map(|address| address.to_string()))
}

type Slot<'a> = (&'static str, &'a mut Option<usize>);

fn read_offload(root: &mut Section<'_>, pools: Slot<'_>, threads: Slot<'_>) {
    let keys = [pools.0, threads.0];
    for (key, slot) in [pools, threads] {
        root.set(key, slot, |value| value.number(THREADS_OR_NONE));
    }
    root.require_both(keys);
}

fn read_run_files(
    root: &mut Section<'_>,
    conf: &mut ServerConf,
    is_daemon: bool,
    environment: &Environment,
) -> Option<RunDirectory> {
    let directory = RunDirectory::of(environment);
    conf.pid_file = directory.file("leaseway.pid");
    conf.upgrade_sock = directory.file("upgrade.sock");
    let is_used = !(root.has("pid_file") && root.has("upgrade_sock"));
    read_pid_file(root, conf, is_daemon, &directory, environment);
    root.set("upgrade_sock", &mut conf.upgrade_sock, |value| value.path(Need::UpgradeSocket));
    check_upgrade_sock(root, conf);
    is_used.then_some(directory)
}

/// A daemon that becomes another user writes its pid file before, as root, and gives it to this user: in his run
/// directory he could have made it a link to any file of root's.
fn read_pid_file(
    root: &mut Section<'_>,
    conf: &mut ServerConf,
    is_daemon: bool,
    directory: &RunDirectory,
    environment: &Environment,
) {
    if is_daemon && environment.uid == ROOT && conf.user.is_some() {
        conf.pid_file = directory.beside("pid");
        if !root.has("pid_file") {
            root.note("pid_file", Need::DaemonFile(PathBuf::from(&conf.pid_file)));
        }
    }
    root.set("pid_file", &mut conf.pid_file, |value| value.path(daemon_file(is_daemon)));
}

/// Nobody else opens it.
fn daemon_file(is_daemon: bool) -> fn(PathBuf) -> Need {
    if is_daemon { Need::DaemonFile } else { Need::NewFile }
}

fn check_upgrade_sock(root: &Section<'_>, conf: &ServerConf) {
    let ServerConf { pid_file, upgrade_sock, .. } = conf;
    if pid_file == upgrade_sock {
        root.reject("upgrade_sock", "is the same file as pid_file");
    }
    let length = upgrade_sock.len();
    if length > SOCKET_PATH {
        let message = format_args!(
            "has {length} bytes, expected at most {SOCKET_PATH}: it is the path of a Unix socket"
        );
        root.reject("upgrade_sock", message);
    }
}

/// Keys of Pingora that would contradict ours, or that do nothing in this program.
fn refuse_others(root: &mut Section<'_>) {
    root.refuse("grace_period_seconds", "is not taken: use gateway.timeouts.drain");
    root.refuse(
        "max_retries",
        format_args!(
            "is not taken: a request is tried on at most {ATTEMPTS} endpoints, and only where that is safe"
        ),
    );
    root.refuse(
        "upgrade_sock_connect_accept_max_retries",
        "is not taken: Pingora 0.9.1 has this key but never reads it",
    );
    for key in [
        "runtime_enable_alt_timer",
        "runtime_metrics_poll_time_histogram",
        "runtime_metrics_poll_time_histogram_scale",
        "runtime_metrics_poll_time_histogram_resolution_micros",
        "runtime_metrics_poll_time_histogram_buckets",
    ] {
        root.refuse(key, "is not taken: it does nothing unless built with --cfg tokio_unstable");
    }
}
