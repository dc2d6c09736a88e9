//! What the containers of simulated pods have printed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// Lines kept for one container; older ones are dropped, as a kubelet's log rotation drops them.
const LINES: usize = 10_000;

/// The logs of all containers, by namespace, pod and container.
#[derive(Debug, Default)]
pub struct Logs {
    pods: Mutex<Pods>,
}

/// By namespace and name, then by container.
type Pods = HashMap<(String, String), HashMap<String, VecDeque<Line>>>;

/// One line and when it was printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was printed.
    pub at: Timestamp,
    /// The line without its end.
    pub text: String,
}

impl Logs {
    /// Adds a line to a container's log.
    pub fn append(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        at: Timestamp,
        text: impl Into<String>,
    ) {
        let mut pods = self.lock();
        let of_pod = pods.entry((namespace.to_owned(), pod.to_owned())).or_default();
        let lines = of_pod.entry(container.to_owned()).or_default();
        lines.push_back(Line { at, text: text.into() });
        if lines.len() > LINES {
            lines.pop_front();
        }
    }

    /// The lines of a container, oldest first; none if it printed nothing.
    pub fn read(&self, namespace: &str, pod: &str, container: &str) -> Vec<Line> {
        let pods = self.lock();
        let of_pod = pods.get(&(namespace.to_owned(), pod.to_owned()));
        of_pod.and_then(|pod| pod.get(container)).into_iter().flatten().cloned().collect()
    }

    pub(super) fn forget(&self, namespace: &str, pod: &str) {
        self.lock().remove(&(namespace.to_owned(), pod.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
