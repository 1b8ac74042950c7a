//! What the gateway does with a request, with one worker thread, as on a machine with one core: nothing may wait
//! for what only another thread would do.

#[path = "requests/mod.rs"]
mod requests;

/// Worker threads of every gateway here.
const THREADS: usize = 1;
