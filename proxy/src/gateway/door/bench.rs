//! A door in memory, for tests: whoever is dialled is the test's own.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use pingora::server::configuration::ServerConf;
use registry::contract::{Instance, Record};
use registry::watch::{Update, WatchStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::{Door, connection};
use crate::directory::{Endpoint, Writer};
use crate::gateway::Gateway;
use crate::gateway::carry::http2;
use crate::gateway::carry::{Dial, Dialer, Memory};
use crate::gateway::fixture::NOWHERE;
use crate::lifecycle::Lifecycle;
use crate::link::Link;
use crate::logging::{Form, Output};
use crate::site::{self, Site, drafts};
use crate::tasks::now;

/// How much a connection holds.
const HOLDS: usize = 64 << 10;
/// No wait takes as long.
const LONG: Duration = Duration::from_secs(7_200);

/// A door, one service behind it, and the instances' sides of the connections to it.
pub(in crate::gateway) struct Bench {
    pub(super) door: Arc<Door>,
    writer: Writer,
    pub(in crate::gateway) lifecycle: Arc<Lifecycle>,
    dialled: UnboundedReceiver<Link>,
}

impl Bench {
    /// One with an instance.
    pub(in crate::gateway) fn new() -> Self {
        Self::with("")
    }

    /// One with an instance, and with these keys in the gateway's section, each on a line of its own.
    pub(in crate::gateway) fn with(keys: &str) -> Self {
        Self::on("{path: /, service: goods}", keys)
    }

    /// The same, with this route.
    pub(in crate::gateway) fn on(route: &str, keys: &str) -> Self {
        let (sender, dialled) = unbounded_channel();
        let dial = move |_| {
            let (ours, theirs) = Link::pair(HOLDS);
            let _ = sender.send(theirs);
            ready(Ok(ours)).boxed()
        };
        let (door, writer, _) = door_on(route, Box::new(dial), keys);
        let lifecycle = door.gateway.lifecycle.clone();
        tokio::spawn(door.carrier.sweeper.clone().run());
        let mut bench = Self { door: Arc::new(door), writer, lifecycle, dialled };
        bench.register(1);
        bench
    }

    /// So many instances are registered.
    pub(in crate::gateway) fn register(&mut self, count: u8) -> Vec<Arc<Endpoint>> {
        register(&mut self.writer, count, 0)
    }

    /// The lines of the metrics.
    pub(in crate::gateway) fn metrics(&self) -> Vec<String> {
        let (metrics, directory) = (&self.door.gateway.metrics, &self.door.gateway.directory);
        let text = metrics.render(directory, &WatchStatus::default(), 0).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    /// The value of this series; 0: there is none.
    pub(in crate::gateway) fn metric(&self, series: &str) -> u64 {
        let lines = self.metrics();
        let value = lines.iter().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// The lines of the log since the last look.
    pub(in crate::gateway) fn log(&self) -> String {
        self.door.gateway.output.take_lines()
    }

    /// The process has been told to stop.
    pub(in crate::gateway) fn stop(&self) {
        self.lifecycle.stop();
        self.door.is_stopping.store(true, Ordering::Release);
        self.door.bells.ring();
    }

    /// A client has connected.
    pub(in crate::gateway) fn client(&self) -> Link {
        let (ours, theirs) = Link::pair(HOLDS);
        tokio::spawn(connection::serve(self.door.clone(), ours, NOWHERE, self.door.unlimited()));
        theirs
    }

    /// The instance's side of the next connection to it.
    pub(in crate::gateway) async fn instance(&mut self) -> Link {
        timeout(LONG, self.dialled.recv()).await.expect("nobody dials").unwrap()
    }

    /// A client sends this and an instance answers so, and closes. What both have got then: the instance its head.
    pub(in crate::gateway) async fn exchange(&mut self, request: &str, answer: &str) -> (String, String) {
        let mut client = self.client();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut instance = self.instance().await;
        let head = until(&mut instance, "\r\n\r\n").await;
        instance.write_all(answer.as_bytes()).await.unwrap();
        instance.shutdown().await.unwrap();
        client.shutdown().await.unwrap();
        (head, rest(&mut client).await)
    }

    /// What a client gets for a GET that is answered so.
    pub(in crate::gateway) async fn got(&mut self, answer: &str) -> String {
        self.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer).await.1
    }
}

/// A door with a service, that opens connections so. `keys`: what else the gateway's section says, each on a line.
pub(super) fn door(dial: Dial, keys: &str) -> (Door, Writer, Arc<Output>) {
    door_on("{path: /, service: goods}", dial, keys)
}

fn door_on(route: &str, dial: Dial, keys: &str) -> (Door, Writer, Arc<Output>) {
    let others: String = keys.lines().map(|line| format!("\n  {line}")).collect();
    let config = drafts::config(&format!("[{route}]"), &format!("{{}}{others}"));
    let (materials, writer) = drafts::bench(&config);
    let site = drafts::draft(&config, &Site::default(), &materials).site;
    let (site, output) = (Arc::new(site::Current::new(site)), Output::waiting(Form::Json));
    let gateway = Gateway::new(site, materials.directory, materials.metrics, Arc::default(), output.clone());
    let mut door = Door::new(gateway, &Arc::new(ServerConf::default()));
    let dialer = Arc::new(Dialer::Memory(Memory(dial)));
    let (gateway, sweeper) = (door.gateway.clone(), door.carrier.sweeper.clone());
    door.http2 = Arc::new(http2::Carrier { gateway, sweeper, dialer: dialer.clone() });
    door.carrier.dialer = dialer;
    (door, writer, output)
}

/// So many instances are registered, and no others. With another `network` they are others.
pub(super) fn register(writer: &mut Writer, count: u8, network: u8) -> Vec<Arc<Endpoint>> {
    let service: Arc<str> = "goods".into();
    let instance = |number: u8| Instance {
        service: service.clone(),
        id: number.to_string().into(),
        record: Record::new(([10, 0, network, number], 80).into()),
        lease: 7,
        revision: 1,
    };
    let instances = (1..=count).map(instance).collect();
    writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 1 }, now());
    for number in count + 1..=3 {
        writer.remove(&service, &number.to_string());
    }
    writer.publish(now);
    let service = writer.directory().service(&service).unwrap();
    service.endpoints().entries().iter().map(|entry| entry.endpoint.clone()).collect()
}

/// What comes up to this text.
pub(in crate::gateway) async fn until(link: &mut Link, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = timeout(LONG, link.read_u8()).await.expect("nothing comes");
        text.push(char::from(byte.unwrap_or_else(|error| panic!("{error} behind {text:?}"))));
    }
    text
}

/// What comes until the end.
pub(in crate::gateway) async fn rest(link: &mut Link) -> String {
    let mut text = Vec::new();
    let read = timeout(LONG, link.read_to_end(&mut text)).await.expect("it does not end");
    let text = String::from_utf8_lossy(&text).into_owned();
    if let Err(error) = read { format!("{text}!{error}") } else { text }
}

/// A client's and an instance's side of a tunnel, through which the instance has said "hello".
pub(in crate::gateway) async fn tunnel(bench: &mut Bench) -> (Link, Link) {
    let mut client = bench.client();
    let asks = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(asks).await.unwrap();
    let mut instance = bench.instance().await;
    until(&mut instance, "\r\n\r\n").await;
    let agrees = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    instance.write_all(agrees).await.unwrap();
    let head = until(&mut client, "hello").await;
    assert!(head.contains("\r\nConnection: Upgrade\r\n"), "{head}");
    (client, instance)
}
