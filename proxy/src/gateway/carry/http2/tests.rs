//! Whole exchanges in memory: clients who speak HTTP/2, and instances that speak this or that.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::gateway::door::bench::{Bench, until};
use crate::link::Link;
use crate::tasks::now;

mod model;
mod web;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(7_200);

/// A client's connection, on which HTTP/2 is spoken in clear.
async fn client(bench: &Bench) -> SendRequest<Bytes> {
    let (client, connection) = client::Builder::new().handshake(bench.client()).await.unwrap();
    tokio::spawn(connection);
    client
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://shop.example{path}")).body(()).unwrap()
}

fn call() -> Request<()> {
    let call = Request::post("http://shop.example/shop.v1.Goods/List");
    call.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

/// Sends a request without a body.
async fn ask(client: &mut SendRequest<Bytes>, request: Request<()>) -> Response<RecvStream> {
    let (answer, _) = client.send_request(request, true).unwrap();
    timeout(LONG, answer).await.expect("no answer").unwrap()
}

/// Begins to send one with a body.
fn begin(client: &mut SendRequest<Bytes>, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
    client.send_request(request, false).unwrap()
}

/// All of a body, and what stands behind it.
async fn whole(mut body: RecvStream) -> Result<(String, Option<HeaderMap>), h2::Error> {
    let mut text = String::new();
    while let Some(piece) = timeout(LONG, body.data()).await.expect("nothing comes") {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len()).unwrap();
        text += std::str::from_utf8(&piece).unwrap();
    }
    Ok((text, timeout(LONG, body.trailers()).await.expect("nothing comes")?))
}

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// An instance's connection, on which HTTP/2 is spoken. What is asked comes out of it.
async fn instance(bench: &mut Bench) -> tokio::sync::mpsc::UnboundedReceiver<Asked> {
    instance_with(bench.instance().await, &server::Builder::new()).await
}

async fn instance_with(link: Link, builder: &server::Builder) -> tokio::sync::mpsc::UnboundedReceiver<Asked> {
    let mut connection = builder.handshake::<_, Bytes>(link).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(asked)) = connection.accept().await {
            let _ = sender.send(asked);
        }
    });
    receiver
}

/// Answers as a call of gRPC that has gone well.
fn answer_call(mut respond: SendResponse<Bytes>, message: &'static str) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(message.as_bytes()), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_speaks_http_1_gets_what_was_asked_in_its_words() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let mut request = Request::post("http://shop.example/a?b");
    for cookie in ["a=1", "b=2"] {
        request = request.header("cookie", cookie);
    }
    let request = request.header("te", "trailers").body(()).unwrap();
    let (answer, mut upload) = begin(&mut client, request);
    upload.send_data(Bytes::from_static(b"hello"), true).unwrap();
    let mut instance = bench.instance().await;
    let head = until(&mut instance, "\r\n\r\n").await;
    assert!(head.starts_with("POST /a?b HTTP/1.1\r\nHost: shop.example\r\n"), "{head}");
    assert!(head.contains("\r\ncookie: a=1; b=2\r\n") && !head.contains("te:"), "{head}");
    assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
    assert_eq!(until(&mut instance, "0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
    let said = "HTTP/1.1 201 Made\r\nConnection: x-a\r\nX-A: 1\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nok\r\n0\r\nX-C: 3\r\nHost: b\r\n\r\n";
    instance.write_all(said.as_bytes()).await.unwrap();
    let answer = timeout(LONG, answer).await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-b"]), (201, &"2".parse().unwrap()));
    assert!(!answer.headers().contains_key("x-a") && answer.headers().contains_key("date"));
    let (text, trailers) = whole(answer.into_body()).await.unwrap();
    let trailers = trailers.unwrap();
    assert_eq!((text.as_str(), trailers.len(), &trailers["x-c"]), ("ok", 1, &"3".parse().unwrap()));
    assert!(bench.log().contains("\"status\":201"));
}

#[tokio::test(start_paused = true)]
async fn calls_go_over_one_connection_to_an_instance_that_speaks_http_2_trailers_and_all() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let (answer, mut upload) = begin(&mut client, call());
    let mut instance = instance(&mut bench).await;
    let (asked, respond) = instance.recv().await.unwrap();
    assert_eq!(asked.uri(), "http://shop.example/shop.v1.Goods/List");
    assert_eq!(asked.headers()["te"], "trailers");
    assert!(asked.headers().contains_key("trace_id") && !asked.headers().contains_key("host"));
    upload.send_data(Bytes::from_static(b"question"), true).unwrap();
    assert_eq!(whole(asked.into_body()).await.unwrap().0, "question");
    answer_call(respond, "message");
    let (text, trailers) = whole(timeout(LONG, answer).await.unwrap().unwrap().into_body()).await.unwrap();
    assert_eq!((text.as_str(), &trailers.unwrap()["grpc-status"]), ("message", &"0".parse().unwrap()));
    let calls = (0..5).map(|_| begin(&mut client, call())).collect::<Vec<_>>();
    for (_, mut upload) in calls.into_iter().map(|(answer, upload)| (drop(tokio::spawn(answer)), upload)) {
        upload.send_data(Bytes::new(), true).unwrap();
    }
    for _ in 0..5 {
        let (_, respond) = timeout(LONG, instance.recv()).await.expect("on the same connection").unwrap();
        answer_call(respond, "message");
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_of_a_call_may_go_on_at_once() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let (answer, mut upload) = begin(&mut client, call());
    let mut instance = instance(&mut bench).await;
    let (asked, mut respond) = instance.recv().await.unwrap();
    let mut questions = asked.into_body();
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut answers = respond.send_response(head, false).unwrap();
    let mut body = timeout(LONG, answer).await.unwrap().unwrap().into_body();
    for turn in 0..3 {
        // Longer than any limit of time for a body that is sent, were it not for the answer that has begun.
        sleep(20 * SECOND).await;
        upload.send_data(Bytes::from(format!("question {turn}")), false).unwrap();
        assert_eq!(questions.data().await.unwrap().unwrap(), format!("question {turn}"));
        answers.send_data(Bytes::from(format!("answer {turn}")), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), format!("answer {turn}"));
    }
    upload.send_data(Bytes::new(), true).unwrap();
    answers
        .send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect())
        .unwrap();
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_one_stream_has_the_instance_leave_it_and_no_other() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let (left, _upload) = begin(&mut client, call());
    let mut instance = instance(&mut bench).await;
    let (_asked, mut respond) = instance.recv().await.unwrap();
    let (stays, mut upload) = begin(&mut client, call());
    upload.send_data(Bytes::new(), true).unwrap();
    let (_other, other) = instance.recv().await.unwrap();
    drop((left, _upload));
    let reset = timeout(LONG, std::future::poll_fn(|cx| respond.poll_reset(cx))).await.expect("not left");
    assert_eq!(reset.unwrap(), Reason::CANCEL);
    answer_call(other, "still here");
    assert_eq!(whole(stays.await.unwrap().into_body()).await.unwrap().0, "still here");
    yield_now().await;
    assert!(bench.log().contains("\"error\":\"the client: "));
}

#[tokio::test(start_paused = true)]
async fn what_an_instance_declines_goes_elsewhere_whatever_it_is() {
    let mut bench = Bench::new();
    // It is published when a while has passed since the first.
    sleep(SECOND).await;
    bench.register(2);
    let mut client = client(&bench).await;
    let (answer, mut upload) = begin(&mut client, call());
    upload.send_data(Bytes::from_static(b"question"), true).unwrap();
    let mut first = instance(&mut bench).await;
    let (_, mut respond) = first.recv().await.unwrap();
    respond.send_reset(Reason::REFUSED_STREAM);
    let mut second = instance(&mut bench).await;
    let (asked, respond) = second.recv().await.unwrap();
    assert_eq!(whole(asked.into_body()).await.unwrap().0, "question");
    answer_call(respond, "elsewhere");
    assert_eq!(whole(answer.await.unwrap().into_body()).await.unwrap().0, "elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_the_client_s_fault_and_it_hears_of_it() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let (answer, mut upload) = begin(&mut client, Request::post("http://a/").body(()).unwrap());
    upload.send_data(Bytes::from_static(b"some"), false).unwrap();
    let mut instance = bench.instance().await;
    let begun = now();
    until(&mut instance, "some\r\n").await;
    let answer = timeout(LONG, answer).await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), (now() - begun).as_secs()), (408, 30));
    assert!(bench.log().contains("its body did not come in time"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let answer = tokio::spawn(client.send_request(get("/"), true).unwrap().0);
    let mut instance = bench.instance().await;
    until(&mut instance, "\r\n\r\n").await;
    instance.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal").await.unwrap();
    drop(instance);
    // The head may not have gone before.
    let error = match timeout(LONG, answer).await.unwrap().unwrap() {
        Ok(answer) => whole(answer.into_body()).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test(start_paused = true)]
async fn an_http_1_client_has_calls_answered_too_with_trailers_behind_chunks() {
    let mut bench = Bench::new();
    let mut client = bench.client();
    let call = "POST /shop.v1.Goods/List HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n\
                Transfer-Encoding: chunked\r\n\r\n8\r\nquestion\r\n0\r\nX-A: 1\r\n\r\n";
    client.write_all(call.as_bytes()).await.unwrap();
    let mut instance = instance(&mut bench).await;
    let (asked, respond) = instance.recv().await.unwrap();
    assert_eq!((asked.method().as_str(), asked.uri().path()), ("POST", "/shop.v1.Goods/List"));
    let (text, trailers) = whole(asked.into_body()).await.unwrap();
    assert_eq!((text.as_str(), &trailers.unwrap()["x-a"]), ("question", &"1".parse().unwrap()));
    answer_call(respond, "message");
    let text = until(&mut client, "0\r\ngrpc-status: 0\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("7\r\nmessage\r\n"), "{text}");
    client.write_all(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(
        until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"),
        "its connection serves on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_preface_comes_within_the_time_of_a_head() {
    let bench = Bench::new();
    let mut client = bench.client();
    client.write_all(b"PRI * HT").await.unwrap();
    sleep(9 * SECOND).await;
    client.write_all(b"TP/2.0\r\n\r\n").await.unwrap();
    let begun = now();
    let text = until(&mut client, "\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 408 ") && (now() - begun).as_secs() <= 1, "{text}");
    let mut client = bench.client();
    client.write_all(super::PREFACE).await.unwrap();
    let mut byte = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut byte).await.unwrap();
    assert_eq!(byte[3], 4, "its SETTINGS");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_streams_in_flight_end_and_idle_connections_go() {
    let mut bench = Bench::new();
    let mut busy = client(&bench).await;
    let idle = client(&bench).await;
    let answer = tokio::spawn(busy.send_request(get("/"), true).unwrap().0);
    let mut instance = bench.instance().await;
    until(&mut instance, "\r\n\r\n").await;
    bench.stop();
    timeout(5 * SECOND, async {
        while idle.clone().ready().await.is_ok() {
            sleep(SECOND / 10).await;
        }
    })
    .await
    .expect("the idle one was not told");
    instance.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    let answer = timeout(LONG, answer).await.unwrap().unwrap().unwrap();
    assert_eq!(whole(answer.into_body()).await.unwrap().0, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_have_so_many_requests_on_one_connection() {
    let mut bench = Bench::with("connections: {requests: 2}");
    let mut client = client(&bench).await;
    let answers: Vec<_> =
        (0..2).map(|_| tokio::spawn(client.send_request(get("/"), true).unwrap().0)).collect();
    for _ in 0..2 {
        let mut instance = bench.instance().await;
        until(&mut instance, "\r\n\r\n").await;
        instance.write_all(b"HTTP/1.1 204 No\r\n\r\n").await.unwrap();
    }
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap().unwrap().status().as_u16(), 204);
    }
    timeout(5 * SECOND, async {
        while client.clone().ready().await.is_ok() {
            sleep(SECOND / 10).await
        }
    })
    .await
    .expect("it was not told to leave");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_two_hosts_or_for_none_is_declined() {
    let bench = Bench::new();
    let mut client = client(&bench).await;
    let two = Request::get("http://a/").header("host", "b").body(()).unwrap();
    assert_eq!(ask(&mut client, two).await.status().as_u16(), 400);
    assert!(bench.log().contains(super::head::TWO_HOSTS));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_speaks_http_1_is_told_each_length_once() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    for (lengths, body, expected) in [(&[][..], "", "0"), (&["05", "5"], "hello", "5")] {
        let mut request = Request::post("http://a/");
        for length in lengths {
            request = request.header("content-length", *length);
        }
        let request = request.body(()).unwrap();
        let (_answer, mut upload) = client.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            upload.send_data(Bytes::from(body), true).unwrap();
        }
        let head = until(&mut bench.instance().await, "\r\n\r\n").await;
        let said: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("content-length: ")).collect();
        assert_eq!((said, head.contains("chunked")), (vec![expected], false), "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http_1_serves_on_unless_its_answer_came_early() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let answered = tokio::spawn(client.send_request(get("/"), true).unwrap().0);
    let mut first = bench.instance().await;
    until(&mut first, "\r\n\r\n").await;
    first.write_all(ok).await.unwrap();
    assert_eq!(answered.await.unwrap().unwrap().status().as_u16(), 200);
    let (early, mut upload) = begin(&mut client, Request::post("http://a/").body(()).unwrap());
    upload.send_data(Bytes::from_static(b"some"), false).unwrap();
    until(&mut first, "some\r\n").await;
    first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n").await.unwrap();
    let early = timeout(LONG, early).await.unwrap().unwrap();
    // Both come to their end, but the answer had begun before.
    upload.send_data(Bytes::new(), true).unwrap();
    until(&mut first, "0\r\n\r\n").await;
    first.write_all(b"x").await.unwrap();
    assert_eq!(whole(early.into_body()).await.unwrap().0, "x");
    let _next = client.send_request(get("/"), true).unwrap();
    until(&mut bench.instance().await, "\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_in_a_call_that_both_sides_may_go_on_with_is_to_blame_for_the_silence() {
    let mut bench = Bench::new();
    let mut client = client(&bench).await;
    let (answer, _upload) = begin(&mut client, call());
    let mut instance = instance(&mut bench).await;
    let (_asked, mut respond) = instance.recv().await.unwrap();
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let _stream = respond.send_response(head, false).unwrap();
    let body = timeout(LONG, answer).await.unwrap().unwrap().into_body();
    let (_, trailers) = whole(body).await.unwrap();
    assert_eq!(trailers.unwrap()["grpc-status"], "4");
    yield_now().await;
    assert!(bench.log().contains("\"reason\":\"client\""));
}
