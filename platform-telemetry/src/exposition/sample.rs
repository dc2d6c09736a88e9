//! Lines with samples.

use super::{cursor::Cursor, metadata::Families};
use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, Sample},
};
use std::borrow::Cow;

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// `name{label="value",…} value timestamp`, or `{"name",label="value",…} value timestamp`.
pub(super) fn parse(
    line: &str,
    default_timestamp: Timestamp,
    max_labels: usize,
    families: &mut Families,
) -> Result<Sample, String> {
    let mut cursor = Cursor::new(line);
    let mut name = cursor.name(true).map(Cow::Borrowed);
    cursor.skip_blanks();
    let labels = if cursor.take('{') { labels(&mut cursor, &mut name, max_labels)? } else { Pairs::new() };
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(cursor.error("there is no metric's name"));
    };
    let value = value(&mut cursor)?;
    let timestamp = timestamp(&mut cursor)?.unwrap_or(default_timestamp);
    let (metric, kind) = families.resolve(&name);
    let labels: Labels = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    Ok(Sample { metric, labels, timestamp, value, kind })
}

/// What stands between braces. A quoted text without a value is the metric's name.
fn labels<'a>(
    cursor: &mut Cursor<'a>,
    metric: &mut Option<Cow<'a, str>>,
    max_labels: usize,
) -> Result<Pairs<'a>, String> {
    let mut labels = Pairs::new();
    loop {
        cursor.skip_blanks();
        if cursor.take('}') {
            break;
        }
        let quoted = cursor.quoted()?;
        let is_quoted = quoted.is_some();
        let Some(name) = quoted.or_else(|| cursor.name(false).map(Cow::Borrowed)) else {
            return Err(cursor.error("here should be a label's name"));
        };
        cursor.skip_blanks();
        if cursor.take('=') {
            cursor.skip_blanks();
            let Some(value) = cursor.quoted()? else {
                return Err(cursor.error("here should be a label's value in quotes"));
            };
            if name == "__name__" {
                return Err(cursor.error("the label __name__ is the metric's name itself"));
            }
            if name.is_empty() {
                return Err(cursor.error("a label has no name"));
            }
            if labels.iter().any(|(known, _)| *known == name) {
                return Err(cursor.error(&format!("the label {name} is there twice")));
            }
            if labels.len() >= max_labels {
                return Err(format!("there are more than {max_labels} labels"));
            }
            labels.push((name, value));
        } else if is_quoted && metric.is_none() {
            *metric = Some(name);
        } else {
            return Err(cursor.error("here should be a label's value after `=`"));
        }
        cursor.skip_blanks();
        if !cursor.take(',') && !cursor.rest().starts_with('}') {
            return Err(cursor.error("here should be `,` or `}`"));
        }
    }
    Ok(labels)
}

fn value(cursor: &mut Cursor<'_>) -> Result<f64, String> {
    cursor.skip_blanks();
    let word = cursor.while_is(|c| c != ' ' && c != '\t');
    if word.is_empty() {
        return Err(cursor.error("there is no value"));
    }
    // The same texts as Go's, less its hexadecimal ones.
    word.parse().map_err(|_| cursor.error(&format!("{} is no value", shown(word))))
}

/// Milliseconds since the epoch.
fn timestamp(cursor: &mut Cursor<'_>) -> Result<Option<Timestamp>, String> {
    cursor.skip_blanks();
    let word = cursor.while_is(|c| c != ' ' && c != '\t');
    if word.is_empty() {
        return Ok(None);
    }
    let millis = word
        .parse()
        .map_err(|_| cursor.error(&format!("{} is no timestamp in milliseconds", shown(word))))?;
    cursor.skip_blanks();
    if cursor.rest().is_empty() {
        Ok(Some(Timestamp::from_millis(millis)))
    } else {
        Err(cursor.error("nothing should follow the timestamp"))
    }
}

/// A word of the line for a message, not longer than that.
fn shown(word: &str) -> String {
    let short: String = word.chars().take(40).collect();
    if short.len() < word.len() { format!("{short:?}…") } else { format!("{short:?}") }
}
