//! One program, compiled against each runtime's crate. Where they differ, it does not compile.

mod on_tokio {
    use pointsub_tokio as pointsub;

    include!("program.in.rs");
}

mod on_async_std {
    use pointsub_async_std as pointsub;

    include!("program.in.rs");
}

mod on_smol {
    mod pointsub {
        pub(super) use pointsub_async_std::SmolNode as Node;
        pub(super) use pointsub_async_std::*;
    }

    include!("program.in.rs");
}

#[test]
fn the_program_runs_on_tokio() {
    let tokio = tokio::runtime::Runtime::new().expect("a tokio runtime");
    tokio.block_on(on_tokio::program()).expect("it ends well");
}

#[test]
fn the_program_runs_on_async_std() {
    async_std::task::block_on(on_async_std::program()).expect("it ends well");
}

#[test]
fn the_program_runs_on_smol() {
    smol::block_on(on_smol::program()).expect("it ends well");
}
