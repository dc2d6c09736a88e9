//! Columns that a CRD defines.

use serde_json::{Value, json};

use super::super::json_path;
use super::column::{Column, age, column, name};
use super::text::{since, text_of};

/// The columns of `additionalPrinterColumns`; the age when there are none.
pub(super) fn columns(definitions: &[Value]) -> Vec<Column> {
    let mut columns = vec![name()];
    if definitions.is_empty() {
        columns.push(age());
    }
    for definition in definitions {
        let path = text_of(&definition["jsonPath"]);
        let date = definition["type"] == "date";
        let cell = move |object: &Value, now| match json_path::find(object, &path).as_slice() {
            [] => Value::Null,
            [one] if date => json!(since(one, now)),
            [one] if one.is_array() || one.is_object() => json!(one.to_string()),
            [one] => (*one).clone(),
            many => json!(many.iter().map(|one| text_of(one)).collect::<Vec<_>>().join(",")),
        };
        let mut column = column(&text_of(&definition["name"]), cell);
        column.kind = text_of(&definition["type"]);
        column.priority = definition["priority"].as_i64().unwrap_or(0);
        columns.push(column);
    }
    columns
}
