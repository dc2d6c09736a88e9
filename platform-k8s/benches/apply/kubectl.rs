//! The peer.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// `kubectl`, with the kubeconfig of the run and a cache of its own.
pub(crate) struct Kubectl {
    program: OsString,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(kubeconfig: &Path, cache: &Path) -> Self {
        let program = std::env::var_os("PLATFORM_KUBECTL").unwrap_or_else(|| "kubectl".into());
        Self { program, kubeconfig: kubeconfig.to_owned(), cache: cache.to_owned() }
    }

    /// How long a command takes that must succeed.
    pub(crate) fn time(&self, arguments: &[&str], file: &Path) -> Duration {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(&self.cache);
        command.args(arguments).arg("-f").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let output = command.output().unwrap_or_else(|e| panic!("{} must run: {e}", self.program.display()));
        let took = began.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {} failed: {said}", arguments.join(" "));
        took
    }
}
