//! The bytes that clients and instances send, by their plans.

use std::fmt::Write;

use super::scenario::{AnswerPlan, Body, Fault, Framing, HEADS, RequestPlan, Tunnel};

/// Names a request: which client's, and which of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    pub(super) client: usize,
    pub(super) request: usize,
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.client, self.request)
    }
}

impl Tag {
    pub(super) fn parse(text: &str) -> Self {
        let (client, request) = text.split_once('.').expect("a tag");
        Self { client: client.parse().unwrap(), request: request.parse().unwrap() }
    }

    /// What this request, or one side of its tunnel, says: nobody else says the same.
    fn text(self, kind: u64, size: usize) -> Vec<u8> {
        let seed = (self.client as u64) << 40 | (self.request as u64) << 32 | kind;
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        bytes
    }

    pub(super) fn request_data(self, plan: &RequestPlan) -> Vec<u8> {
        self.text(0, plan.body.size)
    }

    pub(super) fn answer_data(self, plan: &AnswerPlan, attempt: usize) -> Vec<u8> {
        self.text(100 + attempt as u64, plan.body.size)
    }

    pub(super) fn up(self, tunnel: &Tunnel) -> Vec<u8> {
        self.text(1, tunnel.up)
    }

    pub(super) fn down(self, tunnel: &Tunnel) -> Vec<u8> {
        self.text(2, tunnel.down)
    }
}

/// What goes on behind a chunked body, and what does not.
pub(super) const TRAILERS: &str = "X-Trail: 1\r\nx-trail: 2\r\nX-Sum: a b\r\n";
const NO_TRAILERS: [&str; 2] = ["Content-Length: 5\r\n", "Host: b\r\n"];

/// A body as its sender frames it; `clean`: without what must not go on.
pub(super) fn framed(body: &Body, data: &[u8], clean: bool) -> Vec<u8> {
    let Framing::Chunked { chunk, extensions, trailers } = body.framing else { return data.to_vec() };
    let extension = if extensions { ";a;b=\"c ; d\"" } else { "" };
    let mut raw = Vec::with_capacity(data.len() * 2 + 100);
    for piece in data.chunks(chunk.max(data.len() / 100)) {
        raw.extend(format!("{:x}{extension}\r\n", piece.len()).bytes());
        raw.extend_from_slice(piece);
        raw.extend(b"\r\n");
    }
    raw.extend(format!("00{extension}\r\n").bytes());
    if trailers {
        let [before, behind] = if clean { ["", ""] } else { NO_TRAILERS };
        raw.extend([before, TRAILERS, behind].concat().bytes());
    }
    raw.extend(b"\r\n");
    raw
}

/// In the place of the last chunk.
pub(super) const SPOILT: &[u8] = b"5x\r\nGET /spoilt HTTP/1.1\r\nHost: a\r\n\r\n";

/// What comes of a body of which a chunk is none.
pub(super) fn spoil(mut raw: Vec<u8>) -> Vec<u8> {
    let last = raw.windows(4).rposition(|bytes| bytes.starts_with(b"00") && b";\r".contains(&bytes[2]));
    raw.truncate(last.expect("a last chunk"));
    raw.extend_from_slice(SPOILT);
    raw
}

pub(super) fn request_head(tag: Tag, plan: &RequestPlan) -> String {
    let version = if plan.is_1_0 { "1.0" } else { "1.1" };
    let mut head = format!("{} /goods/{tag}?a=b HTTP/{version}\r\nhoST: a\r\n", plan.method);
    head += "X-Dup: 1\r\nAccept: */*\r\nx-dup: 2\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nTE: gzip\r\n";
    let _ = write!(head, "x-Tag: {tag}\r\n");
    let mut connection = vec!["x-hop", "te"];
    match (plan.is_1_0, plan.closes) {
        (false, true) => connection.push("close"),
        (true, false) => connection.push("keep-alive"),
        _ => {}
    }
    if plan.upgrade.is_some() {
        connection.push("Upgrade");
        head += "Upgrade: websocket\r\n";
    }
    let _ = write!(head, "Connection: {}\r\n", connection.join(", "));
    if plan.expects {
        head += "Expect: 100-continue\r\n";
    }
    head += &framing(&plan.body);
    head + "X-dUp: 3\r\n\r\n"
}

/// What a request's head must say to an instance of what its client has said, in this order.
pub(super) fn kept_of_request(tag: Tag, plan: &RequestPlan) -> Vec<(String, String)> {
    let mut kept = vec![("hoST", "a"), ("X-Dup", "1"), ("Accept", "*/*"), ("x-dup", "2")];
    let tag = tag.to_string();
    kept.push(("x-Tag", &tag));
    if plan.expects && !plan.is_1_0 {
        kept.push(("Expect", "100-continue"));
    }
    let framing = framing(&plan.body);
    kept.extend(framing.trim_end().split_once(": "));
    kept.push(("X-dUp", "3"));
    owned(&kept)
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn framing(body: &Body) -> String {
    match body.framing {
        Framing::None | Framing::UntilClose => String::new(),
        Framing::Length => format!("Content-Length: {}\r\n", body.size),
        Framing::Chunked { .. } => "Transfer-Encoding: chunked\r\n".into(),
    }
}

/// The whole body of a request, as its client sends it.
pub(super) fn request_body(tag: Tag, plan: &RequestPlan) -> Vec<u8> {
    let raw = framed(&plan.body, &tag.request_data(plan), false);
    if plan.is_spoilt { spoil(raw) } else { raw }
}

/// The statuses of the heads before an answer.
pub(super) fn interim(request: &RequestPlan, plan: &AnswerPlan) -> Vec<u16> {
    let is_expected = request.expects && !request.is_1_0 && !plan.is_early;
    let first = (is_expected && !plan.is_1_0).then_some(100);
    first.into_iter().chain((0..plan.interim).map(|n| if n % 2 == 0 { 103 } else { 102 })).collect()
}

pub(super) fn interim_head(status: u16) -> String {
    format!("HTTP/1.1 {status} Wait\r\nX-Interim: {status}\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n")
}

pub(super) fn answer_head(tag: Tag, request: &RequestPlan, plan: &AnswerPlan, attempt: usize) -> String {
    match plan.fault {
        Some(Fault::Head(kind)) => return HEADS[kind].into(),
        Some(Fault::Upgrades) => {
            return "HTTP/1.1 101 No\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n".into();
        }
        _ => {}
    }
    if is_tunnel(request, plan) {
        return format!(
            "HTTP/1.1 101 Switching\r\nX-Answer: {tag}.{attempt}\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n"
        );
    }
    let version = if plan.is_1_0 { "1.0" } else { "1.1" };
    let mut head =
        format!("HTTP/{version} {} So  it is\r\nX-Dup: 1\r\nX-Hop: 2\r\nx-dup: 2\r\n", plan.status);
    let connection = match (plan.is_1_0, plan.closes) {
        (false, true) => ", close",
        (true, false) => ", keep-alive",
        _ => "",
    };
    let _ = write!(head, "Connection: x-hop{connection}\r\nX-Answer: {tag}.{attempt}\r\n");
    head + &framing(&plan.body) + "X-dUp: 3\r\n\r\n"
}

/// The body that an instance sends.
pub(super) fn answer_body(tag: Tag, request: &RequestPlan, plan: &AnswerPlan, attempt: usize) -> Vec<u8> {
    if request.is_bare(plan) || matches!(plan.fault, Some(Fault::Head(_) | Fault::Upgrades)) {
        return Vec::new();
    }
    let raw = framed(&plan.body, &tag.answer_data(plan, attempt), false);
    if plan.fault == Some(Fault::Spoilt) { spoil(raw) } else { raw }
}

/// Whether the two agree on a tunnel.
pub(super) fn is_tunnel(request: &RequestPlan, plan: &AnswerPlan) -> bool {
    request.upgrade.is_some()
        && !plan.is_1_0
        && plan.status == 200
        && matches!(plan.fault, None | Some(Fault::Leaves(..)))
}
