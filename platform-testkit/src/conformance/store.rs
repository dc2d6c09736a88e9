//! What every [`TelemetryStore`] must do.

use super::{Outcome, Report, ensure, ensure_eq};
use platform_core::{
    clock::Timestamp,
    telemetry::{
        Batch, Expression, Labels, LogOrder, LogQuery, LogRecord, Matcher, MetricKind, MetricQuery, Sample,
        Selector, Severity, TelemetryStore, TimeRange, metric,
    },
};
use std::time::Duration;

/// Runs the suite on a store. It writes metrics whose names begin with `conformance_`, and log records with the label `suite`, of the
/// two hours before `now`; there must be none of these before.
pub async fn run(store: &dyn TelemetryStore, now: Timestamp) -> Report {
    let suite = Suite { store, now };
    let mut report = Report::new("store");
    report.check("an empty batch is fine", suite.empty()).await;
    report.check("samples are seen as soon as they are acknowledged", suite.samples_are_seen()).await;
    report.check("a range includes its start and not its end", suite.ranges()).await;
    report.check("late samples take their place in time", suite.late_samples()).await;
    report.check("of one series at one time the last sample is kept", suite.repeated_samples()).await;
    report.check("NaN, infinities and the mark of a series' end are kept", suite.special_values()).await;
    report.check("matchers choose series", suite.matchers()).await;
    report.check("expressions are evaluated", suite.expressions()).await;
    report.check("label values are those of samples in the range", suite.label_values()).await;
    report.check("log records are seen as they were written", suite.records_are_seen()).await;
    report.check("logs are found by words, phrases and negations", suite.words()).await;
    report.check("logs are found by label, gravity and time", suite.conditions()).await;
    report.check("the limit bounds the records and not their number", suite.limits()).await;
    report.check("concurrent writes are all seen", suite.concurrent_writes()).await;
    report.check("what is stored is counted", suite.counts()).await;
    report
}

const MINUTE: Duration = Duration::from_secs(60);
const TWO_HOURS: Duration = Duration::from_secs(7200);

struct Suite<'a> {
    store: &'a dyn TelemetryStore,
    now: Timestamp,
}

impl Suite<'_> {
    async fn empty(&self) -> Outcome {
        self.store.write(Batch::default()).await.map_err(text)
    }

    async fn samples_are_seen(&self) -> Outcome {
        let points = [(self.ago(2), 1.5), (self.ago(1), 2.5)];
        self.write_samples("conformance_seen", &[("instance", "a")], &points).await?;
        let found = self.select(metric("conformance_seen")).await?;
        ensure_eq(&found, &vec![(labels(&[("instance", "a")]), points.to_vec())], "the series")
    }

    async fn ranges(&self) -> Outcome {
        let points = [(self.ago(3), 3.0), (self.ago(2), 2.0), (self.ago(1), 1.0)];
        self.write_samples("conformance_ranges", &[], &points).await?;
        let range = TimeRange::new(self.ago(3), self.ago(1));
        let series = self.store.select(&metric("conformance_ranges"), range).await.map_err(text)?;
        let found: Vec<_> = series.into_iter().flat_map(|s| s.points).collect();
        ensure_eq(&found, &vec![(self.ago(3), 3.0), (self.ago(2), 2.0)], "the points")?;
        let empty = TimeRange::new(self.ago(2), self.ago(2));
        let series = self.store.select(&metric("conformance_ranges"), empty).await.map_err(text)?;
        ensure(series.is_empty(), || format!("an empty range has {series:?}"))
    }

    async fn late_samples(&self) -> Outcome {
        let minutes = [5, 119, 0, 61, 60];
        for ago in minutes {
            self.write_samples("conformance_late", &[], &[(self.ago(ago), ago as f64)]).await?;
        }
        let found = self.select(metric("conformance_late")).await?;
        let sorted: Vec<_> = [119, 61, 60, 5, 0].map(|ago| (self.ago(ago), ago as f64)).to_vec();
        ensure_eq(&found, &vec![(Labels::empty(), sorted)], "the series")
    }

    async fn repeated_samples(&self) -> Outcome {
        for value in [1.0, 2.0, 3.0] {
            self.write_samples("conformance_repeated", &[], &[(self.ago(1), value), (self.ago(0), -value)])
                .await?;
        }
        let found = self.select(metric("conformance_repeated")).await?;
        let kept = vec![(self.ago(1), 3.0), (self.ago(0), -3.0)];
        ensure_eq(&found, &vec![(Labels::empty(), kept)], "the series")
    }

    async fn special_values(&self) -> Outcome {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, f64::MAX, stale];
        let points: Vec<_> = (0_u64..).zip(values).map(|(ago, value)| (self.ago(10 - ago), value)).collect();
        self.write_samples("conformance_special", &[], &points).await?;
        let found = self.select(metric("conformance_special")).await?;
        let bits: Vec<u64> =
            found.into_iter().flat_map(|(_, points)| points).map(|(_, v)| v.to_bits()).collect();
        ensure_eq(&bits, &values.map(f64::to_bits).to_vec(), "the bits of the values")
    }

    async fn matchers(&self) -> Outcome {
        for (job, instance) in [("api", "1"), ("api", "2"), ("web", "1"), ("", "3")] {
            let labels = [("job", job), ("instance", instance)];
            self.write_samples("conformance_matched", &labels, &[(self.ago(0), 1.0)]).await?;
        }
        let all = metric("conformance_matched");
        let cases: [(Selector, &[&str]); 7] = [
            (
                all.clone(),
                &[
                    "{instance=\"1\",job=\"api\"}",
                    "{instance=\"1\",job=\"web\"}",
                    "{instance=\"2\",job=\"api\"}",
                    "{instance=\"3\"}",
                ],
            ),
            (all.clone().eq("job", "web"), &["{instance=\"1\",job=\"web\"}"]),
            (all.clone().eq("job", "api").ne("instance", "1"), &["{instance=\"2\",job=\"api\"}"]),
            (all.clone().eq("job", ""), &["{instance=\"3\"}"]),
            (
                all.clone().matching(Matcher::one_of("job", ["web", ""])),
                &["{instance=\"1\",job=\"web\"}", "{instance=\"3\"}"],
            ),
            (all.clone().matching(Matcher::none_of("job", ["api", ""])), &["{instance=\"1\",job=\"web\"}"]),
            (all.eq("job", "a"), &[]),
        ];
        for (selector, wanted) in cases {
            let found: Vec<String> =
                self.select(selector.clone()).await?.iter().map(|(l, _)| l.to_string()).collect();
            ensure(found == wanted, || format!("{selector} chooses {found:?}, must choose {wanted:?}"))?;
        }
        Ok(())
    }

    async fn expressions(&self) -> Outcome {
        for (cpu, speed) in [("0", 1.0), ("1", 3.0)] {
            // One sample each 15 s, for ten minutes.
            let points: Vec<_> = (0..=40_u32)
                .map(|i| (self.ago(10) + Duration::from_secs(15) * i, f64::from(i) * 15.0 * speed))
                .collect();
            self.write_samples("conformance_counter", &[("cpu", cpu)], &points).await?;
        }
        let rate = metric("conformance_counter").rate(5 * MINUTE);
        self.expect(rate.clone(), &[("{cpu=\"0\"}", 1.0), ("{cpu=\"1\"}", 3.0)]).await?;
        let none = Vec::<String>::new();
        self.expect(100.0 * (1.0 - rate.clone().avg_by(none.clone()) / 4.0), &[("{}", 50.0)]).await?;
        self.expect(rate.clone() / rate.max_by(["cpu"]), &[("{cpu=\"0\"}", 1.0), ("{cpu=\"1\"}", 1.0)])
            .await?;
        self.expect(metric("conformance_absent").rate(5 * MINUTE).sum_by(none), &[]).await
    }

    async fn expect(&self, expression: Expression, wanted: &[(&str, f64)]) -> Outcome {
        let range = TimeRange::new(self.ago(2), self.ago(0));
        let query = MetricQuery::new(expression, range, MINUTE).map_err(text)?;
        let found = self.store.query(&query).await.map_err(text)?;
        let near = found.len() == wanted.len()
            && found.iter().zip(wanted).all(|(series, (labels, value))| {
                let steps: Vec<Timestamp> = series.points.iter().map(|(at, _)| *at).collect();
                series.metric.is_none()
                    && series.labels.to_string() == *labels
                    && steps == [self.ago(2), self.ago(1), self.ago(0)]
                    && series.points.iter().all(|(_, v)| (v - value).abs() <= value.abs() * 1e-9)
            });
        ensure(near, || format!("{} is {found:?}, must be {wanted:?} at each step", query.expression))
    }

    async fn label_values(&self) -> Outcome {
        self.write_samples("conformance_zones", &[("conformance_zone", "old")], &[(self.ago(100), 1.0)])
            .await?;
        self.write_samples("conformance_zones", &[("conformance_zone", "new")], &[(self.ago(0), 1.0)])
            .await?;
        self.write_samples("conformance_other", &[("conformance_zone", "other")], &[(self.ago(0), 1.0)])
            .await?;
        let cases: [(Option<Selector>, Duration, &[&str]); 4] = [
            (None, TWO_HOURS, &["new", "old", "other"]),
            (None, MINUTE, &["new", "other"]),
            (Some(metric("conformance_zones")), TWO_HOURS, &["new", "old"]),
            (Some(metric("conformance_zones").ne("conformance_zone", "new")), TWO_HOURS, &["old"]),
        ];
        for (selector, window, wanted) in cases {
            let range = TimeRange::last(window, self.now);
            let found =
                self.store.label_values("conformance_zone", selector.as_ref(), range).await.map_err(text)?;
            ensure(found == wanted, || {
                format!("{selector:?} in {window:?} has {found:?}, must have {wanted:?}")
            })?;
        }
        Ok(())
    }

    async fn records_are_seen(&self) -> Outcome {
        let record = LogRecord {
            timestamp: self.ago(1),
            severity: Severity::Warn,
            body: "  Grüße, 世界!\n\tline \"two\"  ".to_owned(),
            labels: labels(&[("suite", "seen"), ("k8s.pod/name", "api-0"), ("path", "C:\\a=b,c")]),
        };
        self.store.write(Batch::logs(vec![record.clone()])).await.map_err(text)?;
        let query = self.logs_of("seen");
        let page = self.store.logs(&query).await.map_err(text)?;
        ensure_eq(&page.records, &vec![record], "the records")?;
        for (label, value) in [("k8s.pod/name", "api-0"), ("path", "C:\\a=b,c")] {
            let query = self.logs_of("seen").matching(Matcher::equal(label, value));
            let page = self.store.logs(&query).await.map_err(text)?;
            ensure_eq(&page.total, &1, label)?;
        }
        Ok(())
    }

    async fn words(&self) -> Outcome {
        let bodies = [
            "Connection reset by peer 10.0.0.1:8080",
            "reset the connection",
            "user_id=42 logged in",
            "Ärger mit der Verbindung",
        ];
        self.write_logs("words", bodies.map(|body| (Severity::Info, body))).await?;
        let cases: [(&str, &[usize]); 14] = [
            ("", &[0, 1, 2, 3]),
            ("connection", &[0, 1]),
            ("RESET connection", &[0, 1]),
            ("\"connection reset\"", &[0]),
            ("connection -peer", &[1]),
            ("-connection", &[2, 3]),
            ("-\"reset the\" -42", &[0, 3]),
            ("10.0.0.1", &[0]),
            ("user_id=42", &[2]),
            ("ärger", &[3]),
            ("conn", &[]),
            ("\"connection reset", &[0, 1]),
            ("reset AND connection", &[]),
            ("- ?! \"\" (:", &[0, 1, 2, 3]),
        ];
        for (text, wanted) in cases {
            let wanted: Vec<&str> = wanted.iter().filter_map(|i| bodies.get(*i).copied()).collect();
            self.expect_bodies(self.logs_of("words").text(text), &wanted, text).await?;
        }
        Ok(())
    }

    async fn conditions(&self) -> Outcome {
        let records =
            [(Severity::Debug, "d"), (Severity::Info, "i"), (Severity::Warn, "w"), (Severity::Fatal, "f")];
        self.write_logs("conditions", records).await?;
        let of = || self.logs_of("conditions");
        self.expect_bodies(of().min_severity(Severity::Trace), &["d", "i", "w", "f"], "at least trace")
            .await?;
        self.expect_bodies(of().min_severity(Severity::Warn), &["w", "f"], "at least warn").await?;
        self.expect_bodies(of().matching(Matcher::equal("place", "1")), &["i"], "place=1").await?;
        self.expect_bodies(of().matching(Matcher::not_equal("place", "1")), &["d", "w", "f"], "place!=1")
            .await?;
        self.expect_bodies(of().matching(Matcher::one_of("place", ["0", "3"])), &["d", "f"], "place in")
            .await?;
        self.expect_bodies(of().matching(Matcher::none_of("place", ["0", "3"])), &["i", "w"], "place not in")
            .await?;
        self.expect_bodies(of().matching(Matcher::equal("absent", "")), &["d", "i", "w", "f"], "absent=")
            .await?;
        self.expect_bodies(of().matching(Matcher::equal("place", "")), &[], "place=").await?;
        self.expect_bodies(of().matching(Matcher::not_equal("absent", "")), &[], "absent!=").await?;
        let mut query = of();
        // Records are a millisecond apart.
        query.range =
            TimeRange::new(self.ago(1) + Duration::from_millis(1), self.ago(1) + Duration::from_millis(3));
        self.expect_bodies(query, &["i", "w"], "a part of the time").await
    }

    async fn limits(&self) -> Outcome {
        self.write_logs("limits", ["1", "2", "3", "4", "5"].map(|body| (Severity::Info, body))).await?;
        let query = self.logs_of("limits").limit(2);
        for (order, wanted) in [(LogOrder::OldestFirst, ["1", "2"]), (LogOrder::NewestFirst, ["5", "4"])] {
            let page = self.store.logs(&query.clone().order(order)).await.map_err(text)?;
            let bodies: Vec<&str> = page.records.iter().map(|record| record.body.as_str()).collect();
            ensure(bodies == wanted, || format!("{order:?} has {bodies:?}, must have {wanted:?}"))?;
            ensure_eq(&page.total, &5, "the total")?;
        }
        Ok(())
    }

    async fn concurrent_writes(&self) -> Outcome {
        let writes = (0_u64..20).map(|i| async move {
            let point = [(self.ago(i), i as f64)];
            self.write_samples("conformance_concurrent", &[], &point).await?;
            let found = self.select(metric("conformance_concurrent")).await?;
            let seen = found.iter().any(|(_, points)| points.contains(&(self.ago(i), i as f64)));
            ensure(seen, || format!("write {i} is acknowledged and not seen"))
        });
        futures::future::try_join_all(writes).await?;
        let found = self.select(metric("conformance_concurrent")).await?;
        ensure_eq(&found.iter().map(|(_, points)| points.len()).sum(), &20, "the number of points")
    }

    async fn counts(&self) -> Outcome {
        let before = self.store.stats().await.map_err(text)?;
        self.write_samples("conformance_counted", &[], &[(self.ago(1), 1.0), (self.ago(0), 2.0)]).await?;
        self.write_logs("counted", [(Severity::Info, "one")]).await?;
        let after = self.store.stats().await.map_err(text)?;
        ensure_eq(&(after.samples - before.samples), &2, "the samples that came")?;
        ensure_eq(&(after.log_records - before.log_records), &1, "the log records that came")?;
        ensure_eq(&(after.series - before.series), &1, "the series that came")?;
        ensure(after.disk_bytes > 0, || "nothing is on disk".to_owned())
    }

    fn ago(&self, minutes: u64) -> Timestamp {
        self.now - Duration::from_secs(60 * minutes)
    }

    async fn write_samples(
        &self,
        name: &str,
        pairs: &[(&str, &str)],
        points: &[(Timestamp, f64)],
    ) -> Outcome {
        let sample = |(timestamp, value): &(Timestamp, f64)| Sample {
            metric: name.into(),
            labels: labels(pairs),
            timestamp: *timestamp,
            value: *value,
            kind: MetricKind::Unknown,
        };
        self.store.write(Batch::samples(points.iter().map(sample).collect())).await.map_err(text)
    }

    async fn select(&self, selector: Selector) -> Result<Vec<(Labels, Vec<(Timestamp, f64)>)>, String> {
        let range = TimeRange::last(TWO_HOURS, self.now);
        let series = self.store.select(&selector, range).await.map_err(text)?;
        let named = series.iter().all(|s| s.metric.as_deref() == Some(&selector.metric));
        ensure(named, || format!("{selector} chooses other metrics: {series:?}"))?;
        Ok(series.into_iter().map(|s| (s.labels, s.points)).collect())
    }

    /// Writes records a millisecond apart, with their place as a label.
    async fn write_logs<'b>(
        &self,
        check: &str,
        records: impl IntoIterator<Item = (Severity, &'b str)>,
    ) -> Outcome {
        let records = (0_u64..).zip(records).map(|(place, (severity, body))| LogRecord {
            timestamp: self.ago(1) + Duration::from_millis(place),
            severity,
            body: body.to_owned(),
            labels: labels(&[("suite", check), ("place", &place.to_string())]),
        });
        self.store.write(Batch::logs(records.collect())).await.map_err(text)
    }

    fn logs_of(&self, check: &str) -> LogQuery {
        LogQuery::new(TimeRange::last(TWO_HOURS, self.now))
            .matching(Matcher::equal("suite", check))
            .order(LogOrder::OldestFirst)
    }

    async fn expect_bodies(&self, query: LogQuery, wanted: &[&str], what: &str) -> Outcome {
        let page = self.store.logs(&query).await.map_err(text)?;
        let bodies: Vec<&str> = page.records.iter().map(|record| record.body.as_str()).collect();
        ensure(bodies == wanted, || format!("{what:?} finds {bodies:?}, must find {wanted:?}"))?;
        ensure_eq(&page.total, &(wanted.len() as u64), what)
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn text(error: platform_core::Error) -> String {
    error.to_string()
}
