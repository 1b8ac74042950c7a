//! What stands between a client and the routes: which requests are declined as they are, and by which path one that is not
//! is routed.

pub(crate) mod forged;
mod head;
mod names;
mod path;

pub(crate) use head::check;
pub(crate) use names::Names;
pub(crate) use path::normalise;
