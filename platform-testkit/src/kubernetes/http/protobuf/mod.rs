//! Bodies in Kubernetes' protobuf encoding, which kubectl's generators (`kubectl create namespace`) send.
//!
//! The messages come from a table derived from the `generated.proto` files and the JSON names of `k8s.io/api`
//! v0.34: a line for each message, `number[?]=jsonName:[*|%]type` for each field. `?` marks a field whose zero value
//! stands for its absence, `*` a list, `%` a map from strings; an empty name is a message whose fields belong to
//! the one around it. Answers are always JSON, which these clients accept too.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The media type of such bodies.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
const MAX_DEPTH: usize = 64;

/// Decodes an object of a kind in the table.
pub(super) fn decode(body: &[u8]) -> Result<Value, String> {
    let envelope = body.strip_prefix(MAGIC).ok_or("the body does not begin as Kubernetes' protobuf does")?;
    let (mut kind, mut api_version, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(envelope) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in Fields(type_meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let message = MESSAGES
        .get(name.as_str())
        .ok_or_else(|| format!("{kind} of {api_version} is not known in protobuf"))?;
    let mut fields = message_of(message, raw, MAX_DEPTH)?;
    fields.insert("apiVersion".to_owned(), json!(api_version));
    fields.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(fields))
}

struct Field {
    number: u64,
    name: &'static str,
    zero_is_absent: bool,
    shape: Shape,
    kind: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        Some((words.next()?, words.filter_map(field).collect()))
    };
    include_str!("messages.txt").lines().filter_map(line).collect()
});

fn field(word: &'static str) -> Option<Field> {
    let (number, rest) = word.split_once('=')?;
    let (name, kind) = rest.split_once(':')?;
    let (shape, kind) = match (kind.strip_prefix('*'), kind.strip_prefix('%')) {
        (Some(kind), _) => (Shape::List, kind),
        (_, Some(kind)) => (Shape::Map, kind),
        _ => (Shape::One, kind),
    };
    let (number, zero_is_absent) = number.strip_suffix('?').map_or((number, false), |number| (number, true));
    Some(Field { number: number.parse().ok()?, name, zero_is_absent, shape, kind })
}

/// `apps/v1`, `Deployment` is `apps.v1.Deployment`; groups lose their domain, and the core group is `core`.
fn message_name(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    if kind == "DeleteOptions" {
        "meta.v1.DeleteOptions".to_owned()
    } else {
        format!("{group}.{version}.{kind}")
    }
}

fn message_of(message: &[Field], bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    let depth = depth.checked_sub(1).ok_or("messages are nested too deeply")?;
    let mut object = Map::new();
    for found in Fields(bytes) {
        let (number, wire) = found?;
        let Some(field) = message.iter().find(|field| field.number == number) else { continue };
        match field.shape {
            Shape::One if field.name.is_empty() => {
                let Value::Object(inner) = value(field.kind, wire, depth)? else { continue };
                object.extend(inner);
            }
            Shape::One => {
                let value = value(field.kind, wire, depth)?;
                if !(value.is_null() || field.zero_is_absent && is_zero(&value)) {
                    object.insert(field.name.to_owned(), value);
                }
            }
            Shape::List => {
                let list = object.entry(field.name).or_insert_with(|| json!([]));
                if let Value::Array(items) = list {
                    items.push(value(field.kind, wire, depth)?);
                }
            }
            Shape::Map => {
                let Wire::Bytes(entry) = wire else { return Err(format!("{} is not a map", field.name)) };
                let (mut key, mut content) = (String::new(), value(field.kind, Wire::Bytes(&[]), depth)?);
                for part in Fields(entry) {
                    match part? {
                        (1, Wire::Bytes(text)) => key = utf8(text)?,
                        (2, wire) => content = value(field.kind, wire, depth)?,
                        _ => {}
                    }
                }
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                if let Value::Object(entries) = map {
                    entries.insert(key, content);
                }
            }
        }
    }
    Ok(object)
}

fn value(kind: &str, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
    let bytes = match (kind, wire) {
        ("i", Wire::Varint(number)) => return Ok(json!(number.cast_signed())),
        ("b", Wire::Varint(number)) => return Ok(json!(number != 0)),
        ("d", Wire::Fixed64(bits)) => return Ok(json!(f64::from_bits(bits))),
        (_, Wire::Bytes(bytes)) => bytes,
        _ => return Err(format!("a field of type {kind} has another wire type")),
    };
    match kind {
        "s" => utf8(bytes).map(Value::String),
        "y" => Ok(json!(STANDARD.encode(bytes))),
        "time" => {
            let seconds = varint_at(bytes, 1)?.cast_signed();
            let nanos = i32::try_from(varint_at(bytes, 2)?).map_err(|_| "a time has too many nanoseconds")?;
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            let time = Timestamp::new(seconds, nanos).map_err(|error| error.to_string())?;
            Ok(json!(time.to_string()))
        }
        "quantity" => text_at(bytes, 1).map(Value::String),
        "intstr" => match varint_at(bytes, 1)? {
            0 => Ok(json!(varint_at(bytes, 2)?.cast_signed())),
            _ => text_at(bytes, 3).map(Value::String),
        },
        "raw" => match bytes_at(bytes, 1)? {
            [] => Ok(Value::Null),
            raw => serde_json::from_slice(raw).map_err(|error| error.to_string()),
        },
        "list" => {
            let mut items = Vec::new();
            for field in Fields(bytes) {
                if let (1, Wire::Bytes(text)) = field? {
                    items.push(Value::String(utf8(text)?));
                }
            }
            Ok(Value::Array(items))
        }
        message => {
            let fields =
                MESSAGES.get(message).ok_or_else(|| format!("{message} is not known in protobuf"))?;
            message_of(fields, bytes, depth).map(Value::Object)
        }
    }
}

/// What Go's `omitempty` leaves out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn bytes_at(message: &[u8], number: u64) -> Result<&[u8], String> {
    let mut last = &[][..];
    for field in Fields(message) {
        match field? {
            (found, Wire::Bytes(bytes)) if found == number => last = bytes,
            _ => {}
        }
    }
    Ok(last)
}

fn text_at(message: &[u8], number: u64) -> Result<String, String> {
    utf8(bytes_at(message, number)?)
}

fn varint_at(message: &[u8], number: u64) -> Result<u64, String> {
    let mut last = 0;
    for field in Fields(message) {
        match field? {
            (found, Wire::Varint(value)) if found == number => last = value,
            _ => {}
        }
    }
    Ok(last)
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message in the order of the wire.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "the protobuf message is cut short".to_owned()))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Other
            }
            _ => return None,
        };
        Some((tag >> 3, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, content.len() as u8];
        out.extend_from_slice(content);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, raw)].concat()
    }

    #[test]
    fn a_namespace_reads_like_its_json() {
        let metadata = [bytes(1, b"demo"), bytes(2, b""), bytes(8, b"")].concat();
        let body = envelope("v1", "Namespace", &[bytes(1, &metadata), bytes(2, b""), bytes(3, b"")].concat());
        let expected = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}, "spec": {}, "status": {},
        });
        assert_eq!(decode(&body), Ok(expected));
    }

    #[test]
    fn maps_inline_messages_and_special_values_are_decoded() {
        let secret = [bytes(2, &[bytes(1, b"k"), bytes(2, b"v")].concat()), bytes(3, b"Opaque")].concat();
        let decoded = decode(&envelope("v1", "Secret", &secret)).expect("a Secret");
        assert_eq!(decoded["data"], json!({"k": "dg=="}));
        let target = [vec![8, 1], vec![16, 0], bytes(3, b"http")].concat();
        let port = [bytes(1, b"web"), vec![24, 80], bytes(4, &target)].concat();
        let service = bytes(2, &bytes(1, &port));
        let decoded = decode(&envelope("v1", "Service", &service)).expect("a Service");
        assert_eq!(decoded["spec"]["ports"], json!([{"name": "web", "port": 80, "targetPort": "http"}]));
    }

    #[test]
    fn every_type_that_the_table_names_is_in_it() {
        let known = ["s", "y", "b", "i", "d", "time", "quantity", "intstr", "raw", "list"];
        for (message, fields) in MESSAGES.iter() {
            for field in fields {
                let there = known.contains(&field.kind) || MESSAGES.contains_key(field.kind);
                assert!(there, "{} of {message}", field.kind);
            }
        }
        assert!(MESSAGES.len() > 300);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&raw);
            let _ = decode(&[MAGIC, &raw].concat());
            let raw: Vec<u8> = raw.into_iter().take(100).collect();
            let _ = decode(&envelope("v1", "Pod", &raw));
        }
    }
}
