//! The fields behind a body in chunks.

use crate::gateway::carry::Block;
use crate::gateway::grammar::{Fields, may_pass};

/// What ends a body without trailers.
const EMPTY_LINE: usize = 2;

/// A trailer section of `count` bytes stands at `from` in what is here: leaves out what no trailer may say. Returns how
/// many bytes it has then.
pub(super) fn fit(block: &mut Block, from: usize, count: usize, trace_header: &[u8]) -> usize {
    if count <= EMPTY_LINE {
        return count;
    }
    let mut fields = Fields::default();
    fields.read_trailers(block.bytes().get(from..from + count).unwrap_or_default());
    let bad = fields.list().iter().filter(|field| !may_pass(fields.name(field), trace_header));
    bad.rev().fold(count, |left, field| {
        block.cut(from + field.line.start(), from + field.line.end());
        left - field.line.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_trailer_may_say_is_cut_out_and_the_rest_stays_where_it_is() {
        for (section, fit_section) in [
            ("\r\n", "\r\n"),
            ("X: 1\r\nx: 2\r\n\r\n", "X: 1\r\nx: 2\r\n\r\n"),
            ("HOST: a\r\nX: 1\r\nContent-Length: 5\r\nX-Forwarded-For: b\r\n\r\n", "X: 1\r\n\r\n"),
            ("Trace_ID: a\r\nTransfer-Encoding: chunked\r\n\r\n", "\r\n"),
        ] {
            let mut block = Block::default();
            block.push(format!("0\r\n{section}GET").as_bytes());
            let left = fit(&mut block, 3, section.len(), b"trace_id");
            assert_eq!(left, fit_section.len());
            assert_eq!(block.bytes(), format!("0\r\n{fit_section}GET").as_bytes());
        }
    }
}
