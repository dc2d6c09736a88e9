//! What plans and applies of 1,000 objects cost.
//!
//! - `cargo bench -p platform-k8s --bench apply`: on the embedded API, client and server together.
//! - `cargo bench -p platform-k8s --bench apply -- --check`: beside `kubectl` on the server that `KUBECONFIG` names, in the same run and with
//!   the same objects; fails where a goal is missed. `kubectl` is that of `PLATFORM_KUBECTL` or of the `PATH`. `--rounds N` sets how often each
//!   side does it all, 3 unless told otherwise. The objects are in ten namespaces that begin with `bench-apply-`, made and deleted by the run.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod beside_kubectl;
mod embedded;
mod kubectl;
mod measure;
mod objects;
mod platform;
mod server;

use criterion::Criterion;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--check") {
        let rounds = arguments.iter().position(|argument| argument == "--rounds");
        let rounds = rounds.map_or(3, |at| {
            let given = arguments.get(at + 1).and_then(|rounds| rounds.parse().ok());
            given.filter(|rounds| *rounds > 0).expect("--rounds takes a number from 1")
        });
        return beside_kubectl::check(rounds);
    }
    let mut criterion = Criterion::default().configure_from_args();
    embedded::apply(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}
