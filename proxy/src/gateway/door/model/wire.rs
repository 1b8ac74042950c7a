//! What comes over a connection, read strictly and byte after byte, by nothing that the carrier reads with.

use harness::wire::{Fields, Framing, Head};

/// A message, as far as it has come.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) head: Head,
    pub(super) framing: Framing,
    /// All that came behind its head.
    pub(super) raw: Vec<u8>,
    /// Its content.
    pub(super) data: Vec<u8>,
    pub(super) trailers: Fields,
    pub(super) is_whole: bool,
}

/// How a connection ended, as who read from it saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
}

/// Reads requests, or the answers to requests of these methods.
#[derive(Debug)]
pub(super) struct Reader {
    /// None: they are requests.
    methods: Option<Vec<&'static str>>,
    /// The line or the head that has not come whole.
    part: Vec<u8>,
    state: State,
    pub(super) messages: Vec<Seen>,
    /// What came when the connection had become a tunnel.
    pub(super) tunnel: Vec<u8>,
    pub(super) end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of data.
    Data(usize),
    Size,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilEnd,
    Tunnel,
}

impl Reader {
    pub(super) fn of_requests() -> Self {
        Self::new(None)
    }

    pub(super) fn of_answers(methods: Vec<&'static str>) -> Self {
        Self::new(Some(methods))
    }

    fn new(methods: Option<Vec<&'static str>>) -> Self {
        let (part, messages, tunnel) = (Vec::new(), Vec::new(), Vec::new());
        Self { methods, part, state: State::Head, messages, tunnel, end: None }
    }

    /// Whether nothing has come of another message.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Head && self.part.is_empty()
    }

    /// Answers that are no interim ones, and are whole.
    pub(super) fn answered(&self) -> usize {
        self.messages.iter().filter(|seen| seen.is_whole && seen.head.status() >= 200).count()
    }

    /// What comes from here on is no message.
    pub(super) fn becomes_tunnel(&mut self) {
        self.state = State::Tunnel;
    }

    pub(super) fn ended(&mut self, end: End) {
        self.end = Some(end);
        if self.state == State::UntilEnd && end == End::Closed {
            self.finish();
        }
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.state {
                State::Head => self.line(bytes, b"\r\n\r\n"),
                State::Size | State::ChunkEnd => self.line(bytes, b"\r\n"),
                State::Trailers if self.part.is_empty() && bytes[0] == b'\r' || self.part == b"\r" => {
                    self.line(bytes, b"\r\n")
                }
                State::Trailers => self.line(bytes, b"\r\n\r\n"),
                State::Data(left) | State::Chunk(left) => self.data(bytes, left),
                State::UntilEnd => self.data(bytes, usize::MAX),
                State::Tunnel => {
                    self.tunnel.extend_from_slice(bytes);
                    bytes.len()
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// Takes bytes until these have come, and then all before them for what they are.
    fn line(&mut self, bytes: &[u8], end: &[u8]) -> usize {
        let is_body = self.state != State::Head;
        let mut taken = 0;
        for byte in bytes {
            self.part.push(*byte);
            taken += 1;
            if self.part.ends_with(end) {
                let part = std::mem::take(&mut self.part);
                if is_body {
                    self.current().raw.extend_from_slice(&part);
                }
                self.took(&part);
                break;
            }
        }
        taken
    }

    fn took(&mut self, part: &[u8]) {
        match self.state {
            State::Head => self.head(part),
            State::Size => {
                let line = part.split(|byte| b";\r".contains(byte)).next().unwrap();
                let size = usize::from_str_radix(std::str::from_utf8(line).unwrap(), 16).expect("a size");
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
            }
            State::ChunkEnd => {
                assert_eq!(part, b"\r\n", "behind a chunk");
                self.state = State::Size;
            }
            _ => {
                self.current().trailers = fields(part);
                self.finish();
            }
        }
    }

    fn head(&mut self, part: &[u8]) {
        let (head, framing) = match &self.methods {
            None => {
                let (head, _) = Head::request(part).unwrap().unwrap();
                let framing = Framing::of(&head.fields).unwrap();
                (head, framing)
            }
            Some(methods) => {
                let method = methods.get(self.answered()).expect("more answers than requests");
                let (head, _) = Head::answer(part).unwrap().unwrap();
                // Who has not sent a whole head has not said that it is a HEAD.
                let method = if head.status() == 408 { "GET" } else { method };
                let framing = Framing::of_answer(&head, method).unwrap();
                (head, framing)
            }
        };
        let is_tunnel = self.methods.is_some() && head.status() == 101;
        let (raw, data, trailers) = Default::default();
        self.messages.push(Seen { head, framing, raw, data, trailers, is_whole: false });
        match framing {
            Framing::None | Framing::Length(0) => self.finish(),
            Framing::Length(length) => self.state = State::Data(length),
            Framing::Chunked => self.state = State::Size,
            Framing::Close => self.state = State::UntilEnd,
        }
        if is_tunnel {
            self.becomes_tunnel();
        }
    }

    fn data(&mut self, bytes: &[u8], left: usize) -> usize {
        let count = left.min(bytes.len());
        let current = self.current();
        current.raw.extend_from_slice(&bytes[..count]);
        current.data.extend_from_slice(&bytes[..count]);
        match self.state {
            State::Data(_) if count == left => self.finish(),
            State::Data(_) => self.state = State::Data(left - count),
            State::Chunk(_) if count == left => self.state = State::ChunkEnd,
            State::Chunk(_) => self.state = State::Chunk(left - count),
            _ => {}
        }
        count
    }

    fn finish(&mut self) {
        self.current().is_whole = true;
        self.state = State::Head;
    }

    fn current(&mut self) -> &mut Seen {
        self.messages.last_mut().expect("its head has come")
    }
}

/// The lines of a trailer section.
fn fields(part: &[u8]) -> Fields {
    let text = std::str::from_utf8(part).unwrap();
    let split = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Fields(
        text.split_terminator("\r\n")
            .filter(|line| !line.is_empty())
            .map(|line| split(line).unwrap())
            .collect(),
    )
}
