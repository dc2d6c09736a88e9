//! Which lines belong to the line before them.

use platform_core::{
    Error, Result,
    telemetry::settings::{Multiline, MultilineRule},
};
use regex::bytes::Regex;
use std::time::Duration;

/// The rule of a tail, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) max_bytes: usize,
    pub(super) flush_after: Duration,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Start(Regex),
    Continuation(Regex),
    Traces(Vec<Transition>),
}

/// Where a stack trace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// In none.
    #[default]
    Idle,
    Java,
    Python,
    /// Behind the line that names the exception.
    PythonEnd,
    /// Between two tracebacks of one chain.
    PythonChain,
    GoPanic,
    GoBlank,
    GoFrame,
    GoPlace,
}

#[derive(Debug, Clone)]
struct Transition {
    from: &'static [State],
    line: Regex,
    to: State,
}

/// What a line is to the record before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// It belongs to that record; else it begins another.
    pub(super) joins: bool,
    /// The record that it is in now may go on.
    pub(super) stays_open: bool,
    pub(super) state: State,
}

use State::{GoBlank, GoFrame, GoPanic, GoPlace, Idle, Java, Python, PythonChain, PythonEnd};

type Row = (&'static [State], &'static str, State);

/// Exceptions of Java's machine, and of those that print theirs alike.
const JAVA: [Row; 3] = [
    (&[Idle], r"(?:Exception|Error|Throwable)(?::|\s*$)", Java),
    (&[Java], r"^\s+(?:eval )?at \S", Java),
    (
        &[Java],
        r"^\s*(?:Caused by:|Suppressed:|nested exception is:|--- End of |\.\.\. \d+ (?:more|common frames))",
        Java,
    ),
];

const PYTHON: [Row; 6] = [
    (&[Idle, PythonChain], r"Traceback \(most recent call last\):\s*$", Python),
    (&[Python], r"^\s+\S", Python),
    (&[Python], r"^[^\s.():]+(?:\.[^\s.():]+)*(?::|\s*$)", PythonEnd),
    (&[PythonEnd, PythonChain], r"^\s*$", PythonChain),
    (
        &[PythonChain],
        r"^During handling of the above exception, another exception occurred:\s*$",
        PythonChain,
    ),
    (
        &[PythonChain],
        r"^The above exception was the direct cause of the following exception:\s*$",
        PythonChain,
    ),
];

const GO: [Row; 7] = [
    (&[Idle], r"(?:^|\s)panic: |^fatal error: |http: panic serving ", GoPanic),
    (&[GoPanic, GoBlank], r"^\s*panic: |^\[signal ", GoPanic),
    (&[GoPanic, GoBlank, GoFrame], r"^$", GoBlank),
    (&[GoPanic, GoBlank, GoFrame], r"^goroutine \d+ \[[^\]]*\]:$", GoFrame),
    (&[GoFrame], r"^created by \S|^\S.*\)$", GoPlace),
    (&[GoFrame], r"^\.\.\.\S", GoFrame),
    (&[GoPlace], r"^\s+\S", GoFrame),
];

impl Rules {
    /// Fails with [`Invalid`](platform_core::ErrorKind::Invalid) for what [`Multiline::check`] refuses.
    pub(super) fn new(multiline: &Multiline) -> Result<Self> {
        multiline.check()?;
        let kind = match &multiline.rule {
            MultilineRule::Start(pattern) => Kind::Start(regex(pattern)?),
            MultilineRule::Continuation(pattern) => Kind::Continuation(regex(pattern)?),
            MultilineRule::Java => traces(&[&JAVA])?,
            MultilineRule::Python => traces(&[&PYTHON])?,
            MultilineRule::Go => traces(&[&GO])?,
            MultilineRule::StackTraces => traces(&[&PYTHON, &GO, &JAVA])?,
            other => return Err(Error::invalid(format!("rule: {other:?} is not known here"))),
        };
        Ok(Self { max_bytes: multiline.max_bytes, flush_after: multiline.flush_after, kind })
    }

    /// What `line` is to a record that is open, of which the last line led to `state`.
    pub(super) fn step(&self, state: State, is_open: bool, line: &[u8]) -> Step {
        let simple = |joins: bool| Step { joins: joins && is_open, stays_open: true, state: Idle };
        match &self.kind {
            Kind::Start(regex) => simple(!regex.is_match(line)),
            Kind::Continuation(regex) => simple(regex.is_match(line)),
            Kind::Traces(transitions) => {
                let to = |from: State| {
                    transitions.iter().find(|t| t.from.contains(&from) && t.line.is_match(line)).map(|t| t.to)
                };
                let within = (is_open && state != Idle).then(|| to(state)).flatten();
                let next = within.or_else(|| to(Idle));
                Step { joins: within.is_some(), stays_open: next.is_some(), state: next.unwrap_or(Idle) }
            }
        }
    }
}

fn traces(tables: &[&[Row]]) -> Result<Kind> {
    let rows = tables.iter().flat_map(|table| table.iter());
    let transitions = rows.map(|(from, line, to)| Ok(Transition { from, line: regex(line)?, to: *to }));
    transitions.collect::<Result<_>>().map(Kind::Traces)
}

fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern)
        .map_err(|e| Error::invalid(format!("rule: {pattern:?} is no regular expression")).source(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records that lines make.
    fn join(rule: MultilineRule, text: &str) -> Vec<String> {
        let rules = Rules::new(&Multiline::new(rule)).unwrap();
        let (mut records, mut state, mut is_open): (Vec<String>, _, _) = (Vec::new(), Idle, false);
        for line in text.lines() {
            let step = rules.step(state, is_open, line.as_bytes());
            match records.last_mut() {
                Some(last) if step.joins => last.extend(["\n", line]),
                _ => records.push(line.to_owned()),
            }
            (state, is_open) = (step.state, step.stays_open);
        }
        records
    }

    const JAVA_TRACE: &str = "\
Exception in thread \"main\" java.lang.IllegalStateException: A book has a null property
    at com.example.Author.getBookIds(Author.java:38)
    at com.example.Bootstrap.main(Bootstrap.java:14)
Caused by: java.lang.NullPointerException
    at com.example.Book.getId(Book.java:22)
    ... 1 more";
    const PYTHON_TRACE: &str = "\
Traceback (most recent call last):
  File \"a.py\", line 2, in f
    return 1 / 0
           ~~^~~
ZeroDivisionError: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"a.py\", line 6, in <module>
    raise errors.Worse(\"no\")
errors.Worse: no";
    const GO_TRACE: &str = "\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45f1c2]

goroutine 1 [running]:
main.(*T).f(0x0, {0xc000012345, 0x3})
\t/app/main.go:12 +0x1d
main.main()
\t/app/main.go:20 +0x25

goroutine 6 [chan receive]:
main.worker(...)
\t/app/main.go:30
created by main.main in goroutine 1
\t/app/main.go:18 +0x45";

    #[test]
    fn stack_traces_are_one_record_and_what_is_around_them_is_not() {
        for (rule, trace) in [
            (MultilineRule::Java, JAVA_TRACE),
            (MultilineRule::Python, PYTHON_TRACE),
            (MultilineRule::Go, GO_TRACE),
        ] {
            for rule in [rule, MultilineRule::StackTraces] {
                let text = format!("before\nmore\n{trace}\nafter\nlast");
                assert_eq!(join(rule, &text), ["before", "more", trace, "after", "last"]);
            }
        }
        let several = [JAVA_TRACE, JAVA_TRACE, PYTHON_TRACE, GO_TRACE, "done"];
        assert_eq!(join(MultilineRule::StackTraces, &several.join("\n")), several);
        assert_eq!(join(MultilineRule::Python, JAVA_TRACE).len(), 6);
    }

    #[test]
    fn own_rules_say_how_records_begin_or_go_on() {
        let text = "  lost head\n2026 one\n  two\n2026 three\n2026 four\n\nfive";
        let start = MultilineRule::Start("^\\d{4} ".into());
        assert_eq!(join(start, text), ["  lost head", "2026 one\n  two", "2026 three", "2026 four\n\nfive"]);
        let next = MultilineRule::Continuation("^\\s".into());
        assert_eq!(
            join(next, text),
            ["  lost head", "2026 one\n  two", "2026 three", "2026 four", "", "five"]
        );
        assert!(Rules::new(&Multiline::new(MultilineRule::Start("(".into()))).is_err());
    }
}
