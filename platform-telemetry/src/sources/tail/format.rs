//! What a line of a file is: the text itself, or a container runtime's wrapping of a piece of it.

use platform_core::clock::Timestamp;
use serde::Deserialize;
use std::{borrow::Cow, path::Path};

/// How the lines of a file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// By the file's name: those of containers as [`Container`](Self::Container), all others as [`Plain`](Self::Plain).
    #[default]
    Detect,
    /// A line is a record, and its text is the body.
    Plain,
    /// A line is an object of JSON. Its fields become labels, those of objects in it by their names joined by dots, and its `message`, `msg` or `body` the
    /// body; a line with none of these is the body as a whole. Names of labels that say where a line comes from get `json.` before them. What is no object is read as [`Plain`](Self::Plain).
    Json,
    /// What container runtimes write: `TIME stdout|stderr P|F TEXT` as CRI says, or Docker's `{"log":…,"stream":…,"time":…}`, told apart line by
    /// line. The pieces of a line that the runtime has split are joined, each stream's by themselves.
    Container,
}

impl LogFormat {
    /// The format of the file at `path`, never [`Detect`](Self::Detect).
    pub(super) fn of(self, path: &Path, is_container: bool) -> Self {
        match self {
            Self::Detect if is_container || is_of_docker(path) => Self::Container,
            Self::Detect => Self::Plain,
            known => known,
        }
    }
}

/// `…/ID/ID-json.log`
fn is_of_docker(path: &Path) -> bool {
    let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix("-json.log"));
    id.is_some_and(super::place::is_container_id)
}

/// Which output of a container a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stream {
    /// It is not known.
    Unnamed,
    Stdout,
    Stderr,
}

impl Stream {
    /// How many are joined by themselves: the unnamed one goes with the first.
    pub(super) const LANES: usize = 2;

    pub(super) const fn lane(self) -> usize {
        match self {
            Self::Unnamed | Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    /// The value of the label `stream`; empty where there is none.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unnamed => "",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: Cow<'a, [u8]>,
    pub(super) stream: Stream,
    /// When the runtime took it.
    pub(super) time: Option<Timestamp>,
    /// The text goes on in the next piece of this stream.
    pub(super) goes_on: bool,
    /// It is not what its format says, and is taken as it is.
    pub(super) is_odd: bool,
}

/// What a line of a container's file holds.
pub(super) fn piece(line: &[u8]) -> Piece<'_> {
    let unwrapped = if line.first() == Some(&b'{') { docker(line) } else { cri(line) };
    unwrapped.unwrap_or(Piece {
        text: Cow::Borrowed(line),
        stream: Stream::Unnamed,
        time: None,
        goes_on: false,
        is_odd: true,
    })
}

/// `2026-11-23T20:36:28.123456789Z stdout F text`. Behind a `:` may be more tags, which say nothing here.
fn cri(line: &[u8]) -> Option<Piece<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    let (tags, text) = word(rest).unwrap_or((rest, b""));
    let goes_on = match tags.split(|b| *b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Piece {
        text: Cow::Borrowed(text),
        stream: Stream::parse(stream)?,
        time: Some(moment(std::str::from_utf8(time).ok()?)?),
        goes_on,
        is_odd: false,
    })
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Docker's files: a line that does not end is a piece of a longer one.
fn docker(line: &[u8]) -> Option<Piece<'_>> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        log: Cow<'a, str>,
        #[serde(default)]
        stream: Option<Cow<'a, str>>,
        #[serde(default)]
        time: Option<Cow<'a, str>>,
    }
    let wrapped: Wrapped<'_> = serde_json::from_slice(line).ok()?;
    let text = match wrapped.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let goes_on = text.last() != Some(&b'\n');
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix(b"\n").unwrap_or(text)),
        Cow::Owned(mut text) => {
            if !goes_on {
                text.pop();
            }
            Cow::Owned(text)
        }
    };
    let stream = wrapped.stream.and_then(|stream| Stream::parse(stream.as_bytes()));
    let time = wrapped.time.and_then(|time| moment(&time));
    Some(Piece { text, stream: stream.unwrap_or(Stream::Unnamed), time, goes_on, is_odd: false })
}

/// A time in RFC 3339; what is finer than a millisecond is left out.
fn moment(text: &str) -> Option<Timestamp> {
    Some(Timestamp::from_millis(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn container(line: &str) -> (String, &'static str, String, bool, bool) {
        let piece = piece(line.as_bytes());
        let text = String::from_utf8_lossy(&piece.text).into_owned();
        let time = piece.time.map(|time| time.to_string()).unwrap_or_default();
        (text, piece.stream.as_str(), time, piece.goes_on, piece.is_odd)
    }

    #[test]
    fn both_runtimes_are_understood() {
        let time = "2026-11-23T20:36:28.123Z";
        for (line, text, stream, goes_on) in [
            ("2026-11-23T20:36:28.123456789Z stdout F hello  world", "hello  world", "stdout", false),
            ("2026-11-23T21:36:28.123456789+01:00 stderr P half ", "half ", "stderr", true),
            ("2026-11-23T20:36:28.123Z stdout F:more:tags {\"a\":1}", "{\"a\":1}", "stdout", false),
            ("2026-11-23T20:36:28.123Z stdout F ", "", "stdout", false),
            ("2026-11-23T20:36:28.123Z stdout F", "", "stdout", false),
            (
                r#"{"log":"a \"b\" \u00e9\n","stream":"stderr","time":"2026-11-23T20:36:28.1239Z"}"#,
                "a \"b\" é",
                "stderr",
                false,
            ),
            (r#"{"log":"half","stream":"stdout","time":"2026-11-23T20:36:28.123Z"}"#, "half", "stdout", true),
            (r#"{"log":"\r\n","stream":"stdout","time":"2026-11-23T20:36:28.123Z"}"#, "\r", "stdout", false),
        ] {
            assert_eq!(container(line), (text.to_owned(), stream, time.to_owned(), goes_on, false), "{line}");
        }
    }

    #[test]
    fn what_no_runtime_writes_is_taken_as_it_is() {
        for line in [
            "",
            "plain text",
            "2026-11-23T20:36:28.123Z stdlog F x",
            "2026-11-23T20:36:28.123Z stdout X x",
            "yesterday stdout F x",
            "{\"message\":1}",
            "{\"log\":1}",
            "{",
        ] {
            assert_eq!(container(line), (line.to_owned(), "", String::new(), false, true), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            piece(&line);
        }
    }
}
