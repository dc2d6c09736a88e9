//! Why kind could not make a cluster, in words that say what to do.

use super::process::{RunError, shown};
use platform_core::{Error, ErrorKind};

/// What a failed creation calls for.
#[derive(Debug)]
pub(super) enum Failure {
    /// A port that kind chose was taken meanwhile, or somebody else made the cluster: look again and try again.
    Again(Reason),
    /// It would fail again.
    Final(Reason),
}

/// Why it failed.
#[derive(Debug)]
pub(super) struct Reason {
    kind: ErrorKind,
    message: String,
    help: Option<&'static str>,
}

impl Reason {
    /// The same failure, once the nodes' own logs have said why they did not boot.
    pub(super) fn without_inotify(self) -> Self {
        Self {
            kind: ErrorKind::Exhausted,
            message: format!("a node did not boot, since a limit of inotify is reached: {}", self.message),
            help: Some(super::preflight::INOTIFY_HELP),
        }
    }

    /// The error, with where to read more.
    pub(super) fn error(self, more: Option<&str>) -> Error {
        let message = match more {
            Some(more) => format!("{}; {more}", self.message),
            None => self.message,
        };
        let error = Error::new(self.kind, message).retryable(false);
        match self.help {
            Some(help) => error.help(help),
            None => error,
        }
    }
}

impl Failure {
    /// `fixed` are the ports of this machine that the configuration names.
    pub(super) fn of(error: &RunError, fixed: impl IntoIterator<Item = u16>) -> Self {
        let new = |kind, message: &str, help: Option<&'static str>| Reason {
            kind,
            message: format!("{message}: {}", shown(&causes(error))),
            help,
        };
        match error {
            RunError::Failed { .. } => {}
            RunError::TimedOut { .. } => {
                return Self::Final(Reason {
                    kind: ErrorKind::Timeout,
                    message: error.to_string(),
                    help: Some("look at the load of the machine, or pull the node image beforehand"),
                });
            }
            other => {
                return Self::Final(Reason {
                    kind: ErrorKind::Failed,
                    message: other.to_string(),
                    help: None,
                });
            }
        }
        if error.says(&["already exist for a cluster", "is already in use by container"]) {
            return Self::Again(new(ErrorKind::Conflict, "another program makes it", None));
        }
        if error.says(&["port is already allocated", "address already in use", "ports are not available"]) {
            let named =
                |port: &u16| error.says(&[&format!(":{port} "), &format!(":{port}:"), &format!(":{port}/")]);
            return match fixed.into_iter().find(named) {
                Some(port) => Self::Final(new(
                    ErrorKind::Conflict,
                    &format!("port {port} of this machine is taken"),
                    Some("choose another host port, or leave it out for a free one"),
                )),
                None => Self::Again(new(ErrorKind::Exhausted, "a free port was taken meanwhile", None)),
            };
        }
        let (kind, message, help) = if error.says(&["failed to pull image"]) {
            (
                ErrorKind::NotFound,
                "the node image is not there and cannot be pulled",
                Some("check its name, pull or build it beforehand, or look after the network"),
            )
        } else if error.says(&["no space left"]) {
            (
                ErrorKind::Exhausted,
                "the disk is full",
                Some("free some space; `docker system df` shows where it is"),
            )
        } else if error.says(&["too many open files"]) {
            (ErrorKind::Exhausted, "a limit of inotify is reached", Some(super::preflight::INOTIFY_HELP))
        } else if error.says(&["unable to decode config", "yaml: "]) {
            (
                ErrorKind::Invalid,
                "kind does not take the configuration",
                Some("look at the patches and subnets, and at the version of kind"),
            )
        } else if error.says(&["could not find a log line"]) {
            (ErrorKind::Failed, "a node did not boot", Some("look at the cgroups and the limits of inotify"))
        } else {
            (ErrorKind::Failed, "kind could not make it", None)
        };
        Self::Final(new(kind, message, help))
    }
}

/// The lines that say why: from the first that is an error, without those that tell progress.
fn causes(error: &RunError) -> Vec<String> {
    let messages = error.messages();
    let first = messages.iter().position(|line| line.starts_with("ERROR")).unwrap_or(0);
    messages[first..].iter().filter(|line| progress(line).is_none()).cloned().collect()
}

/// What a line of kind's messages tells of its progress: ` • Preparing nodes 📦   ...`.
pub(super) fn progress(line: &str) -> Option<String> {
    let step = line.trim_start().strip_prefix('•')?;
    let words: String = step.chars().filter(char::is_ascii).collect();
    let mut words = words.trim().trim_end_matches('.').trim_end().to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    Some(words).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn failure(text: &str, fixed: &[u16]) -> Failure {
        let messages = text.lines().map(str::to_owned).collect();
        let status = std::process::ExitStatus::from_raw(1 << 8);
        let error = RunError::Failed { command: "kind create".into(), status, messages };
        Failure::of(&error, fixed.iter().copied())
    }

    #[test]
    fn steps_are_told_without_pictures() {
        assert_eq!(
            progress(" • Ensuring node image (kindest/node:v1.34.4) 🖼️  ...").as_deref(),
            Some("ensuring node image (kindest/node:v1.34.4)")
        );
        assert_eq!(progress(" ✓ Preparing nodes 📦"), None);
        assert_eq!(progress("Creating cluster \"a\" ..."), None);
    }

    #[test]
    fn a_port_that_was_asked_for_is_not_tried_again() {
        let text =
            "docker: Error response from daemon: Bind for 127.0.0.1:8080 failed: port is already allocated.";
        assert!(matches!(failure(text, &[80]), Failure::Again(_)));
        match failure(text, &[80, 8080]) {
            Failure::Final(reason) => {
                let error = reason.error(None);
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert!(error.to_string().contains("port 8080"), "{error}");
            }
            Failure::Again(reason) => panic!("{reason:?}"),
        }
        let listening = "listen tcp4 127.0.0.1:8080: bind: address already in use";
        assert!(matches!(failure(listening, &[8080]), Failure::Final(_)));
    }

    #[test]
    fn the_error_begins_where_kind_says_error() {
        let text = "Creating cluster \"a\" ...\n • Ensuring node image (x) 🖼️  ...\n ✗ Ensuring node image (x) 🖼️\n\
                    ERROR: failed to create cluster: failed to pull image \"x\": exit status 1\n\nno such host";
        let Failure::Final(reason) = failure(text, &[]) else { panic!("not final") };
        let error = reason.error(Some("logs are in /tmp/a"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(
            error.message(),
            "the node image is not there and cannot be pulled: \
             ERROR: failed to create cluster: failed to pull image \"x\": exit status 1; no such host; logs are in /tmp/a"
        );
    }

    #[test]
    fn what_is_said_decides_what_kind_of_error_it_is() {
        for (text, kind) in [
            ("write /var: no space left on device", ErrorKind::Exhausted),
            ("failed to create fsnotify watcher: too many open files", ErrorKind::Exhausted),
            ("ERROR: failed to create cluster: unable to decode config: yaml: bad", ErrorKind::Invalid),
            ("could not find a log line that matches \"Reached target\"", ErrorKind::Failed),
            ("failed to init node with kubeadm", ErrorKind::Failed),
        ] {
            match failure(text, &[]) {
                Failure::Final(reason) => assert_eq!(reason.error(None).kind(), kind, "{text}"),
                Failure::Again(reason) => panic!("{reason:?}"),
            }
        }
        assert!(matches!(
            failure("ERROR: node(s) already exist for a cluster with the name \"a\"", &[]),
            Failure::Again(_)
        ));
    }
}
