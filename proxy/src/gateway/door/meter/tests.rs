use std::net::Ipv4Addr;

use ::registry::watch::WatchStatus;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::frames::{CONTINUATION, HEADERS, PING, RST_STREAM, raw};
use super::*;
use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::tasks::now;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn metered(room: usize) -> (DuplexStream, Metered<DuplexStream>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (client, server) = duplex(room);
    let floods = Floods::new(metrics.clone());
    (client, Metered::new(server, Ipv4Addr::LOCALHOST.into(), floods, now), metrics)
}

fn counted(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render(&Directory::default(), &WatchStatus::default(), 0).unwrap();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter(|line| line.starts_with("leaseway_http2_floods_total")).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_no_flood_passes_both_ways_as_it_is() {
    let (mut client, mut metered, metrics) = metered(1 << 20);
    let frames = [PREFACE, &raw(PING, 0, 0, &[1; 8]), &raw(HEADERS, 5, 1, &[2; 400])].concat();
    client.write_all(&frames).await.unwrap();
    let mut read = vec![0; frames.len()];
    metered.read_exact(&mut read).await.unwrap();
    assert_eq!(read, frames);
    let slices = [IoSlice::new(&frames[24..40]), IoSlice::new(&[]), IoSlice::new(&frames[40..])];
    let count = metered.write_vectored(&slices).await.unwrap();
    assert_eq!(metered.is_write_vectored(), metered.stream.is_write_vectored());
    let mut written = vec![0; count];
    client.read_exact(&mut written).await.unwrap();
    assert_eq!(written, frames[24..24 + count]);
    assert_eq!(counted(&metrics), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_flood_ends_the_connection_with_goaway_and_is_counted_once() {
    let (mut client, mut metered, metrics) = metered(1 << 20);
    let frames =
        [PREFACE.to_vec(), raw(HEADERS, 5, 7, &[0x82]), raw(PING, 0, 0, &[1; 8]).repeat(200)].concat();
    client.write_all(&frames).await.unwrap();
    let mut room = vec![0; frames.len()];
    let error = metered.read(&mut room).await.unwrap_err();
    assert_eq!(error.to_string(), "the client floods the connection with PING");
    assert!(metered.read(&mut room).await.is_err());
    assert!(metered.write(b"anything").await.is_err());
    assert_eq!(counted(&metrics), ["leaseway_http2_floods_total{kind=\"ping\"} 1"]);
    drop(metered);
    let mut last = Vec::new();
    client.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, raw(frames::GOAWAY, 0, 0, &[0, 0, 0, 7, 0, 0, 0, 0xb]));
}

#[tokio::test(start_paused = true)]
async fn no_goaway_is_put_into_a_frame_that_is_not_complete() {
    let (mut client, mut metered, _metrics) = metered(1 << 20);
    let cut = &raw(HEADERS, 4, 1, &[0x88; 50])[..30];
    metered.write_all(cut).await.unwrap();
    client.write_all(&[PREFACE.to_vec(), raw(PING, 0, 0, &[1; 8]).repeat(200)].concat()).await.unwrap();
    assert!(metered.read(&mut [0; 9000]).await.is_err());
    drop(metered);
    let mut last = Vec::new();
    client.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, cut);
}

#[tokio::test(start_paused = true)]
async fn resets_that_the_client_has_made_end_the_connection_when_they_are_written() {
    let (mut client, mut metered, metrics) = metered(1 << 20);
    let reset = raw(RST_STREAM, 0, 1, &[0, 0, 0, 1]);
    let mut written = 0;
    for _ in 0..5000 {
        // In two slices: the code is in the second.
        let slices = [IoSlice::new(&reset[..5]), IoSlice::new(&reset[5..])];
        match metered.write_vectored(&slices).await {
            Ok(13) => written += 1,
            Ok(count) => metered.write_all(&reset[count..]).await.map(|()| written += 1).unwrap_or_default(),
            Err(_) => break,
        }
    }
    assert!(written < 300, "{written}");
    assert!(metered.read(&mut [0; 10]).await.is_err());
    assert_eq!(counted(&metrics), ["leaseway_http2_floods_total{kind=\"made_reset\"} 1"]);
    drop(metered);
    let mut last = Vec::new();
    client.read_to_end(&mut last).await.unwrap();
    assert!(last.ends_with(&raw(frames::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xb])));
}

#[tokio::test(start_paused = true)]
async fn a_goaway_of_the_codecs_is_counted_and_goes_its_way() {
    let (mut client, mut metered, metrics) = metered(1 << 20);
    let frame = raw(frames::GOAWAY, 0, 0, b"\0\0\0\x07\0\0\0\x0btoo many");
    metered.write_all(&frame[..20]).await.unwrap();
    metered.write_all(&frame[20..]).await.unwrap();
    metered.shutdown().await.unwrap();
    assert_eq!(counted(&metrics), ["leaseway_http2_floods_total{kind=\"codec\"} 1"]);
    let mut last = Vec::new();
    client.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, frame);
}

/// Takes all that there is, and writes it nowhere.
async fn take(metered: &mut Metered<DuplexStream>, count: usize) -> io::Result<()> {
    metered.read_exact(&mut vec![0; count]).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_too_long_share_what_may_be_under_way_of_them() {
    let (metrics, begin) =
        (Arc::new(Metrics::new().unwrap()), [PREFACE, &raw(HEADERS, 0, 1, &[0; 1 << 14])].concat());
    let floods = Floods::new(metrics.clone());
    let mut all = Vec::new();
    let found = loop {
        let (mut client, server) = duplex(1 << 21);
        let mut metered = Metered::new(server, Ipv4Addr::LOCALHOST.into(), floods.clone(), now);
        let rest = raw(CONTINUATION, 0, 1, &[0; 1 << 14]).repeat(64);
        client.write_all(&[&*begin, &rest].concat()).await.unwrap();
        if let Err(error) = take(&mut metered, begin.len() + rest.len()).await {
            break error;
        }
        all.push((client, metered));
    };
    assert_eq!(
        found.to_string(),
        "the client floods the connection with a head that is too long, while too many of such come"
    );
    assert_eq!(all.len(), 32 * 1024 / (1024 + 16 - 64));
    // One of them has come whole.
    let (client, metered) = all.last_mut().unwrap();
    let last = raw(CONTINUATION, 4, 1, &[]);
    client.write_all(&last).await.unwrap();
    take(metered, last.len()).await.unwrap();
    all.pop();
    assert!(floods.long_heads.available_permits() > 1 << 20);
    drop(all);
    assert_eq!(floods.long_heads.available_permits(), 32 << 20);
    assert_eq!(counted(&metrics), ["leaseway_http2_floods_total{kind=\"head\"} 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_head_is_looked_at_before_more_is_read() {
    let (mut client, mut metered, _metrics) = metered(1 << 20);
    let large = [PREFACE, &raw(HEADERS, 4, 1, &[0; 2000])].concat();
    client.write_all(&large).await.unwrap();
    take(&mut metered, large.len()).await.unwrap();
    client.write_all(&raw(PING, 0, 0, &[1; 8])).await.unwrap();
    let mut room = [0; 17];
    let mut room = ReadBuf::new(&mut room);
    let mut polled = Vec::new();
    std::future::poll_fn(|cx| {
        let poll = Pin::new(&mut metered).poll_read(cx, &mut room);
        polled.push(poll.is_ready());
        poll
    })
    .await
    .unwrap();
    assert_eq!(polled, [false, true]);
}
