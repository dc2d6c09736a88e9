//! Custom resources under the `openAPIV3Schema` of their definition.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value};

use super::super::schema::Key;
use super::super::schema::item_keys;
use super::{Finding, Report, TYPE_INVALID};

/// Deeper objects are not looked into.
const MAX_DEPTH: usize = 128;
/// How many compiled patterns a thread keeps.
const MAX_PATTERNS: usize = 512;

/// What in an object its schema does not allow.
pub fn structural(schema: &Value, object: &Value) -> Vec<Finding> {
    let mut report = Report::default();
    check(schema, object, "", MAX_DEPTH, &mut report);
    report.0
}

/// Drops fields that the schema does not declare, and returns their paths.
pub fn prune_unknown(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut pruned = Vec::new();
    prune(schema, object, "", true, &mut pruned);
    pruned
}

/// Fills in the defaults that the schema declares. A `null` that the schema does not allow counts as absent.
pub fn default_structural(schema: &Value, object: &mut Value) {
    fill(schema, object, MAX_DEPTH);
}

fn fill(schema: &Value, value: &mut Value, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Object(fields) => {
            let declared = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in declared.into_iter().flatten() {
                if fields.get(name).is_some_and(Value::is_null) && !flag(schema, "nullable") {
                    fields.remove(name);
                }
                if let Some(default) = schema.get("default")
                    && !fields.contains_key(name)
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            let additional = additional(schema);
            if let Some(additional) = additional.filter(|additional| !flag(additional, "nullable")) {
                let is_declared = |name: &str| declared.is_some_and(|declared| declared.contains_key(name));
                fields.retain(|name, value| {
                    is_declared(name) || !value.is_null() || additional.get("default").is_some()
                });
                for (name, value) in fields.iter_mut() {
                    if let Some(default) =
                        additional.get("default").filter(|_| value.is_null() && !is_declared(name))
                    {
                        *value = default.clone();
                    }
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(schema) = declared.and_then(|declared| declared.get(name)).or(additional) {
                    fill(schema, value, depth);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    fill(schema, item, depth);
                }
            }
        }
        _ => {}
    }
}

fn prune(schema: &Value, value: &mut Value, path: &str, resource: bool, pruned: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let declared = schema.get("properties").and_then(Value::as_object);
            let additional =
                schema.get("additionalProperties").filter(|additional| **additional != Value::Bool(false));
            let keep = flag(schema, "x-kubernetes-preserve-unknown-fields");
            let resource = resource || flag(schema, "x-kubernetes-embedded-resource");
            fields.retain(|name, value| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    return true;
                }
                match declared.and_then(|declared| declared.get(name)).or(additional) {
                    Some(schema) => prune(schema, value, &path, false, pruned),
                    None if keep => {}
                    None => {
                        pruned.push(path);
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter_mut().enumerate() {
                    prune(schema, item, &format!("{path}[{index}]"), false, pruned);
                }
            }
        }
        _ => {}
    }
}

fn check(schema: &Value, value: &Value, path: &str, depth: usize, report: &mut Report) {
    let Some(depth) = depth.checked_sub(1) else { return };
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    if !check_type(schema, value, path, report) {
        return;
    }
    check_enum(schema, value, path, report);
    match value {
        Value::Object(fields) => check_object(schema, fields, path, depth, report),
        Value::Array(items) => check_array(schema, items, path, depth, report),
        Value::String(text) => check_string(schema, text, path, report),
        Value::Number(_) => check_number(schema, value, path, report),
        _ => {}
    }
    check_combinations(schema, value, path, depth, report);
}

fn check_type(schema: &Value, value: &Value, path: &str, report: &mut Report) -> bool {
    if flag(schema, "x-kubernetes-int-or-string") {
        if value.is_string() || is_integer(value) {
            return true;
        }
        let message = format!("Invalid value: {value}: {} must be of type integer or string", within(path));
        report.add(TYPE_INVALID, path, message);
        return false;
    }
    let Some(expected) = schema.get("type").and_then(Value::as_str) else { return true };
    let fits = match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_integer(value),
        "number" => value.is_number(),
        _ => true,
    };
    if !fits {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) if is_integer(value) => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let message =
            format!("Invalid value: {found:?}: {} must be of type {expected}: {found:?}", within(path));
        report.add(TYPE_INVALID, path, message);
    }
    fits
}

fn check_enum(schema: &Value, value: &Value, path: &str, report: &mut Report) {
    let Some(allowed) = schema.get("enum").and_then(Value::as_array) else { return };
    if !allowed.contains(value) {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", allowed.join(", "));
        report.add("FieldValueNotSupported", path, message);
    }
}

fn check_object(schema: &Value, fields: &Map<String, Value>, path: &str, depth: usize, report: &mut Report) {
    for name in strings(schema, "required") {
        if !fields.contains_key(name) {
            report.required(join(path, name), "");
        }
    }
    let count = fields.len() as u64;
    if let Some(limit) = number(schema, "maxProperties").filter(|limit| count > *limit) {
        report.add("FieldValueTooMany", path, format!("Too many: {count}: must have at most {limit} items"));
    }
    if let Some(limit) = number(schema, "minProperties").filter(|limit| count < *limit) {
        let why = format!("{} should have at least {limit} properties", within(path));
        report.invalid(path, &Value::from(count), &why);
    }
    let declared = schema.get("properties").and_then(Value::as_object);
    let additional = additional(schema);
    let resource = path.is_empty() || flag(schema, "x-kubernetes-embedded-resource");
    for (name, value) in fields {
        let path = join(path, name);
        match declared.and_then(|declared| declared.get(name)) {
            Some(schema) => check(schema, value, &path, depth, report),
            // Metadata has rules of its own.
            None if resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {}
            None => additional.into_iter().for_each(|schema| check(schema, value, &path, depth, report)),
        }
    }
}

fn check_array(schema: &Value, items: &[Value], path: &str, depth: usize, report: &mut Report) {
    let count = items.len() as u64;
    if let Some(limit) = number(schema, "maxItems").filter(|limit| count > *limit) {
        report.add("FieldValueTooMany", path, format!("Too many: {count}: must have at most {limit} items"));
    }
    if let Some(limit) = number(schema, "minItems").filter(|limit| count < *limit) {
        let why = format!("{} should have at least {limit} items", within(path));
        report.invalid(path, &Value::from(count), &why);
    }
    check_unique(schema, items, path, report);
    if let Some(schema) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            check(schema, item, &format!("{path}[{index}]"), depth, report);
        }
    }
}

/// Lists that merge item by item must not hold an item twice.
fn check_unique(schema: &Value, items: &[Value], path: &str, report: &mut Report) {
    let identities: Vec<Option<Value>> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => items.iter().cloned().map(Some).collect(),
        Some("map") => {
            let default = |name: &str| schema.pointer(&format!("/items/properties/{name}/default")).cloned();
            let key = |name: &str| Key { name: name.to_owned(), default: default(name) };
            let keys: Vec<Key> = strings(schema, "x-kubernetes-list-map-keys").map(key).collect();
            items.iter().map(|item| item_keys(item, &keys).ok().map(Value::Object)).collect()
        }
        _ if flag(schema, "uniqueItems") => items.iter().cloned().map(Some).collect(),
        _ => return,
    };
    for (index, identity) in identities.iter().enumerate() {
        if let Some(identity) = identity
            && identities.iter().take(index).flatten().any(|earlier| earlier == identity)
        {
            report.duplicate(format!("{path}[{index}]"), identity);
        }
    }
}

fn check_string(schema: &Value, text: &str, path: &str, report: &mut Report) {
    let value = Value::from(text);
    let length = text.chars().count() as u64;
    if let Some(limit) = number(schema, "maxLength").filter(|limit| length > *limit) {
        let message = format!("Too long: may not be more than {limit} bytes");
        report.add("FieldValueTooLong", path, message);
    }
    if let Some(limit) = number(schema, "minLength").filter(|limit| length < *limit) {
        report.invalid(path, &value, &format!("{} should be at least {limit} chars long", within(path)));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && matches_pattern(pattern, text) == Some(false)
    {
        report.invalid(path, &value, &format!("{} should match '{pattern}'", within(path)));
    }
    if let Some(format) = schema.get("format").and_then(Value::as_str)
        && !has_format(format, text)
    {
        report.invalid(path, &value, &format!("{} must be of type {format}: {text:?}", within(path)));
    }
}

fn check_number(schema: &Value, value: &Value, path: &str, report: &mut Report) {
    let Some(amount) = value.as_f64() else { return };
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64).zip(schema.get(name));
    if let Some((limit, shown)) = bound("minimum") {
        let exclusive = flag(schema, "exclusiveMinimum");
        if amount < limit || (exclusive && amount <= limit) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            report.invalid(
                path,
                value,
                &format!("{} should be greater than{or_equal} {shown}", within(path)),
            );
        }
    }
    if let Some((limit, shown)) = bound("maximum") {
        let exclusive = flag(schema, "exclusiveMaximum");
        if amount > limit || (exclusive && amount >= limit) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            report.invalid(path, value, &format!("{} should be less than{or_equal} {shown}", within(path)));
        }
    }
    if let Some((factor, shown)) = bound("multipleOf")
        && factor > 0.0
        && (amount / factor).fract() != 0.0
    {
        report.invalid(path, value, &format!("{} should be a multiple of {shown}", within(path)));
    }
    let fits = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => value.as_i64().is_some_and(|value| i32::try_from(value).is_ok()),
        Some("int64") => value.is_i64() || value.as_f64().is_some_and(|value| value.abs() < 9.2e18),
        _ => true,
    };
    if !fits {
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        report.invalid(path, value, &format!("{} must be of type {format}: {value}", within(path)));
    }
}

fn check_combinations(schema: &Value, value: &Value, path: &str, depth: usize, report: &mut Report) {
    let passes = |schema: &Value| {
        let mut inner = Report::default();
        check(schema, value, path, depth, &mut inner);
        inner.0.is_empty()
    };
    let branches = |name: &str| schema.get(name).and_then(Value::as_array);
    for schema in branches("allOf").into_iter().flatten() {
        check(schema, value, path, depth, report);
    }
    if branches("anyOf").is_some_and(|schemas| !schemas.iter().any(passes)) {
        report.invalid(path, value, &format!("{} must validate at least one schema (anyOf)", within(path)));
    }
    if branches("oneOf").is_some_and(|schemas| schemas.iter().filter(|schema| passes(schema)).count() != 1) {
        report.invalid(
            path,
            value,
            &format!("{} must validate one and only one schema (oneOf)", within(path)),
        );
    }
    if schema.get("not").is_some_and(|schema| schema.is_object() && passes(schema)) {
        report.invalid(path, value, &format!("{} must not validate the schema (not)", within(path)));
    }
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        _ => true,
    }
}

/// Whether `text` is an address with the length of a prefix, such as `10.0.0.0/8`.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    length.parse::<u8>().is_ok_and(|length| length <= if address.is_ipv4() { 32 } else { 128 })
}

/// `None` when the pattern does not compile.
fn matches_pattern(pattern: &str, text: &str) -> Option<bool> {
    thread_local! {
        static PATTERNS: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
    }
    PATTERNS.with_borrow_mut(|patterns| {
        if patterns.len() >= MAX_PATTERNS {
            patterns.clear();
        }
        let compiled = patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        compiled.as_ref().map(|pattern| pattern.is_match(text))
    })
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn number(schema: &Value, name: &str) -> Option<u64> {
    schema.get(name).and_then(Value::as_u64)
}

fn strings<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    schema.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn additional(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|additional| additional.is_object())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn within(path: &str) -> String {
    if path.is_empty() { "the object".to_owned() } else { format!("{path} in body") }
}

#[cfg(test)]
mod tests {
    use super::super::arbitrary_json;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["spec"],
            "properties": {"spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 5},
                    "mode": {"type": "string", "enum": ["fast", "safe"], "default": "safe"},
                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 4},
                    "since": {"type": "string", "format": "date-time"},
                    "port": {"x-kubernetes-int-or-string": true},
                    "note": {"type": "string", "nullable": true},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 2, "items": {"type": "string"}},
                    "weights": {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": true, "minimum": 0}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "nested": {"type": "object", "default": {}, "properties": {"on": {"type": "boolean", "default": true}}}
                },
                "oneOf": [{"required": ["name"]}, {"required": ["port"]}]
            }}
        })
    }

    fn fields(spec: &Value) -> Vec<(String, &'static str)> {
        structural(&schema(), &json!({"spec": spec})).into_iter().map(|one| (one.field, one.reason)).collect()
    }

    #[test]
    fn what_fits_passes() {
        let good = json!({"size": 5, "mode": "fast", "name": "abc", "since": "2026-01-01T00:00:00Z", "note": null,
            "tags": ["a", "b"], "weights": {"a": 0.5}, "free": {"x": [1]}});
        assert_eq!(fields(&good), []);
        assert_eq!(fields(&json!({"size": 1, "port": "http"})), []);
    }

    #[test]
    fn each_rule_is_enforced() {
        for (spec, field, reason) in [
            (json!({"name": "a"}), "spec.size", "FieldValueRequired"),
            (json!({"name": "a", "size": "1"}), "spec.size", TYPE_INVALID),
            (json!({"name": "a", "size": 1.5}), "spec.size", TYPE_INVALID),
            (json!({"name": "a", "size": 0}), "spec.size", "FieldValueInvalid"),
            (json!({"name": "a", "size": 6}), "spec.size", "FieldValueInvalid"),
            (json!({"name": "a", "size": 1, "mode": "x"}), "spec.mode", "FieldValueNotSupported"),
            (json!({"name": "A", "size": 1}), "spec.name", "FieldValueInvalid"),
            (json!({"name": "abcde", "size": 1}), "spec.name", "FieldValueTooLong"),
            (json!({"name": "a", "size": 1, "since": "now"}), "spec.since", "FieldValueInvalid"),
            (json!({"size": 1, "port": true}), "spec.port", TYPE_INVALID),
            (json!({"name": "a", "size": 1, "tags": ["a", "a"]}), "spec.tags[1]", "FieldValueDuplicate"),
            (json!({"name": "a", "size": 1, "tags": ["a", "b", "c"]}), "spec.tags", "FieldValueTooMany"),
            (json!({"name": "a", "size": 1, "weights": {"x": 0}}), "spec.weights.x", "FieldValueInvalid"),
            (json!({"name": "a", "size": 1, "mode": null}), "spec.mode", TYPE_INVALID),
            (json!({"name": "a", "port": 1, "size": 1}), "spec", "FieldValueInvalid"),
            (json!({"size": 1}), "spec", "FieldValueInvalid"),
        ] {
            assert!(fields(&spec).contains(&(field.to_owned(), reason)), "{spec}: {:?}", fields(&spec));
        }
    }

    #[test]
    fn defaults_nest_and_replace_forbidden_nulls() {
        let mut object = json!({"spec": {"size": 1, "mode": null, "name": null, "note": null}});
        default_structural(&schema(), &mut object);
        assert_eq!(object["spec"], json!({"size": 1, "mode": "safe", "note": null, "nested": {"on": true}}));
    }

    #[test]
    fn undeclared_fields_are_pruned_but_where_they_are_kept() {
        let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "extra": 1, "spec": {
            "size": 1, "more": {}, "free": {"any": 1}, "weights": {"a": 1}, "nested": {"off": 1}}});
        assert_eq!(prune_unknown(&schema(), &mut object), ["extra", "spec.more", "spec.nested.off"]);
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"},
                "spec": {"size": 1, "free": {"any": 1}, "weights": {"a": 1}, "nested": {}}})
        );
    }

    proptest! {
        #[test]
        fn schemas_and_objects_of_any_shape_are_answered(schema in arbitrary_json(), object in arbitrary_json()) {
            let _ = structural(&schema, &object);
            let mut defaulted = object.clone();
            default_structural(&schema, &mut defaulted);
            prune_unknown(&schema, &mut defaulted);
            let mut again = defaulted.clone();
            prop_assert!(prune_unknown(&schema, &mut again).is_empty());
            prop_assert_eq!(again, defaulted);
        }
    }
}
