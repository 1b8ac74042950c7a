use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use harness::backend::{Backend as Server, Reply};
use http::request::Parts;
use http::{HeaderValue, Response};
use openssl::ssl::{AlpnError, Ssl, SslAcceptorBuilder, SslVerifyMode, select_next_proto};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_openssl::SslStream;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use super::*;
use crate::causes::plain;
use crate::config::{Check, Initially, Probe, ServiceTls};
use crate::health::probers::Probers;
use crate::tls::fixture::{Instance, Realm, context};
use crate::tls::{Expired, InstanceTls};

const GOODS: &str = "shop.v1.Goods";

/// What comes of asking `goods` for a service: the reason is in the words that people are shown.
async fn ask(address: SocketAddr, service: &str, tls: Option<&Arc<InstanceTls>>) -> Result<(), String> {
    let check = Check {
        probe: Probe::Grpc { service: service.to_owned() },
        interval: Duration::from_secs(5),
        timeout: Duration::from_millis(1_500),
        healthy: std::num::NonZeroU32::MIN,
        unhealthy: std::num::NonZeroU32::MIN,
        initially: Initially::Up,
    };
    let prober = Probers::new().of("goods", &check, tls).unwrap();
    let backend = Backend::new(&address.to_string()).unwrap();
    prober.check(&backend).await.map_err(|error| plain(&error))
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves with tonic, as long as the set is there.
async fn serve(routes: Routes) -> (SocketAddr, JoinSet<()>) {
    let (listener, address) = listen().await;
    let mut served = JoinSet::new();
    let server = tonic::transport::Server::builder().add_routes(routes);
    served.spawn(async move { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
    (address, served)
}

#[tokio::test]
async fn a_service_is_well_while_it_is_being_served() {
    let (reporter, health) = tonic_health::server::health_reporter();
    let (address, _served) = serve(Routes::new(health)).await;
    assert_eq!(ask(address, "", None).await, Ok(()), "the server as a whole");
    let not_known = "bad answer: the instance does not know the service (NOT_FOUND)";
    assert_eq!(ask(address, GOODS, None).await, Err(not_known.into()));
    for (status, expected) in [
        (tonic_health::ServingStatus::Serving, Ok(())),
        (tonic_health::ServingStatus::NotServing, Err("bad answer: the service is NOT_SERVING".into())),
        (tonic_health::ServingStatus::Unknown, Err("bad answer: the service is UNKNOWN".into())),
        (tonic_health::ServingStatus::Serving, Ok(())),
    ] {
        reporter.set_service_status(GOODS, status).await;
        assert_eq!(ask(address, GOODS, None).await, expected);
    }
}

#[tokio::test]
async fn a_server_of_other_calls_does_not_have_these() {
    let (address, _served) = serve(Routes::default()).await;
    let not_there = "bad answer: the instance does not have grpc.health.v1.Health (UNIMPLEMENTED)";
    assert_eq!(ask(address, GOODS, None).await, Err(not_there.into()));
}

#[tokio::test]
async fn a_server_of_http1_does_not_speak_http2() {
    // hyper's closes when it has read the preface. Others answer, as nginx does.
    let closing = Server::start("a", Reply::ok("hello")).await.unwrap();
    let (listener, answering) = listen().await;
    let _answers = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        stream
    });
    for (address, expected) in [
        (
            closing.address(),
            "the connection ended before it, perhaps because the instance does not speak HTTP/2",
        ),
        (answering, "the instance does not speak HTTP/2"),
    ] {
        let told = ask(address, GOODS, None).await.unwrap_err();
        assert!(told.starts_with(&format!("bad answer: {expected}: ")), "{told}");
    }
    let realm = Realm::new("ours");
    let instance = Instance::new(&realm.sign("127.0.0.1")).await;
    let tls = tls(&realm.trusted());
    let told = ask(instance.address, GOODS, Some(&tls)).await;
    assert_eq!(told, Err("bad answer: the instance does not speak HTTP/2".into()));
}

/// What one call is answered with.
#[derive(Clone)]
struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    grpc_status: Option<&'static str>,
}

/// What says that a service is being served.
fn well() -> Answer {
    let body = vec![0, 0, 0, 0, 2, 8, 1];
    Answer { status: 200, content_type: "application/grpc+proto", body, grpc_status: Some("0") }
}

/// The same, with a field of so many bytes that nobody knows: that is passed over.
fn with_more(bytes: usize) -> Vec<u8> {
    let length = [(bytes & 0x7f | 0x80) as u8, (bytes >> 7) as u8];
    let message = [&[8, 1, 0x12], &length[..], &vec![0; bytes]].concat();
    [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat()
}

/// Answers one call. Returns what it was asked once the connection has ended.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) -> (Parts, Vec<u8>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let call = tokio::spawn(async move {
        let (head, mut body) = request.into_parts();
        let mut asked = Vec::new();
        while let Some(part) = body.data().await {
            asked.extend_from_slice(&part.unwrap());
        }
        let response = Response::builder().status(answer.status).header("content-type", answer.content_type);
        let mut sent = respond.send_response(response.body(()).unwrap(), false).unwrap();
        sent.send_data(answer.body.into(), answer.grpc_status.is_none()).unwrap();
        if let Some(status) = answer.grpc_status {
            let trailers = [("grpc-status".parse().unwrap(), HeaderValue::from_static(status))];
            sent.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
        }
        (head, asked)
    });
    while let Some(Ok(_)) = connection.accept().await {}
    call.await.unwrap()
}

async fn answering(with: Answer) -> (SocketAddr, JoinHandle<(Parts, Vec<u8>)>) {
    let (listener, address) = listen().await;
    (address, tokio::spawn(async move { answer(listener.accept().await.unwrap().0, with).await }))
}

#[tokio::test]
async fn a_call_is_made_as_grpc_makes_them_and_its_connection_ends_with_it() {
    let (address, asked) = answering(well()).await;
    assert_eq!(ask(address, GOODS, None).await, Ok(()));
    let (head, body) = asked.await.unwrap();
    assert_eq!((head.method.as_str(), &*head.uri.to_string()), ("POST", &*format!("http://goods{METHOD}")));
    for (name, value) in [("te", "trailers"), ("content-type", CONTENT_TYPE), ("grpc-timeout", "1500m")] {
        assert_eq!(head.headers.get(name).unwrap(), value, "{name}");
    }
    assert_eq!(body, [&[0, 0, 0, 0, 15, 0x0a, 13], GOODS.as_bytes()].concat());
}

#[tokio::test]
async fn what_is_no_answer_of_grpc_is_bad() {
    for (with, expected) in [
        (Answer { status: 503, ..well() }, "unexpected status 503: the answer to a check"),
        (
            Answer { content_type: "text/html", ..well() },
            "bad answer: its content-type is \"text/html\", not application/grpc",
        ),
        (Answer { grpc_status: None, ..well() }, "bad answer: it does not end with a grpc-status"),
        (Answer { body: with_more(LARGEST), ..well() }, "bad answer: its message is no HealthCheckResponse"),
    ] {
        let (address, _asked) = answering(with).await;
        assert_eq!(ask(address, GOODS, None).await, Err(expected.into()));
    }
}

#[test]
fn an_answer_is_judged_by_its_status_and_its_message() {
    let judged = |status: &'static str, body: &[u8]| {
        let end = [("grpc-status".parse().unwrap(), HeaderValue::from_static(status))];
        judge(&HeaderMap::from_iter(end), body)
    };
    let serving = well().body;
    for (status, expected) in [
        ("0", Ok(())),
        ("5", Err(Fault::NotKnown)),
        ("12", Err(Fault::NotThere)),
        ("7", Err(Fault::Failed(Status::PermissionDenied))),
        ("14", Err(Fault::Failed(Status::Unavailable))),
        ("17", Err(Fault::NoStatus)),
    ] {
        assert_eq!(judged(status, &serving), expected, "{status}");
    }
    assert_eq!(judged("0", &with_more(300)), Ok(()));
    for (body, expected) in [
        // Without its one field it has the field's default.
        (&[0, 0, 0, 0, 0][..], Fault::NotServing("UNKNOWN")),
        (&[0, 0, 0, 0, 2, 8, 2], Fault::NotServing("NOT_SERVING")),
        (&[0, 0, 0, 0, 2, 8, 3], Fault::NotServing("SERVICE_UNKNOWN")),
        (&[0, 0, 0, 0, 2, 8, 4], Fault::Message),
        (&[], Fault::Message),
        (&[0, 0, 0, 0], Fault::Message),
        (&[0, 0, 0, 0, 3, 8, 1], Fault::Message),
        (&[0, 0, 0, 0, 2, 8, 1, 0], Fault::Message),
        (&[0, 0, 0, 0, 2, 7, 1], Fault::Message),
        // It would be compressed, which nobody has asked for.
        (&[1, 0, 0, 0, 2, 8, 1], Fault::Message),
    ] {
        assert_eq!(judged("0", body), Err(expected), "{body:?}");
    }
}

fn tls(config: &ServiceTls) -> Arc<InstanceTls> {
    Arc::new(InstanceTls::new(config, None, Expired::Used, SystemTime::now()).unwrap())
}

#[tokio::test]
async fn under_tls_a_call_goes_by_alpn_to_who_is_trusted_and_shows_the_certificate() {
    let (realm, other) = (Realm::new("ours"), Realm::new("theirs"));
    let demand = |builder: &mut SslAcceptorBuilder| {
        builder.set_ca_file(realm.ca()).unwrap();
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x02h2", offered).ok_or(AlpnError::ALERT_FATAL)
        });
    };
    let context = context(&realm.sign("127.0.0.1"), demand);
    let known = ServiceTls { certificate: Some(realm.sign("gateway")), ..realm.trusted() };
    let mistaken = ServiceTls { certificate: known.certificate.clone(), ..other.trusted() };
    for (config, expected) in [(known, true), (realm.trusted(), false), (mistaken, false)] {
        let (listener, address) = listen().await;
        let ssl = Ssl::new(&context).unwrap();
        let asked = tokio::spawn(async move {
            let mut stream = SslStream::new(ssl, listener.accept().await.unwrap().0).unwrap();
            Pin::new(&mut stream).accept().await.ok()?;
            Some(answer(stream, well()).await.0)
        });
        let answer = ask(address, GOODS, Some(&tls(&config))).await;
        assert_eq!(answer.is_ok(), expected, "{config:?}: {answer:?}");
        let head = asked.await.unwrap();
        assert_eq!(head.map(|head| head.uri.to_string()), expected.then(|| format!("https://goods{METHOD}")));
    }
}
