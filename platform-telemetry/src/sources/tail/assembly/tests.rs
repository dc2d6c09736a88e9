use super::{super::lines::LineDecoder, *};
use platform_core::telemetry::settings::{Multiline, MultilineRule};
use proptest::prelude::*;

fn how(format: LogFormat, multiline: Option<Multiline>) -> Assembling {
    Assembling {
        format,
        rules: multiline.map(|multiline| Arc::new(Rules::new(&multiline).unwrap())),
        line_limit: 64,
        grace: Duration::from_secs(5),
    }
}

fn cri(stream: &str, tag: &str, text: &str) -> String {
    format!("2026-11-23T20:36:28.123456789Z {stream} {tag} {text}\n")
}

/// Feeds a file in pieces of these lengths, and gives everything away at the end.
fn entries(how: &Assembling, file: &[u8], cuts: &[usize]) -> Vec<Entry> {
    let now = Instant::now();
    let mut decoder = LineDecoder::new(how.raw_limit()).keeping_cr(how.format == LogFormat::Container);
    let mut assembler = Assembler::new(how.clone(), [0; Stream::LANES], now);
    let (mut at, mut entries, mut cuts) = (0, Vec::new(), cuts.iter().cycle());
    while at < file.len() {
        let end = (at + cuts.next().unwrap()).min(file.len());
        let mut rest = &file[at..end];
        while !rest.is_empty() {
            let start = at as u64 - decoder.held_bytes();
            let (taken, line) = decoder.take(rest);
            rest = &rest[taken..];
            at += taken;
            if let Some(line) = line {
                assembler.push(line, false, start, now, &mut entries);
            }
        }
    }
    assembler.flush_all(&mut entries);
    assert!(assembler.is_empty());
    entries
}

fn texts(entries: &[Entry]) -> Vec<(&str, String)> {
    entries.iter().map(|e| (e.stream.as_str(), String::from_utf8_lossy(&e.bytes).into_owned())).collect()
}

#[test]
fn pieces_of_a_line_are_joined_by_stream_up_to_the_limit() {
    let file = [
        cri("stdout", "P", "one\r"),
        cri("stderr", "F", "other"),
        cri("stdout", "P", "two "),
        cri("stderr", "P", "un"),
        cri("stdout", "F", "three\r"),
        cri("stdout", "P", &"x".repeat(60)),
        cri("stdout", "F", &"y".repeat(60)),
    ];
    let read = entries(&how(LogFormat::Container, None), file.concat().as_bytes(), &[1000]);
    let long = format!("{}yyyy", "x".repeat(60));
    assert_eq!(
        texts(&read),
        [("stderr", "other"), ("stdout", "one\rtwo three"), ("stdout", &long), ("stderr", "un")]
            .map(|(stream, text)| (stream, text.to_owned()))
    );
    assert_eq!((read[1].lines, read[2].cut, read[3].is_partial), (3, 56, true));
}

#[test]
fn docker_splits_lines_too() {
    let docker = |log: &str| {
        format!("{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"2026-11-23T20:36:28.123Z\"}}\n")
    };
    let file = [docker("\"one \""), docker("\"two\\n\""), docker("\"three\\n\"")].concat();
    let read = entries(&how(LogFormat::Container, None), file.as_bytes(), &[7]);
    assert_eq!(texts(&read), [("stdout", "one two".to_owned()), ("stdout", "three".to_owned())]);
}

#[test]
fn records_are_joined_by_stream_and_end_by_size_and_time() {
    let rule = Multiline::new(MultilineRule::Continuation("^ ".into())).max_bytes(12);
    let how = how(LogFormat::Container, Some(rule.flush_after(Duration::from_secs(2))));
    let file = [
        cri("stdout", "F", "a"),
        cri("stderr", "F", "b"),
        cri("stdout", "P", " a"),
        cri("stdout", "F", "a"),
        cri("stderr", "F", " bbbbbb"),
        cri("stderr", "F", " bbbbbb"),
    ];
    let read = entries(&how, file.concat().as_bytes(), &[11]);
    assert_eq!(
        texts(&read),
        [("stderr", "b\n bbbbbb"), ("stdout", "a\n aa"), ("stderr", " bbbbbb")]
            .map(|(stream, text)| (stream, text.to_owned()))
    );
    assert_eq!(read[1].lines, 3);

    let start = Instant::now();
    let mut assembler = Assembler::new(how, [0; Stream::LANES], start);
    let mut given = Vec::new();
    let line = |text: &str| Line { bytes: cri("stdout", "F", text).trim_end().as_bytes().to_vec(), cut: 0 };
    assembler.push(line("a"), false, 100, start, &mut given);
    assert_eq!(assembler.marks(150), [100, 150], "the record is unfinished, the other stream is not");
    assembler.flush_due(start + Duration::from_secs(1), &mut given);
    assert!(given.is_empty());
    assembler.flush_due(start + Duration::from_secs(2), &mut given);
    assert_eq!((texts(&given)[0].1.as_str(), assembler.marks(150)), ("a", [150, 150]));
    assert!(!given[0].is_partial, "it has its end, as far as anybody knows");
}

#[derive(Debug, Clone)]
struct Written {
    is_stderr: bool,
    text: String,
    pieces: usize,
}

fn written() -> impl Strategy<Value = Vec<Written>> {
    let one = (any::<bool>(), "[a-zé{\" ]{0,20}", 1usize..4).prop_map(|(is_stderr, text, pieces)| Written {
        is_stderr,
        text,
        pieces,
    });
    proptest::collection::vec(one, 1..20)
}

/// The file of these lines, whose pieces are interleaved with those of the other stream as `order` says.
fn file(lines: &[Written], order: &[bool]) -> Vec<u8> {
    let mut queues: [std::collections::VecDeque<Vec<u8>>; 2] = Default::default();
    for line in lines {
        let bytes = line.text.as_bytes();
        let size = bytes.len().div_ceil(line.pieces).max(1);
        let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![b""] } else { bytes.chunks(size).collect() };
        let stream = if line.is_stderr { "stderr" } else { "stdout" };
        for (at, piece) in pieces.iter().enumerate() {
            let tag = if at + 1 == pieces.len() { "F" } else { "P" };
            let mut raw = format!("2026-11-23T20:36:28.123456789Z {stream} {tag} ").into_bytes();
            raw.extend_from_slice(piece);
            raw.push(b'\n');
            queues[usize::from(line.is_stderr)].push_back(raw);
        }
    }
    let (mut bytes, mut order) = (Vec::new(), order.iter().cycle());
    while queues.iter().any(|queue| !queue.is_empty()) {
        let wanted = usize::from(*order.next().unwrap());
        let from = if queues[wanted].is_empty() { 1 - wanted } else { wanted };
        bytes.extend(queues[from].pop_front().unwrap());
    }
    bytes
}

fn by_stream(entries: &[Entry], stream: Stream) -> Vec<String> {
    let of_stream = entries.iter().filter(|entry| entry.stream == stream);
    of_stream.map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned()).collect()
}

proptest! {
    #[test]
    fn however_lines_are_split_and_read_they_are_joined_right(
        lines in written(), order in proptest::collection::vec(any::<bool>(), 1..20),
        cuts in proptest::collection::vec(1usize..90, 1..20),
    ) {
        let bytes = file(&lines, &order);
        let read = entries(&how(LogFormat::Container, None), &bytes, &cuts);
        for (stream, is_stderr) in [(Stream::Stdout, false), (Stream::Stderr, true)] {
            let wanted: Vec<_> = lines.iter().filter(|l| l.is_stderr == is_stderr).map(|l| l.text.clone()).collect();
            prop_assert_eq!(by_stream(&read, stream), wanted);
        }
        prop_assert!(read.iter().all(|entry| entry.odd == 0 && !entry.is_partial));
    }

    #[test]
    fn wherever_reading_begins_again_nothing_is_lost_or_repeated(
        lines in written(), order in proptest::collection::vec(any::<bool>(), 1..20), stop in 0usize..2000,
    ) {
        let how = how(LogFormat::Container, None);
        let bytes = file(&lines, &order);
        let now = Instant::now();
        let raw: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
        let feed = |assembler: &mut Assembler, from: u64, until: u64, to: &mut Vec<Entry>| {
            let mut at = 0;
            for line in &raw {
                if (from..until).contains(&at) {
                    let line = Line { bytes: line[..line.len() - 1].to_vec(), cut: 0 };
                    assembler.push(line, false, at, now, to);
                }
                at += line.len() as u64;
            }
        };
        // Up to the end of some line, then once more from what its marks say.
        let stop: u64 = raw.iter().take(stop % (raw.len() + 1)).map(|line| line.len() as u64).sum();
        let mut assembler = Assembler::new(how.clone(), [0; Stream::LANES], now);
        let mut read = Vec::new();
        feed(&mut assembler, 0, stop, &mut read);
        let marks = assembler.marks(stop);
        let mut again = Assembler::new(how, marks, now);
        feed(&mut again, *marks.iter().min().unwrap(), u64::MAX, &mut read);
        for (stream, is_stderr) in [(Stream::Stdout, false), (Stream::Stderr, true)] {
            let wanted: Vec<_> = lines.iter().filter(|l| l.is_stderr == is_stderr).map(|l| l.text.clone()).collect();
            prop_assert_eq!(by_stream(&read, stream), wanted);
        }
    }
}
