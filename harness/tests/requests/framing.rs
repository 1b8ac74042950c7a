//! Where a request's body ends.

use anyhow::Result;
use harness::{
    stack::{Carrier, GatewayOptions},
    wire::{Instance, Wire},
};

use super::{Fixture, answered, refused};

const CHUNKED: &str = "POST /goods HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn fixture() -> Result<(Fixture, Instance)> {
    let instance = Instance::recording(answered).await?;
    Ok((Fixture::over(&instance, GatewayOptions::default()).await?, instance))
}

/// A front that skips empty lines takes what follows for a chunk of 42 bytes; who takes the empty line for the last chunk
/// takes it for a request.
#[tokio::test]
async fn an_empty_line_is_no_last_chunk() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let smuggled = "GET /goods/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for body in [
        format!("\r\n2a\r\n{smuggled}\r\n0\r\n\r\n"),
        format!("\r\n\r\n{smuggled}"),
        format!("3\r\nabc\r\n\r\n{smuggled}"),
        format!(" 0\r\n\r\n{smuggled}"),
        format!("-0\r\n\r\n{smuggled}"),
        format!("0x0\r\n\r\n{smuggled}"),
        format!(";\r\n\r\n{smuggled}"),
    ] {
        refused(&fixture, format!("{CHUNKED}{body}").as_bytes(), 400).await?;
    }
    assert_eq!((instance.requests().len(), instance.failures()), (0, Vec::new()));
    Ok(())
}

#[tokio::test]
async fn chunks_that_could_be_read_in_two_ways_are_refused() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3;x\ny\r\nabc\r\n0\r\n\r\n",
        "3;x=\0\r\nabc\r\n0\r\n\r\n",
        "3;x\ry\r\nabc\r\n0\r\n\r\n",
        "3 x\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\nGET /goods HTTP/1.1\r\n\r\n",
    ] {
        refused(&fixture, format!("{CHUNKED}{body}").as_bytes(), 400).await?;
    }
    assert_eq!((instance.requests().len(), instance.failures()), (0, Vec::new()));
    Ok(())
}

/// The instance has a part of the body already: it never gets the end of it.
#[tokio::test]
async fn what_turns_out_to_be_wrong_on_the_way_is_broken_off_at_the_instance() -> Result<()> {
    let heads = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let told = heads.clone();
    let instance = Instance::start(move |mut wire| {
        let told = told.clone();
        async move {
            let head = wire.request_head().await?;
            told.add_permits(1);
            wire.body_of(&head).await?;
            anyhow::bail!("a whole request arrived")
        }
    })
    .await?;
    let fixture = Fixture::over(&instance, GatewayOptions::default()).await?;
    for wrong in ["\r\n\r\n", "x\r\n", "0\r\nX\r\n\r\n", "1\r\nab\r\n"] {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        wire.send(format!("{CHUNKED}3\r\nabc\r\n")).await?;
        heads.acquire().await?.forget();
        wire.send(wrong).await?;
        let answer = wire.answer("POST").await?;
        assert_eq!(answer.head.status(), 400, "{wrong:?}");
        wire.rest().await?;
    }
    assert_eq!(instance.failures(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn however_a_body_is_cut_into_chunks_it_arrives_as_it_was() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for (chunks, body) in [
        ("0\r\n\r\n", ""),
        ("000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5;name=value;other=\"a;b\"\r\nhello\r\n0;last\r\n\r\n", "hello"),
        ("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "hello"),
        ("0005\r\n\r\n0\r\n\r\n0\r\n\r\n", "\r\n0\r\n"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    ] {
        wire.send(format!("{CHUNKED}{chunks}")).await?;
        assert_eq!(wire.answer("POST").await?.text(), body, "{chunks:?}");
    }
    let long = "x".repeat(300_000);
    wire.send(format!("{CHUNKED}{:x}\r\n{long}\r\n0\r\n\r\n", long.len())).await?;
    assert!(wire.answer("POST").await?.text() == long, "the long one differs");
    assert_eq!(instance.failures(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_length_reaches_the_instance_in_one_way_of_writing() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    for (written, length) in
        [("5", 5), ("05", 5), ("0000000000000000000000005", 5), ("010", 10), ("0", 0), ("00", 0)]
    {
        let body = "x".repeat(length);
        wire.send(format!("POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: {written}\r\n\r\n{body}"))
            .await?;
        assert_eq!(wire.answer("POST").await?.text(), body, "{written}");
        let told = length.to_string();
        assert_eq!(instance.last()?.head.get("content-length"), Some(told.as_str()), "{written}");
    }
    for head in [
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999999999\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5 \x0b\r\n",
    ] {
        let request = format!("POST /goods HTTP/1.1\r\nHost: a\r\n{head}\r\nhello");
        refused(&fixture, request.as_bytes(), 400).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_once_and_alone_is_refused() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    for (codings, status) in [
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked, gzip\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
    ] {
        let request = format!("POST /goods HTTP/1.1\r\nHost: a\r\n{codings}\r\n0\r\n\r\n");
        refused(&fixture, request.as_bytes(), status).await?;
    }
    assert_eq!(instance.requests().len(), 0);
    Ok(())
}

/// What says how a message is to be treated does not stand behind it: RFC 9110, 6.5.1.
#[tokio::test]
async fn trailers_reach_the_instance_but_for_those_that_belong_in_a_head() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    let trailers = "X-Sum: 1\r\nContent-Length: 9\r\nHost: b\r\nX-Forwarded-For: 1.2.3.4\r\nx-sum: 2\r\n";
    wire.send(format!("{CHUNKED}1\r\na\r\n0\r\n{trailers}\r\n")).await?;
    assert_eq!(wire.answer("POST").await?.text(), "a");
    let expected: &[&str] = Carrier::either(&["X-Sum: 1", "x-sum: 2"], &[]);
    assert_eq!(instance.last()?.trailers.beginning(""), expected);
    Ok(())
}
