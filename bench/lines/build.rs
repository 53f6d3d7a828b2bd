//! Generates the code of tonic's services.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/store.proto", "proto/chat.proto"];
    Ok(tonic_prost_build::configure().compile_fds(protox::compile(files, ["proto"])?)?)
}
