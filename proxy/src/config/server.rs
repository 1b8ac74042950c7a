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

use config_reader::key;
use config_reader::kind::{Kind, boolean, list, number, or_nothing, path, text};
use pingora::server::configuration::ServerConf;

use super::access::Who;
use super::environment::Environment;
use super::keys::{Visit, parsed};
use super::machine::Need;
use super::run_directory::RunDirectory;
use super::timeouts::LONGEST_DRAIN;
use super::{Section, Value};

/// How many endpoints one request is tried on at most.
pub(crate) const ATTEMPTS: usize = 3;

/// Idle connections to instances that are kept, per thread. Pingora's own 128 is soon full: a service
/// of 200 instances would open a new connection for most of its requests.
const POOL_SIZE: usize = 1024;

/// The longest path of a Unix socket in bytes: `sun_path` without its final zero. Pingora unwraps.
const SOCKET_PATH: usize = 107;

/// Root's user id.
const ROOT: u32 = 0;

/// Seconds that the snapshot has to be written in when the drain time is over.
const LAST_SAVE: u64 = 1;

const SECONDS: RangeInclusive<u64> = 1..=86_400;
const NON_ZERO_SECONDS: RangeInclusive<NonZeroU64> = NonZeroU64::MIN..=NonZeroU64::new(86_400).unwrap();
const SECONDS_OR_NONE: RangeInclusive<u64> = 0..=86_400;
const THREADS: RangeInclusive<usize> = 1..=1_024;
const THREADS_OR_NONE: RangeInclusive<usize> = 0..=1_024;
const BLOCKING_THREADS: RangeInclusive<usize> = 1..=32_768;
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;

/// What holds where a file says nothing.
pub(super) fn unsaid(environment: &Environment) -> ServerConf {
    let directory = RunDirectory::of(environment);
    ServerConf {
        version: 1,
        threads: environment.cores.get(),
        upstream_keepalive_pool_size: POOL_SIZE,
        max_retries: ATTEMPTS,
        pid_file: directory.file("leaseway.pid"),
        upgrade_sock: directory.file("upgrade.sock"),
        // Pingora is told the longest time that a file may allow, because it asks at the start only, and the drain
        // time may change in a running process. It waits no longer for it: when nothing is in flight, or the drain time
        // is over, our own stop ends the process.
        grace_period_seconds: Some(LONGEST_DRAIN.as_secs() + LAST_SAVE),
        ..ServerConf::default()
    }
}

pub(super) fn keys<V: Visit>(conf: &mut ServerConf, v: &mut V, environment: &Environment) {
    v.key(
        key("version", "the format of this file").required("1").example("1").fixed(),
        number(1..=1),
        &mut conf.version,
    );
    v.heading("Pingora's own keys: processes and threads");
    process_keys(conf, v, environment);
    run_file_keys(conf, v, environment);
    thread_keys(conf, v);
    v.heading("Pingora's own keys: connections to instances");
    connection_keys(conf, v);
    refuse_others(v);
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

fn process_keys<V: Visit>(conf: &mut ServerConf, v: &mut V, environment: &Environment) {
    v.key(key("daemon", "run in the background; also `proxy -d`").fixed(), boolean(), &mut conf.daemon);
    let is_daemon = is_daemon(conf, environment);
    let wait = "with `daemon`: the command returns once the background process runs";
    v.key(key("daemon_wait_for_ready", wait).fixed(), boolean(), &mut conf.daemon_wait_for_ready);
    let ready = key("daemon_ready_timeout_seconds", "how long that command waits")
        .default("600")
        .example("600")
        .fixed();
    v.optional(ready, number(NON_ZERO_SECONDS), &mut conf.daemon_ready_timeout_seconds);
    let notify = key("daemon_notify_timeout_seconds", "how long the background process tries to tell it")
        .default("60")
        .example("60");
    v.optional(notify.fixed(), number(NON_ZERO_SECONDS), &mut conf.daemon_notify_timeout_seconds);
    v.aside("Of a daemon only:");
    let user = key("user", "the user that a daemon becomes, if root starts it").example("leaseway").fixed();
    v.optional(user, named(Need::User), &mut conf.user);
    let group = key("group", "the group that it becomes").example("leaseway").fixed();
    v.optional(group, named(Need::Group), &mut conf.group);
    v.check(|section| remark_user(section, is_daemon));
    let directory = key("working_directory", "where it runs").example("/var/lib/leaseway").fixed();
    v.optional(directory, path(Need::Directory), &mut conf.working_directory);
    let log = key("error_log", "takes the log; without it a daemon logs to where it was started")
        .example("/var/log/leaseway.log")
        .fixed();
    v.optional(log, path(daemon_file(is_daemon)), &mut conf.error_log);
}

/// The name of something on this machine.
fn named(need: impl Fn(String) -> Need) -> impl Kind<Need, Value = String> {
    let read = move |value: &Value<'_>| {
        let name = value.text()?;
        value.note(need(name.to_owned()));
        Some(name.to_owned())
    };
    text(read, String::clone)
}

/// Of a process that stays in the foreground Pingora changes no user and no group.
fn remark_user(root: &Section<'_>, is_daemon: bool) {
    for key in ["user", "group"] {
        if !is_daemon && root.is_set(key) {
            root.remark(key, "is of a daemon only: it does nothing without `daemon: true` or `proxy -d`");
        }
    }
}

fn thread_keys<V: Visit>(conf: &mut ServerConf, v: &mut V) {
    let threads =
        key("threads", "how many threads carry requests").default("the number of cores").example("2").fixed();
    v.key(threads, number(THREADS), &mut conf.threads);
    let tasks = key("listener_tasks_per_fd", "tasks that accept connections to the admin port").fixed();
    v.key(tasks, number(THREADS), &mut conf.listener_tasks_per_fd);
    v.key(
        key("work_stealing", "has no effect: threads always take work from each other").fixed(),
        boolean(),
        &mut conf.work_stealing,
    );
    let blocking = key("max_blocking_threads", "threads for what blocks, such as files")
        .default("512")
        .example("512")
        .fixed();
    v.optional(blocking, number(BLOCKING_THREADS), &mut conf.max_blocking_threads);
    let ttl = key("blocking_threads_ttl_seconds", "how long an idle one of them is kept")
        .default("10")
        .example("10")
        .fixed();
    v.optional(ttl, number(SECONDS), &mut conf.blocking_threads_ttl_seconds);
    let timers = key(
        "fast_timeout_to_tokio_threshold_seconds",
        "timeouts longer than this use tokio's timers; without a value none does",
    );
    // No value is Pingora's own way to say "never".
    let kind = or_nothing(number(SECONDS));
    v.key(timers.fixed(), kind, &mut conf.fast_timeout_to_tokio_threshold_seconds);
    let shutdown = key(
        "graceful_shutdown_timeout_seconds",
        "has no effect: the process ends by itself when the drain time is over",
    );
    let kind = number(SECONDS_OR_NONE);
    v.optional(shutdown.example("5").fixed(), kind, &mut conf.graceful_shutdown_timeout_seconds);
}

fn connection_keys<V: Visit>(conf: &mut ServerConf, v: &mut V) {
    let pool = key("upstream_keepalive_pool_size", "idle connections kept, per thread").fixed();
    v.key(pool, number(CONNECTIONS), &mut conf.upstream_keepalive_pool_size);
    let bind = key("client_bind_to_ipv4", "addresses to connect from").fixed();
    v.key(bind, list(bound::<Ipv4Addr>("IPv4")), &mut conf.client_bind_to_ipv4);
    let bind = key("client_bind_to_ipv6", "addresses to connect from").fixed();
    v.key(bind, list(bound::<Ipv6Addr>("IPv6")), &mut conf.client_bind_to_ipv6);
    let ca = key("ca_file", "the authorities that are trusted")
        .default("the system's authorities")
        .example("/etc/ssl/certs/ca-certificates.crt");
    v.optional(ca.fixed(), path(Need::Certificates), &mut conf.ca_file);
    let keylog = key("upstream_debug_ssl_keylog", "write TLS keys to $SSLKEYLOGFILE, for Wireshark").fixed();
    v.key(keylog, boolean(), &mut conf.upstream_debug_ssl_keylog);
    v.aside("Threads of their own for opening connections. Both or none; 0 turns them off.");
    offload_keys(
        v,
        ("upstream_connect_offload_threadpools", &mut conf.upstream_connect_offload_threadpools),
        ("upstream_connect_offload_thread_per_pool", &mut conf.upstream_connect_offload_thread_per_pool),
    );
    offload_keys(
        v,
        ("downstream_tls_offload_threadpools", &mut conf.downstream_tls_offload_threadpools),
        ("downstream_tls_offload_thread_per_pool", &mut conf.downstream_tls_offload_thread_per_pool),
    );
}

/// An address to connect from, as Pingora takes it: as text.
fn bound<A: FromStr + ToString>(family: &'static str) -> impl Kind<Need, Value = String> {
    let parse = move |text: &str| match text.parse::<A>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("is not an {family} address")),
    };
    parsed(parse, "^[0-9a-fA-F.:]+$")
}

type Slot<'a> = (&'static str, &'a mut Option<usize>);

fn offload_keys<V: Visit>(v: &mut V, pools: Slot<'_>, threads: Slot<'_>) {
    let keys = [pools.0, threads.0];
    let pool = key(pools.0, "pools of threads").example("1").fixed();
    v.optional(pool, number(THREADS_OR_NONE), pools.1);
    let per_pool = key(threads.0, "threads in each of them").example("2").fixed();
    v.optional(per_pool, number(THREADS_OR_NONE), threads.1);
    v.check(|section| section.require_both(keys));
}

/// The run directory, unless the file puts both the pid file and the upgrade socket elsewhere.
pub(super) fn run_directory(root: &Section<'_>, environment: &Environment) -> Option<RunDirectory> {
    let is_used = !(root.has("pid_file") && root.has("upgrade_sock"));
    is_used.then(|| RunDirectory::of(environment))
}

fn run_file_keys<V: Visit>(conf: &mut ServerConf, v: &mut V, environment: &Environment) {
    let is_daemon = is_daemon(conf, environment);
    v.aside(
        "Default: in $RUNTIME_DIRECTORY (systemd), else $XDG_RUNTIME_DIR/leaseway, else /run/leaseway for root and \
         /tmp/leaseway-UID for others. That directory must have mode 0700, and is made with it. So must another one \
         that is named for upgrade_sock: who could put a socket there would be handed the listening sockets.",
    );
    v.check(|root| move_pid_file(root, conf, is_daemon, environment));
    let pid_file = key("pid_file", "written by a daemon")
        .default(
            "`leaseway.pid` in the run directory; /run/leaseway.pid for root's daemon that becomes `user`",
        )
        .example("/run/leaseway/leaseway.pid");
    v.key(pid_file.fixed(), path(daemon_file(is_daemon)), &mut conf.pid_file);
    let upgrade_sock = key(
        "upgrade_sock",
        "`proxy -u` takes the listening sockets over [through it](operating.md#the-upgrade-sockets-place)",
    )
    .default("`upgrade.sock` in the run directory")
    .example("/run/leaseway/upgrade.sock");
    v.key(upgrade_sock.fixed(), path(Need::UpgradeSocket), &mut conf.upgrade_sock);
    v.check(|root| check_upgrade_sock(root, conf));
}

/// A daemon that becomes another user writes its pid file before, as root, and gives it to this user: in his run
/// directory he could have made it a link to any file of root's.
fn move_pid_file(root: &Section<'_>, conf: &mut ServerConf, is_daemon: bool, environment: &Environment) {
    if is_daemon && environment.uid == ROOT && conf.user.is_some() {
        conf.pid_file = RunDirectory::of(environment).beside("pid");
        if !root.has("pid_file") {
            root.note("pid_file", Need::DaemonFile(PathBuf::from(&conf.pid_file)));
        }
    }
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
fn refuse_others<V: Visit>(v: &mut V) {
    v.refuse("grace_period_seconds", "is not taken: use gateway.timeouts.drain");
    v.refuse(
        "max_retries",
        &format!(
            "is not taken: a request is tried on at most {ATTEMPTS} endpoints, and only where that is safe"
        ),
    );
    v.refuse(
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
        v.refuse(key, "is not taken: it does nothing unless built with --cfg tokio_unstable");
    }
}
