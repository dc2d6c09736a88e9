//! Files that programs read, as a ConfigMap.

use super::Frame;
use platform_core::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// Files of a component's configuration. They hold no secrets: these are named by their Secret.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    name: String,
    files: BTreeMap<String, String>,
}

impl Configuration {
    /// A ConfigMap of this name without files yet.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), files: BTreeMap::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(mut self, file: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.insert(file.into(), text.into());
        self
    }

    pub(crate) fn yaml(self, file: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        let file = file.into();
        let text = serde_saphyr::to_string(value)
            .map_err(|e| Error::internal(format!("{file} cannot be written as YAML")).source(e))?;
        Ok(self.text(file, text))
    }

    pub(crate) fn json(self, file: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        let file = file.into();
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::internal(format!("{file} cannot be written as JSON")).source(e))?;
        Ok(self.text(file, text))
    }

    /// Names the files and what is in them, and what was `before`.
    pub(super) fn checksum(&self, before: &str) -> String {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(before.as_bytes());
        for part in self.files.iter().flat_map(|(file, text)| [file, text]) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.finish();
        digest.as_ref().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub(crate) fn object(&self, frame: &Frame<'_>) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": frame.metadata(&self.name),
            "data": self.files,
        })
    }
}
