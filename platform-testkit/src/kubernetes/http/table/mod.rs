//! `meta.k8s.io/v1` Tables: the columns that `kubectl get` prints.

mod cluster;
mod column;
mod configuration;
mod custom;
mod network;
mod text;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::column::{Column, at, name};
use super::answer::partial;
use crate::kubernetes::resource::Resource;
use crate::kubernetes::state::Stored;

/// What a row carries of its object (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kubernetes::http) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    pub(in crate::kubernetes::http) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("None") => Self::Nothing,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// A table of objects.
pub(in crate::kubernetes::http) fn of(
    resource: &Resource,
    objects: &[&Stored],
    meta: &Value,
    include: Include,
) -> Value {
    let now = Timestamp::now();
    let columns = columns(resource);
    let definition = |column: &Column| {
        let format = if column.name == "Name" { "name" } else { "" };
        json!({"name": column.name, "type": column.kind, "format": format, "description": column.name, "priority": column.priority})
    };
    let row = |object: &&Stored| {
        let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object.value(), now)).collect();
        let mut row = json!({"cells": cells});
        match include {
            Include::Nothing => row["object"] = Value::Null,
            Include::Metadata => row["object"] = partial(object, "PartialObjectMetadata"),
            Include::Object => row["object"] = object.value().clone(),
        }
        row
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": columns.iter().map(definition).collect::<Vec<_>>(),
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}

fn columns(resource: &Resource) -> Vec<Column> {
    if let Some(custom) = &resource.custom {
        return custom::columns(&custom.columns);
    }
    workloads::columns(resource)
        .or_else(|| network::columns(resource))
        .or_else(|| configuration::columns(resource))
        .or_else(|| cluster::columns(resource))
        .unwrap_or_else(|| vec![name(), at("Created At", "/metadata/creationTimestamp")])
}
