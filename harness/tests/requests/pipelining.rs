//! Several requests on their way at once.

use anyhow::{Result, ensure};
use harness::{
    stack::GatewayOptions,
    wire::{Instance, Wire},
};

use super::{Fixture, answered};

async fn fixture() -> Result<(Fixture, Instance)> {
    let instance = Instance::recording(answered).await?;
    Ok((Fixture::over(&instance, GatewayOptions::default()).await?, instance))
}

#[tokio::test]
async fn requests_of_every_framing_are_answered_in_their_order() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    let (mut requests, mut bodies) = (String::new(), Vec::new());
    for number in 0..30 {
        let body = if number % 3 == 0 { String::new() } else { format!("body of {number}") };
        let length = body.len();
        let framed = match number % 3 {
            0 => "\r\n".to_owned(),
            1 => format!("Content-Length: {length}\r\n\r\n{body}"),
            _ => format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        };
        requests += &format!("POST /goods/{number} HTTP/1.1\r\nHost: a\r\n{framed}");
        bodies.push(body);
    }
    wire.send(&requests).await?;
    for body in &bodies {
        assert_eq!(&wire.answer("POST").await?.text(), body);
    }
    let targets: Vec<_> =
        instance.requests().iter().map(|request| request.head.target().to_owned()).collect();
    assert_eq!(targets, (0..30).map(|number| format!("/goods/{number}")).collect::<Vec<_>>());
    Ok(())
}

/// Wherever the network cuts it: within a head, a body, a chunk's size, between two requests.
#[tokio::test]
async fn where_the_bytes_are_cut_makes_no_difference() -> Result<()> {
    let (fixture, _instance) = fixture().await?;
    let requests = "POST /goods HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                    POST /goods HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n\
                    GET /goods HTTP/1.1\r\nHost: a\r\n\r\n";
    let cut = async |at: usize| {
        let mut wire = Wire::connect(fixture.gateway.address()).await?;
        wire.send(&requests[..at]).await?;
        wire.wait_read().await?;
        wire.send(&requests[at..]).await?;
        for body in ["abc", "xyz", ""] {
            let answer = wire.answer("POST").await?;
            ensure!(answer.head.status() == 200 && answer.text() == body, "cut at {at}: {answer:?}");
        }
        anyhow::Ok(())
    };
    for at in 1..requests.len() {
        cut(at).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_comes_before_a_bad_request_is_answered_and_nothing_behind_it() -> Result<()> {
    let (fixture, instance) = fixture().await?;
    let mut wire = Wire::connect(fixture.gateway.address()).await?;
    let good = "GET /goods HTTP/1.1\r\nHost: a\r\n\r\n";
    wire.send(format!("{good}{good}GET /goods HTTP/1.1\r\nContent-Length: x\r\n\r\n{good}{good}")).await?;
    for status in [200, 200, 400] {
        assert_eq!(wire.answer("GET").await?.head.status(), status);
    }
    assert!(wire.rest().await?.0.is_empty());
    assert_eq!(instance.requests().len(), 2);
    Ok(())
}
