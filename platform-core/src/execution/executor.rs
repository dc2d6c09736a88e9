//! Runs a graph of steps.

use super::{Report, Step, StepContext, StepDone, StepGraph, StepId, StepReport};
use crate::{
    error::{Error, ErrorKind, Result},
    event::{Event, EventStream, Progress, StepOutcome},
};
use futures::FutureExt;
use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::broadcast,
    task::{JoinHandle, JoinSet},
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
    pub fn start(&self, graph: StepGraph) -> Run {
        let (sender, receiver) = broadcast::channel(EVENT_CAPACITY);
        let cancellation = CancellationToken::new();
        let scheduler = Scheduler::new(graph, self.parallelism, sender.clone(), cancellation.clone());
        Run {
            first: Some(receiver),
            events: sender.downgrade(),
            cancellation,
            task: tokio::spawn(scheduler.run()),
        }
    }
}

/// A run under way. Await it for its report; dropping it cancels it.
#[derive(Debug)]
#[must_use = "a run that is dropped is cancelled"]
pub struct Run {
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
        match ready!(self.task.poll_unpin(context)) {
            Ok(report) => Poll::Ready(report),
            // The scheduler's task ends early only with its runtime.
            Err(_) => Poll::Ready(Report { steps: Vec::new(), elapsed: Duration::ZERO }),
        }
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
    dependents: Vec<Vec<usize>>,
    waits_for: Vec<usize>,
    ready: BTreeSet<usize>,
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
            parallelism,
            events,
            cancellation,
            started: Instant::now(),
        }
    }

    async fn run(mut self) -> Report {
        self.send(Event::RunStarted { steps: self.steps.len() });
        let mut running: JoinSet<(usize, StepReport)> = JoinSet::new();
        let mut indexes: HashMap<tokio::task::Id, usize> = HashMap::new();
        loop {
            while running.len() < self.parallelism && !self.cancellation.is_cancelled() {
                let Some(at) = self.ready.pop_first() else { break };
                let attempt = Attempts {
                    step: self.steps[at].clone(),
                    events: self.events.clone(),
                    cancellation: self.cancellation.clone(),
                };
                let handle = running.spawn(async move { (at, attempt.run().await) });
                indexes.insert(handle.id(), at);
            }
            match running.join_next_with_id().await {
                None => break,
                Some(Ok((id, (at, report)))) => {
                    indexes.remove(&id);
                    self.finish(at, report);
                }
                // Panics are caught inside, so this is the runtime shutting down.
                Some(Err(error)) => {
                    if let Some(at) = indexes.remove(&error.id()) {
                        let report = cancelled(&self.steps[at], Duration::ZERO, 0);
                        self.finish(at, report);
                    }
                }
            }
        }
        self.report()
    }

    fn finish(&mut self, at: usize, report: StepReport) {
        self.send(Event::StepFinished {
            step: report.step.clone(),
            outcome: report.outcome,
            elapsed: report.elapsed,
            message: report.message.clone(),
            error_kind: report.error.as_ref().map(|e| e.kind()),
        });
        if matches!(report.outcome, StepOutcome::Done | StepOutcome::Unchanged) {
            for &next in &self.dependents[at] {
                self.waits_for[next] -= 1;
                if self.waits_for[next] == 0 {
                    self.ready.insert(next);
                }
            }
        }
        self.reports[at] = Some(report);
    }

    fn report(self) -> Report {
        let reports: Vec<StepReport> = self
            .reports
            .into_iter()
            .zip(&self.steps)
            .map(|(report, step)| {
                report.unwrap_or_else(|| StepReport {
                    step: step.id.clone(),
                    outcome: StepOutcome::NotReached,
                    message: String::new(),
                    attempts: 0,
                    elapsed: Duration::ZERO,
                    error: None,
                })
            })
            .collect();
        let mut report = Report { steps: reports, elapsed: self.started.elapsed() };
        explain_not_reached(&mut report, &self.steps);
        for step in report.steps.iter().filter(|s| s.outcome == StepOutcome::NotReached) {
            let _ = self.events.send(Event::StepFinished {
                step: step.step.clone(),
                outcome: step.outcome,
                elapsed: Duration::ZERO,
                message: step.message.clone(),
                error_kind: None,
            });
        }
        let _ =
            self.events.send(Event::RunFinished { succeeded: report.succeeded(), elapsed: report.elapsed });
        report
    }

    fn send(&self, event: Event) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

/// Says for each step that was not reached which prerequisite did not succeed.
fn explain_not_reached(report: &mut Report, steps: &[Arc<Step>]) {
    let failed: BTreeSet<StepId> = report
        .steps
        .iter()
        .filter(|s| !matches!(s.outcome, StepOutcome::Done | StepOutcome::Unchanged))
        .map(|s| s.step.clone())
        .collect();
    for (step, report) in steps.iter().zip(&mut report.steps) {
        if report.outcome == StepOutcome::NotReached {
            report.message = match step.after.iter().find(|before| failed.contains(*before)) {
                Some(before) => format!("{before} did not succeed"),
                None => "the run was cancelled".to_owned(),
            };
        }
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

/// All tries of one step.
struct Attempts {
    step: Arc<Step>,
    events: broadcast::Sender<Event>,
    cancellation: CancellationToken,
}

impl Attempts {
    async fn run(self) -> StepReport {
        let step = &self.step;
        let mut started = Instant::now();
        let permit = match &step.limit {
            None => None,
            Some(limit) => {
                let permit = self.cancellation.run_until_cancelled(limit.acquire()).await;
                started = Instant::now();
                match permit {
                    // A semaphore that was closed limits nothing any more.
                    Some(permit) => permit.ok(),
                    None => return cancelled(step, started.elapsed(), 0),
                }
            }
        };
        let _ = self
            .events
            .send(Event::StepStarted { step: step.id.clone(), description: step.description.clone() });
        let mut attempt = 0;
        let mut last_error = None;
        let tries = self.tries(&mut attempt, &mut last_error);
        let outcome = self.cancellation.run_until_cancelled(tokio::time::timeout(step.deadline, tries)).await;
        drop(permit);
        let outcome = match outcome {
            None => return cancelled(step, started.elapsed(), attempt),
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(past_deadline(step, last_error)),
        };
        let (outcome, message, error) = match outcome {
            Ok(StepDone { changed: true, message }) => (StepOutcome::Done, message, None),
            Ok(StepDone { changed: false, message }) => (StepOutcome::Unchanged, message, None),
            Err(error) => (StepOutcome::Failed, error.to_string(), Some(Arc::new(error))),
        };
        StepReport {
            step: step.id.clone(),
            outcome,
            message,
            attempts: attempt,
            elapsed: started.elapsed(),
            error,
        }
    }

    async fn tries(&self, attempt: &mut u32, last_error: &mut Option<Error>) -> Result<StepDone> {
        let step = &self.step;
        loop {
            *attempt += 1;
            let context = StepContext {
                progress: Progress::new(step.id.clone(), self.events.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::RetryPolicy;
    use futures::StreamExt;
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    };
    use tokio::sync::Semaphore;

    fn sleeping(id: &str, seconds: u64) -> Step {
        Step::new(id, "sleep", move |_| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(StepDone::changed("slept"))
        })
    }

    fn outcomes(report: &Report) -> Vec<(&str, StepOutcome)> {
        report.steps.iter().map(|s| (s.step.as_str(), s.outcome)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_failed_step_precedes_is_not_reached_and_the_rest_runs() {
        let graph = StepGraph::new(vec![
            Step::new("a", "fail", |_| async { Err(Error::invalid("wrong spec")) }),
            sleeping("b", 1).after(["a"]),
            sleeping("c", 1).after(["b"]),
            sleeping("d", 1),
        ])
        .unwrap();
        let report = Executor::default().start(graph).await;
        use StepOutcome::{Done, Failed, NotReached};
        assert_eq!(outcomes(&report), [("a", Failed), ("b", NotReached), ("c", NotReached), ("d", Done)]);
        assert_eq!(report.steps[1].message, "a did not succeed");
        let error = report.into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("a: wrong spec; 2 steps were not reached"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn parallelism_is_bounded_by_the_executor_and_by_limits() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let permits = Arc::new(Semaphore::new(2));
        let step = |id: String| {
            let (now, most) = (now.clone(), most.clone());
            Step::new(id, "count", move |_| {
                let (now, most) = (now.clone(), most.clone());
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(StepDone::unchanged(""))
                }
            })
        };
        let free: Vec<Step> = (0..20).map(|i| step(format!("free/{i}"))).collect();
        let started = Instant::now();
        assert!(Executor::new(5).start(StepGraph::new(free).unwrap()).await.succeeded());
        assert_eq!((most.swap(0, Ordering::SeqCst), started.elapsed().as_secs()), (5, 4));
        let limited = (0..6).map(|i| step(format!("limited/{i}")).limit(permits.clone())).collect();
        assert!(Executor::new(5).start(StepGraph::new(limited).unwrap()).await.succeeded());
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn retryable_errors_are_tried_again_until_an_end() {
        let tries = Arc::new(AtomicU32::new(0));
        let flaky = |succeed_at: u32| {
            let tries = tries.clone();
            tries.store(0, Ordering::SeqCst);
            Step::new("flaky", "try", move |_| {
                let tries = tries.clone();
                async move {
                    if tries.fetch_add(1, Ordering::SeqCst) + 1 < succeed_at {
                        return Err(Error::new(ErrorKind::Unavailable, "down"));
                    }
                    Ok(StepDone::changed("up"))
                }
            })
        };
        let mut run = Executor::default().start(StepGraph::new(vec![flaky(3)]).unwrap());
        let events = run.events();
        let report = run.await;
        assert_eq!((report.succeeded(), report.steps[0].attempts), (true, 3));
        let retries =
            events.filter(|e| std::future::ready(matches!(e, Event::StepRetrying { .. }))).count().await;
        assert_eq!(retries, 2);
        let graph = StepGraph::new(vec![flaky(100).retry(RetryPolicy::attempts(4))]).unwrap();
        let report = Executor::default().start(graph).await;
        assert_eq!((report.succeeded(), report.steps[0].attempts), (false, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_a_step_and_says_what_it_last_failed_with() {
        let step = Step::new("slow", "try", |_| async {
            Err(Error::new(ErrorKind::Unavailable, "connection refused"))
        })
        .retry(RetryPolicy { attempts: u32::MAX, ..RetryPolicy::default() })
        .deadline(Duration::from_secs(60));
        let report = Executor::default().start(StepGraph::new(vec![step]).unwrap()).await;
        assert_eq!(report.steps[0].error.as_ref().unwrap().kind(), ErrorKind::Timeout);
        assert!(report.steps[0].message.contains("not done after 60s: connection refused"), "{report}");
        assert_eq!(report.elapsed.as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_stops_where_it_waits_and_a_second_run_resumes() {
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let graph = || {
            let step = |id: &'static str, seconds: u64| {
                let done = done.clone();
                Step::new(id, "once", move |_| {
                    let done = done.clone();
                    async move {
                        if done.lock().unwrap().contains(id) {
                            return Ok(StepDone::unchanged("there"));
                        }
                        tokio::time::sleep(Duration::from_secs(seconds)).await;
                        done.lock().unwrap().insert(id);
                        Ok(StepDone::changed("made"))
                    }
                })
            };
            StepGraph::new(vec![step("a", 1), step("b", 10).after(["a"]), step("c", 1).after(["b"])]).unwrap()
        };
        let run = Executor::default().start(graph());
        let cancellation = run.cancellation();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            cancellation.cancel();
        });
        let report = run.await;
        use StepOutcome::{Cancelled, Done, NotReached, Unchanged};
        assert_eq!(outcomes(&report), [("a", Done), ("b", Cancelled), ("c", NotReached)]);
        assert_eq!(report.into_result().unwrap_err().kind(), ErrorKind::Cancelled);
        let report = Executor::default().start(graph()).await;
        assert_eq!(outcomes(&report), [("a", Unchanged), ("b", Done), ("c", Done)]);
    }

    #[tokio::test]
    async fn a_panic_is_the_failure_of_its_step() {
        let graph = StepGraph::new(vec![Step::new("bad", "panic", |_| async { panic!("oh no") })]).unwrap();
        let report = Executor::default().start(graph).await;
        assert_eq!(report.steps[0].message, "the step panicked: oh no");
    }
}
