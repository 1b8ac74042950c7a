//! Makes the messages, the server and the client of the gRPC service.

fn main() -> std::io::Result<()> {
    tonic_prost_build::compile_protos("proto/shop/v1/goods.proto")
}
