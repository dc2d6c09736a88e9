//! Real programs, from environment variables.

use std::{
    path::PathBuf,
    process::{Command, Output},
};
use tokio::process::Child;

/// The program that a variable names.
pub(crate) fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} names a program"));
    PathBuf::from(path)
}

/// Runs a program to its end.
pub(crate) fn run(program: &std::path::Path, args: &[&std::ffi::OsStr]) -> Output {
    Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{}: {e}", program.display()))
}

/// What a program said.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Starts a program that ends with the test.
pub(crate) fn start(command: &mut tokio::process::Command, log: &std::path::Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true).spawn().unwrap()
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
