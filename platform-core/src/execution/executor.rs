//! Runs a graph of steps.

use super::{Report, Step, StepContext, StepDone, StepGraph, StepId, StepReport, graph::Dependent};
use crate::{
    error::{Error, ErrorKind, Result},
    event::{Event, EventStream, Progress, StepOutcome},
};
use futures::FutureExt;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast},
    task::{JoinError, JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How many events a receiver may be behind before it misses some.
const EVENT_CAPACITY: usize = 4096;

/// Runs steps, each as soon as those before it have succeeded, at most so many at a time.
#[derive(Debug, Clone)]
pub struct Executor {
    parallelism: usize,
}

impl Default for Executor {
    /// 16 steps at a time: they wait for servers more than they compute.
    fn default() -> Self {
        Self { parallelism: 16 }
    }
}

impl Executor {
    /// Runs at most `parallelism` steps at a time, at least one.
    pub fn new(parallelism: usize) -> Self {
        Self { parallelism: parallelism.max(1) }
    }

    /// Starts a run on the current tokio runtime.
    ///
    /// Steps that do not depend on a failed one still run. Awaiting the [`Run`] gives the report.
    /// Like [`tokio::spawn`], it panics outside of a runtime.
    pub fn start(&self, graph: StepGraph) -> Run {
        let (sender, receiver) = broadcast::channel(EVENT_CAPACITY);
        let cancellation = CancellationToken::new();
        let steps = graph.steps.iter().map(|step| step.id.clone()).collect();
        let scheduler = Scheduler::new(graph, self.parallelism, sender.clone(), cancellation.clone());
        Run {
            steps,
            first: Some(receiver),
            events: sender.downgrade(),
            cancellation,
            task: tokio::spawn(scheduler.run()),
        }
    }
}

/// A run under way. Await it for its report; dropping it cancels it.
///
/// # Cancel safety
/// Awaiting `&mut run` may be given up and taken up again.
#[derive(Debug)]
#[must_use = "a run that is dropped is cancelled"]
pub struct Run {
    steps: Vec<StepId>,
    first: Option<broadcast::Receiver<Event>>,
    events: broadcast::WeakSender<Event>,
    cancellation: CancellationToken,
    task: JoinHandle<Report>,
}

impl Run {
    /// What happens from now on; the first call, made before the run is awaited, gives everything from its start.
    /// The stream ends when the run does.
    pub fn events(&mut self) -> EventStream {
        let receiver = self.first.take().or_else(|| self.events.upgrade().map(|sender| sender.subscribe()));
        EventStream::new(receiver)
    }

    /// Stops it: running steps are dropped where they wait, others are not begun. Awaiting still gives the report.
    /// What was done stays, and running the same again resumes.
    pub fn cancel(&self) {
        self.cancellation.cancel();
    }

    /// A token that cancels the run, to be held by a signal handler.
    pub fn cancellation(&self) -> CancellationToken {
        self.cancellation.clone()
    }
}

impl Future for Run {
    type Output = Report;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Report> {
        // Nobody reads the first receiver any more: let it not fill up.
        self.first = None;
        Poll::Ready(ready!(self.task.poll_unpin(context)).unwrap_or_else(|_| {
            // The scheduler's task ends early only with its runtime, and what it knew is lost.
            let lost = |step| not_reached(step, "the runtime ended before the run did".to_owned());
            Report { steps: self.steps.drain(..).map(lost).collect(), elapsed: Duration::ZERO }
        }))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cancellation.cancel();
    }
}

/// The state of a run, in one task: no locks.
struct Scheduler {
    steps: Vec<Arc<Step>>,
    dependents: Vec<Vec<Dependent>>,
    waits_for: Vec<usize>,
    /// Steps that nothing is before any more.
    ready: BTreeSet<usize>,
    /// Steps that have got the permit of their limit and wait for a place.
    admitted: VecDeque<(usize, Option<OwnedSemaphorePermit>)>,
    reports: Vec<Option<StepReport>>,
    parallelism: usize,
    events: broadcast::Sender<Event>,
    cancellation: CancellationToken,
    started: Instant,
}

impl Scheduler {
    fn new(
        graph: StepGraph,
        parallelism: usize,
        events: broadcast::Sender<Event>,
        cancellation: CancellationToken,
    ) -> Self {
        let StepGraph { steps, dependents, waits_for } = graph;
        let ready = (0..steps.len()).filter(|&at| waits_for[at] == 0).collect();
        Self {
            reports: steps.iter().map(|_| None).collect(),
            steps: steps.into_iter().map(Arc::new).collect(),
            dependents,
            waits_for,
            ready,
            admitted: VecDeque::new(),
            parallelism,
            events,
            cancellation,
            started: Instant::now(),
        }
    }

    async fn run(mut self) -> Report {
        self.send(Event::RunStarted { steps: self.steps.len() });
        let mut running: JoinSet<StepReport> = JoinSet::new();
        let mut indexes: HashMap<tokio::task::Id, usize> = HashMap::new();
        // Whoever waits for a limit takes no place of those that could run.
        let mut waiting: JoinSet<(usize, Option<OwnedSemaphorePermit>)> = JoinSet::new();
        let cancellation = self.cancellation.clone();
        loop {
            if cancellation.is_cancelled() {
                self.ready.clear();
                self.admitted.clear();
                waiting = JoinSet::new();
            }
            while let Some(at) = self.ready.pop_first() {
                match self.steps[at].limit.clone() {
                    None => self.admitted.push_back((at, None)),
                    // A semaphore that was closed limits nothing any more.
                    Some(limit) => {
                        waiting.spawn(async move { (at, limit.acquire_owned().await.ok()) });
                    }
                }
            }
            while running.len() < self.parallelism
                && let Some((at, permit)) = self.admitted.pop_front()
            {
                let attempts = Attempts {
                    step: self.steps[at].clone(),
                    events: self.events.clone(),
                    cancellation: cancellation.clone(),
                };
                let handle = running.spawn(async move {
                    let report = attempts.run().await;
                    drop(permit);
                    report
                });
                indexes.insert(handle.id(), at);
            }
            tokio::select! {
                Some(ended) = running.join_next_with_id() => {
                    let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
                    if let Some(at) = indexes.remove(&id) {
                        let report = ended.map_or_else(|e| lost(&self.steps[at], e), |(_, report)| report);
                        self.finish(at, report);
                    }
                }
                Some(admitted) = waiting.join_next() => self.admitted.extend(admitted.ok()),
                () = cancellation.cancelled(), if !waiting.is_empty() => {}
                else => break,
            }
        }
        for at in 0..self.steps.len() {
            if self.reports[at].is_none() {
                self.finish(at, not_reached(self.steps[at].id.clone(), "the run was cancelled".to_owned()));
            }
        }
        let report =
            Report { steps: self.reports.into_iter().flatten().collect(), elapsed: self.started.elapsed() };
        // Nobody listening is fine, here and elsewhere.
        let _ =
            self.events.send(Event::RunFinished { succeeded: report.succeeded(), elapsed: report.elapsed });
        report
    }

    /// Writes down how a step ended, and what that means for those after it.
    fn finish(&mut self, at: usize, report: StepReport) {
        let mut ended = vec![(at, report)];
        while let Some((at, report)) = ended.pop() {
            let succeeded = matches!(report.outcome, StepOutcome::Done | StepOutcome::Unchanged);
            self.send(Event::StepFinished {
                step: report.step.clone(),
                outcome: report.outcome,
                elapsed: report.elapsed,
                message: report.message.clone(),
                error_kind: report.error.as_ref().map(|e| e.kind()),
            });
            self.reports[at] = Some(report);
            for &Dependent { step: next, whatever } in &self.dependents[at] {
                if succeeded || whatever {
                    self.waits_for[next] -= 1;
                    if self.waits_for[next] == 0 {
                        self.ready.insert(next);
                    }
                } else if self.reports[next].is_none() && !ended.iter().any(|(other, _)| *other == next) {
                    let message = format!("{} did not succeed", self.steps[at].id);
                    ended.push((next, not_reached(self.steps[next].id.clone(), message)));
                }
            }
        }
    }

    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

fn not_reached(step: StepId, message: String) -> StepReport {
    StepReport {
        step,
        outcome: StepOutcome::NotReached,
        message,
        attempts: 0,
        elapsed: Duration::ZERO,
        error: None,
    }
}

fn failed(step: &Step, error: Error, elapsed: Duration, attempts: u32) -> StepReport {
    StepReport {
        step: step.id.clone(),
        outcome: StepOutcome::Failed,
        message: error.to_string(),
        attempts,
        elapsed,
        error: Some(Arc::new(error)),
    }
}

fn cancelled(step: &Step, elapsed: Duration, attempts: u32) -> StepReport {
    StepReport {
        step: step.id.clone(),
        outcome: StepOutcome::Cancelled,
        message: "cancelled; running again resumes".to_owned(),
        attempts,
        elapsed,
        error: None,
    }
}

/// A step whose task ended without a report: its future panicked when it was dropped, or the runtime ends.
fn lost(step: &Step, error: JoinError) -> StepReport {
    match error.try_into_panic() {
        Ok(panic) => failed(step, panicked(panic.as_ref()), Duration::ZERO, 1),
        Err(_) => cancelled(step, Duration::ZERO, 1),
    }
}

/// All tries of one step.
struct Attempts {
    step: Arc<Step>,
    events: broadcast::Sender<Event>,
    cancellation: CancellationToken,
}

impl Attempts {
    async fn run(self) -> StepReport {
        let step = &self.step;
        let started = Instant::now();
        let _ = self
            .events
            .send(Event::StepStarted { step: step.id.clone(), description: step.description.clone() });
        let mut attempts = 0;
        let mut last_error = None;
        let tries = self.tries(&mut attempts, &mut last_error);
        let outcome = self.cancellation.run_until_cancelled(tokio::time::timeout(step.deadline, tries)).await;
        let elapsed = started.elapsed();
        let done = match outcome {
            None => return cancelled(step, elapsed, attempts),
            Some(Ok(Ok(done))) => done,
            Some(Ok(Err(error))) => return failed(step, error, elapsed, attempts),
            Some(Err(_)) => return failed(step, past_deadline(step, last_error), elapsed, attempts),
        };
        StepReport {
            step: step.id.clone(),
            outcome: if done.changed { StepOutcome::Done } else { StepOutcome::Unchanged },
            message: done.message,
            attempts,
            elapsed,
            error: None,
        }
    }

    async fn tries(&self, attempt: &mut u32, last_error: &mut Option<Error>) -> Result<StepDone> {
        let step = &self.step;
        loop {
            *attempt += 1;
            let context = StepContext {
                progress: Progress::new(step.id.clone(), self.events.downgrade()),
                attempt: *attempt,
            };
            let outcome = AssertUnwindSafe(async { (step.action)(context).await }).catch_unwind().await;
            let error = match outcome {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => error,
                Err(panic) => return Err(panicked(panic.as_ref())),
            };
            let Some(wait) = step.retry.wait(*attempt, &error) else {
                return Err(error);
            };
            let _ = self.events.send(Event::StepRetrying {
                step: step.id.clone(),
                attempt: *attempt,
                wait,
                error: error.to_string(),
            });
            *last_error = Some(error);
            tokio::time::sleep(wait).await;
        }
    }
}

fn past_deadline(step: &Step, last_error: Option<Error>) -> Error {
    let error = Error::new(ErrorKind::Timeout, format!("not done after {:?}", step.deadline))
        .help("it can be run again, and goes on from where it is");
    match last_error {
        Some(last) => error.source(last),
        None => error,
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the step panicked: {}", text.unwrap_or("without a message")))
}
