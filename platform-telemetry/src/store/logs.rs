//! The log records of a partition: words of the body and labels are indexed, time and gravity are columns, the record is stored.

use super::{
    codec::{Decoder, Encoder, severity_ordinal},
    excluded::Excluded,
    fault,
    head::{Head, sequence},
    samples::contains,
    words::{self, Phrase},
};
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::{LogOrder, LogQuery, LogRecord, MatchOperator, Matcher, Severity, TimeRange},
};
use std::{collections::BTreeSet, ops::Bound, path::PathBuf};
use tantivy::{
    DocAddress, Order, Searcher, TantivyDocument, Term,
    collector::{Count, TopDocs, sort_key::SortByStaticFastValue},
    query::{AllQuery, BooleanQuery, EmptyQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery},
    schema::{FAST, Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value},
    tokenizer::TextAnalyzer,
};

/// The fields of the index.
#[derive(Debug, Clone)]
pub(super) struct LogSchema {
    pub(super) schema: Schema,
    timestamp: Field,
    severity: Field,
    sequence: Field,
    body: Field,
    labels: Field,
    record: Field,
}

impl LogSchema {
    pub(super) fn new() -> Self {
        let text = |tokenizer, option| {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(tokenizer)
                .set_index_option(option)
                .set_fieldnorms(false);
            TextOptions::default().set_indexing_options(indexing)
        };
        let mut builder = Schema::builder();
        let timestamp = builder.add_i64_field("timestamp", FAST);
        let severity = builder.add_u64_field("severity", FAST);
        let sequence = builder.add_u64_field("sequence", FAST);
        let body =
            builder.add_text_field("body", text(words::ANALYZER, IndexRecordOption::WithFreqsAndPositions));
        let labels = builder.add_text_field("labels", text("raw", IndexRecordOption::Basic));
        let record = builder.add_bytes_field("record", STORED);
        Self { schema: builder.build(), timestamp, severity, sequence, body, labels, record }
    }

    /// The documents of a head's records that lie in `range`, in the order of writing.
    pub(super) fn documents<'a>(
        &'a self,
        head: &'a Head,
        range: TimeRange,
    ) -> impl Iterator<Item = TantivyDocument> + 'a {
        head.logs
            .iter()
            .flat_map(|records| records.iter())
            .enumerate()
            .filter(move |(_, record)| range.contains(record.timestamp))
            .map(|(position, record)| self.document(record, sequence(head.generation, position)))
    }

    fn document(&self, record: &LogRecord, sequence: u64) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_i64(self.timestamp, record.timestamp.as_millis());
        document.add_u64(self.severity, u64::from(severity_ordinal(record.severity)));
        document.add_u64(self.sequence, sequence);
        document.add_text(self.body, &record.body);
        for (name, value) in record.labels.iter() {
            document.add_text(self.labels, label_term(name, Some(value)));
            document.add_text(self.labels, label_term(name, None));
        }
        let mut encoder = Encoder::default();
        encoder.log(record);
        document.add_bytes(self.record, &encoder.into_bytes());
        document
    }

    fn query(&self, search: &LogSearch, whole: bool) -> Box<dyn Query> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        if !whole {
            let bound = |at: i64| Term::from_field_i64(self.timestamp, at);
            let (from, to) = (search.range.from.as_millis(), search.range.to.as_millis());
            let range = RangeQuery::new(Bound::Included(bound(from)), Bound::Excluded(bound(to)));
            clauses.push((Occur::Must, Box::new(range)));
        }
        if search.min_severity > Severity::Trace {
            let least = u64::from(severity_ordinal(search.min_severity));
            let least = Bound::Included(Term::from_field_u64(self.severity, least));
            clauses.push((Occur::Must, Box::new(RangeQuery::new(least, Bound::Unbounded))));
        }
        for phrase in &search.phrases {
            let mut terms: Vec<Term> =
                phrase.words.iter().map(|word| Term::from_field_text(self.body, word)).collect();
            let query: Box<dyn Query> = match terms.pop() {
                Some(only) if terms.is_empty() => Box::new(TermQuery::new(only, IndexRecordOption::Basic)),
                Some(last) => {
                    terms.push(last);
                    Box::new(PhraseQuery::new(terms))
                }
                None => continue,
            };
            clauses.push(if phrase.negated { without(query) } else { (Occur::Must, query) });
        }
        for matcher in &search.matchers {
            self.add_matcher(matcher, &mut clauses);
        }
        if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
            clauses.push((Occur::Must, Box::new(AllQuery)));
        }
        Box::new(BooleanQuery::new(clauses))
    }

    fn add_matcher(&self, matcher: &Matcher, clauses: &mut Vec<(Occur, Box<dyn Query>)>) {
        let (values, wanted) = match &matcher.operator {
            MatchOperator::Equal(value) => (std::slice::from_ref(value), true),
            MatchOperator::In(values) => (values.as_slice(), true),
            MatchOperator::NotEqual(value) => (std::slice::from_ref(value), false),
            MatchOperator::NotIn(values) => (values.as_slice(), false),
            // `MatchOperator` may grow; what is not known here matches nothing.
            _ => (&[][..], true),
        };
        let has = |value: Option<&str>| -> Box<dyn Query> {
            let term = Term::from_field_text(self.labels, &label_term(&matcher.label, value));
            Box::new(TermQuery::new(term, IndexRecordOption::Basic))
        };
        let named: Vec<(Occur, Box<dyn Query>)> =
            values.iter().filter(|v| !v.is_empty()).map(|v| (Occur::Should, has(Some(v)))).collect();
        let one_of: Box<dyn Query> =
            if named.is_empty() { Box::new(EmptyQuery) } else { Box::new(BooleanQuery::new(named)) };
        // `""` among the values stands for a record without the label.
        let missing_counts = values.iter().any(String::is_empty);
        match (wanted, missing_counts) {
            (true, false) => clauses.push((Occur::Must, one_of)),
            (true, true) => {
                let other_value = BooleanQuery::new(vec![(Occur::Must, has(None)), without(one_of)]);
                clauses.push(without(Box::new(other_value)));
            }
            (false, false) => clauses.push(without(one_of)),
            (false, true) => clauses.extend([(Occur::Must, has(None)), without(one_of)]),
        }
    }
}

fn without(query: Box<dyn Query>) -> (Occur, Box<dyn Query>) {
    (Occur::MustNot, Box::new(Excluded(query)))
}

/// The term of a label with a value, or of a label with any value.
///
/// Terms have a greatest length: the rest of a long value is represented by its hash.
fn label_term(name: &str, value: Option<&str>) -> String {
    const MAX_BYTES: usize = 4096;
    let mut term = name.replace('\\', "\\\\").replace('\0', "\\0");
    if let Some(value) = value {
        term.push('\0');
        term.push_str(value);
    }
    if term.len() > MAX_BYTES {
        let hash = term.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        words::cut(&mut term, MAX_BYTES);
        term = format!("{term}\0{hash:016x}");
    }
    term
}

/// A [`LogQuery`], made ready.
#[derive(Debug)]
pub(super) struct LogSearch {
    pub(super) range: TimeRange,
    pub(super) limit: usize,
    order: LogOrder,
    phrases: Vec<Phrase>,
    matchers: Vec<Matcher>,
    min_severity: Severity,
}

/// The place of a record in the order asked for: less is earlier in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(i64, u64);

impl LogSearch {
    pub(super) fn new(query: &LogQuery) -> Self {
        Self {
            range: query.range,
            limit: query.limit.clamp(1, 10_000),
            order: query.order,
            phrases: words::parse(&query.text),
            matchers: query.matchers.clone(),
            min_severity: query.min_severity.unwrap_or(Severity::Trace),
        }
    }

    pub(super) fn place(&self, timestamp: i64, sequence: u64) -> Place {
        match self.order {
            LogOrder::OldestFirst => Place(timestamp, sequence),
            // `!x` reverses the order without overflow.
            LogOrder::NewestFirst => Place(!timestamp, !sequence),
        }
    }

    /// The earliest place that a record in `range` can have.
    pub(super) fn best_place(&self, range: TimeRange) -> Place {
        match self.order {
            LogOrder::OldestFirst => self.place(range.from.as_millis(), 0),
            LogOrder::NewestFirst => self.place(range.to.as_millis(), 0),
        }
    }

    /// Whether a record that is not indexed matches.
    pub(super) fn matches(&self, record: &LogRecord, analyzer: &mut TextAnalyzer) -> bool {
        contains(self.range, record.timestamp.as_millis())
            && record.severity >= self.min_severity
            && self.matchers.iter().all(|m| m.matches(&record.labels))
            && (self.phrases.is_empty()
                || words::matches(&self.phrases, &words::words(analyzer, &record.body)))
    }
}

/// The log records that were in a partition at some moment.
#[derive(Debug, Clone)]
pub(super) struct LogView {
    pub(super) path: PathBuf,
    pub(super) searcher: Searcher,
    pub(super) schema: LogSchema,
}

impl LogView {
    pub(super) fn count(&self) -> u64 {
        self.searcher.num_docs()
    }

    /// Where the first `limit` matching records are, and how many match. `whole` says that the range covers the partition.
    pub(super) fn search(
        &self,
        search: &LogSearch,
        limit: usize,
        whole: bool,
    ) -> Result<(BTreeSet<(Place, DocAddress)>, u64)> {
        let query = self.schema.query(search, whole);
        let order = match search.order {
            LogOrder::NewestFirst => Order::Desc,
            LogOrder::OldestFirst => Order::Asc,
        };
        let (found, total) = fault::guarded("search", &self.path, || {
            if limit == 0 {
                return Ok((Vec::new(), self.searcher.search(&query, &Count)?));
            }
            let timestamp = SortByStaticFastValue::<i64>::for_field("timestamp");
            let sequence = SortByStaticFastValue::<u64>::for_field("sequence");
            let top = TopDocs::with_limit(limit).order_by(((timestamp, order), (sequence, order)));
            self.searcher.search(&query, &(top, Count))
        })?;
        let places = found.into_iter().map(|((timestamp, sequence), address)| {
            (search.place(timestamp.unwrap_or_default(), sequence.unwrap_or_default()), address)
        });
        Ok((places.collect(), total as u64))
    }

    pub(super) fn record(&self, address: DocAddress) -> Result<LogRecord> {
        let document: TantivyDocument = fault::guarded("read", &self.path, || self.searcher.doc(address))?;
        let bytes = document.get_first(self.schema.record).and_then(|value| value.as_bytes());
        let bytes = bytes.ok_or_else(|| Error::new(ErrorKind::Corrupt, "a log record is missing"))?;
        Decoder::new(bytes)
            .log()
            .map_err(|e| e.operation("read").subject(format!("partition {}", self.path.display())))
    }
}
