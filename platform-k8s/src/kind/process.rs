//! Programs that are run: each has a deadline, and ends with everything that it started when nobody waits for it any longer.

use platform_core::{Error, ErrorKind};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Command,
};

/// How much of what a program prints is kept; a list of nodes or a kubeconfig is far shorter.
const OUTPUT_LIMIT: u64 = 32 << 20;
/// How many lines of a program's messages are kept, the last ones.
const MESSAGE_LINES: usize = 400;
/// How many of them an error shows.
const SHOWN_LINES: usize = 8;
/// How long a line of an error may be.
const SHOWN_LENGTH: usize = 400;

/// A program and what it is run with.
#[derive(Debug, Clone)]
pub(super) struct Program {
    name: String,
    path: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

/// Why a program did not do what it was run for.
#[derive(Debug, Error)]
pub(super) enum RunError {
    #[error("`{program}` cannot be run")]
    Start { program: String, source: io::Error },
    #[error("`{command}` was not done after {}", seconds(*after))]
    TimedOut { command: String, after: Duration },
    #[error("`{command}` ended with {status}: {}", shown(messages))]
    Failed { command: String, status: ExitStatus, messages: Vec<String> },
    #[error("`{command}` printed what cannot be understood")]
    Output { command: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl RunError {
    /// What the program said before it failed.
    pub(super) fn messages(&self) -> &[String] {
        match self {
            Self::Failed { messages, .. } => messages,
            _ => &[],
        }
    }

    /// Whether any of its messages contains any of `texts`, whatever the case.
    pub(super) fn says(&self, texts: &[&str]) -> bool {
        self.messages().iter().any(|line| {
            let line = line.to_lowercase();
            texts.iter().any(|text| line.contains(text))
        })
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        let kind = match &error {
            RunError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            RunError::Start { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            RunError::TimedOut { .. } => ErrorKind::Timeout,
            RunError::Start { .. } | RunError::Failed { .. } => ErrorKind::Failed,
            RunError::Output { .. } => ErrorKind::Corrupt,
        };
        match error {
            RunError::Start { program, source } => {
                Error::new(kind, format!("`{program}` cannot be run")).source(source)
            }
            RunError::Output { command, source } => {
                Error::new(kind, format!("`{command}` printed what cannot be understood")).source(source)
            }
            other => Error::new(kind, other.to_string()),
        }
    }
}

/// One run of a program.
pub(super) struct Run<'a> {
    program: &'a Program,
    arguments: Vec<OsString>,
    deadline: Duration,
    input: Option<File>,
}

impl Program {
    /// A program by its name in the `PATH`, or by its path.
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { name, path, environment: Vec::new() }
    }

    /// Sets a variable of its environment.
    pub(super) fn with(mut self, variable: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is such a program: at its path, or in one of the folders of `search`.
    pub(super) fn exists(&self, search: Option<&OsStr>) -> bool {
        if self.path.components().count() > 1 {
            return self.path.is_file();
        }
        search.is_some_and(|search| std::env::split_paths(search).any(|dir| dir.join(&self.path).is_file()))
    }

    /// Begins a run with these arguments, which may take 30 seconds.
    pub(super) fn run(&self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Run<'_> {
        Run {
            program: self,
            arguments: arguments.into_iter().map(Into::into).collect(),
            deadline: Duration::from_secs(30),
            input: None,
        }
    }
}

impl Run<'_> {
    pub(super) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Gives it an open file as its input; the program has it open until it ends.
    pub(super) fn input(mut self, file: File) -> Self {
        self.input = Some(file);
        self
    }

    /// Runs it and answers with what it printed.
    pub(super) async fn output(self) -> Result<Vec<u8>, RunError> {
        self.output_with(|_| {}).await.map(|(output, _)| output)
    }

    /// Runs it and answers with what it printed as text.
    pub(super) async fn text(self) -> Result<String, RunError> {
        Ok(String::from_utf8_lossy(&self.output().await?).into_owned())
    }

    /// Runs it, hands each line of its messages to `on_line` as it comes, and answers with what it printed and with its messages.
    pub(super) async fn output_with(
        self,
        on_line: impl FnMut(&str) + Send,
    ) -> Result<(Vec<u8>, Vec<String>), RunError> {
        let command = self.describe();
        let start = |source| RunError::Start { program: self.program.name.clone(), source };
        let mut process = Command::new(&self.program.path);
        process
            .args(&self.arguments)
            .stdin(self.input.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .envs(self.program.environment.iter().map(|(key, value)| (*key, value)))
            .kill_on_drop(true)
            // kind runs programs of its own, which would go on without it.
            .process_group(0);
        let mut child = process.spawn().map_err(start)?;
        // The lock that is handed over as input is to be open in the child alone.
        drop(process);
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(start(io::Error::other("its output is not connected")));
        };
        let done = async {
            let (output, messages, status) =
                tokio::join!(read_output(stdout), read_messages(stderr, on_line), child.wait());
            Ok((output?, messages, status?))
        };
        let (output, messages, status) = match tokio::time::timeout(self.deadline, done).await {
            Ok(result) => result.map_err(start)?,
            Err(_) => return Err(RunError::TimedOut { command, after: self.deadline }),
        };
        group.0 = None;
        if status.success() {
            Ok((output, messages))
        } else {
            Err(RunError::Failed { command, status, messages })
        }
    }

    /// The command as it is shown: the program and its first two arguments, since the others may be long.
    fn describe(&self) -> String {
        let mut text = self.program.name.clone();
        for argument in self.arguments.iter().take(2) {
            text.push(' ');
            text.push_str(&argument.to_string_lossy());
        }
        text
    }
}

/// The process group of a child, which is killed unless it has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It has ended by itself in between.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn read_output(stream: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let mut limited = stream.take(OUTPUT_LIMIT);
    limited.read_to_end(&mut output).await?;
    // What is too much is read all the same, or the program would wait for it.
    tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await?;
    Ok(output)
}

async fn read_messages(stream: impl AsyncRead + Unpin, mut on_line: impl FnMut(&str) + Send) -> Vec<String> {
    let mut lines = VecDeque::new();
    let mut reader = BufReader::new(stream);
    let mut buffer = Vec::new();
    // A stream that cannot be read has said all that it will.
    while matches!((&mut reader).take(64 << 10).read_until(b'\n', &mut buffer).await, Ok(read) if read > 0) {
        let line = redacted(String::from_utf8_lossy(&buffer).trim_end());
        buffer.clear();
        on_line(&line);
        if lines.len() == MESSAGE_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    lines.into()
}

/// A line without what must not be shown: kubeadm tells how to join with a token, and a kubeconfig may be quoted.
fn redacted(line: &str) -> String {
    const SECRETS: [&str; 6] =
        ["--token", "token:", "certificate-key", "client-key-data", "PRIVATE KEY", "password"];
    if SECRETS.iter().any(|secret| line.contains(secret)) { "[redacted]".to_owned() } else { line.to_owned() }
}

/// The last lines of what a program said, on one.
pub(super) fn shown(messages: &[String]) -> String {
    let lines: Vec<&str> = messages.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    let lines = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    let lines: Vec<String> = lines.iter().map(|line| line.chars().take(SHOWN_LENGTH).collect()).collect();
    lines.join("; ")
}

/// A duration as it is read: `90 s`, `5 min`.
pub(super) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds if seconds >= 120 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Program, [String; 2]) {
        (Program::new("sh"), ["-c".to_owned(), script.to_owned()])
    }

    #[tokio::test]
    async fn what_a_program_prints_and_says_is_kept_apart() {
        let (program, arguments) = shell("echo out; echo one >&2; echo two >&2");
        let mut seen = Vec::new();
        let (output, messages) =
            program.run(arguments).output_with(|line| seen.push(line.to_owned())).await.unwrap();
        assert_eq!(output, b"out\n");
        assert_eq!(messages, ["one", "two"]);
        assert_eq!(seen, messages);
    }

    #[tokio::test]
    async fn a_failure_shows_the_last_lines_without_secrets() {
        let (program, arguments) = shell(
            "for i in $(seq 20); do echo line $i >&2; done; secret=abc; echo join --token $secret.def >&2; exit 3",
        );
        let error = program.run(arguments).output().await.unwrap_err();
        let text = Error::from(error).to_string();
        assert!(text.contains("exit status: 3") && text.contains("line 20"), "{text}");
        assert!(!text.contains("line 2;") && !text.contains("abc.def"), "{text}");
    }

    #[tokio::test]
    async fn a_missing_program_is_not_found() {
        let error = Program::new("no-such-program-of-ours").run(["a"]).output().await.unwrap_err();
        assert_eq!(Error::from(error).kind(), ErrorKind::NotFound);
    }

    /// Waits until a process of this id is gone, or is only waited for.
    async fn ended(id: &str) -> bool {
        for _ in 0..100 {
            match std::fs::read_to_string(format!("/proc/{id}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => return true,
            }
        }
        false
    }

    #[tokio::test]
    async fn the_deadline_ends_the_program_and_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let child = directory.path().join("child");
        let (program, arguments) = shell(&format!("sleep 300 & echo $! >{}; wait", child.display()));
        let run = program.run(arguments).deadline(Duration::from_millis(500));
        let error = run.output().await.unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
        let child = std::fs::read_to_string(child).unwrap();
        assert!(ended(child.trim()).await);
    }

    #[tokio::test]
    async fn a_dropped_run_ends_the_program_and_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let child = directory.path().join("child");
        let script = format!("sleep 300 & echo $! >{}; echo ready >&2; wait", child.display());
        let (program, arguments) = shell(&script);
        let (told, mut ready) = tokio::sync::mpsc::unbounded_channel();
        let run = program.run(arguments).output_with(move |_| told.send(()).unwrap());
        tokio::select! {
            _ = run => panic!("it ended by itself"),
            _ = ready.recv() => {}
        }
        let child = std::fs::read_to_string(child).unwrap();
        assert!(ended(child.trim()).await);
    }

    #[test]
    fn durations_are_read_easily() {
        let of = |ms| seconds(Duration::from_millis(ms));
        assert_eq!((of(300), of(90_000), of(600_000)), ("300 ms".into(), "90 s".into(), "10 min".into()));
    }
}
