//! A sink that can misbehave, and waiting.

use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::{Batch, LogRecord, Sample, TelemetrySink},
};
use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a write does instead of keeping the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Unavailable,
    Refuse,
    Panic,
}

/// Keeps what it is given, except when it is told to do otherwise.
#[derive(Debug)]
pub(crate) struct TestSink {
    kept: Mutex<Batch>,
    faults: Mutex<VecDeque<Fault>>,
    /// Refuses every batch with a record of this body.
    poison: Mutex<Option<String>>,
    open: watch::Sender<bool>,
    pub(crate) writes: AtomicUsize,
    pub(crate) waiting: AtomicUsize,
}

impl TestSink {
    pub(crate) fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            kept: Mutex::default(),
            faults: Mutex::default(),
            poison: Mutex::default(),
            open: watch::Sender::new(true),
            writes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    pub(crate) fn poison(&self, body: &str) {
        *self.poison.lock().unwrap() = Some(body.to_owned());
    }

    /// Writes wait until it is opened again.
    pub(crate) fn stall(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn resume(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn logs(&self) -> Vec<LogRecord> {
        self.kept.lock().unwrap().logs.clone()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.logs().into_iter().map(|record| record.body).collect()
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.kept.lock().unwrap().samples.clone()
    }

    /// The values of a metric, in the order in which they were written.
    pub(crate) fn values(&self, metric: &str) -> Vec<f64> {
        self.samples().iter().filter(|s| &*s.metric == metric).map(|s| s.value).collect()
    }
}

#[async_trait]
impl TelemetrySink for TestSink {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn write(&self, batch: Batch) -> Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        tracing::warn!("a sink that logs while it writes");
        let poison = self.poison.lock().unwrap().clone();
        if poison.is_some_and(|poison| batch.logs.iter().any(|record| record.body == poison)) {
            return Err(Error::invalid("there is poison in it"));
        }
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => {
                let mut kept = self.kept.lock().unwrap();
                kept.samples.extend(batch.samples);
                kept.logs.extend(batch.logs);
                Ok(())
            }
            Some(Fault::Unavailable) => Err(Error::new(ErrorKind::Unavailable, "it is down")),
            Some(Fault::Refuse) => Err(Error::invalid("not like this")),
            Some(Fault::Panic) => panic!("the sink has a bug"),
        }
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never came to pass: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
