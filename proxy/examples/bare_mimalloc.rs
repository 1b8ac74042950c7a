//! The bare proxy with the gateway's allocator: what is left of the difference is the gateway's own.

#[path = "bare.rs"]
mod bare;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    bare::main()
}
