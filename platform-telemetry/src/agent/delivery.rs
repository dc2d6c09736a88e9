//! Sends messages until the sink has them, or a dead letter says why not.

use super::{DeadLetters, ForwardOptions, stats::Counters};
use crate::{message::Message, message::MessageSink, pipeline::full_jitter};
use futures::FutureExt;
use platform_core::{Error, ErrorKind, Result};
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) sink: Arc<dyn MessageSink>,
    pub(super) dead_letters: Arc<dyn DeadLetters>,
    pub(super) options: ForwardOptions,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
}

/// The delivery was told to stop; what was not delivered is still in the spool.
#[derive(Debug)]
pub(super) struct Stopped;

impl Delivery {
    /// Delivers all messages, each to the sink or to the dead letters, those of one key in their order.
    pub(super) async fn deliver(&self, messages: &[Message]) -> Result<(), Stopped> {
        let mut parts = vec![messages];
        while let Some(part) = parts.pop() {
            let Some(error) = self.send(part).await? else {
                let bytes: usize = part.iter().map(|message| message.payload.len()).sum();
                self.counters.sent(part.len(), bytes);
                continue;
            };
            if let [message] = part {
                self.bury(message, &error).await?;
            } else {
                // One of them spoils it for the others: it is looked for by halving.
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
        Ok(())
    }

    /// Sends until the sink has them; answers the error if it refuses them for good.
    async fn send(&self, messages: &[Message]) -> Result<Option<Error>, Stopped> {
        if messages.is_empty() {
            return Ok(None);
        }
        let mut outage = None;
        for attempts in 0.. {
            match self.until_stopped(self.attempt(messages)).await? {
                Ok(()) => break,
                Err(error) if !may_pass(&error) => return Ok(Some(error)),
                Err(error) => {
                    self.counters.failed(&mut outage, "the sink does not take messages", &error);
                    self.wait(&error, attempts).await?;
                }
            }
        }
        Ok(None)
    }

    async fn attempt(&self, messages: &[Message]) -> Result<()> {
        let timeout = self.options.send_timeout;
        let send = AssertUnwindSafe(self.sink.send(messages)).catch_unwind();
        match tokio::time::timeout(timeout, send).await {
            Ok(Ok(outcome)) => outcome,
            // A bug of the sink says nothing about the messages.
            Ok(Err(_)) => {
                Err(Error::internal("the sink panicked").operation("send messages").retryable(true))
            }
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("no answer within {timeout:?}"))
                .operation("send messages")
                .retryable(true)),
        }
    }

    /// Puts a message to the dead letters, however long that takes.
    async fn bury(&self, message: &Message, reason: &Error) -> Result<(), Stopped> {
        let mut outage = None;
        for attempts in 0.. {
            let put = AssertUnwindSafe(self.dead_letters.put(message, reason)).catch_unwind();
            let error = match self.until_stopped(put).await? {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(_) => Error::internal("what keeps dead letters panicked"),
            };
            self.counters.failed(&mut outage, "a dead letter cannot be kept", &error);
            self.wait(&error, attempts).await?;
        }
        self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            sink = self.sink.name(), error = %reason, topic = &*message.topic,
            "the sink refused a message; it is a dead letter now"
        );
        Ok(())
    }

    async fn wait(&self, error: &Error, attempts: u32) -> Result<(), Stopped> {
        let wait = full_jitter(FIRST_WAIT, self.options.longest_wait, attempts);
        let wait = wait.max(error.requested_wait().unwrap_or_default());
        self.until_stopped(tokio::time::sleep(wait)).await
    }

    async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        self.stop.run_until_cancelled(work).await.ok_or(Stopped)
    }
}

/// Whether the messages may be taken later. Missing rights and missing topics are not theirs: nothing is given up for that.
fn may_pass(error: &Error) -> bool {
    error.is_retryable()
        || matches!(
            error.kind(),
            ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Cancelled | ErrorKind::Timeout
        )
}
