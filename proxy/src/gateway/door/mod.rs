//! What stands between a client and the routes: which requests are declined as they are.

mod fields;
pub(super) mod grammar;
mod head;

use std::borrow::Cow;

use super::answer::Answer;
use crate::head::Head;
use crate::path::normalise;
pub(crate) use fields::Fields;

/// The normalised path of a request that is let through, or how it is declined. `raw` is the head as it came in HTTP/1.
pub(crate) fn enter<'h>(
    head: &'h impl Head,
    fields: Fields,
    raw: Option<&[u8]>,
) -> Result<Cow<'h, str>, Answer> {
    head::check(head, fields, raw).map_err(Answer::bad_head)?;
    normalise(head.path())
        .ok_or(const { Answer::bad_request("the path climbs above the root or is malformed") })
}
