//! What stands between a client and the routes: which requests are declined as they are.

mod fields;
pub(crate) mod forged;
mod head;

pub(crate) use fields::Fields;
pub(crate) use head::check;
