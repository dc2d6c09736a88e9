//! How the containers of a simulated cluster behave.

use std::collections::BTreeMap;
use std::time::Duration;

/// How containers behave, by image. The default: each is ready after 50 ms, and those of a Job succeed then.
///
/// Without any rule an image tells by the last part of its name what becomes of its containers, whatever its
/// registry and tag: `image-pull-back-off...`, `crash-loop-back-off...`, `never-ready...`, `completes...` (with
/// exit code 0) and `fails...` (with exit code 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    ready_after: Duration,
    restart_backoff: Duration,
    ends_after: Duration,
    images: BTreeMap<String, ImageBehaviour>,
}

/// What becomes of the containers of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageBehaviour {
    /// They run, and are ready this long after their pod got its node.
    Ready {
        /// From being scheduled to being ready.
        after: Duration,
    },
    /// They run and never get ready.
    NeverReady,
    /// They run for a while and end.
    Completes {
        /// From being scheduled to the end.
        after: Duration,
        /// What they end with; 0 is success.
        exit_code: i32,
    },
    /// They crash whenever they start.
    CrashLoopBackOff {
        /// What they end with.
        exit_code: i32,
        /// What they leave in their log and as their termination message.
        message: String,
    },
    /// Their image cannot be pulled.
    ImagePullBackOff,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            ready_after: Duration::from_millis(50),
            restart_backoff: Duration::from_secs(1),
            ends_after: Duration::from_millis(20),
            images: BTreeMap::new(),
        }
    }
}

impl Behaviour {
    /// How long a container takes to get ready where nothing else is said. The default is 50 ms.
    #[must_use]
    pub fn ready_after(self, after: Duration) -> Self {
        Self { ready_after: after, ..self }
    }

    /// How long a container that ended waits for its first restart; each further one takes twice as long, up to
    /// five minutes. The default is 1 s, a tenth of a kubelet's.
    #[must_use]
    pub fn restart_backoff(self, backoff: Duration) -> Self {
        Self { restart_backoff: backoff, ..self }
    }

    /// How long the containers of a deleted pod take to end, unless its grace period is over before. The default
    /// is 20 ms.
    #[must_use]
    pub fn ends_after(self, after: Duration) -> Self {
        Self { ends_after: after, ..self }
    }

    /// How the containers of an image behave. A name without a tag or digest stands for all of them.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>, behaviour: ImageBehaviour) -> Self {
        self.images.insert(image.into(), behaviour);
        self
    }

    /// How long the step from one state to the next takes where nothing else is said.
    pub(super) fn step(&self) -> Duration {
        self.ready_after
    }

    pub(super) fn ending(&self) -> Duration {
        self.ends_after
    }

    pub(super) fn backoff(&self, restarts: u32) -> Duration {
        const LONGEST: Duration = Duration::from_secs(300);
        let factor = 2_u32.saturating_pow(restarts.min(16));
        self.restart_backoff.saturating_mul(factor).min(LONGEST)
    }

    /// How the containers of `image` behave; `ends` says whether they are meant to end by themselves.
    pub(super) fn of(&self, image: &str, ends: bool) -> ImageBehaviour {
        let (name, tagged) = without_tag(image);
        if let Some(rule) = self.images.get(image).or_else(|| self.images.get(name).filter(|_| tagged)) {
            return rule.clone();
        }
        let base = name.rsplit('/').next().unwrap_or_default();
        let after = self.ready_after;
        let conventions = [
            ("image-pull-back-off", ImageBehaviour::ImagePullBackOff),
            (
                "crash-loop-back-off",
                ImageBehaviour::CrashLoopBackOff {
                    exit_code: 1,
                    message: "fatal: simulated crash".to_owned(),
                },
            ),
            ("never-ready", ImageBehaviour::NeverReady),
            ("completes", ImageBehaviour::Completes { after, exit_code: 0 }),
            ("fails", ImageBehaviour::Completes { after, exit_code: 1 }),
        ];
        let convention = conventions.into_iter().find(|(prefix, _)| base.starts_with(prefix));
        match convention {
            Some((_, behaviour)) => behaviour,
            None if ends => ImageBehaviour::Completes { after, exit_code: 0 },
            None => ImageBehaviour::Ready { after },
        }
    }
}

/// An image's name without its tag and digest, and whether it had one.
fn without_tag(image: &str) -> (&str, bool) {
    if let Some((name, _)) = image.split_once('@') {
        return (without_tag(name).0, true);
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, true),
        _ => (image, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_win_over_names_and_names_over_the_default() {
        let behaviour = Behaviour::default()
            .ready_after(Duration::from_millis(7))
            .image("r:5000/a", ImageBehaviour::NeverReady)
            .image("r:5000/a:2", ImageBehaviour::ImagePullBackOff);
        let after = Duration::from_millis(7);
        assert_eq!(behaviour.of("r:5000/a", false), ImageBehaviour::NeverReady);
        assert_eq!(behaviour.of("r:5000/a:1", false), ImageBehaviour::NeverReady);
        assert_eq!(behaviour.of("r:5000/a@sha256:0", false), ImageBehaviour::NeverReady);
        assert_eq!(behaviour.of("r:5000/a:2", false), ImageBehaviour::ImagePullBackOff);
        assert_eq!(behaviour.of("x.io/image-pull-back-off:1", false), ImageBehaviour::ImagePullBackOff);
        assert_eq!(behaviour.of("web", false), ImageBehaviour::Ready { after });
        assert_eq!(behaviour.of("web", true), ImageBehaviour::Completes { after, exit_code: 0 });
    }

    #[test]
    fn the_wait_before_a_restart_doubles_up_to_a_limit() {
        let behaviour = Behaviour::default().restart_backoff(Duration::from_secs(10));
        assert_eq!(behaviour.backoff(0), Duration::from_secs(10));
        assert_eq!(behaviour.backoff(2), Duration::from_secs(40));
        assert_eq!(behaviour.backoff(40), Duration::from_secs(300));
    }
}
