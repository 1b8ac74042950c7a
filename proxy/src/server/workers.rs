//! The threads that carry requests.

use std::io;

use tokio::runtime::{Builder, Handle};

/// So many events are taken from the kernel at once. A thread looks for events after each 61 tasks, and its own queue has room
/// for 256. What does not fit goes to a queue that all threads share, and from that one task is taken while dozens of the
/// others have their turn: with tokio's 1,024 events, of 1,000 busy connections most had their answers after 5 ms and some
/// after 170. With fewer events than the tasks between two looks, whatever these wake included, the queue stays short, and who
/// cannot be served yet waits in the kernel, in the order in which it came.
const EVENTS: usize = 32;

/// They cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the threads that carry requests: {0}")]
pub(super) struct WorkersError(#[from] io::Error);

/// Starts so many. They are in a runtime of their own, since Pingora builds its runtimes without a choice of [`EVENTS`]. It
/// lives as long as the process: connections go on when no more are taken.
///
/// # Errors
/// The system starts no more threads, or has no descriptors left.
pub(super) fn start(threads: usize) -> Result<&'static Handle, WorkersError> {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(threads).thread_name("worker").max_io_events_per_tick(EVENTS).enable_all();
    Ok(Box::leak(Box::new(runtime.build()?)).handle())
}
