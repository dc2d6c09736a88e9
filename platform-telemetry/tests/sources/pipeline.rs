//! Back-pressure, retries, restarts, shutdown.

use crate::support::{Fault, PATIENCE, TestSink, eventually};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    telemetry::{Batch, Emitter, Labels, LogRecord, Severity, TelemetrySource},
};
use platform_telemetry::pipeline::{Pipeline, SourceState};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Emits numbered lines and notes what became of each.
#[derive(Debug)]
struct Numbers {
    name: &'static str,
    count: usize,
    emitted: AtomicUsize,
    outcomes: Mutex<Vec<(usize, Result<()>)>>,
}

impl Numbers {
    fn new(name: &'static str, count: usize) -> Arc<Self> {
        Arc::new(Self { name, count, emitted: AtomicUsize::new(0), outcomes: Mutex::default() })
    }

    fn failures(&self) -> Vec<usize> {
        self.outcomes.lock().unwrap().iter().filter(|(_, o)| o.is_err()).map(|(n, _)| *n).collect()
    }

    fn settled(&self) -> usize {
        self.outcomes.lock().unwrap().len()
    }
}

fn line(body: String) -> Batch {
    Batch::logs(vec![LogRecord {
        timestamp: Timestamp::default(),
        severity: Severity::Info,
        body,
        labels: Labels::empty(),
    }])
}

#[async_trait]
impl TelemetrySource for Numbers {
    fn name(&self) -> &str {
        self.name
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let mut deliveries = tokio::task::JoinSet::new();
        for number in 0..self.count {
            let delivery = tokio::select! {
                () = shutdown.cancelled() => break,
                delivery = out.emit(line(format!("{}-{number}", self.name))) => delivery?,
            };
            self.emitted.fetch_add(1, Ordering::SeqCst);
            deliveries.spawn(async move { (number, delivery.durable(PATIENCE).await) });
        }
        while let Some(outcome) = deliveries.join_next().await {
            self.outcomes.lock().unwrap().push(outcome.unwrap());
        }
        Ok(())
    }
}

#[tokio::test]
async fn everything_emitted_is_stored_once_with_its_labels() {
    let sink = TestSink::new();
    let (one, two) = (Numbers::new("one", 500), Numbers::new("two", 500));
    let pipeline = Pipeline::builder(sink.clone())
        .source(one.clone())
        .source_with_labels(two.clone(), Labels::from_iter([("cluster", "c")]))
        .batch_records(64)
        .batch_wait(Duration::from_millis(5))
        .capacity(8)
        .start();
    eventually("all is settled", || one.settled() + two.settled() == 1000).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let mut bodies = sink.bodies();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 1000);
    assert_eq!(sink.logs().len(), 1000);
    assert!(sink.logs().iter().all(|r| (r.labels.get("cluster") == Some("c")) == r.body.starts_with("two")));
    assert!(sink.writes.load(Ordering::SeqCst) < 1000, "batches are merged");
    let stats = pipeline.stats();
    assert_eq!((stats.logs_accepted, stats.logs_stored, stats.writes_in_flight), (1000, 1000, 0));
    assert!(stats.sources.iter().all(|s| s.state == SourceState::Ended), "{stats:?}");
    assert!(pipeline.add_source(one, &Labels::empty()).is_err());
    pipeline.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_stalled_sink_holds_sources_back_and_loses_nothing() {
    let sink = TestSink::new();
    sink.stall();
    let source = Numbers::new("n", 100);
    let pipeline = Pipeline::builder(sink.clone())
        .source(source.clone())
        .capacity(4)
        .batch_records(1)
        .writes_in_flight(2)
        .start();
    eventually("two writes wait", || sink.waiting.load(Ordering::SeqCst) == 2).await;
    // Two writes, four batches in the channel: the seventh has to wait, however long.
    eventually("the channel is full", || source.emitted.load(Ordering::SeqCst) == 6).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(source.emitted.load(Ordering::SeqCst), 6);
    assert_eq!(pipeline.stats().logs_accepted, 2);
    sink.resume();
    eventually("all is stored", || sink.logs().len() == 100).await;
    assert_eq!(source.failures(), [0; 0]);
    pipeline.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn failures_are_retried_and_panics_and_refusals_acknowledged() {
    let sink = TestSink::new();
    sink.fail([Fault::Unavailable, Fault::Unavailable]);
    let source = Numbers::new("n", 1);
    let pipeline = Pipeline::builder(sink.clone()).source(source.clone()).start();
    eventually("it is stored", || sink.logs().len() == 1).await;
    assert_eq!(pipeline.stats().write_retries, 2);

    for fault in [Fault::Refuse, Fault::Panic] {
        sink.fail([fault]);
        let refused = Numbers::new("refused", 1);
        pipeline.add_source(refused.clone(), &Labels::empty()).unwrap();
        eventually("it is acknowledged as failed", || refused.failures() == [0]).await;
    }
    let stats = pipeline.stats();
    assert_eq!(stats.dropped.get("refused"), Some(&2));
    assert_eq!((stats.logs_accepted, stats.logs_stored), (3, 1));
    pipeline.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_is_refused_does_not_fail_those_it_was_merged_with() {
    let sink = TestSink::new();
    sink.poison("n-3");
    let source = Numbers::new("n", 10);
    let pipeline =
        Pipeline::builder(sink.clone()).source(source.clone()).batch_wait(Duration::from_millis(200)).start();
    eventually("all is settled", || source.settled() == 10).await;
    assert_eq!(source.failures(), [3]);
    assert_eq!(sink.logs().len(), 9);
    assert_eq!(pipeline.stats().dropped.get("refused"), Some(&1));
    pipeline.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn retries_end() {
    let sink = TestSink::new();
    sink.fail([Fault::Unavailable; 1000]);
    let source = Numbers::new("n", 1);
    let pipeline =
        Pipeline::builder(sink).source(source.clone()).retry_deadline(Duration::from_millis(300)).start();
    eventually("it is given up", || source.failures() == [0]).await;
    let error = source.outcomes.lock().unwrap().pop().unwrap().1.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("attempts"), "{error}");
    assert_eq!(pipeline.stats().dropped.get("retry-deadline"), Some(&1));
    pipeline.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_write_that_hangs_is_tried_again() {
    let sink = TestSink::new();
    sink.stall();
    let source = Numbers::new("n", 1);
    let pipeline = Pipeline::builder(sink.clone())
        .source(source.clone())
        .write_timeout(Duration::from_millis(50))
        .start();
    eventually("it is tried again", || pipeline.stats().write_retries >= 2).await;
    sink.resume();
    eventually("it is stored", || sink.logs().len() == 1).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_that_comes_to_its_deadline_tells_what_was_lost() {
    let sink = TestSink::new();
    sink.stall();
    let source = Numbers::new("n", 100);
    let pipeline =
        Pipeline::builder(sink.clone()).source(source.clone()).capacity(4).batch_records(2).start();
    eventually("writes wait", || sink.waiting.load(Ordering::SeqCst) == 4).await;
    let error = pipeline.shutdown(Duration::from_millis(400)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let stats = pipeline.stats();
    assert_eq!(stats.logs_stored, 0);
    assert_eq!(stats.dropped.get("shutdown"), Some(&stats.logs_accepted));
    assert!(stats.logs_accepted >= 8, "{stats:?}");
}

/// Fails in one way, a number of times, then emits a line and waits.
#[derive(Debug)]
struct Faulty {
    failures: AtomicUsize,
    how: fn() -> Result<()>,
}

#[async_trait]
impl TelemetrySource for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        if self.failures.load(Ordering::SeqCst) > 0 {
            self.failures.fetch_sub(1, Ordering::SeqCst);
            (self.how)()?;
        }
        drop(out.emit(line("well again".to_owned())).await?);
        shutdown.cancelled().await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn sources_that_fail_or_panic_are_started_again_and_others_are_not() {
    let sink = TestSink::new();
    let faulty =
        |failures: usize, how: fn() -> Result<()>| Arc::new(Faulty { failures: failures.into(), how });
    let pipeline = Pipeline::builder(sink.clone())
        .source(faulty(2, || panic!("a bug in a source")))
        .source(faulty(1, || Err(Error::new(ErrorKind::Unavailable, "not now"))))
        .source(faulty(1, || Err(Error::invalid("never"))))
        .source(faulty(usize::MAX, || Err(Error::new(ErrorKind::Unavailable, "not now"))))
        .max_restarts(3)
        .start();
    let state = |at: usize| pipeline.stats().sources[at].clone();
    eventually("they settle", || state(3).state == SourceState::Failed && sink.logs().len() == 2).await;
    assert_eq!((state(0).state, state(0).restarts), (SourceState::Running, 2));
    assert!(state(0).last_error.contains("a bug in a source"), "{:?}", state(0));
    assert_eq!((state(1).state, state(1).restarts), (SourceState::Running, 1));
    assert_eq!((state(2).state, state(2).restarts), (SourceState::Failed, 0));
    assert_eq!(state(3).restarts, 3);
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert_eq!(state(0).state, SourceState::Ended);
}

#[tokio::test]
async fn a_source_can_be_taken_out_and_the_pipeline_speaks_of_itself() {
    let sink = TestSink::new();
    let pipeline = Pipeline::builder(sink.clone())
        .self_metrics(Duration::from_millis(20), Labels::from_iter([("cluster", "c")]))
        .batch_wait(Duration::from_millis(5))
        .start();
    let idle = Arc::new(Faulty { failures: 0.into(), how: || Ok(()) });
    let id = pipeline.add_source(idle, &Labels::empty()).unwrap();
    let stored = |value: f64| {
        let sink = sink.clone();
        move || {
            sink.samples().iter().any(|s| {
                &*s.metric == "platform_pipeline_stored_total"
                    && s.labels.to_string() == r#"{cluster="c",signal="logs"}"#
                    && s.value == value
            })
        }
    };
    eventually("it tells of the stored line", stored(1.0)).await;
    assert!(pipeline.remove_source(id, PATIENCE).await);
    assert!(!pipeline.remove_source(id, PATIENCE).await);
    assert_eq!(pipeline.stats().sources.len(), 1);
    pipeline.shutdown(PATIENCE).await.unwrap();
}
