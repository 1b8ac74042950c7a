use super::*;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The two sides of a connection, over TCP and in memory.
async fn pairs() -> [(&'static str, Link, Link); 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (one, other) = Link::pair(64);
    [("TCP", Link::Plain(ours.unwrap()), Link::Plain(theirs.unwrap().0)), ("memory", one, other)]
}

async fn stirred(link: &mut Link) {
    poll_fn(|cx| link.poll_stirred(cx)).await;
}

#[tokio::test]
async fn one_is_silent_until_bytes_come_or_its_end() {
    for (kind, mut ours, mut theirs) in pairs().await {
        assert!(ours.is_silent() && ours.is_silent(), "{kind}");
        theirs.write_all(b"x").await.unwrap();
        stirred(&mut ours).await;
        assert!(!ours.is_silent(), "{kind}");
    }
    for (kind, mut ours, theirs) in pairs().await {
        drop(theirs);
        stirred(&mut ours).await;
        assert!(!ours.is_silent(), "{kind}");
    }
}

#[tokio::test]
async fn what_was_waited_for_is_there_to_be_read() {
    for (kind, mut ours, mut theirs) in pairs().await {
        theirs.write_all(b"one").await.unwrap();
        stirred(&mut ours).await;
        stirred(&mut ours).await;
        let mut text = [0; 3];
        ours.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"one", "{kind}");
        assert!(ours.is_silent(), "{kind}");
        theirs.shutdown().await.unwrap();
        stirred(&mut ours).await;
        assert_eq!(ours.read(&mut text).await.unwrap(), 0, "{kind}");
        ours.write_all(b"two").await.unwrap();
        theirs.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"two", "{kind}: one half goes on without the other");
    }
}

#[tokio::test]
async fn one_that_is_reset_does_not_look_as_if_it_had_ended() {
    for (kind, mut ours, mut theirs) in pairs().await {
        theirs.write_all(b"half").await.unwrap();
        stirred(&mut ours).await;
        theirs.reset();
        let error = ours.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{kind}");
    }
}

#[tokio::test]
async fn several_slices_are_written_at_once() {
    for (kind, mut ours, mut theirs) in pairs().await {
        assert!(ours.is_write_vectored(), "{kind}");
        let slices = ["one", " and ", "two"].map(|text| IoSlice::new(text.as_bytes()));
        assert_eq!(ours.write_vectored(&slices).await.unwrap(), 11, "{kind}");
        let mut text = [0; 11];
        theirs.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"one and two", "{kind}");
    }
}

#[tokio::test]
async fn what_is_seen_stays_until_it_is_taken_away() {
    for (kind, mut ours, mut theirs) in pairs().await {
        theirs.write_all(b"one, two").await.unwrap();
        for (expected, taken) in [("one, two", 0), ("one, two", 5), ("two", 1), ("wo", 2)] {
            let mut room = [0; 16];
            let mut room = ReadBuf::new(&mut room);
            poll_fn(|cx| ours.poll_peek(cx, &mut room)).await.unwrap();
            assert_eq!(str::from_utf8(room.filled()), Ok(expected), "{kind}");
            ours.discard(&mut room.filled_mut()[..taken]).unwrap();
        }
        theirs.shutdown().await.unwrap();
        let mut room = [0; 16];
        let mut room = ReadBuf::new(&mut room);
        poll_fn(|cx| ours.poll_peek(cx, &mut room)).await.unwrap();
        assert!(room.filled().is_empty(), "{kind}");
    }
}
