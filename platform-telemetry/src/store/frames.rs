//! A file of checksummed frames that only grows: the form of the journal and of the series dictionary.
//!
//! A frame is a magic number, the length and the CRC-32 of its payload, and the payload. One append is one frame and one sync, so that
//! a crash can tear only the last frame. A torn tail was never acknowledged and is cut off on opening; a damaged frame that intact
//! frames follow was acknowledged once, and is reported.

use super::fault;
use platform_core::{Error, ErrorKind, Result};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const MAGIC: [u8; 4] = *b"\xb7TF1";
const HEADER_BYTES: usize = 12;

/// A file of frames, open for appending.
#[derive(Debug)]
pub(super) struct FrameFile {
    file: File,
    path: PathBuf,
    /// Where the next frame begins; what lies behind is the rest of a failed append.
    end: u64,
    torn: bool,
}

impl FrameFile {
    /// Opens or creates a file and reads the payloads of its frames.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Vec<u8>>)> {
        let failed = |e| fault::io(e, "open", path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let (frames, end) = frames(&bytes, path)?;
        let torn = end < bytes.len();
        if torn {
            let cut = bytes.len() - end;
            tracing::warn!(path = %path.display(), bytes = cut, "cut off a write that a crash had interrupted");
        }
        let mut this = Self { file, path: path.to_owned(), end: end as u64, torn };
        this.cut_off_torn_tail()?;
        fault::sync_parent(path)?;
        Ok((this, frames))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a frame; once this returns, it survives a crash of the machine. After an error nothing was appended.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<()> {
        self.cut_off_torn_tail()?;
        let length = u32::try_from(payload.len()).map_err(|_| {
            Error::new(ErrorKind::Exhausted, format!("a frame of {} bytes is too large", payload.len()))
        })?;
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        frame.extend_from_slice(payload);
        self.torn = true;
        let written = self
            .file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&frame))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.torn = false;
                self.end += frame.len() as u64;
                Ok(())
            }
            Err(e) => {
                if let Err(error) = self.cut_off_torn_tail() {
                    tracing::warn!(%error, "a failed write is cut off before the next one");
                }
                Err(fault::io(e, "append to", &self.path))
            }
        }
    }

    fn cut_off_torn_tail(&mut self) -> Result<()> {
        if self.torn {
            self.file
                .set_len(self.end)
                .and_then(|()| self.file.sync_data())
                .map_err(|e| fault::io(e, "truncate", &self.path))?;
            self.torn = false;
        }
        Ok(())
    }
}

/// The payloads of the intact frames, and where the last of them ends.
fn frames(bytes: &[u8], path: &Path) -> Result<(Vec<Vec<u8>>, usize)> {
    let mut payloads = Vec::new();
    let mut end = 0;
    while let Some(payload) = frame_at(bytes, end) {
        payloads.push(payload.to_vec());
        end += HEADER_BYTES + payload.len();
    }
    let later = (end + 1..bytes.len()).find(|at| frame_at(bytes, *at).is_some());
    match later {
        None => Ok((payloads, end)),
        Some(at) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("bytes {end} to {at} are damaged, and intact records follow them"),
        )
        .operation("read")
        .subject(path.display().to_string())
        .help("restore the file from a copy; the disk or another program changed it")),
    }
}

/// The payload of the intact frame that begins at `at`.
fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?.strip_prefix(&MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (crc32fast::hash(payload) == u32::from_le_bytes(*checksum)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(payloads: &[Vec<u8>]) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        let (mut file, none) = FrameFile::open(&path).unwrap();
        assert!(none.is_empty());
        for payload in payloads {
            file.append(payload).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        (dir, path, bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_torn_tail_loses_only_the_frames_it_tore(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
            cut in 0usize..400,
        ) {
            let (_dir, path, bytes) = written(&payloads);
            let kept = cut.min(bytes.len());
            std::fs::write(&path, &bytes[..kept]).unwrap();
            let mut end = 0;
            let whole = payloads.iter().take_while(|p| { end += HEADER_BYTES + p.len(); end <= kept }).count();
            let (mut file, frames) = FrameFile::open(&path).unwrap();
            prop_assert_eq!(&frames[..], &payloads[..whole]);
            file.append(b"next").unwrap();
            let (_, frames) = FrameFile::open(&path).unwrap();
            prop_assert_eq!(frames.last().map(Vec::as_slice), Some(&b"next"[..]));
            prop_assert_eq!(frames.len(), whole + 1);
        }
    }

    #[test]
    fn damage_before_intact_frames_is_reported() {
        let (_dir, path, mut bytes) = written(&[b"one".to_vec(), b"two".to_vec()]);
        bytes[HEADER_BYTES] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = FrameFile::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("frames"), "{error}");
    }
}
