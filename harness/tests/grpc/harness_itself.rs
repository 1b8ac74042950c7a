//! The client and the backends that the other tests stand on, without a gateway between them.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use harness::{
    certificates::Authority,
    grpc::{
        Act, Client, Cut, Frame, FrameBackend, GrpcBackend, GrpcOptions, Reason, Step, TonicBackend,
        TonicClient, kind,
    },
    link::{TlsClient, TlsServer},
};

use super::{PATIENCE, SOON, UNARY, assert_ok, code};

#[tokio::test]
async fn what_is_sent_is_seen_and_comes_back() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let client = Client::connect(backend.address()).await?;
    let large = vec![7; 3 << 20];
    for message in [&b""[..], b"hello", &large] {
        let outcome = client.unary(UNARY, &[("x-a", "b")], message).await?;
        assert_ok(&outcome, message)?;
        assert_eq!(outcome.served_by(), Some("a"));
        let seen = backend.last()?;
        assert_eq!((seen.header("x-a"), seen.target.as_str(), seen.is_whole), (Some("b"), UNARY, true));
        assert!(seen.messages == [message], "{} messages", seen.messages.len());
    }
    assert_eq!((backend.count(), backend.connections().accepted), (3, 1));
    Ok(())
}

#[tokio::test]
async fn a_backend_does_what_it_is_told() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let client = Client::connect(backend.address()).await?;
    backend.script([
        Act::status("14"),
        Act::default().head(&[]).trailers(&[("x-end", "1")]),
        Act::default().head(&[]).data("abc").step(Step::End),
        Act::reset(Reason::REFUSED_STREAM),
        Act::default()
            .head(&[])
            .data("abc")
            .wait(Duration::from_millis(50))
            .step(Step::Reset(Reason::CANCEL)),
        Act::default().step(Step::Interim(103)).trailers_only("5", &[("grpc-message", "gone")]),
        Act::http(404, &[("content-type", "text/plain")], "nowhere"),
    ]);
    let mut ends = Vec::new();
    for _ in 0..7 {
        ends.push(client.unary(UNARY, &[], b"x").await?);
    }
    assert!(ends[0].is_trailers_only() && ends[0].status() == Some(code::UNAVAILABLE), "{:?}", ends[0]);
    assert_eq!((ends[1].status(), ends[1].last("x-end")), (None, Some("1")));
    assert!(ends[2].trailers.is_none() && ends[2].cut.is_none() && ends[2].body == "abc", "{:?}", ends[2]);
    assert_eq!((ends[3].http, &ends[3].cut), (0, &Some(Cut::Reset(Reason::REFUSED_STREAM))));
    assert_eq!((ends[4].http, &ends[4].cut), (200, &Some(Cut::Reset(Reason::CANCEL))));
    assert_eq!((ends[5].http, ends[5].last("grpc-message")), (200, Some("gone")));
    assert_eq!((ends[6].http, &ends[6].body[..]), (404, &b"nowhere"[..]));
    Ok(())
}

#[tokio::test]
async fn a_backend_sees_who_leaves_and_can_stand_still() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    let client = Client::connect(backend.address()).await?;
    backend.script([Act::silence()]);
    let (mut upload, _download) = client.call(UNARY, &[]).await?;
    backend.wait_count(1, PATIENCE).await?;
    upload.reset(Reason::CANCEL);
    let is_cut = |call: &harness::grpc::SeenCall| {
        call.cut.as_ref().is_some_and(|(cut, _)| *cut == Cut::Reset(Reason::CANCEL))
    };
    backend.wait(PATIENCE, |calls| is_cut(&calls[0])).await?;

    backend.freeze(true);
    let (mut upload, download) = client.call(UNARY, &[]).await?;
    let (sent, outcome) = tokio::join!(
        upload.send_all(harness::grpc::framed(b"x"), true),
        download.outcome_within(Duration::from_millis(300)),
    );
    assert!(sent.is_ok() && outcome.is_err(), "{outcome:?}");
    backend.freeze(false);
    assert_ok(&client.unary(UNARY, &[], b"y").await?, b"y")
}

#[tokio::test]
async fn a_backend_lets_a_connection_end_and_closes_one() -> Result<()> {
    let backend = GrpcBackend::start("a").await?;
    backend.script([Act::default().step(Step::GoAway).step(Step::Read).trailers_only("0", &[])]);
    let client = Client::connect(backend.address()).await?;
    assert_eq!(client.unary(UNARY, &[], b"x").await?.status(), Some(code::OK));
    client.wait_end(SOON).await?.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    backend.script([Act::default().step(Step::Close)]);
    let client = Client::connect(backend.address()).await?;
    let outcome = client.unary(UNARY, &[], b"x").await?;
    assert!(matches!(outcome.cut, Some(Cut::Broken(_))), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn frames_are_answered_by_hand() -> Result<()> {
    let backend = FrameBackend::start(|mut wire| async move {
        while let Some(frame) = wire.next().await? {
            match frame {
                Frame { kind: kind::HEADERS, stream: 1, .. } => wire.send(&Frame::ok(1)).await?,
                Frame { kind: kind::HEADERS, .. } => wire.send(&Frame::go_away(1)).await?,
                _ => {}
            }
        }
        Ok(())
    })
    .await?;
    let client = Client::connect(backend.address()).await?;
    assert_eq!(client.unary(UNARY, &[], b"x").await?.status(), Some(code::OK));
    let outcome = client.unary(UNARY, &[], b"x").await?;
    assert!(matches!(outcome.cut, Some(Cut::GoAway(Reason::NO_ERROR))), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn tonics_client_and_server_speak_with_each_other() -> Result<()> {
    let backend = TonicBackend::start().await?;
    let mut client = TonicClient::connect(backend.address()).await?;
    assert_eq!(client.unary(tonic::Request::new(Bytes::from("a"))).await?.into_inner(), "a");
    assert_eq!(client.server("a".into()).await?, ["a"; 3]);
    assert_eq!(client.client(vec!["a".into(), "b".into()]).await?, "ab");
    let both = client.both(stream::iter([Bytes::from("a"), Bytes::from("b")])).await?;
    let both: Vec<_> = both.map(Result::unwrap).collect().await;
    assert_eq!(both, ["a", "b"]);
    assert_eq!(backend.count(), 4);
    Ok(())
}

#[tokio::test]
async fn they_agree_on_http2_under_tls() -> Result<()> {
    let authority = Authority::new("An authority")?;
    let tls = Some(TlsServer::speaking_http2(&authority.server(&["echo.example"])?)?);
    let backend = GrpcBackend::start_with("a", GrpcOptions { tls, streams: Some(1) }).await?;
    let tls = TlsClient::new(authority.pem())?.asking_for("echo.example").speaking_http2();
    let link = tls.connect(backend.address()).await?;
    ensure!(link.ssl().and_then(|ssl| ssl.selected_alpn_protocol()) == Some(b"h2"), "no HTTP/2");
    let client = Client::over(link, "https://echo.example").await?;
    assert_ok(&client.unary(UNARY, &[], b"x").await?, b"x")?;
    let seen = backend.last()?;
    assert_eq!(seen.origin, (Some("https".to_owned()), Some("echo.example".to_owned())));
    assert_eq!(client.streams(), 1);
    Ok(())
}
