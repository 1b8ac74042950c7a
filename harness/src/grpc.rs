//! gRPC over HTTP/2, by either side: a backend that misbehaves as it is told, and a client that sees what libraries hide,
//! both on the frames' own crate; and tonic's server and client, as people use them.

mod backend;
mod client;
mod frames;
mod load;
mod message;
mod script;
mod stream;
mod tonics;

pub use h2::Reason;

pub use self::{
    backend::{GrpcBackend, GrpcOptions, SeenCall},
    client::{Client, Download, Outcome, Upload},
    frames::{Frame, FrameBackend, FrameWire, kind},
    load::{Call, CallLoad, Calls, End, RunningCalls},
    message::{Message, Messages, compressed, framed},
    script::{Act, Step},
    stream::Cut,
    tonics::{TonicBackend, TonicClient},
};

/// The content type of gRPC.
pub const GRPC: &str = "application/grpc";
