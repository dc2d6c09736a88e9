//! What is read at most.

/// What is read at most, against targets that expose without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Samples. Default: no limit.
    pub samples: usize,
    /// Labels of a sample. Default: 256.
    pub labels: usize,
    /// Bytes of a label's name. Default: no limit.
    pub label_name_bytes: usize,
    /// Bytes of a label's value. Default: no limit.
    pub label_value_bytes: usize,
    /// Bytes of a line. Default: 1 MiB.
    pub line_bytes: usize,
    /// Errors that are kept; all are counted. Default: 20.
    pub errors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            samples: usize::MAX,
            labels: 256,
            label_name_bytes: usize::MAX,
            label_value_bytes: usize::MAX,
            line_bytes: 1024 * 1024,
            errors: 20,
        }
    }
}

impl Limits {
    /// Sets the greatest number of samples.
    #[must_use]
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Sets how many labels a sample may have, and how many bytes their names and values.
    #[must_use]
    pub fn labels(mut self, labels: usize, name_bytes: usize, value_bytes: usize) -> Self {
        (self.labels, self.label_name_bytes, self.label_value_bytes) = (labels, name_bytes, value_bytes);
        self
    }
}
