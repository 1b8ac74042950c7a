//! Calls of gRPC-Web, by clients who speak HTTP/2 and by those who speak HTTP/1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const WEB: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";

fn bench() -> Bench {
    Bench::on("{path: /, service: goods, grpc_web: true}", "")
}

fn web_call(content_type: &str) -> Request<()> {
    let call = Request::post("http://shop.example/shop.v1.Goods/List");
    call.header("content-type", content_type).body(()).unwrap()
}

/// What stands in the last piece of an answer that says this.
fn last(lines: &str) -> String {
    let length = u8::try_from(lines.len()).unwrap();
    // As a string, 0x80 cannot be compared.
    let part = [&[0x80, 0, 0, 0, length], lines.as_bytes()].concat();
    STANDARD.encode(part)
}

/// All of a body, in base64, which is one behind the other where the client has asked for text.
async fn whole_web(mut body: RecvStream, is_text: bool) -> (Vec<String>, Option<HeaderMap>) {
    let mut pieces = Vec::new();
    while let Some(piece) = timeout(LONG, body.data()).await.expect("nothing comes") {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        if !piece.is_empty() {
            pieces.push(if is_text {
                String::from_utf8(piece.to_vec()).unwrap()
            } else {
                STANDARD.encode(piece)
            });
        }
    }
    (pieces, timeout(LONG, body.trailers()).await.expect("nothing comes").unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_browser_s_call_goes_on_as_grpc_and_its_answer_s_trailers_come_as_its_last_piece() {
    for (content_type, is_text) in [(WEB, false), (TEXT, true)] {
        let mut bench = bench();
        let mut client = client(&bench).await;
        let (answer, mut upload) = begin(&mut client, web_call(content_type));
        let question = if is_text { "cXVlc3Rpb24=" } else { "question" };
        let (begin, end) = question.split_at(3);
        upload.send_data(Bytes::from(begin), false).unwrap();
        upload.send_data(Bytes::from(end), true).unwrap();
        let mut instance = instance(&mut bench).await;
        let (asked, respond) = instance.recv().await.unwrap();
        assert_eq!(asked.headers()["content-type"], "application/grpc+proto");
        assert_eq!(asked.headers()["te"], "trailers");
        assert_eq!(whole(asked.into_body()).await.unwrap().0, "question");
        answer_call(respond, "message");
        let answer = timeout(LONG, answer).await.unwrap().unwrap();
        let expected = if is_text { "application/grpc-web-text" } else { "application/grpc-web" };
        assert_eq!(answer.headers()["content-type"], expected);
        let (pieces, trailers) = whole_web(answer.into_body(), is_text).await;
        assert_eq!((pieces, trailers), (vec![STANDARD.encode("message"), last("grpc-status: 0\r\n")], None));
        assert!(bench.log().contains("\"grpc_status\":\"OK\""));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_head_says_of_the_end_of_a_call_is_said_in_the_body() {
    for (fields, status, expected) in [
        (&[("content-type", "application/grpc"), ("grpc-status", "5"), ("x-a", "1")][..], 200, "5"),
        (&[("grpc-status", "13"), ("content-length", "0")], 400, "13"),
        (&[("content-type", "text/html")], 503, "14"),
    ] {
        let mut bench = bench();
        let mut client = client(&bench).await;
        let (answer, mut upload) = begin(&mut client, web_call(WEB));
        upload.send_data(Bytes::new(), true).unwrap();
        let mut instance = instance(&mut bench).await;
        let (_, mut respond) = instance.recv().await.unwrap();
        let mut head = Response::builder().status(status);
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        respond.send_response(head.body(()).unwrap(), true).unwrap();
        let answer = timeout(LONG, answer).await.unwrap().unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "application/grpc-web");
        assert!(
            !answer.headers().contains_key("grpc-status") && !answer.headers().contains_key("content-length")
        );
        let (pieces, trailers) = whole_web(answer.into_body(), false).await;
        let text = STANDARD.decode(pieces.concat()).unwrap();
        let text = text.escape_ascii().to_string();
        assert!(
            text.starts_with("\\x80\\x00") && text.contains(&format!("grpc-status: {expected}\\r\\n")),
            "{text}"
        );
        assert_eq!(trailers, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_text_is_the_client_s_fault_and_it_hears_of_that_in_its_own_form() {
    for body in ["aG!=", "aGk"] {
        let mut bench = bench();
        let mut client = client(&bench).await;
        let (answer, mut upload) = begin(&mut client, web_call(TEXT));
        upload.send_data(Bytes::from(body), true).unwrap();
        let _instance = instance(&mut bench).await;
        let answer = timeout(LONG, answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["content-type"], "application/grpc-web-text");
        let text = STANDARD.decode(whole_web(answer.into_body(), true).await.0.concat()).unwrap();
        assert!(text.escape_ascii().to_string().contains("grpc-status: 13"), "{}", text.escape_ascii());
        let log = bench.log();
        assert_eq!(log.matches("its body is said to be base64, and is not").count(), 1, "{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_bodies_come_through_the_windows_of_both_sides_whatever_they_are_written_in() {
    const LENGTH: usize = 1_000_000;
    let mut bench = bench();
    let mut client = client(&bench).await;
    let (answer, mut upload) = begin(&mut client, web_call(TEXT));
    let text = Bytes::from(STANDARD.encode(vec![b'x'; LENGTH]));
    tokio::spawn(async move {
        let mut rest = text;
        while !rest.is_empty() {
            let is_sent = std::future::poll_fn(|cx| {
                crate::gateway::carry::http2::client::send_some(&mut upload, cx, &mut rest, true)
            });
            is_sent.await.unwrap();
        }
    });
    let mut instance = instance(&mut bench).await;
    let (asked, mut respond) = instance.recv().await.unwrap();
    assert_eq!(whole(asked.into_body()).await.unwrap().0.len(), LENGTH);
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from(vec![b'y'; LENGTH]), false).unwrap();
    stream
        .send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect())
        .unwrap();
    let answer = timeout(LONG, answer).await.unwrap().unwrap();
    let (pieces, _) = whole_web(answer.into_body(), true).await;
    assert!(pieces.concat().len() > LENGTH / 3 * 4);
}

/// The same call by a client who speaks HTTP/1.
fn over_http_1(content_type: &str, framing: &str, body: &str) -> String {
    format!(
        "POST /shop.v1.Goods/List HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n{body}"
    )
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_speaks_http_1_has_its_call_answered_too() {
    for (content_type, framing, body, is_text) in [
        (WEB, "Content-Length: 8", "question", false),
        (TEXT, "Content-Length: 12", "cXVlc3Rpb24=", true),
        (TEXT, "Transfer-Encoding: chunked", "5\r\ncXVlc\r\n7\r\n3Rpb24=\r\n0\r\n\r\n", true),
    ] {
        let mut bench = bench();
        let mut client = bench.client();
        client.write_all(over_http_1(content_type, framing, body).as_bytes()).await.unwrap();
        let mut instance = instance(&mut bench).await;
        let (asked, respond) = instance.recv().await.unwrap();
        assert_eq!(asked.headers()["content-type"], "application/grpc+proto");
        assert_eq!(asked.headers()["te"], "trailers");
        assert_eq!(whole(asked.into_body()).await.unwrap().0, "question");
        let head = Response::builder().header("content-type", "application/grpc+proto");
        respond_in_base64(respond, head.body(()).unwrap());
        let text = until(&mut client, "\r\n0\r\n\r\n").await;
        assert!(text.contains(&format!("content-type: {content_type}\r\n")), "{text}");
        let message = if is_text { STANDARD.encode("message") } else { "message".into() };
        assert!(text.contains(&format!("\r\n{message}\r\n")), "{text}");
        let end = if is_text { last("grpc-status: 5\r\n") } else { "grpc-status: 5\r\n".into() };
        assert!(text.ends_with(&format!("{end}\r\n0\r\n\r\n")), "{text}");
        yield_now().await;
        assert!(bench.log().contains("\"grpc_status\":\"NOT_FOUND\""));
    }
}

/// Answers so, with a message, and a status whose last piece is text.
fn respond_in_base64(mut respond: SendResponse<Bytes>, head: Response<()>) {
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(b"message"), false).unwrap();
    stream
        .send_trailers([("grpc-status".parse().unwrap(), "5".parse().unwrap())].into_iter().collect())
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn over_http_1_what_is_said_in_place_of_an_answer_is_in_the_browser_s_form() {
    // Trailers alone, no answer of gRPC, and a body that is no text.
    for (content_type, body, instance_says, expected) in [
        (WEB, "question", Some((200, "application/grpc")), "grpc-status: 8"),
        (WEB, "question", Some((503, "text/html")), "grpc-status: 14"),
        (TEXT, "????????", None, "grpc-status: 13"),
    ] {
        let mut bench = bench();
        let mut client = bench.client();
        client.write_all(over_http_1(content_type, "Content-Length: 8", body).as_bytes()).await.unwrap();
        let mut instance = instance(&mut bench).await;
        if let Some((status, said)) = instance_says {
            let (_, mut respond) = instance.recv().await.unwrap();
            let mut head = Response::builder().status(status).header("content-type", said);
            if status == 200 {
                head = head.header("grpc-status", "8");
            }
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
        client.shutdown().await.unwrap();
        let text = crate::gateway::door::bench::rest(&mut client).await;
        let is_text = content_type == TEXT;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let body = if is_text {
            String::from_utf8_lossy(&STANDARD.decode(body).unwrap()).into()
        } else {
            body.to_owned()
        };
        assert!(body.contains(expected), "{text}");
        assert_eq!(bench.log().contains("is said to be base64, and is not"), is_text);
    }
}
