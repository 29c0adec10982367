//! Generates the Rust side of the contracts; no `protoc` is needed.

use prost::Message as _;

const FILES: [&str; 9] = [
    "kontiki/v1/errors.proto",
    "kontiki/v1/exchange.proto",
    "kontiki/v1/log.proto",
    "kontiki/v1/pubsub.proto",
    "kontiki/v1/queue.proto",
    "kontiki/v1/requests.proto",
    "kontiki/v1/topics.proto",
    "kontiki/v1/cluster.proto",
    "kontiki/node/v1/node.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::var("CARGO_MANIFEST_DIR")?;
    println!("cargo::rerun-if-changed={root}/kontiki");
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("kontiki.descriptors"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
