//! Servers of a test's own, which it may kill.

use super::world::variable;
use std::{path::PathBuf, process::Command};

pub(crate) struct Server {
    programs: PathBuf,
    data: tempfile::TempDir,
    pub(crate) address: String,
}

impl Server {
    /// Starts a server by the program `start` of the folder that `variable` names. It prints `NAME=ADDRESS`.
    pub(crate) fn start(folder: &str) -> Self {
        let mut server = Self {
            programs: PathBuf::from(variable(folder)),
            data: tempfile::tempdir().unwrap(),
            address: String::new(),
        };
        server.again();
        server
    }

    /// Starts it once more, on the same data and the same port.
    pub(crate) fn again(&mut self) {
        let output = Command::new(self.programs.join("start"))
            .arg("--data")
            .arg(self.data.path())
            .arg("--detach")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let address =
            printed.lines().find_map(|line| line.split_once('=').map(|(_, address)| address.trim()));
        let told = || panic!("it did not start: {printed} {}", String::from_utf8_lossy(&output.stderr));
        address.unwrap_or_else(told).clone_into(&mut self.address);
    }

    /// kill -9.
    pub(crate) fn kill(&self) {
        self.stop(&["--kill"]);
    }

    fn stop(&self, arguments: &[&str]) {
        let status = Command::new(self.programs.join("stop"))
            .arg("--data")
            .arg(self.data.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(&["--kill"]);
    }
}
