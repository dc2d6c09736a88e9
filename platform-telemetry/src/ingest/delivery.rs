//! The writing side: batches to the destination until each event has met its fate.

use super::{
    batch::EventBatch,
    buffers::Buffers,
    dead_letters::{DeadLetterSink, Rejected},
    destination::{Destination, Outcome, Refusal},
    partition::{Counts, add},
    reader::Work,
    room::Room,
    throttle::Throttle,
};
use crate::files::unpoisoned;
use crate::pipeline::full_jitter;
use platform_core::{Error, ErrorKind, Result};
use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet};
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) struct Delivery {
    pub(super) destination: Arc<dyn Destination>,
    pub(super) dead_letters: DeadLetterSink,
    pub(super) throttle: Throttle,
    pub(super) room: Arc<Room>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) write_timeout: Duration,
    pub(super) abandon: CancellationToken,
    pub(super) state: Health,
}

/// How the destination is.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) retries: AtomicU64,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    outages: usize,
    why: String,
}

/// Lasts from the first failure of something until it goes on.
struct Outage<'a>(&'a Health);

impl Health {
    /// Why something is not taken now, if that is so: what failed last.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.lock();
        (trouble.outages > 0).then(|| trouble.why.clone())
    }

    /// Something failed, and will be tried again. It is told once, however much fails.
    fn fails<'a>(&'a self, outage: &mut Option<Outage<'a>>, what: &str, why: String) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.lock();
        if outage.is_none() {
            trouble.outages += 1;
            *outage = Some(Outage(self));
            if trouble.outages == 1 {
                tracing::warn!(what, why, "events are not taken; trying again until they are");
            }
        }
        trouble.why = why;
    }

    fn lock(&self) -> MutexGuard<'_, Trouble> {
        unpoisoned(self.trouble.lock())
    }
}

impl Drop for Outage<'_> {
    fn drop(&mut self) {
        let mut trouble = self.0.lock();
        trouble.outages -= 1;
        if trouble.outages == 0 {
            tracing::info!("all events are taken again");
        }
    }
}

impl Delivery {
    /// Delivers what comes until the reader is gone and all is delivered, or abandoned.
    pub(super) async fn run(self: Arc<Self>, mut work: UnboundedReceiver<Work>) {
        let mut tasks = JoinSet::new();
        while let Some(work) = work.recv().await {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(Arc::clone(&self).complete(work));
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn complete(self: Arc<Self>, work: Work) {
        let _room = Taken { room: &self.room, bytes: work.bytes };
        let bytes = work.events.bytes();
        let delivered = async {
            self.bury(work.rejected).await;
            self.deliver(work.events).await;
        };
        tokio::select! {
            () = delivered => work.segments.iter().for_each(|(partition, segment)| partition.finish(*segment)),
            () = self.abandon.cancelled() => {}
        }
        self.buffers.give_back(bytes);
    }

    async fn deliver(&self, events: EventBatch) {
        let mut outage = None;
        let mut parts = vec![events];
        while let Some(mut left) = parts.pop() {
            let mut attempt = 0;
            while !left.is_empty() {
                let turn = self.throttle.turn().await;
                let answer = self.write(&left).await;
                self.throttle.answered(turn, is_well(&answer));
                match answer {
                    Ok(outcomes) => {
                        let before = left.len();
                        let (again, why) = self.account(&left, outcomes).await;
                        let Some(why) = why else { break };
                        self.state.fails(&mut outage, self.destination.name(), why);
                        left = left.only(&again);
                        attempt = if left.len() < before { 0 } else { attempt + 1 };
                        tokio::time::sleep(full_jitter(FIRST_WAIT, LONGEST_WAIT, attempt)).await;
                    }
                    Err(error) if is_too_much(&error) => {
                        if left.len() == 1 {
                            self.bury(rejected(&left, &[(0, Refusal::from(&error))])).await;
                            break;
                        }
                        let middle = left.len() / 2;
                        parts.push(left.part(middle..left.len()));
                        left = left.part(0..middle);
                    }
                    Err(error) => {
                        self.state.fails(&mut outage, self.destination.name(), error.to_string());
                        let wait = full_jitter(FIRST_WAIT, LONGEST_WAIT, attempt);
                        attempt += 1;
                        tokio::time::sleep(wait.max(error.requested_wait().unwrap_or_default())).await;
                    }
                }
            }
        }
    }

    async fn write(&self, events: &EventBatch) -> Result<Vec<Outcome>> {
        let limit = self.write_timeout;
        let outcomes =
            tokio::time::timeout(limit, self.destination.write(events)).await.map_err(|_| {
                Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}")).retryable(true)
            })??;
        if outcomes.len() == events.len() {
            return Ok(outcomes);
        }
        let (got, sent) = (outcomes.len(), events.len());
        Err(Error::new(
            ErrorKind::Corrupt,
            format!("the answer tells of {got} events where {sent} were sent"),
        )
        .retryable(true))
    }

    /// Counts what is done, buries what is refused, and answers with the places of those that are to be written again, and why.
    async fn account(&self, events: &EventBatch, outcomes: Vec<Outcome>) -> (Vec<usize>, Option<String>) {
        let (mut again, mut refused, mut why) = (Vec::new(), Vec::new(), None);
        for (place, outcome) in outcomes.into_iter().enumerate() {
            let Some(partition) = events.partition(place) else { continue };
            let Counts { indexed, duplicate, dead_lettered, .. } = &partition.counts;
            match outcome {
                Outcome::Indexed => add(indexed, 1),
                Outcome::Duplicate => add(duplicate, 1),
                Outcome::KeptAsFailure => add(dead_lettered, 1),
                Outcome::Refused(refusal) => refused.push((place, refusal)),
                Outcome::Again(refusal) => {
                    why.get_or_insert_with(|| refusal.to_string());
                    again.push(place);
                }
            }
        }
        self.bury(rejected(events, &refused)).await;
        (again, why)
    }

    /// Sends dead letters until Kafka has them.
    async fn bury(&self, rejected: Vec<Rejected>) {
        if rejected.is_empty() {
            return;
        }
        let (mut attempt, mut outage) = (0, None);
        while let Err(error) = self.dead_letters.send(&rejected).await {
            self.state.fails(&mut outage, "dead letters", error.to_string());
            tokio::time::sleep(full_jitter(FIRST_WAIT, LONGEST_WAIT, attempt)).await;
            attempt += 1;
        }
        for letter in &rejected {
            tracing::debug!(topic = %letter.partition.topic, offset = letter.offset, refusal = %letter.refusal, "dead letter");
            add(&letter.partition.counts.dead_lettered, 1);
        }
    }
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        Self { status: 0, kind: error.kind().to_string(), reason: error.to_string() }
    }
}

fn rejected(events: &EventBatch, refused: &[(usize, Refusal)]) -> Vec<Rejected> {
    let rejected = refused.iter().filter_map(|(place, refusal)| {
        let (event, partition) = (events.event(*place)?, events.partition(*place)?);
        Some(Rejected::new(&event, Arc::clone(partition), refusal.clone()))
    });
    rejected.collect()
}

/// More than the destination takes at once, or something in it that spoils the rest.
fn is_too_much(error: &Error) -> bool {
    !error.is_retryable() && matches!(error.kind(), ErrorKind::Exhausted | ErrorKind::Invalid)
}

fn is_well(answer: &Result<Vec<Outcome>>) -> bool {
    match answer {
        Ok(outcomes) => !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Again(_))),
        Err(error) => is_too_much(error),
    }
}

/// Gives room back when the work is done or dropped.
struct Taken<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}
