//! Documents as they were sent: fields that are given twice, which no parsed value shows any more.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

/// A document and the complaints about its fields.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) value: Value,
    /// One for each field that is given again. The last one counts.
    pub(super) repeated: Vec<Repeated>,
}

/// That a field is given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) struct Repeated {
    /// As a warning tells it.
    pub(in crate::kubernetes) warning: String,
    /// As a strict refusal tells it.
    pub(in crate::kubernetes) error: String,
}

impl Document {
    /// Reads JSON.
    pub(super) fn json(text: &[u8]) -> Result<Self, String> {
        let mut fields = Vec::new();
        let mut reader = serde_json::Deserializer::from_slice(text);
        let place = Place { parent: None, part: Part::Root };
        let value = Reader { place: &place, repeated: &mut fields }.deserialize(&mut reader);
        let value =
            value.and_then(|value| reader.end().map(|()| value)).map_err(|error| error.to_string())?;
        let repeated = fields.into_iter().map(|field| {
            let told = format!("duplicate field \"{field}\"");
            Repeated { warning: told.clone(), error: told }
        });
        Ok(Self { value, repeated: repeated.collect() })
    }

    /// Reads YAML. Of the fields that are given again only the first is told.
    pub(super) fn yaml(text: &[u8]) -> Result<Self, String> {
        // JSON is YAML too, and much faster to read as JSON.
        if let Ok(document) = Self::json(text) {
            return Ok(document);
        }
        // `y`, `no` and `on` are words, as in YAML 1.2; a mode may be 0644, as in 1.1 and in every manifest.
        let options = || serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true };
        let error = match serde_saphyr::from_slice_with_options(text, options()) {
            Ok(value) => return Ok(Self { value, repeated: Vec::new() }),
            Err(error) => error,
        };
        let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), location } = error.without_snippet()
        else {
            return Err(error.to_string());
        };
        let warning = format!("line {}: key \"{key}\" already set in map", location.line());
        let mut lenient = options();
        lenient.duplicate_keys = DuplicateKeyPolicy::LastWins;
        let value =
            serde_saphyr::from_slice_with_options(text, lenient).map_err(|error| error.to_string())?;
        let error = format!("yaml: unmarshal errors:\n  {warning}");
        Ok(Self { value, repeated: vec![Repeated { warning, error }] })
    }
}

/// Where a value is.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    part: Part<'a>,
}

enum Part<'a> {
    Root,
    Field(&'a str),
    Item(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let first = self.parent.is_none_or(|parent| matches!(parent.part, Part::Root));
        match self.part {
            Part::Root => Ok(()),
            Part::Field(name) if first => f.write_str(name),
            Part::Field(name) => write!(f, ".{name}"),
            Part::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// Reads a value and notes fields that come again.
struct Reader<'a> {
    place: &'a Place<'a>,
    repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a JSON number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place { parent: Some(self.place), part: Part::Item(list.len()) };
            match items.next_element_seed(Reader { place: &place, repeated: &mut *self.repeated })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let place = Place { parent: Some(self.place), part: Part::Field(&name) };
            let value = entries.next_value_seed(Reader { place: &place, repeated: &mut *self.repeated })?;
            if fields.contains_key(&name) {
                let told = place.to_string();
                if !self.repeated.contains(&told) {
                    self.repeated.push(told);
                }
            }
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repeated(document: &Document) -> Vec<&str> {
        document.repeated.iter().map(|field| field.error.as_str()).collect()
    }

    #[test]
    fn fields_of_json_that_come_again_are_told_with_their_path() {
        let text = br#"{"a": {"b": 1, "b": 2}, "l": [{"x": 1}, {"x": 1, "x": 2}], "a": {"c": 3}}"#;
        let document = Document::json(text).unwrap();
        assert_eq!(document.value, json!({"a": {"c": 3}, "l": [{"x": 1}, {"x": 2}]}));
        let told = ["duplicate field \"a.b\"", "duplicate field \"l[1].x\"", "duplicate field \"a\""];
        assert_eq!(repeated(&document), told);
        assert_eq!(Document::json(b"{\"a\": [1, 2.5, null, true, \"x\"]}").unwrap().repeated, []);
        assert!(Document::json(b"{} {}").is_err());
    }

    #[test]
    fn keys_of_yaml_that_come_again_are_told_with_their_line() {
        let document = Document::yaml(b"a: no\ndata:\n  k: 1\n  k: 2\nmode: 0644\n").unwrap();
        assert_eq!(document.value, json!({"a": "no", "data": {"k": 2}, "mode": 420}));
        assert_eq!(document.repeated[0].warning, "line 4: key \"k\" already set in map");
        assert_eq!(
            document.repeated[0].error,
            "yaml: unmarshal errors:\n  line 4: key \"k\" already set in map"
        );
        assert!(Document::yaml(b"a: 1\n---\na: 2\n").is_err());
        assert!(Document::yaml(b"a: [1\n").is_err());
    }
}
