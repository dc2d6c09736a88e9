//! Panels of logs as saved searches.

use super::{CORE_VERSION, data_view_id};
use crate::{
    dashboard::Panel,
    telemetry::{
        MatchOperator, Matcher, Severity,
        document::{MESSAGE_FIELD, SEVERITY_FIELD, Signal, TIME_FIELD, label_field, severity_number},
    },
};
use serde_json::{Value, json};

const COLUMNS: [&str; 4] = [
    SEVERITY_FIELD,
    "resource.attributes.k8s.cluster.name",
    "resource.attributes.k8s.container.name",
    MESSAGE_FIELD,
];

pub(super) fn object(id: &str, panel: &Panel, query: &str) -> Value {
    const INDEX: &str = "kibanaSavedObjectMeta.searchSourceJSON.index";
    let source = json!({
        "filter": [],
        "highlightAll": true,
        "indexRefName": INDEX,
        "query": {"language": "kuery", "query": query},
        "version": true,
    });
    json!({
        "id": id,
        "type": "search",
        "attributes": {
            "title": panel.title,
            "description": panel.description,
            "columns": COLUMNS,
            "grid": {},
            "hideChart": true,
            "sort": [[TIME_FIELD, "desc"]],
            "kibanaSavedObjectMeta": {"searchSourceJSON": source.to_string()},
        },
        "references": [{"id": data_view_id(Signal::Logs), "name": INDEX, "type": "index-pattern"}],
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": "8.0.0",
    })
}

/// A search in [KQL](https://www.elastic.co/docs/reference/query-languages/kql). Empty: everything.
pub(super) fn kql(text: &str, matchers: &[Matcher], min_severity: Option<Severity>) -> String {
    let mut conditions: Vec<String> = words(text)
        .into_iter()
        .map(|(word, wanted)| {
            let condition = format!("{MESSAGE_FIELD}: {}", quoted(word));
            if wanted { condition } else { format!("not {condition}") }
        })
        .collect();
    conditions.extend(matchers.iter().map(condition));
    if let Some(severity) = min_severity {
        conditions.push(format!("severity_number >= {}", severity_number(severity)));
    }
    conditions.join(" and ")
}

/// The words and quoted phrases of a text, each with whether it is wanted.
fn words(text: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (wanted, start) = match rest.strip_prefix('-') {
            Some(after) if !after.is_empty() && !after.starts_with(char::is_whitespace) => (false, after),
            _ => (true, rest),
        };
        let (word, after) = match start.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
            Some((phrase, after)) => (phrase, after),
            None => start.split_once(char::is_whitespace).unwrap_or((start, "")),
        };
        if !word.trim().is_empty() {
            found.push((word, wanted));
        }
        rest = after.trim_start();
    }
    found
}

fn condition(matcher: &Matcher) -> String {
    let field = escaped(&label_field(&matcher.label));
    // A label that is not there has the value "".
    let one_of = |values: &[String]| {
        let mut any: Vec<String> =
            values.iter().filter(|v| !v.is_empty()).map(|v| format!("{field}: {}", quoted(v))).collect();
        if values.iter().any(String::is_empty) {
            any.push(format!("not {field}: *"));
        }
        // One of none is never.
        if any.is_empty() {
            format!("({field}: * and not {field}: *)")
        } else {
            format!("({})", any.join(" or "))
        }
    };
    match &matcher.operator {
        MatchOperator::Equal(value) => one_of(std::slice::from_ref(value)),
        MatchOperator::NotEqual(value) => format!("not {}", one_of(std::slice::from_ref(value))),
        MatchOperator::In(values) => one_of(values),
        MatchOperator::NotIn(values) => format!("not {}", one_of(values)),
    }
}

/// A field's name with what has a meaning in KQL escaped.
fn escaped(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut text, c| {
        if matches!(c, '\\' | '(' | ')' | ':' | '<' | '>' | '"' | '*' | '{' | '}' | ' ') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
