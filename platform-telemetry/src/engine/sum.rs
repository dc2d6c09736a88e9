//! Sums and means with little rounding error, the way Prometheus takes them.

/// A sum with compensation: Neumaier's variant of Kahan's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    sum: f64,
    compensation: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - sum) + value;
        } else {
            self.compensation += (value - sum) + self.sum;
        }
        self.sum = sum;
    }

    pub(super) fn total(self) -> f64 {
        self.sum + self.compensation
    }
}

/// A mean: of the sum, or taken step by step where the sum would overflow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(value);
            if self.count < 2.0 || !sum.sum.is_infinite() {
                self.sum = sum;
                return;
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.sum = Sum { sum: self.sum.sum / before, compensation: self.sum.compensation / before };
        }
        let kept = (self.count - 1.0) / self.count;
        let mut mean = Sum { sum: value / self.count, compensation: kept * self.sum.compensation };
        mean.add(kept * self.sum.sum);
        self.sum = mean;
    }

    /// The mean; `None` of nothing.
    pub(super) fn value(self) -> Option<f64> {
        if self.count == 0.0 {
            return None;
        }
        if self.incremental {
            return Some(self.sum.total());
        }
        Some(self.sum.sum / self.count + self.sum.compensation / self.count)
    }
}
