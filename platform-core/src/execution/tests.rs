//! Runs of graphs, on paused time.

use super::{Executor, Report, RetryPolicy, Step, StepDone, StepGraph};
use crate::{
    error::{Error, ErrorKind},
    event::{Event, StepOutcome},
};
use futures::StreamExt;
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

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
    let step =
        Step::new("slow", "try", |_| async { Err(Error::new(ErrorKind::Unavailable, "connection refused")) })
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

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_a_limit_takes_no_place_of_others() {
    let permits = Arc::new(Semaphore::new(1));
    let mut steps: Vec<Step> =
        (0..4).map(|i| sleeping(&format!("limited/{i}"), 10).limit(permits.clone())).collect();
    steps.push(sleeping("free", 1));
    let mut run = Executor::new(2).start(StepGraph::new(steps).unwrap());
    let events = run.events();
    let report = run.await;
    assert_eq!(report.elapsed.as_secs(), 40);
    let finished: Vec<_> = events
        .filter_map(|event| async move {
            match event {
                Event::StepFinished { step, .. } => Some(step.to_string()),
                _ => None,
            }
        })
        .collect()
        .await;
    assert_eq!(finished.first().map(String::as_str), Some("free"));
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_the_wait_for_a_limit_that_others_hold() {
    let permits = Arc::new(Semaphore::new(0));
    let run =
        Executor::default().start(StepGraph::new(vec![sleeping("a", 1).limit(permits.clone())]).unwrap());
    run.cancel();
    let report = run.await;
    assert_eq!(outcomes(&report), [("a", StepOutcome::NotReached)]);
    assert_eq!(report.steps[0].message, "the run was cancelled");
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_end_of_a_step_runs_however_that_ended() {
    use StepOutcome::{Done, Failed, NotReached};
    let fail = || Step::new("a", "fail", |_| async { Err(Error::invalid("no")) });
    let steps = vec![
        fail(),
        sleeping("never", 1).after(["a"]),
        sleeping("last", 1).after_end(["a", "never"]),
        sleeping("more", 1).after(["last"]),
    ];
    let report = Executor::default().start(StepGraph::new(steps).unwrap()).await;
    assert_eq!(outcomes(&report), [("a", Failed), ("never", NotReached), ("last", Done), ("more", Done)]);
    let circle = vec![sleeping("a", 1).after_end(["b"]), sleeping("b", 1).after(["a"])];
    assert!(StepGraph::new(circle).is_err());
}

#[tokio::test(start_paused = true)]
async fn events_end_with_the_run_although_a_step_keeps_its_progress() {
    let kept = Arc::new(Mutex::new(None));
    let keeper = kept.clone();
    let step = Step::new("keep", "keep", move |context| {
        *keeper.lock().unwrap() = Some(context.progress);
        async { Ok(StepDone::unchanged("")) }
    });
    let mut run = Executor::default().start(StepGraph::new(vec![step]).unwrap());
    let events = run.events();
    let mut late = {
        assert!((&mut run).await.succeeded());
        run.events()
    };
    kept.lock().unwrap().as_ref().unwrap().report("too late");
    let events: Vec<Event> = tokio::time::timeout(Duration::from_secs(60), events.collect()).await.unwrap();
    assert!(matches!(events.last(), Some(Event::RunFinished { succeeded: true, .. })), "{events:?}");
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), late.next()).await.unwrap(), None);
}

#[test]
fn a_run_whose_runtime_ends_did_not_succeed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let graph = StepGraph::new(vec![sleeping("a", 60)]).unwrap();
    let run = {
        let _context = runtime.enter();
        Executor::default().start(graph)
    };
    drop(runtime);
    let report = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run);
    assert_eq!(outcomes(&report), [("a", StepOutcome::NotReached)]);
    assert_eq!(report.into_result().unwrap_err().kind(), ErrorKind::Cancelled);
}

/// How a step of a random graph behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Succeeds,
    Fails,
    Panics,
    /// Fails once in a way that may pass.
    Stumbles,
}

/// Steps, each with its fate, whether it has a limit, and those before it that it waits for: the succeeded and the ended.
type RandomStep = (Fate, bool, Vec<usize>, Vec<usize>);

fn random_steps() -> impl Strategy<Value = Vec<RandomStep>> {
    let fate = prop_oneof![
        6 => Just(Fate::Succeeds),
        1 => Just(Fate::Fails),
        1 => Just(Fate::Panics),
        2 => Just(Fate::Stumbles),
    ];
    let before = || prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    prop::collection::vec((fate, any::<bool>(), before(), before()), 1..25).prop_map(|steps| {
        let indexes = |at: usize, chosen: Vec<prop::sample::Index>| {
            if at == 0 { Vec::new() } else { chosen.into_iter().map(|index| index.index(at)).collect() }
        };
        steps
            .into_iter()
            .enumerate()
            .map(|(at, (fate, limited, succeeded, ended))| {
                (fate, limited, indexes(at, succeeded), indexes(at, ended))
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn each_step_runs_once_after_what_it_waits_for_or_is_told_why_not(
        steps in random_steps(),
        parallelism in 1_usize..6,
    ) {
        // What began and ended, in order.
        let log: Arc<Mutex<Vec<(usize, bool)>>> = Arc::default();
        let permits = Arc::new(Semaphore::new(2));
        let graph = steps.iter().enumerate().map(|(at, (fate, limited, succeeded, ended))| {
            let (fate, log) = (*fate, log.clone());
            let step = Step::new(at.to_string(), "random", move |context| {
                let log = log.clone();
                async move {
                    if context.attempt == 1 {
                        log.lock().unwrap().push((at, false));
                    }
                    tokio::time::sleep(Duration::from_millis(at as u64 % 3)).await;
                    if fate == Fate::Stumbles && context.attempt == 1 {
                        return Err(Error::new(ErrorKind::Unavailable, "not yet"));
                    }
                    log.lock().unwrap().push((at, true));
                    match fate {
                        Fate::Fails => Err(Error::invalid("wrong")),
                        Fate::Panics => panic!("out of order"),
                        Fate::Succeeds | Fate::Stumbles => Ok(StepDone::changed("")),
                    }
                }
            })
            .after(succeeded.iter().map(ToString::to_string))
            .after_end(ended.iter().map(ToString::to_string));
            if *limited { step.limit(permits.clone()) } else { step }
        });
        let graph = StepGraph::new(graph.collect()).unwrap();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let report = runtime.block_on(async { Executor::new(parallelism).start(graph).await });
        let log = log.lock().unwrap();
        let position = |entry| log.iter().position(|e| *e == entry);
        for (at, (fate, _, succeeded, ended)) in steps.iter().enumerate() {
            let reached = succeeded.iter().all(|&before| report.steps[before].outcome == StepOutcome::Done);
            let wanted = match fate {
                _ if !reached => StepOutcome::NotReached,
                Fate::Succeeds | Fate::Stumbles => StepOutcome::Done,
                Fate::Fails | Fate::Panics => StepOutcome::Failed,
            };
            prop_assert_eq!(report.steps[at].outcome, wanted);
            prop_assert_eq!(log.iter().filter(|e| **e == (at, false)).count(), usize::from(reached));
            prop_assert_eq!(report.steps[at].error.is_some(), wanted == StepOutcome::Failed);
            if reached {
                for &before in succeeded.iter().chain(ended) {
                    prop_assert!(position((before, true)) < position((at, false)));
                }
            } else {
                prop_assert!(report.steps[at].message.ends_with("did not succeed"));
            }
        }
        prop_assert_eq!(permits.available_permits(), 2);
        prop_assert_eq!(report.into_result().is_ok(), steps.iter().all(|(fate, ..)| {
            matches!(fate, Fate::Succeeds | Fate::Stumbles)
        }));
    }
}
