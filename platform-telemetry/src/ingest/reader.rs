//! The reading side: one thread that polls Kafka, makes batches, commits what is done, and sees to changes of the assignment.

use super::{
    batch::EventBatch, dead_letters::Rejected, ingester::Settings, intake::Intake, ledger::Partitions,
    partition::Partition, room::Room,
};
use crate::files::unpoisoned;
use crate::kafka::failure;
use platform_core::Result;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedSender;

/// How long a poll waits for a record.
const POLL: Duration = Duration::from_millis(100);
/// How long the thread waits for room without polling; then it pauses its partitions and polls, so as not to leave the group.
const PAUSE_AFTER: Duration = Duration::from_secs(2);
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long Kafka may take to say what is committed.
const ASK: Duration = Duration::from_secs(10);
/// How many records are read between two looks at the clock.
const LOOK_EVERY: u32 = 64;

/// A batch on its way, and what is done when it is done.
pub(super) struct Work {
    pub(super) events: EventBatch,
    /// Events that no destination would take.
    pub(super) rejected: Vec<Rejected>,
    pub(super) segments: Vec<(Arc<Partition>, u64)>,
    /// The room that it takes.
    pub(super) bytes: usize,
}

/// Whether the thread is to end, and when at the latest.
#[derive(Debug, Default)]
pub(super) struct Stop(Mutex<Option<Instant>>);

impl Stop {
    pub(super) fn by(&self, deadline: Instant) {
        *unpoisoned(self.0.lock()) = Some(deadline);
    }

    fn deadline(&self) -> Option<Instant> {
        *unpoisoned(self.0.lock())
    }
}

pub(super) struct Reader {
    pub(super) consumer: BaseConsumer<Changes>,
    pub(super) intake: Intake,
    pub(super) settings: Settings,
    pub(super) partitions: Arc<Partitions>,
    pub(super) room: Arc<Room>,
    pub(super) work: UnboundedSender<Work>,
    pub(super) stop: Arc<Stop>,
    pub(super) state: State,
}

/// Where the thread is.
#[derive(Default)]
pub(super) struct State {
    assigned: Vec<Arc<Partition>>,
    /// A batch for which there is no room yet, and since when.
    waiting: Option<(Work, Instant)>,
    is_paused: bool,
    /// That Kafka cannot be read was told.
    is_told: bool,
}

impl Reader {
    /// Reads until it is stopped, or until Kafka's client cannot go on.
    pub(super) fn run(mut self) -> Result<()> {
        let outcome = self.read();
        // A change that nobody has answered would keep the client from closing.
        self.see_to_changes();
        let deadline = self.stop.deadline().unwrap_or_else(|| Instant::now() + self.settings.drain);
        let all = mem::take(&mut self.state.assigned);
        self.drain(&all, deadline);
        self.commit(&all, CommitMode::Sync);
        // Leaving the group takes the partitions away; nobody is there any more to see to it.
        self.consumer.context().is_closing.store(true, Ordering::Release);
        outcome
    }

    fn read(&mut self) -> Result<()> {
        let mut committed = Instant::now();
        while self.stop.deadline().is_none() {
            if self.admit(POLL) || self.state.is_paused {
                self.poll()?;
            }
            self.see_to_changes();
            if self.state.waiting.is_none() && self.intake.is_due() {
                self.state.waiting = self.intake.seal().map(|work| (work, Instant::now()));
            }
            if committed.elapsed() >= COMMIT_EVERY {
                let assigned = self.state.assigned.clone();
                self.commit(&assigned, CommitMode::Async);
                committed = Instant::now();
            }
        }
        Ok(())
    }

    /// Sends the batch that waits for room, if there is room before `patience` ends. Says whether none waits any more.
    fn admit(&mut self, patience: Duration) -> bool {
        let Some((work, since)) = self.state.waiting.take() else { return true };
        if self.room.take(work.bytes, if self.state.is_paused { Duration::ZERO } else { patience }) {
            // The deliveries end after this thread.
            let _ = self.work.send(work);
            if mem::take(&mut self.state.is_paused) {
                self.pause(false);
            }
            return true;
        }
        if !self.state.is_paused && since.elapsed() >= PAUSE_AFTER {
            self.state.is_paused = true;
            self.pause(true);
        }
        self.state.waiting = Some((work, since));
        false
    }

    fn pause(&self, pause: bool) {
        let consumer = &self.consumer;
        let outcome = consumer
            .assignment()
            .and_then(|all| if pause { consumer.pause(&all) } else { consumer.resume(&all) });
        if let Err(error) = outcome {
            tracing::warn!(%error, pause, "partitions could not be paused or resumed");
        }
    }

    /// Reads what is there, until the batch is full or the clock is to be looked at.
    fn poll(&mut self) -> Result<()> {
        let mut wait = POLL;
        if !self.intake.is_empty() && !self.state.is_paused {
            let left = self.settings.batch_wait.saturating_sub(self.intake.opened().elapsed());
            wait = left.clamp(Duration::from_millis(1), POLL);
        }
        for _ in 0..LOOK_EVERY {
            match self.consumer.poll(wait) {
                None => return Ok(()),
                Some(Ok(message)) => {
                    self.intake.take(&message);
                    if mem::take(&mut self.state.is_told) {
                        tracing::info!("Kafka can be read again");
                    }
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(failure("read from", "Kafka", error));
                }
                Some(Err(error)) => {
                    if !mem::replace(&mut self.state.is_told, true) {
                        tracing::warn!(%error, "Kafka cannot be read; trying again");
                    }
                    return Ok(());
                }
            }
            if self.intake.is_full() {
                return Ok(());
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn see_to_changes(&mut self) {
        if mem::take(&mut *unpoisoned(self.consumer.context().commit_failed.lock())) {
            self.state.assigned.iter().for_each(|partition| partition.forget_commit());
        }
        let changes = mem::take(&mut *unpoisoned(self.consumer.context().pending.lock()));
        for change in changes {
            let (outcome, what) = match &change {
                Change::Assigned(list) => (self.assigned(list), "assigned"),
                Change::Revoked(list) => (self.revoked(list), "revoked"),
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, what, "a change of the assignment failed");
            }
        }
    }

    fn assigned(&mut self, list: &TopicPartitionList) -> KafkaResult<()> {
        let committed = self.consumer.committed_offsets(list.clone(), ASK);
        for element in list.elements() {
            let Some(partition) = self.partitions.get(element.topic(), element.partition()) else { continue };
            let known = committed
                .as_ref()
                .ok()
                .and_then(|all| all.find_partition(element.topic(), element.partition()));
            let from = match known.map(|known| known.offset()) {
                Some(Offset::Offset(offset)) => Some(offset),
                _ => None,
            };
            partition.revoke();
            self.intake.expect(&partition, from);
            self.state.assigned.push(partition);
        }
        tracing::info!(partitions = list.count(), "assigned");
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Eager => self.consumer.assign(list)?,
            _ => self.consumer.incremental_assign(list)?,
        }
        if self.state.is_paused {
            self.pause(true);
        }
        Ok(())
    }

    /// Finishes what was read of partitions that go elsewhere, as far as the deadline allows, and lets them go.
    fn revoked(&mut self, list: &TopicPartitionList) -> KafkaResult<()> {
        let goes =
            |partition: &Arc<Partition>| list.find_partition(&partition.topic, partition.number).is_some();
        let (gone, left): (Vec<_>, Vec<_>) = mem::take(&mut self.state.assigned).into_iter().partition(goes);
        self.state.assigned = left;
        // A lost assignment is somebody else's already: what is under way will be found to be duplicates.
        if !self.consumer.assignment_lost() {
            self.drain(&gone, Instant::now() + self.settings.drain);
            self.commit(&gone, CommitMode::Sync);
        }
        for partition in &gone {
            partition.revoke();
        }
        tracing::info!(partitions = list.count(), "revoked");
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Eager => self.consumer.unassign(),
            _ => self.consumer.incremental_unassign(list),
        }
    }

    /// Sends what was read, and waits until `partitions` are done.
    fn drain(&mut self, partitions: &[Arc<Partition>], deadline: Instant) {
        for work in
            [self.state.waiting.take().map(|(work, _)| work), self.intake.seal()].into_iter().flatten()
        {
            if self.room.take(work.bytes, deadline.saturating_duration_since(Instant::now())) {
                let _ = self.work.send(work);
            } else {
                tracing::warn!("some events were read and not written in time; they will be read again");
                work.give_up();
            }
        }
        if !self.room.wait_until(deadline, || !partitions.iter().any(|partition| partition.is_busy())) {
            tracing::warn!("some events were not written in time; they will be read again");
        }
    }

    fn commit(&self, partitions: &[Arc<Partition>], mode: CommitMode) {
        let mut list = TopicPartitionList::new();
        let mut offsets = Vec::new();
        for partition in partitions {
            let Some(offset) = partition.to_commit() else { continue };
            let added = list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(offset));
            if added.is_ok() {
                offsets.push((partition, offset));
            }
        }
        if offsets.is_empty() {
            return;
        }
        match self.consumer.commit(&list, mode) {
            Ok(()) => offsets.iter().for_each(|(partition, offset)| partition.committed(*offset)),
            Err(error) => tracing::warn!(%error, "offsets could not be committed; trying again"),
        }
    }
}

impl Work {
    /// Nothing of it will be written by this ingester: it leaves the account, and whoever reads it next counts it.
    fn give_up(self) {
        for index in 0..self.events.len() {
            if let (Some(partition), Some(event)) = (self.events.partition(index), self.events.event(index)) {
                partition.unread(event.payload.len() as u64);
            }
        }
        for rejected in &self.rejected {
            rejected.partition.unread(rejected.payload.len() as u64);
        }
    }
}

enum Change {
    Assigned(TopicPartitionList),
    Revoked(TopicPartitionList),
}

/// What librdkafka tells during a poll, kept until the reader sees to it: partitions stay until what was read of them is done.
#[derive(Default)]
pub(super) struct Changes {
    pending: Mutex<Vec<Change>>,
    commit_failed: Mutex<bool>,
    is_closing: AtomicBool,
}

impl ClientContext for Changes {}

impl ConsumerContext for Changes {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_assignment = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.is_closing.load(Ordering::Acquire) {
            let outcome = match (is_assignment, consumer.rebalance_protocol()) {
                (false, RebalanceProtocol::Cooperative) => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "leaving the group");
            }
            return;
        }
        let change =
            if is_assignment { Change::Assigned(list.clone()) } else { Change::Revoked(list.clone()) };
        unpoisoned(self.pending.lock()).push(change);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offsets were not committed; trying again");
            *unpoisoned(self.commit_failed.lock()) = true;
        }
    }
}
