//! Whether a document has the shape that it must have.

use super::{Field, FieldKind, Signal};
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Checks that every field of `document` is one of its signal's with a value of its kind, and that those are there that must be.
///
/// Fails with [`Invalid`](crate::ErrorKind::Invalid), naming the field.
pub fn check(signal: Signal, document: &Value) -> Result<()> {
    let invalid =
        |problem: String| Error::invalid(problem).subject(format!("document of {}", signal.as_str()));
    let Value::Object(document) = document else {
        return Err(invalid("it is not an object".to_owned()));
    };
    let mut found = vec![false; signal.fields().len()];
    walk(document, "", &mut |path, value| {
        let Some(at) = signal.fields().iter().position(|field| matches(field, path)) else {
            return Leaf::Unknown;
        };
        if signal.fields()[at].path.ends_with(".*") && value.is_object() {
            return Leaf::Descend;
        }
        found[at] = true;
        if is_of(signal.fields()[at].kind, value) { Leaf::Fine } else { Leaf::Wrong }
    })
    .map_err(invalid)?;
    let missing = signal.fields().iter().zip(&found).find(|(field, found)| field.required && !**found);
    missing.map_or(Ok(()), |(field, _)| Err(invalid(format!("it has no {}", field.path))))
}

enum Leaf {
    Fine,
    Wrong,
    Unknown,
    Descend,
}

fn walk(
    object: &Map<String, Value>,
    parent: &str,
    judge: &mut dyn FnMut(&str, &Value) -> Leaf,
) -> Result<(), String> {
    for (name, value) in object {
        let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
        match (judge(&path, value), value) {
            (Leaf::Fine, _) => {}
            (Leaf::Unknown | Leaf::Descend, Value::Object(inner)) => walk(inner, &path, judge)?,
            (Leaf::Wrong, value) => return Err(format!("{path} cannot be {value}")),
            (Leaf::Unknown | Leaf::Descend, _) => return Err(format!("it must not have {path}")),
        }
    }
    Ok(())
}

fn matches(field: &Field, path: &str) -> bool {
    match field.path.strip_suffix('*') {
        Some(object) => path.strip_prefix(object).is_some_and(|name| !name.is_empty()),
        None => field.path == path,
    }
}

fn is_of(kind: FieldKind, value: &Value) -> bool {
    match kind {
        FieldKind::Date => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        FieldKind::Keyword | FieldKind::Constant | FieldKind::Text => value.is_string(),
        FieldKind::Double => value.is_number(),
        FieldKind::Long => value.is_i64() || value.is_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_named() {
        let good = json!({
            "@timestamp": "2025-11-25T22:00:00.000Z",
            "data_stream": {"type": "metrics", "dataset": "generic.prometheus", "namespace": "testing"},
            "labels": {"__name__": "up"},
            "metrics": {"up": 1},
        });
        check(Signal::Metrics, &good).unwrap();
        let broken = |path: &str, value: Value| {
            let mut document = good.clone();
            match value {
                Value::Null => {
                    document.as_object_mut().unwrap().remove(path.trim_start_matches('/'));
                }
                value => *document.pointer_mut(path).unwrap() = value,
            }
            check(Signal::Metrics, &document).unwrap_err().to_string()
        };
        assert!(broken("/metrics", Value::Null).contains("it has no metrics.*"));
        assert!(broken("/metrics/up", json!("1")).contains("metrics.up cannot be \"1\""));
        assert!(broken("/@timestamp", json!("now")).contains("@timestamp cannot be \"now\""));
        assert!(broken("/labels/__name__", json!(["up"])).contains("labels.__name__"));
        let error = check(Signal::Logs, &good).unwrap_err().to_string();
        assert!(error.contains("it must not have labels.__name__"), "{error}");
        assert!(check(Signal::Logs, &json!([])).is_err());
    }
}
