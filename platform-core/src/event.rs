//! What happens while a plan is applied, as a stream of typed events.

use crate::{error::ErrorKind, execution::StepId};
use futures::Stream;
use serde::Serialize;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepOutcome {
    /// It changed something.
    Done,
    /// Everything was as wanted.
    Unchanged,
    /// It failed, after the retries that its error allowed.
    Failed,
    /// It was cancelled while it ran.
    Cancelled,
    /// Something that it depends on failed, or the run was cancelled before it began.
    NotReached,
}

impl fmt::Display for StepOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotReached => "not reached",
        })
    }
}

/// Something that happened during a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A run began.
    RunStarted {
        /// How many steps it has.
        steps: usize,
    },
    /// A step began.
    StepStarted {
        /// Which.
        step: StepId,
        /// What it does, in a sentence.
        description: String,
    },
    /// A step tells how far it is.
    StepProgress {
        /// Which.
        step: StepId,
        /// In a sentence.
        message: String,
    },
    /// A step failed and will be tried again.
    StepRetrying {
        /// Which.
        step: StepId,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How long it waits before the next.
        wait: Duration,
        /// What failed.
        error: String,
    },
    /// A step ended.
    StepFinished {
        /// Which.
        step: StepId,
        /// How.
        outcome: StepOutcome,
        /// How long it took, retries and waits included.
        elapsed: Duration,
        /// What it did, in a sentence, or what failed.
        message: String,
        /// The kind of the error, if it failed.
        error_kind: Option<ErrorKind>,
    },
    /// The reader was too slow and missed events.
    Missed {
        /// How many.
        count: u64,
    },
    /// The run ended.
    RunFinished {
        /// Whether every step ended well.
        succeeded: bool,
        /// How long it took.
        elapsed: Duration,
    },
}

/// The events of a run, until it ends.
///
/// A slow reader never holds up the run: it misses the oldest events and is told how many by [`Event::Missed`].
#[derive(Debug)]
pub struct EventStream(Option<BroadcastStream<Event>>);

impl EventStream {
    pub(crate) fn new(receiver: Option<broadcast::Receiver<Event>>) -> Self {
        Self(receiver.map(BroadcastStream::new))
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(stream) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(Pin::new(stream).poll_next(context)).map(|event| match event {
            Ok(event) => event,
            Err(BroadcastStreamRecvError::Lagged(count)) => Event::Missed { count },
        });
        if matches!(next, None | Some(Event::RunFinished { .. })) {
            self.0 = None;
        }
        Poll::Ready(next)
    }
}

/// Tells how far one step is. Cheap to clone; one that is kept for longer than its run tells nobody.
#[derive(Debug, Clone)]
pub struct Progress {
    step: StepId,
    events: Option<broadcast::WeakSender<Event>>,
}

impl Progress {
    /// Tells nobody: for calls outside of a run.
    pub fn silent() -> Self {
        Self { step: StepId::new("none"), events: None }
    }

    pub(crate) fn new(step: StepId, events: broadcast::WeakSender<Event>) -> Self {
        Self { step, events: Some(events) }
    }

    /// Says in a sentence what is going on.
    pub fn report(&self, message: impl Into<String>) {
        if let Some(events) = self.events.as_ref().and_then(broadcast::WeakSender::upgrade) {
            // Nobody listening is fine.
            let _ = events.send(Event::StepProgress { step: self.step.clone(), message: message.into() });
        }
    }
}
