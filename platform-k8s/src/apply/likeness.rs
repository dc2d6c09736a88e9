//! Which new objects are so alike that the server's word on one of them holds for all.
//!
//! A large set is mostly the same few objects again and again under other names. A server that would take one of them takes all: it
//! is asked once about objects that differ in nothing but their own name and texts that no server looks into: the values
//! of a ConfigMap, arguments and environment of a container, the version of an image. Whatever else differs, a port, a quantity, a
//! selector, a namespace, makes an object unlike the others.

use platform_core::manifest::ObjectRef;
use serde_json::{Map, Value};

/// Names up to this length leave every text that has them in it short of the limits of its field.
const LONGEST_NAME: usize = 40;
/// Texts beyond this count towards the greatest size of an object.
const LONGEST_TEXT: usize = 64 * 1024;
/// What stands in place of what may differ. No field of an object can have it.
const BLANK: char = '\u{0}';

/// What is the same for objects that are alike.
pub(super) fn likeness(object: &ObjectRef, wanted: &Value) -> String {
    if !is_plain(&object.name) {
        return wanted.to_string();
    }
    let mut common = wanted.clone();
    let writing = Writing {
        name: &object.name,
        is_builtin: matches!(object.group(), "" | "apps" | "batch"),
        is_config_map: object.group().is_empty() && object.kind == "ConfigMap",
    };
    if let Value::Object(root) = &mut common {
        writing.blank_root(root);
    }
    common.to_string()
}

/// Whether a name can be no reason for a refusal: short, and good for every kind.
fn is_plain(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

struct Writing<'a> {
    name: &'a str,
    is_builtin: bool,
    is_config_map: bool,
}

impl Writing<'_> {
    fn blank_root(&self, root: &mut Map<String, Value>) {
        for (key, value) in root {
            match value {
                Value::Object(data) if self.is_config_map && key == "data" => {
                    data.values_mut().for_each(blank_text);
                }
                value => self.blank(key, value),
            }
        }
    }

    /// Blanks what may differ in the field `key`.
    fn blank(&self, key: &str, value: &mut Value) {
        match value {
            Value::Object(map) => map.iter_mut().for_each(|(key, value)| self.blank(key, value)),
            // A port's name has a limit of its own.
            Value::Array(_) if key == "ports" => {}
            Value::Array(items) if self.is_builtin && matches!(key, "args" | "command") => {
                items.iter_mut().for_each(blank_text);
            }
            Value::Array(items) if self.is_builtin && key == "env" => {
                for item in items {
                    if let Some(value) = item.get_mut("value") {
                        blank_text(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.blank(key, item)),
            Value::String(text) => {
                if self.is_builtin && key == "image" {
                    blank_version(text);
                }
                *text = without_name(text, self.name);
            }
            _ => {}
        }
    }
}

fn blank_text(value: &mut Value) {
    if let Value::String(text) = value
        && text.len() <= LONGEST_TEXT
    {
        *text = BLANK.to_string();
    }
}

/// Blanks a version of digits and dots at the end of an image; `latest` and digests stay.
fn blank_version(image: &mut String) {
    if let Some((name, tag)) = image.rsplit_once(':')
        && tag.starts_with(|first: char| first.is_ascii_digit())
        && tag.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && tag.len() <= LONGEST_NAME
        && name.contains('/')
    {
        *image = format!("{name}:{BLANK}");
    }
}

/// The text with a blank for each `name` that stands in it as a word.
fn without_name(text: &str, name: &str) -> String {
    let is_boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    let mut blanked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, found) = rest.split_at(at);
        let after = found.split_at(name.len()).1;
        let last = before.chars().next_back().or_else(|| blanked.chars().next_back());
        blanked.push_str(before);
        if is_boundary(last) && is_boundary(after.chars().next()) {
            blanked.push(BLANK);
        } else {
            blanked.push_str(name);
        }
        rest = after;
    }
    blanked.push_str(rest);
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(object: &Value) -> String {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap();
        let reference = ObjectRef::new(text("/apiVersion"), text("/kind"), text("/metadata/name"));
        likeness(&reference, object)
    }

    fn deployment(name: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "a", "labels": {"app": name}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"spec": {"containers": [{
                "name": name, "image": format!("registry.example.com/{name}:1.0"), "args": ["--name", name],
                "env": [{"name": "A", "value": name}], "ports": [{"name": "http", "containerPort": 80}],
                "resources": {"requests": {"cpu": "100m"}},
            }]}}},
        })
    }

    #[test]
    fn objects_that_differ_in_their_names_are_alike() {
        assert_eq!(of(&deployment("api1")), of(&deployment("web-frontend")));
        let mut other = deployment("api2");
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example.com/api2:2.17");
        other["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = json!("anything");
        assert_eq!(of(&deployment("api1")), of(&other));
        let map = |name: &str, value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}});
        assert_eq!(of(&map("a", "1")), of(&map("b", "2")));
    }

    #[test]
    fn what_a_server_may_refuse_makes_objects_unlike() {
        let container = "/spec/template/spec/containers/0";
        for (path, value) in [
            ("/spec/replicas".to_owned(), json!(-1)),
            ("/metadata/namespace".to_owned(), json!("b")),
            (format!("{container}/ports/0/containerPort"), json!(70000)),
            (format!("{container}/ports/0/name"), json!("a-name-that-is-too-long")),
            (format!("{container}/resources/requests/cpu"), json!("100x")),
            (format!("{container}/image"), json!("registry.example.com/api1:latest")),
            (format!("{container}/image"), json!("elsewhere.example.com/api1:1.0")),
            (format!("{container}/args"), json!("--name")),
            (format!("{container}/env/0/value"), json!(5)),
            ("/metadata/labels/app".to_owned(), json!("not valid")),
        ] {
            let mut other = deployment("api1");
            *other.pointer_mut(&path).unwrap() = value;
            assert_ne!(of(&deployment("api2")), of(&other), "{path}");
        }
        let mut more = deployment("api1");
        more["spec"]["slector"] = json!({});
        assert_ne!(of(&deployment("api2")), of(&more));
        assert_ne!(of(&deployment("Api1")), of(&deployment("api1")));
        let long = "a".repeat(LONGEST_NAME + 1);
        assert_ne!(of(&deployment(&long)), of(&deployment("api1")));
    }

    #[test]
    fn a_name_is_one_only_as_a_word() {
        assert_eq!(without_name("a-data/a", "a"), "\u{0}-data/\u{0}");
        assert_eq!(without_name("aa", "a"), "aa");
        assert_ne!(without_name("data", "a"), without_name("dbtb", "b"));
    }
}
