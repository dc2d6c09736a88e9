//! Lines into log records: when, and how grave.

use super::format::LogFormat;
use jiff::{Zoned, civil, tz::TimeZone};
use platform_core::{
    clock::Timestamp,
    telemetry::{
        Labels, LogRecord, Severity,
        document::{LINE_ATTRIBUTES, RESOURCE_ATTRIBUTES, TRACE_FIELDS},
    },
};
use serde_json::{Map, Value};
use std::time::SystemTime;

/// How many of a line's words are looked through for a severity.
const WORDS: usize = 8;

/// How many fields of a JSON line become labels, and how deep they may be; a line with more stays whole besides.
const FIELDS: usize = 128;
const DEPTH: usize = 16;

/// What the text of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// It may begin with its time.
    Plain,
    /// It is an object of JSON whose fields are looked for.
    Json,
    /// A runtime has said when it was written.
    Container,
}

impl Content {
    pub(super) fn of(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Container => Self::Container,
            LogFormat::Plain | LogFormat::Detect => Self::Plain,
        }
    }
}

/// A record of `line`, which a runtime took at `taken` and which was read at `read`.
///
/// The body is the whole line; of [`Content::Json`] what it says. Its time is when the runtime took it. Where none did, it is what the line begins with
/// (RFC 3339, also with a space for the `T`, a comma before the fraction or no zone; RFC 5424; RFC 3164; klog) or what a JSON line has as `timestamp`,
/// `@timestamp`, `time` or `ts`; else `read`. Times without a zone are the machine's, those without a year of the last twelve months.
/// Its severity is a JSON line's or a logfmt line's `level` or `severity`, the priority of syslog, klog's letter, or the first word for one among
/// the line's first; else `info`. Where a container's line is JSON, its `trace_id` and `span_id` become labels.
pub(super) fn record(
    content: Content,
    line: String,
    taken: Option<Timestamp>,
    read: Timestamp,
    labels: &Labels,
) -> LogRecord {
    let fields =
        if line.starts_with('{') { serde_json::from_str::<Map<String, Value>>(&line).ok() } else { None };
    let (time, severity) = match &fields {
        Some(fields) => from_json(fields),
        None if line.starts_with('{') => (None, None),
        None => from_text(&line, read),
    };
    let severity = severity.unwrap_or_default();
    let (time, body, labels) = match (content, fields) {
        (Content::Json, Some(fields)) => {
            let (body, labels) = said(fields, line, labels);
            (time, body, labels)
        }
        (Content::Container, fields) => {
            let labels = fields.map_or_else(|| labels.clone(), |fields| traced(&fields, labels));
            (taken, line, labels)
        }
        (_, _) => (time, line, labels.clone()),
    };
    LogRecord { timestamp: time.unwrap_or(read), severity, body, labels }
}

/// Labels with what a JSON line says of its trace.
fn traced(fields: &Map<String, Value>, labels: &Labels) -> Labels {
    let found = TRACE_FIELDS.iter().filter_map(|name| Some((*name, fields.get(*name)?.as_str()?)));
    labels.with(&found.collect())
}

/// What a JSON line says, and its other fields as labels.
fn said(mut fields: Map<String, Value>, line: String, labels: &Labels) -> (String, Labels) {
    let body = ["message", "msg", "body"].iter().find_map(|name| match fields.get(*name) {
        Some(Value::String(_)) => match fields.remove(*name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    });
    let mut flat = Vec::new();
    let is_whole = flatten(String::new(), &Value::Object(fields), DEPTH, &mut flat);
    let body = body.filter(|_| is_whole).unwrap_or(line);
    let own: Labels = flat.into_iter().collect();
    (body, own.with(labels))
}

/// Whether a label says where a line comes from, which no program says of itself: it would be somebody else's line.
fn is_place(label: &str) -> bool {
    RESOURCE_ATTRIBUTES.iter().chain(&LINE_ATTRIBUTES).any(|(known, _)| *known == label) || label == "source"
}

/// Puts the fields of a value into `to` by their names, joined by dots; answers whether all have found a place.
fn flatten(name: String, value: &Value, depth: usize, to: &mut Vec<(String, String)>) -> bool {
    let text = match value {
        Value::Object(fields) if depth > 0 && (name.is_empty() || !fields.is_empty()) => {
            let mut is_whole = true;
            for (field, value) in fields {
                let path = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                is_whole &= flatten(path, value, depth - 1, to);
            }
            return is_whole;
        }
        Value::Null => return true,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if to.len() >= FIELDS || name.is_empty() {
        return false;
    }
    to.push((if is_place(&name) { format!("json.{name}") } else { name }, text));
    true
}

fn from_json(fields: &Map<String, Value>) -> (Option<Timestamp>, Option<Severity>) {
    let time = ["timestamp", "@timestamp", "time", "ts"].iter().find_map(|name| fields.get(*name));
    let time = time.and_then(|value| match value {
        Value::String(text) => zoned(text).map(|(time, _)| time),
        Value::Number(number) => number.as_f64().and_then(epoch),
        _ => None,
    });
    let levels = ["level", "severity", "lvl", "log.level"].iter().filter_map(|name| fields.get(*name));
    let mut severity = levels.filter_map(|value| match value {
        Value::String(text) => Severity::parse(text),
        // pino and bunyan: 10 is trace, 60 is fatal.
        Value::Number(number) => number
            .as_f64()
            .filter(|n| (10.0..70.0).contains(n))
            .and_then(|n| Severity::ALL.get((n / 10.0) as usize - 1).copied()),
        _ => None,
    });
    (time, severity.next())
}

/// Seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by their size.
fn epoch(number: f64) -> Option<Timestamp> {
    let millis = match number {
        n if n < 1e8 => return None,
        n if n < 1e11 => n * 1e3,
        n if n < 1e14 => n,
        n if n < 1e17 => n / 1e3,
        n if n < 1e20 => n / 1e6,
        _ => return None,
    };
    Some(Timestamp::from_millis(millis as i64))
}

fn from_text(line: &str, read: Timestamp) -> (Option<Timestamp>, Option<Severity>) {
    let (priority, rest) = priority(line);
    if let Some((time, severity)) = klog(rest, read) {
        return (Some(time), Some(severity));
    }
    let unbracketed = rest.strip_prefix('[').unwrap_or(rest);
    let (time, rest) = match zoned(unbracketed).or_else(|| bsd(unbracketed, read)) {
        Some((time, length)) => (Some(time), unbracketed.get(length..).unwrap_or_default()),
        None => (logfmt(rest, &["time", "ts"]).and_then(zoned).map(|(time, _)| time), rest),
    };
    let severity = priority.or_else(|| {
        if let Some(level) = logfmt(rest, &["level", "lvl", "severity"]) {
            return Severity::parse(level);
        }
        rest.split(|c: char| !c.is_ascii_alphabetic())
            .filter(|word| !word.is_empty())
            .take(WORDS)
            .find_map(Severity::parse)
    });
    (time, severity)
}

/// The severity in syslog's `<34>`, with RFC 5424's version after it, and what follows.
fn priority(line: &str) -> (Option<Severity>, &str) {
    let parsed = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).and_then(|(number, rest)| {
        let is_number = number.bytes().all(|b| b.is_ascii_digit());
        let number: u8 = number.parse().ok().filter(|number| is_number && *number < 192)?;
        let severity = match number % 8 {
            0..=2 => Severity::Fatal,
            3 => Severity::Error,
            4 => Severity::Warn,
            5 | 6 => Severity::Info,
            _ => Severity::Debug,
        };
        Some((Some(severity), rest.strip_prefix("1 ").unwrap_or(rest)))
    });
    parsed.unwrap_or((None, line))
}

/// The value of the first of `keys` in `key=value key="value"`.
fn logfmt<'a>(line: &'a str, keys: &[&str]) -> Option<&'a str> {
    line.split_ascii_whitespace().take(WORDS).find_map(|word| {
        let (key, value) = word.split_once('=')?;
        keys.contains(&key).then(|| value.trim_matches('"'))
    })
}

/// A date with a time at the beginning: `2026-11-23T20:36:28.123Z`, `2026-11-23 20:36:28,123`. Answers its length too.
fn zoned(text: &str) -> Option<(Timestamp, usize)> {
    let bytes = text.as_bytes();
    let digits =
        |from: usize, to: usize| bytes.get(from..to).is_some_and(|b| b.iter().all(u8::is_ascii_digit));
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|b| any.contains(b));
    let shape = digits(0, 4)
        && is(4, b"-/")
        && digits(5, 7)
        && is(7, b"-/")
        && digits(8, 10)
        && is(10, b"Tt ")
        && digits(11, 13)
        && is(13, b":")
        && digits(14, 16)
        && is(16, b":")
        && digits(17, 19);
    if !shape {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    let byte = |from: usize| number(from, from + 2).and_then(|n| i8::try_from(n).ok());
    let mut end = 19;
    let mut nanos = 0_i32;
    if is(end, b".,") {
        let mut scale = 100_000_000;
        let mut at = end + 1;
        while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
            nanos += i32::from(digit - b'0') * scale;
            scale /= 10;
            at += 1;
        }
        if at > end + 1 {
            end = at;
        }
    }
    // A leap second is the last moment before it, as far as we can say.
    let second = byte(17)?.min(59);
    let time =
        civil::DateTime::new(number(0, 4)?, byte(5)?, byte(8)?, byte(11)?, byte(14)?, second, nanos).ok()?;
    let (zone, length) = offset(text.get(end..).unwrap_or_default());
    let zone = zone.unwrap_or_else(TimeZone::system);
    Some((stamp(&time.to_zoned(zone).ok()?), end + length))
}

/// `Z`, `+01:00`, `-0500`.
fn offset(text: &str) -> (Option<TimeZone>, usize) {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'Z' | b'z') => (Some(TimeZone::UTC), 1),
        Some(sign @ (b'+' | b'-')) => {
            let colon = usize::from(bytes.get(3) == Some(&b':'));
            let parsed = || {
                let hours: i32 = text.get(1..3)?.parse().ok()?;
                let minutes: i32 = text.get(3 + colon..5 + colon)?.parse().ok()?;
                let seconds = (hours * 60 + minutes) * 60 * if *sign == b'-' { -1 } else { 1 };
                Some(jiff::tz::Offset::from_seconds(seconds).ok()?.to_time_zone())
            };
            parsed().map_or((None, 0), |zone| (Some(zone), 5 + colon))
        }
        _ => (None, 0),
    }
}

/// RFC 3164: `Nov 23 20:36:28`, in the year that makes it the latest time not after `read`.
fn bsd(text: &str, read: Timestamp) -> Option<(Timestamp, usize)> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|month| text.get(..3) == Some(month))? + 1;
    let day = text.get(4..6)?.trim_start().parse().ok()?;
    if text.get(3..4) != Some(" ") || text.get(6..7) != Some(" ") {
        return None;
    }
    Some((this_year(i8::try_from(month).ok()?, day, text.get(7..15)?, read)?, 15))
}

/// klog: `I1123 20:36:28.123456   1 file.go:12] message`.
fn klog(text: &str, read: Timestamp) -> Option<(Timestamp, Severity)> {
    let severity = match text.as_bytes().first()? {
        b'I' => Severity::Info,
        b'W' => Severity::Warn,
        b'E' => Severity::Error,
        b'F' => Severity::Fatal,
        _ => return None,
    };
    if text.get(5..6) != Some(" ") {
        return None;
    }
    let (month, day) = (text.get(1..3)?.parse().ok()?, text.get(3..5)?.parse().ok()?);
    Some((this_year(month, day, text.get(6..14)?, read)?, severity))
}

/// A time without a year or a zone. A day ahead is allowed, for clocks and zones that differ.
fn this_year(month: i8, day: i8, clock: &str, read: Timestamp) -> Option<Timestamp> {
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let now = jiff::Timestamp::from_millisecond(read.as_millis()).ok()?.to_zoned(TimeZone::system());
    let (hour, minute, second) =
        (hour.parse().ok()?, minute.parse().ok()?, second.parse::<i8>().ok()?.min(59));
    let in_year = |year: i16| {
        let time = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        Some(stamp(&time.to_zoned(TimeZone::system()).ok()?))
    };
    let latest = Timestamp::from_millis(read.as_millis().saturating_add(86_400_000));
    in_year(now.year()).filter(|time| *time <= latest).or_else(|| in_year(now.year() - 1))
}

fn stamp(time: &Zoned) -> Timestamp {
    Timestamp::from(SystemTime::from(time.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-23T20:36:28Z.
    const NOW: Timestamp = Timestamp::from_millis(1_795_466_188_000);

    fn plain(line: &str) -> LogRecord {
        record(Content::Plain, line.to_owned(), None, NOW, &Labels::empty())
    }

    fn parse(line: &str) -> (String, Severity) {
        let record = plain(line);
        assert_eq!(record.body, line);
        (record.timestamp.to_string(), record.severity)
    }

    #[test]
    fn times_with_a_zone_are_read_exactly() {
        for (line, time, severity) in [
            ("2026-11-23T20:36:28.5Z ERROR disk full", "2026-11-23T20:36:28.500Z", Severity::Error),
            ("2026-11-23 21:36:28,250+01:00 [main] WARN x", "2026-11-23T20:36:28.250Z", Severity::Warn),
            ("[2026-11-23T15:36:28-0500] debug: x", "2026-11-23T20:36:28.000Z", Severity::Debug),
            (
                "<11>1 2026-11-23T20:36:28.003Z host app 1 ID - text",
                "2026-11-23T20:36:28.003Z",
                Severity::Error,
            ),
            (
                r#"{"level":"fatal","ts":1795466000.25,"msg":"x"}"#,
                "2026-11-23T20:33:20.250Z",
                Severity::Fatal,
            ),
            (
                r#"{"severity":"WARNING","time":"2026-11-23T20:36:28Z"}"#,
                "2026-11-23T20:36:28.000Z",
                Severity::Warn,
            ),
            (r#"{"level":50,"time":1795466000250}"#, "2026-11-23T20:33:20.250Z", Severity::Error),
            (
                r#"time="2026-11-23T20:36:28Z" level=warning msg="error in name only""#,
                "2026-11-23T20:36:28.000Z",
                Severity::Warn,
            ),
        ] {
            assert_eq!(parse(line), (time.to_owned(), severity), "{line}");
        }
    }

    #[test]
    fn times_without_a_year_are_not_in_the_future() {
        let at = plain;
        assert!(at("Dec 31 12:00:00 host cron[1]: x").timestamp < NOW);
        let klog = at("E1122 08:00:00.000001       1 main.go:1] cannot");
        assert_eq!(klog.severity, Severity::Error);
        assert!(klog.timestamp < NOW && NOW.since(klog.timestamp).as_secs() < 3 * 86_400);
        assert_eq!(at("Jan  5 00:00:00 host x: warning").severity, Severity::Warn);
    }

    #[test]
    fn what_says_nothing_is_now_and_info() {
        for line in ["", "hello", "{not json", "2026-13-45T99:99:99Z", "Eleven 12:00", "<999>x", "{\"ts\":1}"]
        {
            assert_eq!(parse(line), (NOW.to_string(), Severity::Info), "{line}");
        }
    }

    #[test]
    fn fields_of_json_lines_become_labels() {
        let of_tail = Labels::from_iter([("file", "/var/log/app.json")]);
        let json = |line: &str| record(Content::Json, line.to_owned(), None, NOW, &of_tail);
        let read = json(
            r#"{"msg":"paid","level":"warn","time":"2026-11-23T20:36:28Z","user":{"id":7,"tags":["a"],"none":{}},"file":"x","gone":null,"ok":true}"#,
        );
        assert_eq!((read.body.as_str(), read.severity), ("paid", Severity::Warn));
        let labels = [
            ("file", "/var/log/app.json"),
            ("json.file", "x"),
            ("level", "warn"),
            ("ok", "true"),
            ("time", "2026-11-23T20:36:28Z"),
            ("user.id", "7"),
            ("user.none", "{}"),
            ("user.tags", "[\"a\"]"),
        ];
        assert_eq!(read.labels, Labels::from_iter(labels));
        for whole in ["no json", "{\"a\":1}", "{broken", "[1]", "{\"message\":{\"deep\":1}}"] {
            assert_eq!(json(whole).body, whole);
        }
        let many: Map<String, Value> = (0..200).map(|n| (format!("f{n}"), n.into())).collect();
        let mut many = Value::Object(many);
        many["msg"] = "short".into();
        let read = json(&many.to_string());
        assert_eq!((read.body, read.labels.len()), (many.to_string(), FIELDS + 1), "nothing is lost");
    }

    #[test]
    fn lines_of_containers_have_the_runtime_s_time() {
        let taken = Timestamp::from_millis(NOW.as_millis() - 5000);
        let line = r#"{"level":"loud","severity":"error","ts":1,"trace_id":"0af7","span_id":7}"#;
        let read = record(Content::Container, line.to_owned(), Some(taken), NOW, &Labels::empty());
        assert_eq!((read.timestamp, read.severity, read.body.as_str()), (taken, Severity::Error, line));
        assert_eq!(read.labels, Labels::from_iter([("trace_id", "0af7")]));
        let read =
            record(Content::Container, "2020-01-01T00:00:00Z x".to_owned(), None, NOW, &Labels::empty());
        assert_eq!(read.timestamp, NOW);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in ".*", prefix in prop_oneof![
            Just(""), Just("2026-11-23T20:36:28"), Just("<13>"), Just("Nov 23 "), Just("I1123 "), Just("2026-11-23 20:36:28,"),
        ]) {
            plain(&format!("{prefix}{line}"));
        }
    }
}
