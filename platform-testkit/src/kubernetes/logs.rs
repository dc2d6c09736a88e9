//! What the containers of simulated pods have printed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

/// Lines kept for one container; older ones are dropped, as a kubelet's log rotation drops them.
const LINES: usize = 10_000;

/// The logs of all containers, by namespace, pod and container.
#[derive(Debug, Default)]
pub struct Logs {
    pods: Mutex<Pods>,
    appended: watch::Sender<()>,
}

/// By namespace and name, then by container.
type Pods = HashMap<(String, String), HashMap<String, Log>>;

/// What one container has printed.
#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<Line>,
    /// How many lines were dropped before these.
    dropped: u64,
}

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
        let log = of_pod.entry(container.to_owned()).or_default();
        log.lines.push_back(Line { at, text: text.into() });
        if log.lines.len() > LINES {
            log.lines.pop_front();
            log.dropped += 1;
        }
        drop(pods);
        self.appended.send_replace(());
    }

    /// The lines of a container, oldest first; none if it printed nothing.
    pub fn read(&self, namespace: &str, pod: &str, container: &str) -> Vec<Line> {
        self.since(namespace, pod, container, 0).0
    }

    /// The lines of a container from the one with this number on, and the number of the one after them.
    pub(super) fn since(&self, namespace: &str, pod: &str, container: &str, from: u64) -> (Vec<Line>, u64) {
        let pods = self.lock();
        let of_pod = pods.get(&(namespace.to_owned(), pod.to_owned()));
        let Some(log) = of_pod.and_then(|pod| pod.get(container)) else { return (Vec::new(), from) };
        let skip = usize::try_from(from.saturating_sub(log.dropped)).unwrap_or(usize::MAX);
        let lines: Vec<Line> = log.lines.iter().skip(skip).cloned().collect();
        (lines, log.dropped + log.lines.len() as u64)
    }

    /// Changes with every line that is printed.
    pub(super) fn appended(&self) -> watch::Receiver<()> {
        self.appended.subscribe()
    }

    pub(super) fn forget(&self, namespace: &str, pod: &str) {
        self.lock().remove(&(namespace.to_owned(), pod.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
