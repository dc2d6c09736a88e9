//! The index templates by which Elasticsearch takes documents.

use super::{COUNTER_SUFFIXES, Field, FieldKind, Signal};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What a server knows beyond the plainest field types. Ask the server before a template is written: it refuses one with a type that it
/// does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a feature by itself")]
pub struct Features {
    /// The field type `constant_keyword`; else `keyword`.
    pub constant_keyword: bool,
    /// The field type `match_only_text`; else `text`.
    pub match_only_text: bool,
    /// The setting `index.look_back_time` of time series: how late a sample may be; else two hours.
    pub look_back_time: bool,
    /// Data streams whose lifecycle the server sees to; else an index a day, whose old ones the writer deletes.
    pub data_streams: bool,
}

impl Features {
    /// What Elastic's own distribution has, by its free licence.
    pub const ALL: Self =
        Self { constant_keyword: true, match_only_text: true, look_back_time: true, data_streams: true };
    /// What every build has.
    pub const PLAIN: Self =
        Self { constant_keyword: false, match_only_text: false, look_back_time: false, data_streams: true };
}

/// The version of the templates. A server with a higher one has them from a newer program.
pub const TEMPLATE_VERSION: u64 = 2;

/// How late a document of a series may be. Elasticsearch takes two hours by default, and what waits in Kafka may be older.
const LOOK_BACK: &str = "7d";

/// Above the templates that Elasticsearch brings along for the same names, whose priorities are at most 200.
const PRIORITY: u32 = 500;

/// Prometheus' metrics are fields, and there are more of them than the 1,000 that an index takes by default.
const METRIC_FIELDS_LIMIT: u32 = 10_000;
/// Labels and attributes of programs that nobody knows.
const LOG_FIELDS_LIMIT: u32 = 2_000;

/// Longer values are kept and shown, but not found.
const IGNORE_ABOVE: u32 = 1024;

/// The name of a signal's template.
pub fn template_name(signal: Signal) -> String {
    format!("platform-{}", signal.as_str())
}

/// The body of `PUT _index_template/NAME` for a signal's data streams, or for its indexes of a day (see [`daily_index`]) where there are none. Of data
/// streams the server deletes what is older than `retention`.
///
/// Metrics in data streams are time series: a document whose labels and time are there already is refused with 409, which is a repeat and no loss, and
/// one that is too old for its series' index is refused with 400. Whole seconds of `retention` count.
pub fn index_template(signal: Signal, features: Features, retention: Duration) -> Value {
    let mut properties = Map::new();
    let mut templates = Vec::new();
    for field in signal.fields() {
        match field.path.strip_suffix(".*") {
            // A name with dots is one name and not a path.
            Some(object) => {
                let holder = json!({"type": "object", "dynamic": true, "subobjects": false});
                insert(&mut properties, object, holder);
                templates.extend(dynamic_templates(signal, features, field, object));
            }
            None => insert(&mut properties, field.path, mapping(signal, field, features)),
        }
    }
    let mut template = json!({
        "index_patterns": [super::data_stream(signal, "*")],
        "priority": PRIORITY,
        "version": TEMPLATE_VERSION,
        "template": {
            "settings": settings(signal, features),
            "mappings": {"dynamic": false, "dynamic_templates": templates, "properties": properties},
        },
        "_meta": {"description": format!("Documents of {} in the shape of version {}", signal.as_str(), super::Topic::VERSION)},
    });
    if features.data_streams {
        template["data_stream"] = json!({});
        template["template"]["lifecycle"] = json!({"data_retention": format!("{}s", retention.as_secs())});
    }
    template
}

/// The index that takes the place of a data stream's on a day, where a server has no data streams: `logs-generic.otel-testing-2026.11.26`.
pub fn daily_index(signal: Signal, environment: &str, day: jiff::civil::Date) -> String {
    format!("{}-{}", super::data_stream(signal, environment), day.strftime("%Y.%m.%d"))
}

/// The day of an index that [`daily_index`] names; `None` for any other.
pub fn day_of_index(signal: Signal, index: &str) -> Option<jiff::civil::Date> {
    let rest = index.strip_prefix(&super::data_stream(signal, ""))?;
    let (environment, day) = rest.rsplit_once('-')?;
    let day = jiff::civil::Date::strptime("%Y.%m.%d", day).ok()?;
    (!environment.is_empty()).then_some(day)
}

fn settings(signal: Signal, features: Features) -> Value {
    match signal {
        Signal::Metrics if features.data_streams => {
            let dimensions: Vec<&str> =
                signal.fields().iter().filter(|field| field.dimension).map(|field| field.path).collect();
            let mut index = json!({
                "mode": "time_series",
                "routing_path": dimensions,
                "mapping": {"total_fields": {"limit": METRIC_FIELDS_LIMIT}},
            });
            if features.look_back_time {
                index["look_back_time"] = json!(LOOK_BACK);
            }
            json!({"index": index})
        }
        Signal::Metrics => json!({"index": {
            "codec": "best_compression",
            "mapping": {"total_fields": {"limit": METRIC_FIELDS_LIMIT}},
        }}),
        Signal::Logs => json!({"index": {
            "codec": "best_compression",
            "mapping": {"total_fields": {"limit": LOG_FIELDS_LIMIT}},
        }}),
    }
}

fn mapping(signal: Signal, field: &Field, features: Features) -> Value {
    match field.kind {
        FieldKind::Date => json!({"type": "date"}),
        FieldKind::Keyword => json!({"type": "keyword", "ignore_above": IGNORE_ABOVE}),
        // The type of a stream is in its name; its namespace is not known when the template is written.
        FieldKind::Constant if features.constant_keyword => match field.path {
            "data_stream.type" => json!({"type": "constant_keyword", "value": signal.as_str()}),
            "data_stream.dataset" => json!({"type": "constant_keyword", "value": signal.dataset()}),
            _ => json!({"type": "constant_keyword"}),
        },
        FieldKind::Constant => json!({"type": "keyword"}),
        FieldKind::Text if features.match_only_text => json!({"type": "match_only_text"}),
        FieldKind::Text => json!({"type": "text"}),
        FieldKind::Double => json!({"type": "double"}),
        FieldKind::Long => json!({"type": "long"}),
    }
}

/// How the fields of an object are mapped when they are first seen.
fn dynamic_templates(signal: Signal, features: Features, field: &Field, object: &str) -> Vec<Value> {
    let template =
        |name: String, paths: Value, mapping: Value| json!({name: {"path_match": paths, "mapping": mapping}});
    let name = object.replace('.', "-");
    match (field.kind, signal) {
        (FieldKind::Double, Signal::Metrics) if features.data_streams => {
            let counters = COUNTER_SUFFIXES.map(|suffix| format!("{object}.*{suffix}"));
            let double = |kind: &str| json!({"type": "double", "time_series_metric": kind});
            vec![
                template(format!("{name}-counters"), json!(counters), double("counter")),
                template(format!("{name}-gauges"), json!(format!("{object}.*")), double("gauge")),
            ]
        }
        (FieldKind::Double, _) => {
            vec![template(name, json!(format!("{object}.*")), json!({"type": "double"}))]
        }
        (_, Signal::Metrics) if field.dimension && features.data_streams => vec![template(
            name,
            json!(format!("{object}.*")),
            json!({"type": "keyword", "time_series_dimension": true}),
        )],
        _ => vec![template(
            name,
            json!(format!("{object}.*")),
            json!({"type": "keyword", "ignore_above": IGNORE_ABOVE}),
        )],
    }
}

/// Puts a mapping at a path, making the objects on the way.
fn insert(properties: &mut Map<String, Value>, path: &str, mapping: Value) {
    match path.split_once('.') {
        None => {
            properties.insert(path.to_owned(), mapping);
        }
        Some((object, rest)) => {
            let holder = properties.entry(object).or_insert_with(|| json!({"properties": {}}));
            if let Some(Value::Object(inner)) = holder.get_mut("properties") {
                insert(inner, rest, mapping);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

    #[test]
    fn metrics_are_series_of_their_labels() {
        let template = index_template(Signal::Metrics, Features::ALL, MONTH);
        assert_eq!(template["index_patterns"], json!(["metrics-generic.prometheus-*"]));
        let index = &template["template"]["settings"]["index"];
        assert_eq!((&index["mode"], &index["routing_path"]), (&json!("time_series"), &json!(["labels.*"])));
        assert_eq!(template["template"]["lifecycle"], json!({"data_retention": "2592000s"}));
        let dynamic = template["template"]["mappings"]["dynamic_templates"].as_array().unwrap();
        assert_eq!(dynamic[0]["labels"]["mapping"]["time_series_dimension"], true);
        assert_eq!(dynamic[1]["metrics-counters"]["path_match"][0], "metrics.*_total");
        assert_eq!(dynamic[2]["metrics-gauges"]["mapping"]["time_series_metric"], "gauge");
    }

    #[test]
    fn a_plain_server_gets_plain_types() {
        let kinds = |features| {
            let template = index_template(Signal::Logs, features, MONTH);
            let properties = &template["template"]["mappings"]["properties"];
            let kind = |path: &str| properties.pointer(path).unwrap().clone();
            (kind("/body/properties/text/type"), kind("/data_stream/properties/namespace/type"))
        };
        assert_eq!(kinds(Features::ALL), (json!("match_only_text"), json!("constant_keyword")));
        assert_eq!(kinds(Features::PLAIN), (json!("text"), json!("keyword")));
    }

    #[test]
    fn without_data_streams_there_is_an_index_a_day() {
        let features = Features { data_streams: false, ..Features::PLAIN };
        for signal in Signal::ALL {
            let template = index_template(signal, features, MONTH);
            assert!(
                template.get("data_stream").is_none() && template.pointer("/template/lifecycle").is_none()
            );
            assert!(!template.to_string().contains("time_series"), "{template}");
        }
        let day = jiff::civil::date(2026, 3, 9);
        let name = daily_index(Signal::Logs, "a-b", day);
        assert_eq!(name, "logs-generic.otel-a-b-2026.03.09");
        assert_eq!(day_of_index(Signal::Logs, &name), Some(day));
        for other in [
            "logs-generic.otel-a-b",
            "metrics-generic.prometheus-a-2026.03.09",
            "logs-generic.otel--2026.03.09",
        ] {
            assert_eq!(day_of_index(Signal::Logs, other), None, "{other}");
        }
    }

    #[test]
    fn every_field_is_mapped() {
        let daily = Features { data_streams: false, ..Features::ALL };
        for (signal, features) in
            Signal::ALL.into_iter().flat_map(|signal| [(signal, Features::ALL), (signal, daily)])
        {
            let template = index_template(signal, features, MONTH);
            let properties = &template["template"]["mappings"]["properties"];
            for field in signal.fields() {
                let path = field.path.trim_end_matches(".*").replace('.', "/properties/");
                assert!(properties.pointer(&format!("/{path}/type")).is_some(), "{}", field.path);
            }
        }
    }
}
