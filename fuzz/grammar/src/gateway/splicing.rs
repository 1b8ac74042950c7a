#[path = "../../../../proxy/src/gateway/carry/http1/splice.rs"]
mod splice;

use bytes::Bytes;

use super::edits::FieldsToSend;
use super::grammar::Fields;
use splice::{Added, Splice};

/// What an instance gets by default beside the client's own lines.
const SAID: [(&str, &[u8]); 6] = [
    ("trace_id", &[b'7'; 32]),
    ("traceparent", &[b'7'; 55]),
    ("CDN-Loop", b"leaseway"),
    ("X-Forwarded-For", b"192.0.2.1"),
    ("X-Forwarded-Proto", b"http"),
    ("X-Forwarded-Host", b"shop.example.com"),
];

/// A head as it goes on.
#[derive(Default)]
pub(super) struct Sent {
    added: Added,
    head: Vec<u8>,
}

impl Sent {
    pub(super) fn request(&mut self, came: &Fields, bytes: &[u8]) -> usize {
        let mut lines = Splice::of(came, bytes, &mut self.added);
        lines.remove("connection");
        for (name, value) in SAID {
            let Ok(()) = lines.set(&Bytes::from_static(name.as_bytes()), value);
        }
        self.head.clear();
        lines.write(&mut self.head);
        self.head.len()
    }

    pub(super) fn answer(&mut self, came: &Fields, bytes: &[u8]) -> usize {
        let mut lines = Splice::of(came, bytes, &mut self.added);
        lines.leave_out_named_by_connection(|_| false);
        lines.leave_out(|name, _| {
            matches!(name, "connection" | "keep-alive" | "proxy-connection" | "upgrade")
        });
        let (name, value) = SAID[0];
        let Ok(()) = lines.set(&Bytes::from_static(name.as_bytes()), value);
        self.head.clear();
        lines.write(&mut self.head);
        self.head.len()
    }
}
