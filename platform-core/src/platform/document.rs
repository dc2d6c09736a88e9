//! Documents of several formats as one kind of value, read so that nothing in them is lost or expanded without bounds.

use crate::error::{Error, ErrorKind, Result};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::{fmt, fs::File, io::Read, path::Path};

/// How long a document may be: more than any platform needs, and less than what makes a parser slow.
const MAX_BYTES: usize = 4 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    Yaml,
    Toml,
    Json,
}

/// A file with what its ending says it is.
pub(crate) fn read(path: &Path) -> Result<(String, Format)> {
    let format = match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => Format::Yaml,
        Some("toml") => Format::Toml,
        Some("json") => Format::Json,
        _ => return Err(Error::invalid("the file's ending must be .yaml, .yml, .toml or .json")),
    };
    let unreadable = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Invalid,
        };
        Error::new(kind, "the file is not readable").source(error)
    };
    let mut text = String::new();
    // One byte more than allowed is read, so that what is too long is seen to be; a device may have no end.
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    Ok((text, format))
}

/// The value of a document. Errors say where, as far as the format's parser does.
pub(crate) fn parse(text: &str, format: Format) -> Result<Value> {
    if text.len() > MAX_BYTES {
        return Err(Error::invalid(format!("it is longer than {} MiB", MAX_BYTES >> 20)));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Result<Unique, (&str, String)> = match format {
        Format::Yaml => {
            // As in YAML 1.2: `y`, `no` and `on` are words, and only `true` and `false` are booleans. The parser's own budget bounds
            // what aliases expand to.
            let options = serde_saphyr::options! { strict_booleans: true };
            serde_saphyr::from_str_with_options(text, options).map_err(|e| ("YAML", e.to_string()))
        }
        Format::Toml => toml::from_str(text).map_err(|e| ("TOML", e.to_string())),
        Format::Json => serde_json::from_str(text).map_err(|e| ("JSON", e.to_string())),
    };
    document
        .map(|unique| unique.0)
        .map_err(|(name, error)| Error::invalid(format!("it is not {name}: {}", error.trim_end())))
}

/// A value in which no key is there twice: parsers of JSON keep the last one and say nothing.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            let Unique(value) = entries.next_value()?;
            map.insert(key, value);
        }
        // Dates are words to a platform; the parser hands them on as a map of its own.
        match map.remove("$__toml_private_datetime") {
            Some(date) => Ok(date),
            None => Ok(Value::Object(map)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(text: &str, format: Format) -> String {
        parse(text, format).unwrap_err().to_string()
    }

    #[test]
    fn no_format_takes_a_key_twice() {
        assert!(error("a: {b: 1, b: 2}", Format::Yaml).contains("duplicate"));
        assert!(error("[a]\nb = 1\nb = 2", Format::Toml).contains("duplicate"));
        let json = error("{\"a\": {\"b\": 1, \"b\": 2}}", Format::Json);
        assert!(json.contains("duplicate key \"b\" at line 1"), "{json}");
    }

    #[test]
    fn what_expands_without_bounds_is_refused() {
        let levels = (1..12).map(|level| {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("a{level}: &a{level} [{aliases}]\n")
        });
        let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned() + &levels.collect::<String>();
        assert!(parse(&bomb, Format::Yaml).is_err());
        let depth = 100_000;
        let toml = format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&toml, Format::Toml).is_err());
        for format in [Format::Yaml, Format::Toml, Format::Json] {
            assert!(parse(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)), format).is_err());
            assert!(error(&" ".repeat(MAX_BYTES + 1), format).contains("longer than 4 MiB"));
        }
    }

    #[test]
    fn words_stay_words() {
        let yaml = "{a: yes, b: 2026-01-02, c: 'true', d: 1.30, e: 10}";
        let wanted = json!({"a": "yes", "b": "2026-01-02", "c": "true", "d": 1.3, "e": 10});
        assert_eq!(parse(yaml, Format::Yaml).unwrap(), wanted);
        let toml = "\u{feff}a = 'yes'\nb = 2026-01-02\nc = 'true'\nd = 1.30\ne = 10";
        assert_eq!(parse(toml, Format::Toml).unwrap(), wanted);
        // Two documents are not one of them.
        assert!(parse("a: 1\n---\na: 2\n", Format::Yaml).is_err());
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_its_end() {
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().kind(), ErrorKind::Invalid);
        let error = read(Path::new("nowhere/platform.yaml")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
