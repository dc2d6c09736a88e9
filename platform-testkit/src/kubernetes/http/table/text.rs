//! How cells show values.

use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) fn shown(value: Option<&Value>) -> Value {
    match value {
        None | Some(Value::Null) => json!("<none>"),
        Some(Value::String(text)) if text.is_empty() => json!("<none>"),
        Some(value) => value.clone(),
    }
}

pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub(super) fn list_of(list: &Value, item: impl Fn(&Value) -> String) -> String {
    let items: Vec<String> = list.as_array().into_iter().flatten().map(item).collect();
    if items.is_empty() { "<none>".to_owned() } else { items.join(",") }
}

/// `a=b,c in (d,e)`, as label selectors are written.
pub(super) fn labels(selector: &Value) -> String {
    let plain = selector
        .get("matchLabels")
        .or_else(|| selector.get("matchExpressions").is_none().then_some(selector));
    let pairs = plain.and_then(Value::as_object).into_iter().flatten();
    let mut parts: Vec<String> = pairs.map(|(key, value)| format!("{key}={}", text_of(value))).collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text_of(&expression["key"]);
        let values = list_of(&expression["values"], text_of);
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

pub(super) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

pub(super) fn since(value: &Value, now: Timestamp) -> String {
    time(value).map_or_else(|| "<unknown>".to_owned(), |then| human(now.as_second() - then.as_second()))
}

/// A duration with at most two units, as kubectl shows ages.
pub(super) fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |large: i64, name: &str, small: i64, small_name: &str| {
        let rest = seconds % large / small;
        let rest = if rest == 0 { String::new() } else { format!("{rest}{small_name}") };
        format!("{}{name}{rest}", seconds / large)
    };
    match seconds {
        ..0 => "<invalid>".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        let cases = [
            (5, "5s"),
            (119, "119s"),
            (125, "2m5s"),
            (3_600, "60m"),
            (10_860, "3h1m"),
            (90_000, "25h"),
            (864_000, "10d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn selectors_read_as_they_are_written() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]});
        assert_eq!(labels(&selector), "a=b,c in (d,e)");
        assert_eq!(labels(&json!({})), "<none>");
        assert_eq!(labels(&json!({"disk": "ssd"})), "disk=ssd");
    }
}
