//! The fields behind a body in chunks.

use super::block::Block;
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
