//! Where messages go that nobody takes.

use crate::{
    files::{io, sync_parent, unpoisoned},
    message::Message,
};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
};
use serde::Serialize;
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Takes messages that a sink refuses for good.
///
/// Implemented by [`DeadLetterFile`] and by whatever sends them to a topic; called by the forwarder, which does not go on before the letter is
/// safe.
#[async_trait]
pub trait DeadLetters: Send + Sync + fmt::Debug {
    /// Keeps a message and why it was refused; durable when it answers.
    ///
    /// An error of any kind makes the forwarder try again: nothing is dropped for want of a place for dead letters.
    async fn put(&self, message: &Message, reason: &Error) -> Result<()>;
}

/// A file of dead letters, one JSON object on each line: `time`, `kind`, `reason`, `topic`, and `key` and `payload` as text, or as
/// `keyHex` and `payloadHex` where they are none.
#[derive(Debug, Clone)]
pub struct DeadLetterFile {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    max_bytes: u64,
    file: Mutex<Option<File>>,
}

impl DeadLetterFile {
    /// How large the file may become: 256 MiB.
    pub const DEFAULT_MAX_BYTES: u64 = 256 << 20;

    /// Appends to the file at `path`, which is made with the first letter. While it has `max_bytes`, no letter is taken.
    pub fn new(path: impl Into<PathBuf>, max_bytes: u64) -> Self {
        Self { inner: Arc::new(Inner { path: path.into(), max_bytes, file: Mutex::default() }) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Letter<'a> {
    time: String,
    kind: ErrorKind,
    reason: String,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

#[async_trait]
impl DeadLetters for DeadLetterFile {
    async fn put(&self, message: &Message, reason: &Error) -> Result<()> {
        let (key, key_hex) = text_or_hex(&message.key);
        let (payload, payload_hex) = text_or_hex(&message.payload);
        let letter = Letter {
            time: SystemClock.now().to_string(),
            kind: reason.kind(),
            reason: reason.to_string(),
            topic: &message.topic,
            key,
            key_hex,
            payload,
            payload_hex,
        };
        let mut line = serde_json::to_vec(&letter).map_err(|e| {
            Error::internal("the letter has no JSON").operation("write a dead letter").source(e)
        })?;
        line.push(b'\n');
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.append(&line))
            .await
            .map_err(|e| Error::internal("writing a dead letter stopped half-way").source(e))?
    }
}

impl Inner {
    fn append(&self, line: &[u8]) -> Result<()> {
        let mut opened = unpoisoned(self.file.lock());
        // After an error it is opened anew, which looks at its end.
        let mut file = match opened.take() {
            Some(file) => file,
            None => self.open()?,
        };
        let failed = |e| io(e, "write", &self.path);
        let length = file.metadata().map_err(failed)?.len();
        if length + line.len() as u64 > self.max_bytes {
            return Err(Error::new(ErrorKind::Exhausted, format!("it may have {} bytes", self.max_bytes))
                .operation("write dead letters")
                .subject(self.path.display().to_string())
                .help("look at what is in it, and move it away")
                .retryable(true));
        }
        file.write_all(line).and_then(|()| file.sync_data()).map_err(failed)?;
        *opened = Some(file);
        Ok(())
    }

    /// Opens the file for appending, at the beginning of a line.
    fn open(&self) -> Result<File> {
        let failed = |e| io(e, "open", &self.path);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&self.path).map_err(failed)?;
        sync_parent(&self.path)?;
        if file.metadata().map_err(failed)?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(failed)?;
            if last != *b"\n" {
                // The rest of a write that a crash or a full disk interrupted.
                file.write_all(b"\n").map_err(failed)?;
            }
        }
        Ok(file)
    }
}

fn text_or_hex(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Some(text), None);
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    (None, Some(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::Value;

    #[tokio::test]
    async fn letters_are_lines_and_the_file_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letters");
        std::fs::write(&path, "{\"torn").unwrap();
        let file = DeadLetterFile::new(&path, 600);
        let message = |payload: &'static [u8]| Message {
            topic: "testing.logs.v1".into(),
            key: Bytes::from_static(b"c/p/x"),
            payload: Bytes::from_static(payload),
        };
        let reason = Error::invalid("no such field").operation("index");
        file.put(&message(b"{\"a\":1}"), &reason).await.unwrap();
        file.put(&message(b"\xff\x01"), &reason).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["payload"], "{\"a\":1}");
        assert_eq!(lines[0]["reason"], "cannot index: no such field");
        assert_eq!((&lines[0]["kind"], &lines[0]["key"]), (&"invalid".into(), &"c/p/x".into()));
        assert_eq!(lines[1]["payloadHex"], "ff01");
        let error = loop {
            if let Err(error) = file.put(&message(b"{}"), &reason).await {
                break error;
            }
        };
        assert!(error.kind() == ErrorKind::Exhausted && error.is_retryable());
        assert!(std::fs::metadata(&path).unwrap().len() <= 600);
        std::fs::rename(&path, dir.path().join("aside")).unwrap();
        file.put(&message(b"{}"), &reason).await.unwrap();
        assert!(path.exists());
    }
}
