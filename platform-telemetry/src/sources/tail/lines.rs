//! Bytes into lines.

/// A line as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its bytes, without the end of the line: `\n`, and `\r\n` unless the `\r` may belong to what a runtime has split.
    pub(super) bytes: Vec<u8>,
    /// How many more bytes it had beyond the limit.
    pub(super) cut: u64,
}

/// Puts lines together from pieces, holding at most `limit` bytes of one.
#[derive(Debug)]
pub(super) struct LineDecoder {
    held: Vec<u8>,
    cut: u64,
    limit: usize,
    /// A `\r` before the end is no part of it.
    keeps_cr: bool,
    /// The line so far was given away already: its rest is a line of its own.
    continued: bool,
}

impl LineDecoder {
    pub(super) fn new(limit: usize) -> Self {
        Self { held: Vec::new(), cut: 0, limit: limit.max(1), keeps_cr: false, continued: false }
    }

    /// Leaves a `\r` at the end of lines.
    pub(super) fn keeping_cr(mut self, keeps: bool) -> Self {
        self.keeps_cr = keeps;
        self
    }

    /// Takes bytes up to and including the first end of a line; answers how many it took and the line, if one is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Option<Line>) {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let piece = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = self.limit - self.held.len();
        let kept = piece.len().min(room);
        self.held.extend_from_slice(piece.get(..kept).unwrap_or_default());
        self.cut += (piece.len() - kept) as u64;
        match end {
            None => (piece.len(), None),
            Some(end) => {
                let continued = std::mem::take(&mut self.continued);
                let line = self.flush();
                self.continued = false;
                // The end of a line whose text was given away before is not an empty line.
                let only_end = continued && line.as_ref().is_none_or(|l| l.bytes.is_empty() && l.cut == 0);
                (
                    end + 1,
                    if only_end { None } else { Some(line.unwrap_or(Line { bytes: Vec::new(), cut: 0 })) },
                )
            }
        }
    }

    /// Gives away what is held of an unfinished line.
    pub(super) fn flush(&mut self) -> Option<Line> {
        if self.is_empty() {
            return None;
        }
        self.continued = true;
        let mut bytes = std::mem::take(&mut self.held);
        if !self.keeps_cr && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Some(Line { bytes, cut: std::mem::take(&mut self.cut) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.cut == 0
    }

    /// How many bytes were taken of the unfinished line.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held.len() as u64 + self.cut
    }

    /// Another that holds nothing.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.limit).keeping_cr(self.keeps_cr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(decoder: &mut LineDecoder, mut bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let (taken, line) = decoder.take(bytes);
            lines.extend(line);
            bytes = &bytes[taken..];
        }
        lines
    }

    #[test]
    fn over_long_lines_are_cut_and_ends_are_stripped() {
        let mut decoder = LineDecoder::new(4);
        let got = lines(&mut decoder, b"ab\r\nabcdefg\n\nxy");
        let text: Vec<_> =
            got.iter().map(|l| (String::from_utf8_lossy(&l.bytes).into_owned(), l.cut)).collect();
        assert_eq!(text, [("ab".to_owned(), 0), ("abcd".to_owned(), 3), (String::new(), 0)]);
        assert_eq!(decoder.flush().unwrap().bytes, b"xy");
        assert_eq!(lines(&mut decoder, b"\nz\n"), [Line { bytes: b"z".to_vec(), cut: 0 }]);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_up_the_lines_are_the_same(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(1usize..20, 1..40),
        ) {
            let whole = lines(&mut LineDecoder::new(8), &bytes);
            let mut decoder = LineDecoder::new(8);
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.extend(lines(&mut decoder, piece));
                rest = after;
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
