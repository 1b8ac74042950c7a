//! What stands between a client and the routes: which requests are declined as they are, and by which path one that is
//! not is routed.

mod fields;
pub(crate) mod forged;
mod head;
mod path;

pub(crate) use fields::Fields;
pub(crate) use head::check;
pub(crate) use path::normalise;
