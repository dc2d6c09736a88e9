//! Prometheus' text format, [version 0.0.4], with the quoted UTF-8 names of [version 1.0.0], and [OpenMetrics] 1.0.
//!
//! | | gives | for |
//! |---|---|---|
//! | [`Reader`] | what each line says, borrowed from the text | whoever wants no copies |
//! | [`parse`] | samples of their own | one text |
//! | [`Rescrape`] | the samples of the last of many texts | targets: only what changed is parsed |
//!
//! None of them fails: a line that is wrong is reported with its number and left out, and the others are read. Who wants all or nothing asks
//! for [`Scrape::strict`].
//!
//! ```
//! use platform_core::clock::Timestamp;
//! use platform_telemetry::exposition::{Format, Limits, parse};
//!
//! let text = b"# TYPE up gauge\nup{job=\"node\"} 1\nup{job= 1\n";
//! let scrape = parse(text, Format::Prometheus, Timestamp::from_millis(1_000), &Limits::default());
//! assert_eq!(scrape.samples.len(), 1);
//! assert_eq!(scrape.errors[0].line, 3);
//! assert_eq!(scrape.strict().unwrap_err().line, 3);
//! ```
//!
//! Where the formats leave room, Prometheus is followed: unknown escapes stay as they are, a metric may come without a type, the last line may
//! lack its end, labels need no comma between them in Prometheus' own format. A label with an empty value is no label. What is too great for
//! a value is none.
//!
//! Prometheus, which is scraped with the same texts in a test, takes some things otherwise. Kept are, in its own format:
//!
//! | | here | Prometheus |
//! |---|---|---|
//! | lines that end with `\r\n`, or with blanks and `\r` | are read | fail; of `# HELP` the text has the `\r` |
//! | blanks around what comments say, before names | are none of it, as the format says | fail; of `# HELP` and samples they are a part of it |
//! | types of OpenMetrics, and in OpenMetrics `untyped` | are read | fail |
//! | `# TYPE` without a name; `# HELP` of what is no name | fail, as the format says | are passed over; have another name |
//! | a line end in a label's value; a NUL | fail | is a part of it; ends the text |
//! | escapes in the quoted name of a comment | are read | stay |
//!
//! and in both: a second type of a family, and a label that is there twice, without a value or of an exemplar, fail, where Prometheus takes the last type and
//! leaves out or keeps such labels; OpenMetrics without anything is cut off; `le` and `quantile` stay as they are written, where Prometheus
//! writes `1.0` for `1`.
//!
//! [version 0.0.4]: https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
//! [version 1.0.0]: https://prometheus.io/docs/instrumenting/escaping_schemes/
//! [OpenMetrics]: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md

mod comment;
#[cfg(any(test, feature = "prometheus-parse"))]
pub mod compat;
mod format;
mod lexer;
mod limits;
mod metadata;
mod number;
mod reader;
mod rescrape;
mod scan;
mod text;
mod write;

pub use format::{FamilyType, Format};
pub use limits::Limits;
pub use metadata::Metadata;
pub use reader::{Entry, RawExemplar, RawSample, Reader};
pub use rescrape::{Reread, Rescrape, Rescraped};
pub use write::write;

use metadata::Families;
use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, MetricKind, Sample},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// What a text says.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Scrape {
    /// The samples, in their order.
    pub samples: Vec<Sample>,
    /// Examples of what was counted. OpenMetrics alone has them.
    pub exemplars: Vec<Exemplar>,
    /// What comments say, by the family's name.
    pub metadata: BTreeMap<Arc<str>, Metadata>,
    /// The first of the lines that are wrong.
    pub errors: Vec<LineError>,
    /// How many lines are wrong.
    pub rejected_lines: u64,
    /// There are more samples than the limit: reading stopped there.
    pub over_limit: bool,
    /// The text is whole: it ends with `# EOF` where its format asks for it.
    pub complete: bool,
}

impl Scrape {
    /// This scrape, as Prometheus takes it: whole, or not at all if any line is wrong.
    pub fn strict(mut self) -> Result<Self, LineError> {
        if self.errors.is_empty() { Ok(self) } else { Err(self.errors.remove(0)) }
    }
}

/// An example of what a sample counts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Exemplar {
    /// The place of its sample among [`Scrape::samples`].
    pub sample: usize,
    /// Its labels: a trace, for example.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// When.
    pub timestamp: Option<Timestamp>,
}

/// A line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// Why, with the column where it matters.
    pub message: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for LineError {}

/// Reads a text. Samples without a timestamp of their own get `default_timestamp`.
///
/// Every part of a histogram or summary (`_bucket`, `_sum`, `_count`) bears its kind.
pub fn parse(text: &[u8], format: Format, default_timestamp: Timestamp, limits: &Limits) -> Scrape {
    let mut scrape = Scrape { complete: format == Format::Prometheus, ..Scrape::default() };
    let mut families = Families::new(format);
    let mut names: HashMap<Arc<str>, MetricKind> = HashMap::new();
    let mut reader = Reader::with_limits(text, format, limits);
    while let Some(entry) = reader.next_entry() {
        let wrong = match entry {
            Ok(Entry::Sample(_)) if scrape.samples.len() >= limits.samples => {
                scrape.over_limit = true;
                break;
            }
            Ok(Entry::Sample(raw)) => {
                scrape.exemplars.extend(raw.exemplar().map(|exemplar| Exemplar {
                    sample: scrape.samples.len(),
                    labels: exemplar.labels().collect(),
                    value: exemplar.value(),
                    timestamp: exemplar.timestamp().map(Timestamp::from_millis),
                }));
                scrape.samples.push(Sample {
                    metric: stored(&mut names, &raw.name()),
                    labels: raw.labels().collect(),
                    timestamp: raw.timestamp().map_or(default_timestamp, Timestamp::from_millis),
                    value: raw.value(),
                    kind: MetricKind::Unknown,
                });
                None
            }
            Ok(Entry::End) => {
                scrape.complete = true;
                None
            }
            Ok(comment) => {
                let message = families.add(comment).err();
                message.map(|message| LineError { line: reader.line(), message })
            }
            Err(error) => Some(error),
        };
        if let Some(error) = wrong {
            scrape.rejected_lines += 1;
            if scrape.errors.len() < limits.errors {
                scrape.errors.push(error);
            }
        }
    }
    // The type of a family may come behind some of its samples.
    for (name, kind) in &mut names {
        *kind = families.kind(name);
    }
    for sample in &mut scrape.samples {
        sample.kind = names.get(&sample.metric).copied().unwrap_or_default();
    }
    scrape.metadata = families.into_metadata();
    scrape
}

/// The name, stored once.
fn stored(names: &mut HashMap<Arc<str>, MetricKind>, name: &str) -> Arc<str> {
    if let Some((name, _)) = names.get_key_value(name) {
        return Arc::clone(name);
    }
    let name: Arc<str> = name.into();
    names.insert(Arc::clone(&name), MetricKind::Unknown);
    name
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Values are read, not computed.
mod tests;
