use super::{Framing, Message};

fn request(text: &str) -> anyhow::Result<Option<(Message, usize)>> {
    Message::request(text.as_bytes())
}

#[test]
fn a_request_is_read_to_its_end_and_no_further() {
    for (head, body, framing) in [
        ("", "", Framing::None),
        ("Content-Length: 3\r\n", "abc", Framing::Length(3)),
        ("Transfer-Encoding: chunked\r\n", "1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: u\r\n\r\n", Framing::Chunked),
    ] {
        let whole = format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n{body}");
        for cut in 0..whole.len() {
            assert!(matches!(request(&whole[..cut]), Ok(None)), "{}", &whole[..cut]);
        }
        let (message, length) = request(&format!("{whole}GET /")).unwrap().unwrap();
        assert_eq!((length, message.framing), (whole.len(), framing));
        assert_eq!(message.text(), if body.is_empty() { "" } else { "abc" });
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_an_error() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n X: y\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n",
        "GET / HTTP/1.1\r\nHost: \r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 03\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
    ] {
        assert!(request(&format!("{head}\r\n")).is_err(), "{head:?}");
    }
    for body in [
        "\r\n",
        "x\r\n",
        "1\r\nab\r\n",
        "1\nab",
        "1;\0\r\n",
        "1;\r\na\r\n",
        "0\r\nx\r\n\r\n",
        "12345678123456781\r\n",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert!(request(&text).is_err(), "{body:?}");
    }
}

#[test]
fn an_answer_ends_where_its_request_and_its_status_say() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    let close = "HTTP/1.1 200 OK\r\n\r\n";
    for (text, method, ended, body) in [
        (format!("{length}ab"), "GET", false, Some("ab")),
        (format!("{length}a"), "GET", true, None),
        (length.to_owned(), "HEAD", false, Some("")),
        (format!("{close}ab"), "GET", false, None),
        (format!("{close}ab"), "GET", true, Some("ab")),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n".to_owned(), "GET", false, Some("")),
    ] {
        let read = Message::answer(text.as_bytes(), method, ended).unwrap();
        assert_eq!(read.map(|(message, _)| message.text()).as_deref(), body, "{text:?}");
    }
    for text in [
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 X\r\n\r\n",
    ] {
        assert!(Message::answer(text.as_bytes(), "GET", true).is_err(), "{text:?}");
    }
}
