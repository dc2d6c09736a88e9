//! What tables are made of.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::{labels, shown, since};

type Cell = Box<dyn Fn(&Value, Timestamp) -> Value + Send + Sync>;

/// One column: its definition and how an object fills it.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) priority: i64,
    pub(super) cell: Cell,
}

pub(super) fn column<C>(name: &str, cell: C) -> Column
where
    C: Fn(&Value, Timestamp) -> Value + Send + Sync + 'static,
{
    Column { name: name.to_owned(), kind: "string".to_owned(), priority: 0, cell: Box::new(cell) }
}

pub(super) fn at(name: &str, path: &'static str) -> Column {
    column(name, move |object, _| shown(object.pointer(path)))
}

pub(super) fn number(name: &str, path: &'static str) -> Column {
    let cell = move |object: &Value, _| {
        object.pointer(path).filter(|value| value.is_number()).cloned().unwrap_or(json!(0))
    };
    Column { kind: "integer".to_owned(), ..column(name, cell) }
}

pub(super) fn wide(column: Column) -> Column {
    Column { priority: 1, ..column }
}

pub(super) fn name() -> Column {
    at("Name", "/metadata/name")
}

pub(super) fn age() -> Column {
    column("Age", |object, now| json!(since(&object["metadata"]["creationTimestamp"], now)))
}

impl Column {
    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

pub(super) fn selector(name: &str, path: &'static str) -> Column {
    column(name, move |object, _| json!(labels(object.pointer(path).unwrap_or(&Value::Null))))
}

pub(super) fn ready(done: &'static str, wanted: &'static str) -> Column {
    let count = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    column("Ready", move |object, _| json!(format!("{}/{}", count(object, done), count(object, wanted))))
}
