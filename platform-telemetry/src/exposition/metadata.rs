//! What comments say of metrics.

use super::{Entry, FamilyType, Format};
use platform_core::telemetry::MetricKind;
use std::{collections::BTreeMap, sync::Arc};

/// What `# TYPE`, `# HELP` and `# UNIT` say of a family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// Its type.
    pub family: FamilyType,
    /// What it is, in words. May be empty.
    pub help: Arc<str>,
    /// The unit of its values. May be empty.
    pub unit: Arc<str>,
}

impl Metadata {
    /// What its values mean.
    pub fn kind(&self) -> MetricKind {
        self.family.kind()
    }
}

/// The families of a text.
#[derive(Debug, Default)]
pub(super) struct Families {
    open: bool,
    known: BTreeMap<Arc<str>, Family>,
}

#[derive(Debug, Default)]
struct Family {
    metadata: Metadata,
    typed: bool,
}

impl Families {
    pub(super) fn new(format: Format) -> Self {
        Self { open: format == Format::OpenMetrics, known: BTreeMap::new() }
    }

    /// Takes note of what a comment says.
    pub(super) fn add(&mut self, entry: Entry<'_, '_>) -> Result<(), String> {
        match entry {
            Entry::Type { family, of } => {
                let known = self.family(&family);
                if known.typed {
                    return Err(format!("the type of {family} was given before"));
                }
                known.metadata.family = of;
                known.typed = true;
            }
            Entry::Help { family, text } => self.family(&family).metadata.help = text.into(),
            Entry::Unit { family, unit } => self.family(&family).metadata.unit = unit.into(),
            Entry::Sample(_) | Entry::End => {}
        }
        Ok(())
    }

    fn family(&mut self, name: &str) -> &mut Family {
        self.known.entry(Arc::from(name)).or_default()
    }

    /// What values of the metric called `name` mean, by the family of that name, or by the one of which it is a part.
    pub(super) fn kind(&self, name: &str) -> MetricKind {
        use FamilyType::{Counter, GaugeHistogram, Histogram, Info, Summary};
        if let Some(family) = self.known.get(name).filter(|family| family.typed) {
            return family.metadata.kind();
        }
        let in_both: [(&str, &[FamilyType]); 3] = [
            ("_bucket", &[Histogram, GaugeHistogram]),
            ("_sum", &[Histogram, Summary]),
            ("_count", &[Histogram, Summary]),
        ];
        let in_open: [(&str, &[FamilyType]); 5] = [
            ("_total", &[Counter]),
            ("_info", &[Info]),
            ("_gsum", &[GaugeHistogram]),
            ("_gcount", &[GaugeHistogram]),
            ("_created", &[Counter, Histogram, Summary]),
        ];
        let suffixes = in_both.into_iter().chain(in_open.into_iter().filter(|_| self.open));
        for (suffix, families) in suffixes {
            let family = name.strip_suffix(suffix).and_then(|family| self.known.get(family));
            if let Some(family) = family.filter(|family| families.contains(&family.metadata.family)) {
                // A moment, not a count.
                return if suffix == "_created" { MetricKind::Gauge } else { family.metadata.kind() };
            }
        }
        MetricKind::Unknown
    }

    pub(super) fn into_metadata(self) -> BTreeMap<Arc<str>, Metadata> {
        self.known.into_iter().map(|(name, family)| (name, family.metadata)).collect()
    }

    pub(super) fn metadata(&self) -> impl Iterator<Item = (&Arc<str>, &Metadata)> {
        self.known.iter().map(|(name, family)| (name, &family.metadata))
    }
}
