//! The ingester as a whole: what it is made of, and its handle.

use super::{
    batch::Event,
    buffers::Buffers,
    dead_letters::DeadLetterSink,
    delivery::{Delivery, Health},
    destination::Destination,
    intake::Intake,
    ledger::{Ledger, Partitions},
    reader::{Changes, Reader, State, Stop},
    room::Room,
    throttle::Throttle,
};
use crate::files::unpoisoned;
use crate::kafka::{Kafka, failure};
use platform_core::{Error, ErrorKind, Result, telemetry::document::subscription};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::{
    fmt,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Whether an event is to be kept.
pub(super) type Filter = Arc<dyn Fn(&Event<'_>) -> bool + Send + Sync>;

/// How long Kafka may take to say which cluster it is.
const ASK: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) batch_bytes: usize,
    pub(super) batch_wait: Duration,
    pub(super) max_event_bytes: usize,
    pub(super) drain: Duration,
}

/// Makes an ingester. Start with [`Ingester::builder`].
#[derive(Debug)]
pub struct Ingester;

impl Ingester {
    /// An ingester from `kafka` into `destination`, to be configured and started.
    pub fn builder(kafka: Kafka, destination: Arc<dyn Destination>) -> IngesterBuilder {
        IngesterBuilder {
            kafka,
            destination,
            group: "platform-ingester".to_owned(),
            environments: Vec::new(),
            dead_letters: None,
            filter: None,
            in_flight_bytes: 32 << 20,
            concurrency: 8,
            write_timeout: Duration::from_secs(60),
            settings: Settings {
                batch_bytes: 5 << 20,
                batch_wait: Duration::from_millis(500),
                max_event_bytes: 1 << 20,
                drain: Duration::from_secs(10),
            },
        }
    }
}

/// Configures an ingester.
#[must_use = "nothing is read before `start`"]
pub struct IngesterBuilder {
    kafka: Kafka,
    destination: Arc<dyn Destination>,
    group: String,
    environments: Vec<String>,
    dead_letters: Option<String>,
    filter: Option<Filter>,
    in_flight_bytes: usize,
    concurrency: usize,
    write_timeout: Duration,
    settings: Settings,
}

impl IngesterBuilder {
    /// The consumer group. Ingesters of one group share the partitions. Default: `platform-ingester`.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// The environments whose topics are read. Default: everybody's, new environments' too.
    pub fn environments<S: Into<String>>(mut self, environments: impl IntoIterator<Item = S>) -> Self {
        self.environments.extend(environments.into_iter().map(Into::into));
        self
    }

    /// The topic of dead letters of all environments. Default: each environment's own.
    pub fn dead_letters(mut self, topic: impl Into<String>) -> Self {
        self.dead_letters = Some(topic.into());
        self
    }

    /// Keeps only events for which `keep` says so; others are counted as filtered. It is called for every event: make it quick.
    pub fn filter(mut self, keep: impl Fn(&Event<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(keep));
        self
    }

    /// After how many bytes a batch is sent. Default: 5 MB; Elasticsearch likes 5 to 15 MB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes = bytes.clamp(1, 1 << 30);
        self
    }

    /// How long a batch waits to become full. Default: 500 ms.
    pub fn batch_wait(mut self, wait: Duration) -> Self {
        self.settings.batch_wait = wait;
        self
    }

    /// The largest document; larger ones become dead letters. Default: 1 MB, as much as Kafka takes by default.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_event_bytes = bytes.clamp(2, 1 << 30);
        self
    }

    /// How many bytes of events are held at most; nothing is read beyond. Default: 32 MB.
    pub fn in_flight_bytes(mut self, bytes: usize) -> Self {
        self.in_flight_bytes = bytes;
        self
    }

    /// How many requests the destination gets at once, at most. It begins with two, gets more while it answers well and half as many
    /// when it does not. Default: 8.
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// How long the destination may take for one request before it is tried again. Default: 60 s.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long partitions that go to another ingester wait for what was read of them to be written. Default: 10 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.settings.drain = drain;
        self
    }

    /// Joins the group and starts to read. Must be called within a tokio runtime; blocks up to 10 s until Kafka answers for the first time.
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) if a property of Kafka is wrong, and with [`Unavailable`](ErrorKind::Unavailable) if Kafka does
    /// not answer.
    pub fn start(self) -> Result<IngesterHandle> {
        let topics = subscription(&self.environments);
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let consumer = self.consumer()?;
        let brokers = self.kafka.bootstrap_servers();
        let cluster = consumer.client().fetch_cluster_id(ASK).ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                format!("Kafka did not say within {ASK:?} which cluster it is"),
            )
            .operation("start the ingester")
            .help(format!("see whether Kafka answers at {brokers}"))
        })?;
        consumer.subscribe(&topics).map_err(|error| failure("subscribe to", topics.join(", "), error))?;

        let partitions = Arc::new(Partitions::default());
        let room = Arc::new(Room::new(self.in_flight_bytes));
        let stop = Arc::new(Stop::default());
        let (sender, work) = mpsc::unbounded_channel();
        let buffers = Arc::new(Buffers::new(self.settings.batch_bytes));
        let intake = Intake::new(
            cluster,
            Arc::clone(&self.destination),
            self.filter,
            self.settings.clone(),
            Arc::clone(&partitions),
            Arc::clone(&buffers),
        );
        let reader = Reader {
            consumer,
            intake,
            settings: self.settings,
            partitions: Arc::clone(&partitions),
            room: Arc::clone(&room),
            work: sender,
            stop: Arc::clone(&stop),
            state: State::default(),
        };
        let abandon = CancellationToken::new();
        let delivery = Arc::new(Delivery {
            destination: self.destination,
            dead_letters: DeadLetterSink::new(self.kafka, self.dead_letters)?,
            throttle: Throttle::new(self.concurrency),
            room,
            buffers,
            write_timeout: self.write_timeout,
            abandon: abandon.clone(),
            state: Health::default(),
        });
        let deliveries = tokio::spawn(Arc::clone(&delivery).run(work));
        let (ended, end) = oneshot::channel();
        let failed = Arc::new(Mutex::new(None));
        let why = Arc::clone(&failed);
        std::thread::Builder::new()
            .name("ingester".to_owned())
            .spawn(move || {
                if let Err(error) = reader.run() {
                    tracing::error!(%error, "the ingester has stopped reading");
                    *unpoisoned(why.lock()) = Some(error);
                }
                let _ = ended.send(());
            })
            .map_err(|error| Error::internal("no thread for the ingester").source(error))?;
        let end = tokio::sync::Mutex::new(Some((end, deliveries)));
        Ok(IngesterHandle { partitions, delivery, stop, abandon, failed, end })
    }

    fn consumer(&self) -> Result<BaseConsumer<Changes>> {
        self.kafka
            .client("platform-ingester")
            .set("group.id", &self.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // How soon a new environment is noticed.
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("fetch.wait.max.ms", "100")
            .set("queued.min.messages", "100000")
            // What is fetched ahead is memory too, and a fetched megabyte may be ten when it is unpacked.
            .set("queued.max.messages.kbytes", "32768")
            .set("max.partition.fetch.bytes", "524288")
            .set("fetch.max.bytes", "4194304")
            .create_with_context(Changes::default())
            .map_err(|error| failure("configure", "the consumer of Kafka", error))
    }
}

impl fmt::Debug for IngesterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngesterBuilder")
            .field("kafka", &self.kafka)
            .field("destination", &self.destination)
            .field("environments", &self.environments)
            .finish_non_exhaustive()
    }
}

/// A running ingester. Dropping it stops it at once: what was not acknowledged is read again by the next.
pub struct IngesterHandle {
    partitions: Arc<Partitions>,
    delivery: Arc<Delivery>,
    stop: Arc<Stop>,
    abandon: CancellationToken,
    failed: Arc<Mutex<Option<Error>>>,
    end: tokio::sync::Mutex<Option<(oneshot::Receiver<()>, JoinHandle<()>)>>,
}

impl IngesterHandle {
    /// The account so far. Works after the shutdown too.
    pub fn ledger(&self) -> Ledger {
        self.partitions.ledger()
    }

    /// Why events are not taken now: the last error of the destination or of the dead letters, while it lasts.
    pub fn trouble(&self) -> Option<String> {
        let failed = unpoisoned(self.failed.lock());
        failed.as_ref().map(Error::to_string).or_else(|| self.delivery.state.trouble())
    }

    /// How often something was to be written again.
    pub fn retries(&self) -> u64 {
        self.delivery.state.retries.load(Ordering::Relaxed)
    }

    /// How many requests the destination gets at once now.
    pub fn concurrency(&self) -> usize {
        self.delivery.throttle.limit()
    }

    /// Whether it has stopped reading by itself, since Kafka's client could not go on.
    pub fn has_failed(&self) -> bool {
        unpoisoned(self.failed.lock()).is_some()
    }

    /// A source of the account as samples, to be added to a pipeline.
    pub fn source(&self, interval: Duration) -> super::LedgerSource {
        super::LedgerSource::new(Arc::clone(&self.partitions), Arc::clone(&self.delivery), interval)
    }

    /// Stops in order: nothing more is read, what was read is written, offsets are committed, the group is left. Idempotent; answers with
    /// the account.
    ///
    /// What is not written when `deadline` passes is not committed, so that it is read again; then it fails with [`Timeout`](ErrorKind::Timeout).
    /// Fails with what stopped the reading, if that was not this call.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the ingester stopping; calling again continues.
    pub async fn shutdown(&self, deadline: Duration) -> Result<Ledger> {
        let until = Instant::now() + deadline;
        self.stop.by(until);
        let mut end = self.end.lock().await;
        if let Some((reading, deliveries)) = end.as_mut() {
            // It ends by itself at the deadline, and a commit takes its time.
            let read = tokio::time::timeout(deadline + Duration::from_secs(10), reading).await;
            self.abandon.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(5), deliveries).await;
            *end = None;
            if read.is_err() {
                return Err(Error::new(ErrorKind::Timeout, "Kafka's client did not let go in time")
                    .operation("stop the ingester"));
            }
        }
        if let Some(error) = unpoisoned(self.failed.lock()).take() {
            return Err(error);
        }
        let ledger = self.ledger();
        let left = ledger.total().in_flight();
        if left == 0 {
            return Ok(ledger);
        }
        let why = self.trouble().map_or_else(String::new, |why| format!(": {why}"));
        Err(Error::new(ErrorKind::Timeout, format!("{left} events were not written after {deadline:?}{why}"))
            .operation("stop the ingester")
            .help("they are not committed, and are read again by the next ingester"))
    }
}

impl Drop for IngesterHandle {
    fn drop(&mut self) {
        self.stop.by(Instant::now());
        self.abandon.cancel();
    }
}

impl fmt::Debug for IngesterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngesterHandle").field("ledger", &self.ledger().total()).finish_non_exhaustive()
    }
}
