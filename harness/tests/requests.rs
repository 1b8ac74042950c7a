//! What the gateway does with a request, with two worker threads: an answer may be seen by one while the other
//! still begins with the request.

#[path = "requests/mod.rs"]
mod requests;

/// Worker threads of every gateway here.
const THREADS: usize = 2;
