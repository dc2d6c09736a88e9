//! `x-kubernetes-validations`: the rules in CEL of custom resources.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::kubernetes::admission::{CelValue, Expression, functions, value_of};
use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::Resource;

/// How many compiled rules are kept.
const MAX_RULES: usize = 512;
/// Deeper objects are not looked into.
const MAX_DEPTH: usize = 128;

/// Refuses an object that breaks a rule of its definition. `old` is what is to be replaced.
pub(in crate::kubernetes) fn check_rules(
    resource: &Resource,
    old: Option<&Value>,
    object: &Value,
) -> Result<(), ApiError> {
    let Some(custom) = &resource.custom else { return Ok(()) };
    let mut causes = Vec::new();
    check(&custom.schema, object, old, "", MAX_DEPTH, &mut causes);
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource, name, causes))
}

fn check(
    schema: &Value,
    value: &Value,
    old: Option<&Value>,
    path: &str,
    depth: usize,
    causes: &mut Vec<Cause>,
) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        causes.extend(broken(rule, schema, value, old, path));
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let declared = schema["properties"].get(name);
                let additional = Some(&schema["additionalProperties"]).filter(|one| one.is_object());
                if let Some(schema) = declared.or(additional) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    check(schema, value, old.and_then(|old| old.get(name)), &path, depth, causes);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| counterpart(schema, item, old));
                check(&schema["items"], item, old, &format!("{path}[{index}]"), depth, causes);
            }
        }
        _ => {}
    }
}

/// The item of the old list that has the keys of `item`; only items of maps can be told apart.
fn counterpart<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if schema["x-kubernetes-list-type"] != "map" {
        return None;
    }
    let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
    let same =
        |other: &&Value| keys.iter().filter_map(Value::as_str).all(|key| item.get(key) == other.get(key));
    old.as_array()?.iter().find(same)
}

fn broken(rule: &Value, schema: &Value, value: &Value, old: Option<&Value>, path: &str) -> Option<Cause> {
    let source = rule["rule"].as_str()?;
    // A rule of transitions has nothing to say of what is new.
    let of_transitions = source.contains("oldSelf");
    if of_transitions && old.is_none() {
        return None;
    }
    let mut scope = functions().new_inner_scope();
    scope.add_variable_from_value("self", value_of(&seen(schema, value)));
    if let Some(old) = old {
        scope.add_variable_from_value("oldSelf", value_of(&seen(schema, old)));
    }
    let evaluated = |source: &str| match compiled(source) {
        Ok(expression) => expression.evaluate(&scope).map_err(|failure| failure.why),
        Err(why) => Err(why),
    };
    let at = match rule["fieldPath"].as_str() {
        Some(field) => format!("{path}{field}").trim_start_matches('.').to_owned(),
        None => path.to_owned(),
    };
    let kind = json!(schema["type"].as_str().unwrap_or_default());
    let why = match evaluated(source) {
        Ok(CelValue::Bool(true)) => return None,
        Ok(CelValue::Bool(false)) => {
            let computed = rule["messageExpression"].as_str().map(evaluated);
            match (computed, rule["message"].as_str()) {
                (Some(Ok(CelValue::String(message))), _) if !message.is_empty() => message.to_string(),
                (_, Some(message)) => message.to_owned(),
                _ => format!("failed rule: {source}"),
            }
        }
        Ok(_) => format!("rule evaluation error: {source} is not a condition"),
        Err(why) => format!("rule evaluation error: {why}"),
    };
    Some(match rule["reason"].as_str() {
        Some("FieldValueForbidden") => Cause::forbidden(at, &why),
        Some("FieldValueRequired") => Cause::required(at, &why),
        Some("FieldValueDuplicate") => {
            Cause::field("FieldValueDuplicate", at, format!("Duplicate value: {kind}"))
        }
        _ => Cause::invalid(at, &kind, &why),
    })
}

/// A value as rules see it: properties whose names are no identifiers have other names there.
fn seen<'a>(schema: &Value, value: &'a Value) -> Cow<'a, Value> {
    match value {
        Value::Object(fields) => {
            let renamed: Map<String, Value> = fields
                .iter()
                .map(|(name, value)| match schema["properties"].get(name) {
                    Some(schema) => (escaped(name), seen(schema, value).into_owned()),
                    None => (name.clone(), seen(&schema["additionalProperties"], value).into_owned()),
                })
                .collect();
            Cow::Owned(Value::Object(renamed))
        }
        Value::Array(items) => {
            Cow::Owned(items.iter().map(|item| seen(&schema["items"], item).into_owned()).collect())
        }
        _ => Cow::Borrowed(value),
    }
}

fn escaped(name: &str) -> String {
    const RESERVED: [&str; 16] = [
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
        "import", "let", "loop", "package",
    ];
    if RESERVED.contains(&name) || matches!(name, "namespace" | "return" | "var" | "void" | "while") {
        return format!("__{name}__");
    }
    let escaped = name.replace("__", "__underscores__").replace('.', "__dot__");
    escaped.replace('-', "__dash__").replace('/', "__slash__")
}

fn compiled(source: &str) -> Result<Arc<Expression>, String> {
    static RULES: LazyLock<Mutex<HashMap<String, Arc<Expression>>>> = LazyLock::new(Mutex::default);
    let rules = || RULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = rules().get(source) {
        return Ok(known.clone());
    }
    let expression = Arc::new(Expression::compile(source)?);
    let mut rules = rules();
    if rules.len() >= MAX_RULES {
        rules.clear();
    }
    rules.insert(source.to_owned(), expression.clone());
    Ok(expression)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(schema: &Value, old: Option<&Value>, value: &Value) -> Vec<String> {
        let mut causes = Vec::new();
        check(schema, value, old, "", MAX_DEPTH, &mut causes);
        causes.iter().map(Cause::to_string).collect()
    }

    #[test]
    fn rules_hold_where_they_stand() {
        let schema = json!({"type": "object", "properties": {"spec": {
            "type": "object",
            "properties": {
                "min": {"type": "integer"}, "max": {"type": "integer"},
                "namespace": {"type": "string", "x-kubernetes-validations": [{"rule": "self.size() < 3"}]},
                "items": {"type": "array", "items": {
                    "type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "too small"}]}},
            },
            "x-kubernetes-validations": [
                {"rule": "self.min <= self.max", "message": "too large", "fieldPath": ".min", "reason": "FieldValueForbidden"},
                {"rule": "!has(self.__namespace__) || self.__namespace__ != 'x'",
                 "messageExpression": "'not ' + self.__namespace__"},
            ],
        }}});
        let spec = |spec: Value| json!({"spec": spec});
        assert!(
            causes(&schema, None, &spec(json!({"min": 1, "max": 2, "namespace": "a", "items": [1]})))
                .is_empty()
        );
        let broken =
            causes(&schema, None, &spec(json!({"min": 3, "max": 2, "namespace": "x", "items": [1, 0]})));
        let wanted = [
            "spec.min: Forbidden: too large",
            "spec: Invalid value: \"object\": not x",
            "spec.items[1]: Invalid value: \"integer\": too small",
        ];
        assert_eq!(broken, wanted);
        let failed = causes(&schema, None, &spec(json!({"max": 2})));
        assert_eq!(failed, ["spec.min: Forbidden: rule evaluation error: no such key: min"]);
    }

    #[test]
    fn transitions_compare_with_the_counterpart_of_an_item() {
        let schema = json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size", "message": "it shrinks"}]},
        });
        let old = json!([{"name": "a", "size": 1}, {"name": "b", "size": 5}]);
        assert!(
            causes(&schema, Some(&old), &json!([{"name": "c", "size": 0}, {"name": "b", "size": 5}]))
                .is_empty()
        );
        let shrunk = causes(&schema, Some(&old), &json!([{"name": "b", "size": 4}]));
        assert_eq!(shrunk, ["[0]: Invalid value: \"object\": it shrinks"]);
        assert!(causes(&schema, None, &old).is_empty());
    }
}
