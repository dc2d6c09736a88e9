//! Templates as values: what is made and told, their text and digest.

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// The output that tells which template a stack has.
pub(super) const DIGEST: &str = "Digest";

/// A template of CloudFormation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// It as compact JSON, the same for the same wishes.
    pub(crate) body: String,
    /// The SHA-256 of all but the output that tells it, in hexadecimal. A stack whose output differs has another template.
    pub(crate) digest: String,
}

/// A template while it is written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    resources: BTreeMap<String, Value>,
    outputs: BTreeMap<String, Value>,
}

impl Draft {
    /// Adds a resource and answers with what refers to it.
    pub(super) fn resource(&mut self, id: impl Into<String>, kind: &str, properties: Value) -> Value {
        self.add(id.into(), [("Type", kind.into()), ("Properties", properties)])
    }

    /// Adds a resource that is made after others and deleted before them.
    pub(super) fn resource_after(
        &mut self,
        id: impl Into<String>,
        kind: &str,
        others: &[&str],
        properties: Value,
    ) -> Value {
        let others = json!(others);
        self.add(id.into(), [("Type", kind.into()), ("DependsOn", others), ("Properties", properties)])
    }

    fn add<const N: usize>(&mut self, id: String, resource: [(&str, Value); N]) -> Value {
        let reference = json!({"Ref": &id});
        let resource = resource.into_iter().map(|(key, value)| (key.to_owned(), value));
        self.resources.insert(id, resource.collect());
        reference
    }

    /// Tells a value.
    pub(super) fn output(&mut self, name: impl Into<String>, value: &Value) {
        self.outputs.insert(name.into(), json!({"Value": value}));
    }

    /// The template; `None` where nothing is made.
    pub(super) fn finish(mut self, description: &str) -> Option<Template> {
        if self.resources.is_empty() {
            return None;
        }
        let digest = hexadecimal(&self.text(description));
        self.output(DIGEST, &json!(digest));
        Some(Template { body: self.text(description), digest })
    }

    fn text(&self, description: &str) -> String {
        let template = json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": description,
            "Resources": self.resources,
            "Outputs": self.outputs,
        });
        let mut text = String::new();
        write_sorted(&template, &mut text);
        text
    }
}

/// An attribute of a resource.
pub(super) fn attribute(id: &str, name: &str) -> Value {
    json!({"Fn::GetAtt": [id, name]})
}

/// A text with the pseudo parameters of CloudFormation in it: `${AWS::Partition}`.
pub(super) fn substituted(text: impl Into<String>) -> Value {
    json!({"Fn::Sub": text.into()})
}

/// The SHA-256 of a text in hexadecimal.
pub(super) fn hexadecimal(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Writes JSON with sorted keys, in whatever order a program's `serde_json` keeps them: its feature `preserve_order` is for all crates or none, and
/// two programs must agree on a digest.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => write_object(object, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_sorted(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_object(object: &Map<String, Value>, text: &mut String) {
    text.push('{');
    let sorted: BTreeMap<&String, &Value> = object.iter().collect();
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        write_sorted(value, text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_texts_are_escaped() {
        let value: Value = serde_json::from_str(r#"{"b":[1,{"z":null,"a":"\"\n"}],"a":true}"#).unwrap();
        let mut text = String::new();
        write_sorted(&value, &mut text);
        assert_eq!(text, r#"{"a":true,"b":[1,{"a":"\"\n","z":null}]}"#);
    }

    #[test]
    fn the_digest_is_of_all_but_itself() {
        let draft = || {
            let mut draft = Draft::default();
            draft.resource("Topic", "AWS::SNS::Topic", json!({}));
            draft
        };
        let template = draft().finish("a").unwrap();
        let without = r#"{"AWSTemplateFormatVersion":"2010-09-09","Description":"a","Outputs":{},"Resources":{"Topic":{"Properties":{},"Type":"AWS::SNS::Topic"}}}"#;
        assert_eq!(template.digest, hexadecimal(without));
        assert_eq!(
            template.body,
            without
                .replace("{}", "§")
                .replacen('§', &format!(r#"{{"Digest":{{"Value":"{}"}}}}"#, template.digest), 1)
                .replace('§', "{}")
        );
        assert_ne!(draft().finish("b").unwrap().digest, template.digest);
        assert!(Draft::default().finish("a").is_none());
        assert_eq!(hexadecimal("abc")[..16], *"ba7816bf8f01cfea");
    }
}
