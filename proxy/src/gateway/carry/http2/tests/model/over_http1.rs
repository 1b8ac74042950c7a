//! An instance that speaks HTTP/1, by the plans of the requests that come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::bytes::{TRAILER, answer_body, answer_name};
use super::instance::{Fate, Instances, Place};
use super::peer::{Pace, at};
use super::scenario::{AnswerPlan, Fault};
use crate::link::Link;

/// The head of a request.
struct Head {
    method: String,
    path: String,
    /// None: it goes in chunks.
    length: Option<usize>,
}

/// Serves a connection, until it ends.
pub(super) async fn serve(all: Arc<Instances>, instance: usize, link: Link, seed: u64) {
    let connection = all.connects();
    let (from, mut to) = split(link);
    let mut from = BufReader::new(from);
    let mut paces = [1, 2].map(|salt| Pace::new(seed ^ salt));
    while let Ok(Some(head)) = read_head(&mut from).await {
        let place = all.comes((instance, connection), &head.method, &head.path);
        let plan = all.plan(place);
        let [reads, writes] = &mut paces;
        let (told, has_heard) = oneshot::channel();
        let hear = async {
            if hear(&all, place, &head, &mut from, reads).await.is_ok() {
                let _ = told.send(());
            }
        };
        let speak = async {
            if !plan.is_early && has_heard.await.is_err() {
                return Fate::Left;
            }
            sleep(Duration::from_millis(plan.takes)).await;
            speak(plan, place, &mut to, writes).await.unwrap_or(Fate::Left)
        };
        tokio::pin!(hear, speak);
        // Who breaks off, or reads no more, hears no more.
        let fate = tokio::select! {
            fate = &mut speak => {
                if fate == Fate::Answered && plan.reads_rest {
                    hear.await;
                }
                fate
            }
            () = &mut hear => speak.await,
        };
        all.note(place, |attempt| attempt.fate = fate);
        if fate == Fate::Broken {
            all.breaks(connection);
        }
        if fate != Fate::Answered || closes(plan) || plan.is_early {
            return;
        }
    }
}

/// Whether it says that the connection serves nobody else.
fn closes(plan: &AnswerPlan) -> bool {
    matches!(plan.fault, Some(Fault::GoesAway | Fault::GoesAwayBelow))
}

/// None: the connection has ended.
async fn read_head(from: &mut BufReader<ReadHalf<Link>>) -> io::Result<Option<Head>> {
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.is_empty()) {
        let Some(line) = read_line(from).await? else { return Ok(None) };
        lines.push(line);
    }
    let mut words = lines[0].split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let field =
        |name: &str| lines.iter().find_map(|line| Some(line.to_lowercase().strip_prefix(name)?.to_owned()));
    let length = match field("content-length: ") {
        Some(length) => Some(length.parse().unwrap()),
        None => field("transfer-encoding: chunked").is_none().then_some(0),
    };
    Ok(Some(Head { method, path, length }))
}

/// None: the connection has ended.
async fn read_line(from: &mut BufReader<ReadHalf<Link>>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if from.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some(line.to_owned()))
}

async fn hear(
    all: &Instances,
    place: Place,
    head: &Head,
    from: &mut BufReader<ReadHalf<Link>>,
    pace: &mut Pace,
) -> io::Result<()> {
    if let Some(length) = head.length {
        take(all, place, length, from, pace).await?;
        all.note(place, |attempt| attempt.is_whole = true);
        return Ok(());
    }
    loop {
        let line = read_line(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        if length == 0 {
            break;
        }
        take(all, place, length, from, pace).await?;
        assert_eq!(read_line(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?, "");
    }
    let mut trailers = http::HeaderMap::new();
    loop {
        let line = read_line(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let Some((name, value)) = line.split_once(": ") else { break };
        trailers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let trailers = (!trailers.is_empty()).then_some(trailers);
    all.note(place, |attempt| (attempt.trailers, attempt.is_whole) = (trailers, true));
    Ok(())
}

async fn take(
    all: &Instances,
    place: Place,
    length: usize,
    from: &mut BufReader<ReadHalf<Link>>,
    pace: &mut Pace,
) -> io::Result<()> {
    let mut left = length;
    let mut room = [0; 4096];
    while left > 0 {
        pace.pause().await;
        let count = from.read(&mut room[..left.min(4096)]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.note(place, |attempt| attempt.heard.extend_from_slice(&room[..count]));
        left -= count;
    }
    Ok(())
}

async fn speak(
    plan: &AnswerPlan,
    place: Place,
    to: &mut WriteHalf<Link>,
    pace: &mut Pace,
) -> io::Result<Fate> {
    let (breaks_at, body) = match plan.fault {
        Some(Fault::Resets(_, None) | Fault::Closes(None)) => return Ok(Fate::Broken),
        Some(Fault::Resets(_, Some(moment)) | Fault::Closes(Some(moment))) => {
            (Some(at(plan.body.size, moment)), &plan.body)
        }
        _ => (None, &plan.body),
    };
    let is_chunked = body.trailers || !body.has_length;
    let framing = match is_chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", body.size),
    };
    let name = answer_name(place.stream, place.number);
    let connection = if closes(plan) { "Connection: close\r\n" } else { "" };
    let head = format!("HTTP/1.1 200 OK\r\nX-Answer: {name}\r\n{connection}{framing}\r\n\r\n");
    to.write_all(head.as_bytes()).await?;
    let bytes = answer_body(place.stream, place.number, body.size);
    let bytes = &bytes[..breaks_at.unwrap_or(bytes.len())];
    let mut gone = 0;
    while gone < bytes.len() {
        let piece = pace.next(body, bytes, gone).await;
        gone += piece.len();
        match is_chunked {
            true => {
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                to.write_all(&chunk).await?;
            }
            false => to.write_all(piece).await?,
        }
    }
    // What has no byte left to come would be whole.
    if breaks_at.is_some() {
        return Ok(Fate::Broken);
    }
    if is_chunked {
        let trailers =
            if body.trailers { format!("{}: {}\r\n", TRAILER.0, TRAILER.1) } else { String::new() };
        to.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await?;
    }
    Ok(Fate::Answered)
}
