//! The four kinds of call, and messages of any size.

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use harness::{
    certificates::Authority,
    grpc::{Client, GrpcBackend, GrpcOptions, TonicBackend, TonicClient, compressed, framed},
    link::{TlsClient, TlsServer},
    ports::free_address,
    stack::Gateway,
};
use serde_json::json;
use tokio::{net::TcpStream, sync::mpsc};

use super::{Place, UNARY, assert_ok, code, options, shown};

const HOST: &str = "echo.example";

/// Each kind of call once.
async fn each_kind(client: &mut TonicClient) -> Result<()> {
    let mut request = tonic::Request::new(Bytes::from("hello"));
    request.metadata_mut().insert("x-word", "there".parse()?);
    let answer = client.unary(request).await?;
    assert_eq!(answer.metadata().get("x-word").map(|word| word.as_bytes()), Some(&b"there"[..]));
    assert_eq!(answer.into_inner(), "hello");
    assert_eq!(client.server("a".into()).await?, ["a"; 3]);
    assert_eq!(client.client(vec!["a".into(), "b".into(), "c".into()]).await?, "abc");
    assert_eq!(client.client(Vec::new()).await?, "");
    let (say, said) = mpsc::unbounded_channel::<Bytes>();
    let said = stream::unfold(said, async |mut said| said.recv().await.map(|message| (message, said)));
    let mut answers = client.both(Box::pin(said)).await?;
    for number in 0..100 {
        let message = Bytes::from(format!("message {number}"));
        say.send(message.clone())?;
        assert_eq!(answers.message().await?, Some(message));
    }
    drop(say);
    assert_eq!(answers.message().await?, None);
    Ok(())
}

#[tokio::test]
async fn each_kind_of_call_goes_through() -> Result<()> {
    let backend = TonicBackend::start().await?;
    let gateway = Gateway::start_with_registry(options(&[backend.address()])).await?;
    each_kind(&mut TonicClient::connect(gateway.address()).await?).await?;
    assert_eq!(backend.count(), 5);
    Ok(())
}

#[tokio::test]
async fn each_kind_of_call_goes_through_under_tls() -> Result<()> {
    let (backend, authority, door) =
        (TonicBackend::start().await?, Authority::new("An authority")?, free_address()?);
    let directory = tempfile::tempdir()?;
    let files = authority.server(&[HOST])?.write(directory.path(), "echo")?;
    let listener = json!({ "tls": { "certificates": [files.json()] }, "http2": true });
    let options = options(&[backend.address()]).also_listening_with(door, listener);
    let _gateway = Gateway::start_with_registry(options).await?;
    let tls = TlsClient::new(authority.pem())?.asking_for(HOST);
    each_kind(&mut TonicClient::connect_tls(door, &tls, HOST).await?).await
}

#[tokio::test]
async fn an_instance_is_spoken_to_under_tls() -> Result<()> {
    let (authority, directory) = (Authority::new("An authority")?, tempfile::tempdir()?);
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.pem())?;
    let tls = Some(TlsServer::speaking_http2(&authority.server(&[HOST])?)?);
    let backend = GrpcBackend::start_with("a", GrpcOptions { tls, streams: None }).await?;
    for protocol in ["auto", "h2"] {
        let options = options(&[backend.address()])
            .set("gateway/services/echo/tls", json!({ "ca": ca, "server_name": HOST }))
            .set("gateway/services/echo/protocol", protocol);
        let gateway = Gateway::start_with_registry(options).await?;
        let client = Client::connect(gateway.address()).await?;
        assert_ok(&client.unary(UNARY, &[], b"hello").await?, b"hello")?;
        assert_eq!(backend.last()?.origin.0.as_deref(), Some("https"), "{protocol}");
    }
    Ok(())
}

#[tokio::test]
async fn messages_of_any_size_come_back_whole() -> Result<()> {
    let place = Place::new(1).await?;
    for size in [0, 1, 64 << 10, 4 << 20, 20 << 20] {
        let message: Vec<_> = (0..size).map(|at: usize| (at % 251) as u8).collect();
        assert_ok(&place.unary(&message).await?, &message)?;
        let seen = place.backend().last()?;
        ensure!(seen.messages == [&message[..]], "{size}: {} bytes of it came", seen.received);
    }
    Ok(())
}

#[tokio::test]
async fn a_hundred_messages_go_each_way_at_once() -> Result<()> {
    let place = Place::new(1).await?;
    let (mut upload, mut download) = place.client.call(UNARY, &[]).await?;
    let message = |number: usize| vec![number as u8; number * 1000];
    let send = async {
        for number in 0..100 {
            upload.send(&message(number)).await.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
        }
        upload.finish().map_err(|cut| anyhow::anyhow!("{cut:?}"))
    };
    let receive = async {
        for number in 0..100 {
            let come = download.message().await?.map(|message| message.bytes);
            ensure!(come.as_deref() == Some(&message(number)), "another one than number {number}");
        }
        anyhow::Ok(())
    };
    let (sent, received) = tokio::join!(send, receive);
    sent?;
    received?;
    assert_eq!(download.outcome().await?.status(), Some(code::OK));
    Ok(())
}

#[tokio::test]
async fn many_calls_share_a_clients_connection_and_an_instances() -> Result<()> {
    let place = Place::new(1).await?;
    let mut calls = Vec::new();
    for number in 0..50_u8 {
        let (mut upload, mut download) = place.client.call(UNARY, &[]).await?;
        upload.send(&[number]).await.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
        assert_eq!(download.message().await?.map(|message| message.bytes), Some(vec![number].into()));
        calls.push((upload, download));
    }
    let connections = place.backend().connections();
    assert!(connections.accepted < 10, "{connections:?}");
    for (mut upload, download) in calls {
        upload.finish().map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
        assert_eq!(download.outcome().await?.status(), Some(code::OK));
    }
    Ok(())
}

#[tokio::test]
async fn compression_is_not_touched() -> Result<()> {
    let place = Place::new(1).await?;
    let fields = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip,identity")];
    let (mut upload, download) = place.client.call(UNARY, &fields).await?;
    // What it says is for the instance alone to read.
    let body = [compressed(b"not gzip at all"), framed(b"plain")].concat();
    let (sent, outcome) = tokio::join!(upload.send_all(body.clone().into(), true), download.outcome());
    let outcome = outcome?;
    assert!(sent.is_ok() && outcome.body == body, "{}", shown(&outcome));
    let seen = place.backend().last()?;
    for (name, value) in fields {
        assert_eq!(seen.header(name), Some(value));
    }
    Ok(())
}

#[tokio::test]
async fn streams_of_a_client_that_reads_nothing_do_not_stop_its_others() -> Result<()> {
    let mut place = Place::new(1).await?;
    // Of its connection more may come than of the stream that it does not read.
    let stream = TcpStream::connect(place.gateway.address()).await?;
    let mut windows = h2::client::Builder::new();
    windows.initial_connection_window_size(1 << 20);
    place.client = Client::with(&windows, stream, format!("http://{}", place.gateway.address())).await?;
    let large = vec![1; 4 << 20];
    let (mut upload, download) = place.client.call(UNARY, &[]).await?;
    let sending = tokio::spawn(async move { upload.send_all(framed(&large), true).await });
    // Its answer fills all windows that there are for this stream.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for _ in 0..20 {
        assert_ok(&place.unary(b"small").await?, b"small")?;
    }
    let outcome = download.outcome().await?;
    sending.await?.map_err(|cut| anyhow::anyhow!("{cut:?}"))?;
    assert_eq!((outcome.status(), outcome.body.len()), (Some(code::OK), (4 << 20) + 5));
    let answers = stream::iter(0..20).then(|_| place.unary(b"again")).collect::<Vec<_>>().await;
    answers.into_iter().try_for_each(|answer| assert_ok(&answer?, b"again"))
}
