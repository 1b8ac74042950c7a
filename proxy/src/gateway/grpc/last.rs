//! The fields that a call's answer ends with.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};

use crate::gateway::text::push_escape;
use crate::grpc::Status;

/// That of answers whose messages nobody has written.
pub(in crate::gateway) const TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What an answer ends with that has come to this.
pub(in crate::gateway) fn last_fields(status: Status, message: &str) -> [(HeaderName, HeaderValue); 2] {
    [(STATUS, HeaderValue::from(u16::from(status.code()))), (MESSAGE, escaped(message))]
}

/// The head of an answer that consists of these fields alone.
pub(in crate::gateway) fn head_that_ends(fields: [(HeaderName, HeaderValue); 2]) -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert(header::CONTENT_TYPE, TYPE);
    head.headers_mut().extend(fields);
    head
}

/// What can be seen in ASCII as it is but `%`, and each other byte as `%XX`.
fn escaped(message: &str) -> HeaderValue {
    let mut text = Vec::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => text.push(byte),
            _ => push_escape(&mut text, byte),
        }
    }
    // What is left is visible, and so always a value.
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_within_its_line_whatever_it_says() {
        assert_eq!(escaped("100 % \"sure\"\r\n"), "100 %25 \"sure\"%0D%0A");
        assert_eq!(escaped("über"), "%C3%BCber");
    }
}
