//! Jobs: pods that end, until enough of them succeeded or too many failed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::deletion::{DeleteOptions, Propagation};
use super::super::error::ApiError;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CONTROLLER_MANAGER, JOBS, PODS, annotation, is_active, is_being_deleted, is_ready, is_true, items, name,
    number, phase, pod_from, put_condition, text, written,
};

const COMPONENT: &str = "job-controller";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Where a Job stands.
struct Progress {
    active: Vec<Arc<Stored>>,
    succeeded: i64,
    failed: i64,
    /// The indexes that succeeded, of a Job that has them.
    completed: BTreeSet<i64>,
}

impl Cluster {
    pub(super) fn job(&mut self, key: &Key, job: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(job) {
            return Ok(());
        }
        if is_true(job, "Complete") || is_true(job, "Failed") {
            return self.expire_job(key, job);
        }
        let now = Timestamp::now();
        let progress = self.progress_of(job);
        let outcome = self.job_outcome(key, job, &progress, now);
        let suspended = job.pointer("/spec/suspend") == Some(&Value::Bool(true));
        let mut failure = None;
        if outcome.is_some() || suspended {
            for pod in &progress.active {
                self.store.delete(&Key::of(&PODS, pod), &DeleteOptions::default())?;
                let message = format!("Deleted pod: {}", name(pod));
                self.events.normal(job, COMPONENT, "SuccessfulDelete", &message);
            }
        } else if let Some(wait) = self.wait_after_failure(job, &progress, now) {
            self.again(key, Instant::now() + wait);
        } else {
            failure = self.start_job_pods(job, &progress).err();
        }
        self.job_status(key, outcome, suspended, now)?;
        failure.map_or(Ok(()), Err)
    }

    fn progress_of(&self, job: &Stored) -> Progress {
        let pods = self.controlled(&PODS, job);
        let ended = |wanted: &str| {
            let count = pods.iter().filter(|pod| phase(pod) == wanted).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        let succeeded = pods.iter().filter(|pod| phase(pod) == "Succeeded");
        let mut completed = parse_indexes(text(job, "/status/completedIndexes"));
        completed.extend(succeeded.filter_map(|pod| annotation(pod, INDEX)?.parse::<i64>().ok()));
        Progress {
            // Pods that were deleted after they ended still count.
            succeeded: ended("Succeeded").max(number(job, "/status/succeeded")),
            failed: ended("Failed").max(number(job, "/status/failed")),
            completed,
            active: pods.into_iter().filter(|pod| is_active(pod)).collect(),
        }
    }

    /// The condition that ends the Job with its reason and message, if it has come to its end.
    fn job_outcome(
        &mut self,
        key: &Key,
        job: &Stored,
        progress: &Progress,
        now: Timestamp,
    ) -> Option<(&'static str, &'static str, &'static str)> {
        let completions = job.pointer("/spec/completions").and_then(Value::as_i64);
        let done = match completions {
            Some(wanted) if is_indexed(job) => {
                i64::try_from(progress.completed.len()).unwrap_or(i64::MAX) >= wanted
            }
            Some(wanted) => progress.succeeded >= wanted,
            None => progress.succeeded > 0 && progress.active.is_empty(),
        };
        if done {
            return Some(("Complete", "CompletionsReached", "Reached expected number of succeeded pods"));
        }
        let restarts: i64 = progress
            .active
            .iter()
            .flat_map(|pod| items(pod, "/status/containerStatuses"))
            .map(|status| number(status, "/restartCount"))
            .sum();
        let limit = number(job, "/spec/backoffLimit");
        if progress.failed > limit || (restarts > 0 && progress.failed + restarts > limit) {
            return Some(("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"));
        }
        let deadline = job.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64)?;
        let started: Timestamp = text(job, "/status/startTime").parse().unwrap_or(now);
        let left = started.as_millisecond() + deadline.saturating_mul(1000) - now.as_millisecond();
        match u64::try_from(left) {
            Ok(left) if left > 0 => {
                self.again(key, Instant::now() + Duration::from_millis(left));
                None
            }
            _ => Some(("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")),
        }
    }

    /// How long to wait before a failed pod is replaced.
    fn wait_after_failure(&self, job: &Stored, progress: &Progress, now: Timestamp) -> Option<Duration> {
        let failures = u32::try_from(progress.failed).unwrap_or(u32::MAX).checked_sub(1)?;
        let pods = self.controlled(&PODS, job);
        let ended = pods
            .iter()
            .filter(|pod| phase(pod) == "Failed")
            .flat_map(|pod| items(pod, "/status/containerStatuses"));
        let last = ended
            .filter_map(|status| text(status, "/state/terminated/finishedAt").parse::<Timestamp>().ok())
            .max()?;
        let waited = now.as_millisecond() - last.as_millisecond();
        let left = self
            .behaviour
            .backoff(failures)
            .checked_sub(Duration::from_millis(u64::try_from(waited).unwrap_or(0)))?;
        (!left.is_zero()).then_some(left)
    }

    fn start_job_pods(&self, job: &Stored, progress: &Progress) -> Result<(), ApiError> {
        let active = i64::try_from(progress.active.len()).unwrap_or(i64::MAX);
        let parallelism = number(job, "/spec/parallelism");
        let completions = job.pointer("/spec/completions").and_then(Value::as_i64);
        let wanted = match completions {
            Some(completions) => parallelism.min(completions - progress.succeeded),
            None if progress.succeeded > 0 => active,
            None => parallelism,
        };
        let taken = |index: &i64| {
            let index = index.to_string();
            progress.active.iter().any(|pod| annotation(pod, INDEX) == Some(index.as_str()))
        };
        let mut free = (0..completions.unwrap_or(0))
            .filter(|index| !progress.completed.contains(index) && !taken(index));
        let template = job.pointer("/spec/template").cloned().unwrap_or_default();
        for _ in active..wanted {
            let mut pod = pod_from(&template, job);
            if is_indexed(job) {
                let Some(index) = free.next() else { break };
                pod["metadata"]["generateName"] = json!(format!("{}-{index}-", name(job)));
                pod["metadata"]["annotations"][INDEX] = json!(index.to_string());
                pod["metadata"]["labels"][INDEX] = json!(index.to_string());
                pod["spec"]["hostname"] = json!(format!("{}-{index}", name(job)));
            }
            match self.store.create(&PODS, pod, CONTROLLER_MANAGER) {
                Ok(pod) => {
                    let message = format!("Created pod: {}", name(&pod));
                    self.events.normal(job, COMPONENT, "SuccessfulCreate", &message);
                }
                Err(error) => {
                    self.events.warning(job, COMPONENT, "FailedCreate", &format!("Error creating: {error}"));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn job_status(
        &mut self,
        key: &Key,
        outcome: Option<(&'static str, &'static str, &'static str)>,
        suspended: bool,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(job) = self.store.find(key) else { return Ok(()) };
        let progress = self.progress_of(&job);
        let now = written(now);
        let mut conditions = items(&job, "/status/conditions").to_vec();
        let mut put = |kind: &str, status: &str, reason: &str, message: &str| {
            let mut condition = json!({"type": kind, "status": status, "reason": reason, "message": message});
            let old = items(&job, "/status/conditions").iter().find(|one| text(one, "/type") == kind);
            let probed = old
                .filter(|old| text(old, "/status") == status)
                .map_or(now.as_str(), |old| text(old, "/lastProbeTime"));
            condition["lastProbeTime"] = json!(probed);
            put_condition(&mut conditions, condition, &now);
        };
        if suspended {
            put("Suspended", "True", "JobSuspended", "Job suspended");
        } else if is_true(&job, "Suspended") {
            put("Suspended", "False", "JobResumed", "Job resumed");
        }
        if let Some((kind, reason, message)) = outcome {
            let first = if kind == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
            put(first, "True", reason, message);
            put(kind, "True", reason, message);
        }
        let mut status = json!({
            "ready": progress.active.iter().filter(|pod| is_ready(pod)).count(),
            "terminating": 0,
            "uncountedTerminatedPods": {},
        });
        if !suspended {
            let started = text(&job, "/status/startTime");
            status["startTime"] = json!(if started.is_empty() { now.as_str() } else { started });
        }
        let active = i64::try_from(progress.active.len()).unwrap_or(i64::MAX);
        for (field, count) in
            [("active", active), ("succeeded", progress.succeeded), ("failed", progress.failed)]
        {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        if is_indexed(&job) {
            status["completedIndexes"] = json!(written_indexes(&progress.completed));
        }
        match outcome {
            Some(("Complete", ..)) => {
                status["completionTime"] = json!(now);
                self.events.normal(&job, COMPONENT, "Completed", "Job completed");
            }
            Some((_, reason, message)) => self.events.warning(&job, COMPONENT, reason, message),
            None => {}
        }
        if !conditions.is_empty() {
            status["conditions"] = Value::Array(conditions);
        }
        self.put_status(&JOBS, &job, status, CONTROLLER_MANAGER)
    }

    /// Deletes a finished Job after its time to live.
    fn expire_job(&mut self, key: &Key, job: &Stored) -> Result<(), ApiError> {
        let Some(kept) = job.pointer("/spec/ttlSecondsAfterFinished").and_then(Value::as_i64) else {
            return Ok(());
        };
        let ended = items(job, "/status/conditions")
            .iter()
            .filter(|condition| matches!(text(condition, "/type"), "Complete" | "Failed"))
            .find_map(|condition| text(condition, "/lastTransitionTime").parse::<Timestamp>().ok());
        let now = Timestamp::now();
        let left = ended.unwrap_or(now).as_millisecond() + kept.saturating_mul(1000) - now.as_millisecond();
        if let Ok(left @ 1..) = u64::try_from(left) {
            self.again(key, Instant::now() + Duration::from_millis(left));
            return Ok(());
        }
        let propagation = Some(Propagation::Foreground);
        self.store.delete(key, &DeleteOptions { propagation, ..DeleteOptions::default() })?;
        Ok(())
    }
}

fn is_indexed(job: &Value) -> bool {
    text(job, "/spec/completionMode") == "Indexed"
}

/// Reads `1,3-5`.
fn parse_indexes(text: &str) -> BTreeSet<i64> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<i64>().ok()?..=last.parse::<i64>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Writes `1,3-5`.
fn written_indexes(indexes: &BTreeSet<i64>) -> String {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let range =
        |(first, last): (i64, i64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.into_iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_ranges() {
        let indexes = BTreeSet::from([0, 1, 2, 5, 7, 8]);
        assert_eq!(written_indexes(&indexes), "0-2,5,7-8");
        assert_eq!(parse_indexes("0-2,5,7-8"), indexes);
        assert_eq!(parse_indexes(""), BTreeSet::new());
    }
}
