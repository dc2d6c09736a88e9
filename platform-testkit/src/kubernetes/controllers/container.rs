//! The life of one container.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::behaviour::{Behaviour, ImageBehaviour};
use super::object::{items, number, text, written};

/// A container of a pod from its creation on.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    behaviour: ImageBehaviour,
    restart: Restart,
    probed: bool,
    ports: Vec<i64>,
    state: State,
    restarts: u32,
    last: Option<Ended>,
}

/// Which ends of a container are followed by another start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Debug)]
enum State {
    /// It was not its turn yet.
    Absent,
    Creating {
        until: Instant,
        from: Instant,
    },
    PullFailed {
        until: Instant,
    },
    PullBackOff,
    Running {
        since: Timestamp,
        ready: Readiness,
        end: Option<Instant>,
    },
    /// It ended and starts again at once.
    Restarting {
        until: Instant,
    },
    /// It ended and starts again later.
    BackOff {
        until: Instant,
    },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Never,
    At(Instant),
    Now,
}

/// How a container ended.
#[derive(Clone, Debug)]
struct Ended {
    exit_code: i32,
    message: String,
    started: Timestamp,
    finished: Timestamp,
}

/// Something that happened to a container and that others are told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// For the events of the pod: whether it is a warning, its reason and its message.
    Event(bool, &'static str, String),
    /// For the container's log.
    Log(String),
}

impl Container {
    /// A container as its pod's spec describes it. `ends` says whether it is meant to end by itself.
    pub(super) fn new(spec: &Value, restart: Restart, ends: bool, behaviour: &Behaviour) -> Self {
        let image = text(spec, "/image").to_owned();
        Self {
            name: text(spec, "/name").to_owned(),
            behaviour: behaviour.of(&image, ends),
            image,
            restart,
            probed: spec.get("readinessProbe").is_some() || spec.get("startupProbe").is_some(),
            ports: items(spec, "/ports").iter().map(|port| number(port, "/containerPort")).collect(),
            state: State::Absent,
            restarts: 0,
            last: None,
        }
    }

    /// Takes up what a status says: what was running still runs.
    pub(super) fn resume(&mut self, status: &Value, now: Instant) {
        self.restarts = u32::try_from(number(status, "/restartCount")).unwrap_or(0);
        let ready = status.get("ready") == Some(&Value::Bool(true));
        if let Ok(since) = text(status, "/state/running/startedAt").parse() {
            let step = Duration::ZERO;
            let (readiness, end) = self.course(now, now, step);
            self.state = State::Running { since, ready: if ready { Readiness::Now } else { readiness }, end };
        } else if let Some(ended) = status.pointer("/state/terminated") {
            let exit_code = i32::try_from(number(ended, "/exitCode")).unwrap_or(1);
            let time = |field: &str| text(ended, field).parse().unwrap_or(Timestamp::UNIX_EPOCH);
            let message = text(ended, "/message").to_owned();
            self.last = Some(Ended {
                exit_code,
                message,
                started: time("/startedAt"),
                finished: time("/finishedAt"),
            });
            self.state =
                if self.restarts_after(exit_code) { State::Restarting { until: now } } else { State::Ended };
        }
    }

    /// Creates it, if it is not created yet.
    pub(super) fn begin(&mut self, now: Instant, behaviour: &Behaviour) {
        if matches!(self.state, State::Absent) {
            self.create(now, behaviour);
        }
    }

    /// Starts over with another image.
    pub(super) fn replace_image(&mut self, image: &str, ends: bool, now: Instant, behaviour: &Behaviour) {
        image.clone_into(&mut self.image);
        self.behaviour = behaviour.of(image, ends);
        if !matches!(self.state, State::Absent) {
            self.restarts += 1;
            self.create(now, behaviour);
        }
    }

    /// Lives up to `now`.
    pub(super) fn advance(&mut self, now: Instant, clock: Timestamp, behaviour: &Behaviour) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Some(due) = self.due()
            && due <= now
        {
            self.step(due, now, clock, behaviour, &mut notices);
        }
        notices
    }

    /// When its next change is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Absent | State::PullBackOff | State::Ended => None,
            State::Creating { until, .. }
            | State::PullFailed { until }
            | State::Restarting { until }
            | State::BackOff { until } => Some(*until),
            State::Running { ready: Readiness::At(ready), end, .. } => {
                Some(end.map_or(*ready, |end| end.min(*ready)))
            }
            State::Running { end, .. } => *end,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Running { ready: Readiness::Now, .. })
    }

    /// Whether it has run at all.
    pub(super) fn has_started(&self) -> bool {
        matches!(self.state, State::Running { .. }) || self.last.is_some()
    }

    /// What it ended with, if it does not start again.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self.state {
            State::Ended => Some(self.last.as_ref().map_or(0, |ended| ended.exit_code)),
            _ => None,
        }
    }

    /// Its entry in the status of its pod.
    pub(super) fn status(&self, pod_uid: &str) -> Value {
        let waiting = |reason: &str, message: String| {
            let mut waiting = json!({"reason": reason});
            if !message.is_empty() {
                waiting["message"] = json!(message);
            }
            json!({"waiting": waiting})
        };
        let state = match &self.state {
            State::Absent => waiting("PodInitializing", String::new()),
            State::Creating { .. } => waiting("ContainerCreating", String::new()),
            State::PullFailed { .. } => waiting("ErrImagePull", self.pull_error()),
            State::PullBackOff => {
                waiting("ImagePullBackOff", format!("Back-off pulling image {:?}", self.image))
            }
            State::Running { since, .. } => json!({"running": {"startedAt": written(*since)}}),
            State::Restarting { .. } | State::Ended => json!({"terminated": self.terminated(pod_uid)}),
            State::BackOff { .. } => waiting("CrashLoopBackOff", self.back_off_message()),
        };
        let ended = matches!(self.state, State::Restarting { .. } | State::Ended);
        let last = if ended || self.last.is_none() {
            json!({})
        } else {
            json!({"terminated": self.terminated(pod_uid)})
        };
        let running = matches!(self.state, State::Running { .. });
        json!({
            "name": self.name,
            "image": self.image,
            "imageID": if self.has_started() { format!("{}@sha256:{:064x}", self.image, digest(&self.image)) } else { String::new() },
            "containerID": if self.has_started() { self.id(pod_uid) } else { String::new() },
            "ready": self.is_ready() || (self.exit_code() == Some(0)),
            "started": running,
            "restartCount": self.restarts,
            "state": state,
            "lastState": last,
        })
    }

    fn create(&mut self, now: Instant, behaviour: &Behaviour) {
        let until = match &self.behaviour {
            ImageBehaviour::Ready { after } if !self.probed => *after,
            ImageBehaviour::Ready { after } | ImageBehaviour::Completes { after, .. } => *after / 2,
            _ => behaviour.step(),
        };
        self.state = State::Creating { until: now + until, from: now };
    }

    fn step(
        &mut self,
        due: Instant,
        now: Instant,
        clock: Timestamp,
        behaviour: &Behaviour,
        notices: &mut Vec<Notice>,
    ) {
        let event = |warning, reason, message| Notice::Event(warning, reason, message);
        match self.state.clone() {
            State::Creating { .. } if self.behaviour == ImageBehaviour::ImagePullBackOff => {
                notices.push(event(false, "Pulling", format!("Pulling image {:?}", self.image)));
                notices.push(event(true, "Failed", self.pull_error()));
                notices.push(event(true, "Failed", "Error: ErrImagePull".to_owned()));
                self.state = State::PullFailed { until: now + behaviour.step() };
            }
            State::PullFailed { .. } => {
                notices.push(event(false, "BackOff", format!("Back-off pulling image {:?}", self.image)));
                notices.push(event(true, "Failed", "Error: ImagePullBackOff".to_owned()));
                self.state = State::PullBackOff;
            }
            State::Creating { from, .. } => self.start(due, from, clock, behaviour, notices),
            State::Restarting { until } | State::BackOff { until } => {
                self.restarts += 1;
                self.start(due, until, clock, behaviour, notices);
            }
            State::Running { since, end: Some(end), .. } if end <= due => {
                self.end(since, now, clock, behaviour, notices);
            }
            State::Running { since, end, .. } => {
                notices.push(Notice::Log("ready".to_owned()));
                self.state = State::Running { since, ready: Readiness::Now, end };
            }
            State::Absent | State::PullBackOff | State::Ended => {}
        }
    }

    fn start(
        &mut self,
        now: Instant,
        from: Instant,
        clock: Timestamp,
        behaviour: &Behaviour,
        notices: &mut Vec<Notice>,
    ) {
        let (image, name) = (&self.image, &self.name);
        notices.push(Notice::Event(
            false,
            "Pulled",
            format!("Container image {image:?} already present on machine"),
        ));
        notices.push(Notice::Event(false, "Created", format!("Created container: {name}")));
        notices.push(Notice::Event(false, "Started", format!("Started container {name}")));
        notices.push(Notice::Log(format!("starting {image}")));
        notices.extend(self.ports.iter().map(|port| Notice::Log(format!("listening on 0.0.0.0:{port}"))));
        if self.behaviour == ImageBehaviour::NeverReady {
            let message = "Readiness probe failed: the simulated container never gets ready".to_owned();
            notices.push(Notice::Event(true, "Unhealthy", message));
        }
        let (ready, end) = self.course(now, from, behaviour.step());
        self.state = State::Running { since: clock, ready, end };
    }

    /// When a container that starts `now`, created at `from`, gets ready and ends.
    fn course(&self, now: Instant, from: Instant, step: Duration) -> (Readiness, Option<Instant>) {
        let without_probe = if self.probed { Readiness::Never } else { Readiness::Now };
        match &self.behaviour {
            ImageBehaviour::Ready { after } => (Readiness::At((from + *after).max(now)), None),
            ImageBehaviour::NeverReady | ImageBehaviour::ImagePullBackOff => (Readiness::Never, None),
            ImageBehaviour::Completes { after, .. } => (without_probe, Some((from + *after).max(now))),
            ImageBehaviour::CrashLoopBackOff { .. } => (Readiness::Never, Some(now + step / 2)),
        }
    }

    fn end(
        &mut self,
        started: Timestamp,
        now: Instant,
        clock: Timestamp,
        behaviour: &Behaviour,
        notices: &mut Vec<Notice>,
    ) {
        let (exit_code, message) = match &self.behaviour {
            ImageBehaviour::CrashLoopBackOff { exit_code, message } => (*exit_code, message.clone()),
            ImageBehaviour::Completes { exit_code, .. } => (*exit_code, String::new()),
            _ => (0, String::new()),
        };
        if message.is_empty() {
            notices.push(Notice::Log(format!("ended with exit code {exit_code}")));
        } else {
            notices.extend(message.lines().map(|line| Notice::Log(line.to_owned())));
        }
        self.last = Some(Ended { exit_code, message, started, finished: clock });
        self.state = if !self.restarts_after(exit_code) {
            State::Ended
        } else if self.restarts == 0 {
            State::Restarting { until: now + behaviour.step() }
        } else {
            let message = format!("Back-off restarting failed container {}", self.name);
            notices.push(Notice::Event(true, "BackOff", message));
            State::BackOff { until: now + behaviour.backoff(self.restarts - 1) }
        };
    }

    fn restarts_after(&self, exit_code: i32) -> bool {
        match self.restart {
            Restart::Always => true,
            Restart::OnFailure => exit_code != 0,
            Restart::Never => false,
        }
    }

    fn terminated(&self, pod_uid: &str) -> Value {
        let Some(ended) = &self.last else { return Value::Null };
        let mut terminated = json!({
            "exitCode": ended.exit_code,
            "reason": if ended.exit_code == 0 { "Completed" } else { "Error" },
            "startedAt": written(ended.started),
            "finishedAt": written(ended.finished),
            "containerID": self.id(pod_uid),
        });
        if !ended.message.is_empty() {
            terminated["message"] = json!(ended.message);
        }
        terminated
    }

    fn pull_error(&self) -> String {
        let image = &self.image;
        format!("Failed to pull image {image:?}: failed to resolve reference {image:?}: {image}: not found")
    }

    fn back_off_message(&self) -> String {
        format!("back-off restarting failed container={}", self.name)
    }

    fn id(&self, pod_uid: &str) -> String {
        let seed = format!("{pod_uid}/{}/{}", self.name, self.restarts);
        format!("simulated://{:064x}", digest(&seed))
    }
}

/// FNV-1a, 128 bits: an identifier, not a checksum.
fn digest(seed: &str) -> u128 {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in seed.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lives for `millis` milliseconds in steps and returns the reasons that the status gave, each once in a row.
    fn life(behaviour: ImageBehaviour, restart: Restart, millis: u64) -> Vec<String> {
        let rules = Behaviour::default()
            .ready_after(Duration::from_millis(10))
            .restart_backoff(Duration::from_millis(100))
            .image("i", behaviour);
        let mut container = Container::new(&json!({"name": "c", "image": "i"}), restart, false, &rules);
        let start = Instant::now();
        container.begin(start, &rules);
        let mut seen: Vec<String> = Vec::new();
        for millisecond in 0..=millis {
            container.advance(start + Duration::from_millis(millisecond), Timestamp::UNIX_EPOCH, &rules);
            let status = container.status("uid");
            let state = status["state"].as_object().unwrap();
            let (kind, about) = state.iter().next().unwrap();
            let reason = about["reason"].as_str().unwrap_or(kind);
            let text = format!("{reason}/{}/{}", status["ready"], status["restartCount"]);
            if seen.last() != Some(&text) {
                seen.push(text);
            }
        }
        seen
    }

    #[test]
    fn a_container_gets_ready() {
        let after = Duration::from_millis(10);
        let seen = life(ImageBehaviour::Ready { after }, Restart::Always, 1000);
        assert_eq!(seen, ["ContainerCreating/false/0", "running/true/0"]);
    }

    #[test]
    fn an_image_that_cannot_be_pulled_never_runs() {
        let seen = life(ImageBehaviour::ImagePullBackOff, Restart::Always, 1000);
        assert_eq!(seen, ["ContainerCreating/false/0", "ErrImagePull/false/0", "ImagePullBackOff/false/0"]);
    }

    #[test]
    fn a_crash_is_followed_by_longer_and_longer_waits() {
        let crash = ImageBehaviour::CrashLoopBackOff { exit_code: 3, message: "no".into() };
        let seen = life(crash.clone(), Restart::Always, 160);
        assert_eq!(
            seen,
            [
                "ContainerCreating/false/0",
                "running/false/0",
                "Error/false/0",
                "running/false/1",
                "CrashLoopBackOff/false/1",
                "running/false/2",
                "CrashLoopBackOff/false/2"
            ]
        );
        assert_eq!(life(crash, Restart::Never, 1000).last().unwrap(), "Error/false/0");
    }

    #[test]
    fn an_end_is_final_where_the_policy_says_so() {
        let after = Duration::from_millis(10);
        let ends = |exit_code| ImageBehaviour::Completes { after, exit_code };
        assert_eq!(life(ends(0), Restart::OnFailure, 1000).last().unwrap(), "Completed/true/0");
        assert_eq!(life(ends(1), Restart::Never, 1000).last().unwrap(), "Error/false/0");
        assert!(
            life(ends(1), Restart::OnFailure, 1000).iter().any(|state| state.starts_with("CrashLoopBackOff"))
        );
    }

    #[test]
    fn what_ran_before_a_restart_of_the_cluster_still_runs() {
        let rules = Behaviour::default();
        let mut container =
            Container::new(&json!({"name": "c", "image": "i"}), Restart::Always, false, &rules);
        let status = json!({"restartCount": 2, "ready": true, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        container.resume(&status, Instant::now());
        container.begin(Instant::now(), &rules);
        let now = container.status("uid");
        assert_eq!((&now["ready"], &now["restartCount"]), (&json!(true), &json!(2)));
        assert_eq!(now["state"], status["state"]);
    }
}
