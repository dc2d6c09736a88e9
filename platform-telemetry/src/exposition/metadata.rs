//! What comments say of metrics.

use super::cursor::{Cursor, unescape};
use platform_core::telemetry::MetricKind;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What `# HELP` and `# TYPE` say of a family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// What its values mean.
    pub kind: MetricKind,
    /// What it is, in words. May be empty.
    pub help: Arc<str>,
}

/// The families of a text, and the names seen, each stored once.
#[derive(Default)]
pub(super) struct Families {
    known: BTreeMap<Arc<str>, Family>,
    names: HashMap<Arc<str>, MetricKind>,
}

#[derive(Default)]
struct Family {
    metadata: Metadata,
    typed: bool,
}

impl Families {
    /// Reads what follows a `#`.
    pub(super) fn comment(&mut self, comment: &str) -> Result<(), String> {
        let mut cursor = Cursor::new(comment);
        cursor.skip_blanks();
        let keyword = cursor.while_is(|c| c != ' ' && c != '\t');
        if keyword != "HELP" && keyword != "TYPE" {
            return Ok(());
        }
        cursor.skip_blanks();
        let name = match cursor.quoted()? {
            Some(name) => name,
            None => Cow::Borrowed(
                cursor.name(true).ok_or_else(|| cursor.error("here should be a metric's name"))?,
            ),
        };
        if !cursor.rest().is_empty() && !cursor.rest().starts_with([' ', '\t']) {
            return Err(cursor.error("this cannot be in a metric's name"));
        }
        let text = cursor.rest().trim_matches([' ', '\t']);
        let family = self.known.entry(Arc::from(&*name)).or_default();
        if keyword == "HELP" {
            family.metadata.help = unescape(text, false).into();
            return Ok(());
        }
        if family.typed {
            return Err(format!("the type of {name} was given before"));
        }
        family.metadata.kind = match text {
            "counter" => MetricKind::Counter,
            // The last two are OpenMetrics', and gauges to Prometheus too.
            "gauge" | "info" | "stateset" => MetricKind::Gauge,
            "histogram" | "gaugehistogram" => MetricKind::Histogram,
            "summary" => MetricKind::Summary,
            "untyped" | "unknown" => MetricKind::Unknown,
            other => return Err(format!("{other:?} is no type of metric")),
        };
        family.typed = true;
        // Parts of the family that came before its type.
        self.names.clear();
        Ok(())
    }

    /// The name as it is stored, and what its values mean.
    pub(super) fn resolve(&mut self, name: &str) -> (Arc<str>, MetricKind) {
        if let Some((name, kind)) = self.names.get_key_value(name) {
            return (Arc::clone(name), *kind);
        }
        let kind = self.kind(name);
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name), kind);
        (name, kind)
    }

    fn kind(&self, name: &str) -> MetricKind {
        if let Some(family) = self.known.get(name).filter(|family| family.typed) {
            return family.metadata.kind;
        }
        for (suffix, kinds) in [
            ("_bucket", [MetricKind::Histogram].as_slice()),
            ("_sum", &[MetricKind::Histogram, MetricKind::Summary]),
            ("_count", &[MetricKind::Histogram, MetricKind::Summary]),
        ] {
            if let Some(family) = name.strip_suffix(suffix).and_then(|family| self.known.get(family))
                && kinds.contains(&family.metadata.kind)
            {
                return family.metadata.kind;
            }
        }
        MetricKind::Unknown
    }

    pub(super) fn into_metadata(self) -> BTreeMap<Arc<str>, Metadata> {
        self.known.into_iter().map(|(name, family)| (name, family.metadata)).collect()
    }
}
