//! A record on disk, and how records are found again behind damage.
//!
//! A frame is a magic number, the length of its payload, the number of the record, a checksum of both and of the payload, and the payload.
//! The checksum also covers the salt of the spool, so that no payload can hold what would pass for a frame of the spool that it is in.

use std::ops::Range;

pub(super) const MAGIC: [u8; 4] = *b"\xb7SP1";
/// The bytes of a frame before its payload.
pub(super) const HEADER_BYTES: usize = 20;

/// Begins a frame in `buffer`, whose payload follows; [`finish`] is told where it began.
pub(super) fn begin(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&[0; HEADER_BYTES - MAGIC.len()]);
    start
}

/// Writes down the length and the checksum of the payload that ends the buffer. The number is not known yet: [`seal`] completes it.
pub(super) fn finish(buffer: &mut [u8], start: usize) {
    let Some((header, payload)) = buffer.get_mut(start..).and_then(|b| b.split_at_mut_checked(HEADER_BYTES))
    else {
        return;
    };
    let checksum = crc32fast::hash(payload);
    put(header, 4, &(payload.len() as u32).to_le_bytes());
    put(header, 16, &checksum.to_le_bytes());
}

/// Numbers the finished frames in `buffer` from `sequence`.
pub(super) fn seal(buffer: &mut [u8], mut sequence: u64, salt: u32) {
    let mut rest = buffer;
    while let Some((header, payload)) = rest.split_at_mut_checked(HEADER_BYTES) {
        let length = u32_at(header, 4);
        let checksum = seal_of(salt, length, sequence, u32_at(header, 16));
        put(header, 8, &sequence.to_le_bytes());
        put(header, 16, &checksum.to_le_bytes());
        sequence += 1;
        rest = payload.get_mut(length as usize..).unwrap_or_default();
    }
}

fn seal_of(salt: u32, length: u32, sequence: u64, payload: u32) -> u32 {
    let mut bytes = [0; 20];
    put(&mut bytes, 0, &salt.to_le_bytes());
    put(&mut bytes, 4, &length.to_le_bytes());
    put(&mut bytes, 8, &sequence.to_le_bytes());
    put(&mut bytes, 16, &payload.to_le_bytes());
    crc32fast::hash(&bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

/// What is at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An intact frame.
    Frame { sequence: u64, payload: Range<usize> },
    /// A frame may begin here; this many bytes are needed to know.
    Short(usize),
    /// No frame.
    Nothing,
}

/// Looks at the beginning of `bytes`.
pub(super) fn look(bytes: &[u8], salt: u32) -> Found {
    let shown = bytes.get(..MAGIC.len().min(bytes.len())).unwrap_or_default();
    if !MAGIC.starts_with(shown) {
        return Found::Nothing;
    }
    let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Found::Short(HEADER_BYTES);
    };
    let length = u32_at(header, 4);
    let end = HEADER_BYTES + length as usize;
    let Some(payload) = rest.get(..length as usize) else { return Found::Short(end) };
    let sequence = header.get(8..).and_then(|b| b.first_chunk()).copied().map_or(0, u64::from_le_bytes);
    if seal_of(salt, length, sequence, crc32fast::hash(payload)) == u32_at(header, 16) {
        Found::Frame { sequence, payload: HEADER_BYTES..end }
    } else {
        Found::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_only_itself() {
        let mut buffer = Vec::new();
        for payload in [&b"one"[..], b"", b"three"] {
            let start = begin(&mut buffer);
            buffer.extend_from_slice(payload);
            finish(&mut buffer, start);
        }
        seal(&mut buffer, 41, 7);
        assert_eq!(look(&buffer, 7), Found::Frame { sequence: 41, payload: 20..23 });
        assert_eq!(look(&buffer[23..], 7), Found::Frame { sequence: 42, payload: 20..20 });
        assert_eq!(look(&buffer[43..], 7), Found::Frame { sequence: 43, payload: 20..25 });
        assert_eq!(look(&buffer, 8), Found::Nothing, "of another spool");
        assert_eq!(look(&buffer[..22], 7), Found::Short(23));
        assert_eq!(look(&buffer[..2], 7), Found::Short(20));
        assert_eq!(look(b"", 7), Found::Short(20));
        for at in 0..23 {
            let mut damaged = buffer[..23].to_vec();
            damaged[at] ^= 4;
            assert!(!matches!(look(&damaged, 7), Found::Frame { .. }), "byte {at}");
        }
    }
}
