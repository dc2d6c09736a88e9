//! From the spool to the sink: groups in several lanes, and the position behind what was acknowledged without a gap.

use super::{ForwardOptions, delivery::Delivery, envelope::Opener, stats::Outage};
use crate::{
    message::Message,
    pipeline::full_jitter,
    spool::{Committer, Group, Position, SpoolReader},
};
use bytes::Bytes;
use futures::{StreamExt, future::try_join_all, stream::FuturesOrdered};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tracing::Instrument;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A part of a group: the messages whose keys belong to one lane.
struct Part {
    messages: Vec<Message>,
    delivered: oneshot::Sender<()>,
}

pub(super) struct Forwarder {
    delivery: Arc<Delivery>,
    options: ForwardOptions,
    /// A key always goes through the same lane, which sends one part after the other.
    lanes: Vec<mpsc::Sender<Part>>,
    opener: Opener,
    committer: Committer,
    acknowledged: Position,
    committed: Position,
    commit_failures: u32,
    commit_outage: Option<Outage>,
    next_commit: Instant,
}

/// Forwards until the delivery is told to stop.
pub(super) async fn run(delivery: Arc<Delivery>, reader: SpoolReader) {
    let options = delivery.options.clone();
    let mut tasks = JoinSet::new();
    let lanes = (0..options.lanes.max(1)).map(|_| {
        let (sender, parts) = mpsc::channel(options.groups_in_flight.max(1));
        tasks.spawn(lane(Arc::clone(&delivery), parts).in_current_span());
        sender
    });
    let mut forwarder = Forwarder {
        lanes: lanes.collect(),
        opener: Opener::default(),
        committer: reader.committer(),
        acknowledged: reader.position(),
        committed: reader.position(),
        commit_failures: 0,
        commit_outage: None,
        next_commit: Instant::now(),
        options,
        delivery,
    };
    let (sender, groups) = mpsc::channel(1);
    tasks.spawn(read(Arc::clone(&forwarder.delivery), reader, sender).in_current_span());
    forwarder.forward(groups).await;
    // Told to stop, or one of them is gone: then all have to go.
    forwarder.delivery.stop.cancel();
    drop(forwarder);
    while tasks.join_next().await.is_some() {}
}

/// Reads ahead by a group.
async fn read(delivery: Arc<Delivery>, mut reader: SpoolReader, groups: mpsc::Sender<Group>) {
    let (mut failures, mut outage) = (0, None);
    loop {
        let options = &delivery.options;
        let group = reader.read(options.group_bytes, options.group_records);
        match delivery.stop.run_until_cancelled(group).await {
            None => return,
            Some(Ok(group)) => {
                (failures, outage) = (0, None);
                delivery.counters.bytes_in_flight.fetch_add(bytes_of(&group), Ordering::Relaxed);
                if groups.send(group).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => {
                delivery.counters.failed(&mut outage, "the spool cannot be read", &error);
                let wait = tokio::time::sleep(full_jitter(FIRST_WAIT, LONGEST_WAIT, failures));
                if delivery.stop.run_until_cancelled(wait).await.is_none() {
                    return;
                }
                failures += 1;
            }
        }
    }
}

async fn lane(delivery: Arc<Delivery>, mut parts: mpsc::Receiver<Part>) {
    while let Some(Part { messages, delivered }) = parts.recv().await {
        if delivery.deliver(&messages).await.is_err() {
            return;
        }
        // Who is gone commits nothing either.
        let _ = delivered.send(());
    }
}

fn bytes_of(group: &Group) -> u64 {
    group.records.iter().map(|record| record.payload.len() as u64).sum()
}

impl Forwarder {
    async fn forward(&mut self, mut groups: mpsc::Receiver<Group>) {
        let stop = self.delivery.stop.clone();
        // In the order of reading: one that is done waits for those before it, so that no commit passes a gap.
        let mut under_way = FuturesOrdered::new();
        loop {
            let may_take = under_way.len() < self.options.groups_in_flight.max(1);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = under_way.next(), if !under_way.is_empty() => {
                    let Some((end, bytes)) = done else { break };
                    self.acknowledged = end;
                    self.delivery.counters.bytes_in_flight.fetch_sub(bytes, Ordering::Relaxed);
                    if under_way.is_empty() || Instant::now() >= self.next_commit {
                        self.commit().await;
                    }
                }
                group = groups.recv(), if may_take => {
                    let Some(group) = group else { break };
                    let (end, bytes) = (group.end, bytes_of(&group));
                    let Some(parts) = self.dispatch(group).await else { break };
                    under_way.push_back(async move {
                        try_join_all(parts).await.is_ok().then_some((end, bytes))
                    });
                }
                () = tokio::time::sleep_until(self.next_commit), if self.committed < self.acknowledged => {
                    self.commit().await;
                }
            }
        }
        self.commit().await;
    }

    /// Gives a group to the lanes; `None` if one of them is gone.
    async fn dispatch(&mut self, group: Group) -> Option<Vec<oneshot::Receiver<()>>> {
        let mut parts: Vec<Vec<Message>> = vec![Vec::new(); self.lanes.len()];
        for record in group.records {
            let message = self.opener.open(&record.payload).unwrap_or_else(|| {
                // Not of an agent: no sink takes it, and the dead letters keep it.
                Message { topic: "".into(), key: Bytes::new(), payload: record.payload }
            });
            let lane = crc32fast::hash(&message.key) as usize % parts.len();
            if let Some(part) = parts.get_mut(lane) {
                part.push(message);
            }
        }
        let mut receivers = Vec::with_capacity(parts.len());
        for (lane, messages) in self.lanes.iter().zip(parts).filter(|(_, messages)| !messages.is_empty()) {
            let (delivered, receiver) = oneshot::channel();
            let send = lane.send(Part { messages, delivered });
            self.delivery.stop.run_until_cancelled(send).await?.ok()?;
            receivers.push(receiver);
        }
        Some(receivers)
    }

    /// Makes what was acknowledged without a gap the position, at which a later run begins.
    async fn commit(&mut self) {
        if self.committed >= self.acknowledged {
            return;
        }
        let position = self.acknowledged;
        match self.committer.commit(position).await {
            Ok(()) => {
                self.committed = position;
                (self.commit_failures, self.commit_outage) = (0, None);
                self.next_commit = Instant::now() + self.options.commit_interval;
                self.delivery.counters.commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let what = "the position of the spool cannot be kept, and what was sent would be sent again";
                self.delivery.counters.failed(&mut self.commit_outage, what, &error);
                let wait = full_jitter(FIRST_WAIT, LONGEST_WAIT, self.commit_failures);
                self.next_commit = Instant::now() + wait.max(Duration::from_millis(10));
                self.commit_failures += 1;
            }
        }
    }
}
