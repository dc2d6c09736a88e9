//! One thing to do.

use super::RetryPolicy;
use crate::{error::Result, event::Progress};
use futures::future::BoxFuture;
use serde::Serialize;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The identity of a step: a path of words, `cluster/shop-testing`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StepId(Arc<str>);

impl StepId {
    /// An identity.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for StepId {
    fn from(id: T) -> Self {
        Self::new(id)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a step that succeeded says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepDone {
    /// Whether it changed anything.
    pub changed: bool,
    /// What it did, in a sentence.
    pub message: String,
}

impl StepDone {
    /// It changed something.
    pub fn changed(message: impl Into<String>) -> Self {
        Self { changed: true, message: message.into() }
    }

    /// Everything was as wanted.
    pub fn unchanged(message: impl Into<String>) -> Self {
        Self { changed: false, message: message.into() }
    }
}

/// What a step is given each time it is tried.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StepContext {
    /// Tells how far it is.
    pub progress: Progress,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

type Action = Box<dyn Fn(StepContext) -> BoxFuture<'static, Result<StepDone>> + Send + Sync>;

/// One thing to do, after others.
///
/// The action is called again after an error that says that it is retryable, and its future is dropped when the deadline
/// passes or the run is cancelled: what it does must be resumable by doing it again.
pub struct Step {
    pub(super) id: StepId,
    pub(super) description: String,
    pub(super) after: Vec<StepId>,
    pub(super) after_end: Vec<StepId>,
    pub(super) deadline: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) limit: Option<Arc<Semaphore>>,
    pub(super) action: Action,
}

impl Step {
    /// How long a step may take unless it says otherwise: 10 minutes, retries and waits included.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);

    /// A step without prerequisites, with the default deadline and retries.
    pub fn new<F, Fut>(id: impl Into<StepId>, description: impl Into<String>, action: F) -> Self
    where
        F: Fn(StepContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<StepDone>> + Send + 'static,
    {
        Self {
            id: id.into(),
            description: description.into(),
            after: Vec::new(),
            after_end: Vec::new(),
            deadline: Self::DEFAULT_DEADLINE,
            retry: RetryPolicy::default(),
            limit: None,
            action: Box::new(move |context| Box::pin(action(context))),
        }
    }

    /// Adds steps that must have succeeded before this one begins.
    #[must_use]
    pub fn after<I: Into<StepId>>(mut self, steps: impl IntoIterator<Item = I>) -> Self {
        self.after.extend(steps.into_iter().map(Into::into));
        self
    }

    /// Adds steps that must have ended before this one begins, whether they succeeded, failed or were never reached: for what has
    /// to be done in any case, such as deleting what costs money.
    #[must_use]
    pub fn after_end<I: Into<StepId>>(mut self, steps: impl IntoIterator<Item = I>) -> Self {
        self.after_end.extend(steps.into_iter().map(Into::into));
        self
    }

    /// Sets how long it may take, retries and waits included. Waiting for a [`limit`](Self::limit) does not count.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how it is tried again.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Makes it hold a permit while it runs, retries included: steps that share a semaphore run at most so many at a time, also
    /// across runs. While it waits for the permit it takes no place of the executor's parallelism.
    #[must_use]
    pub fn limit(mut self, permits: Arc<Semaphore>) -> Self {
        self.limit = Some(permits);
        self
    }

    /// All steps before it, and for each whether it need not succeed.
    pub(super) fn before(&self) -> impl Iterator<Item = (&StepId, bool)> {
        let succeeded = self.after.iter().map(|id| (id, false));
        succeeded.chain(self.after_end.iter().map(|id| (id, true)))
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("id", &self.id).field("after", &self.after).finish_non_exhaustive()
    }
}
