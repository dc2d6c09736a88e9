//! Work that is done once.

use super::{Frame, Pod};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A Job that brings something into the state that it is to have, such as a server's topics. Running it again changes nothing.
///
/// What a Job runs cannot be changed, so its name ends with what it is made of: another configuration is another Job, and the old one is pruned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    purpose: &'static str,
}

/// How often it is tried before it has failed; the waits between double from 10 seconds on. The server that it works on may still be starting.
const RETRIES: u32 = 10;
/// How long all attempts may take together, in seconds.
const DEADLINE: u32 = 1800;

impl Job {
    pub(crate) fn new(purpose: &'static str) -> Self {
        Self { purpose }
    }

    pub(crate) fn object(self, frame: &Frame<'_>, pod: Pod) -> Value {
        let component = format!("{}-{}", frame.name(), self.purpose);
        let mut template = pod.set("restartPolicy", "Never").template();
        if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
            // Or the component's Services would lead to it.
            labels.insert(crate::labels::NAME.to_owned(), component.as_str().into());
        }
        let name = format!("{component}-{}", digest(&template.to_string()));
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": frame.metadata(&name),
            "spec": {"activeDeadlineSeconds": DEADLINE, "backoffLimit": RETRIES, "template": template},
        })
    }
}

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(5).fold(String::with_capacity(10), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
