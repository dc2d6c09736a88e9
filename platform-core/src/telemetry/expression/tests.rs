//! Expressions as PromQL, and matchers.

use super::*;

#[test]
fn prints_promql_with_the_parentheses_that_it_needs() {
    let used = 1.0 - metric("node_memory_MemAvailable_bytes") / metric("node_memory_MemTotal_bytes");
    assert_eq!(used.to_string(), "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes");
    let nested = metric("a") - (metric("b") - metric("c"));
    assert_eq!(nested.to_string(), "a - (b - c)");
    let chained = metric("a") - metric("b") - metric("c");
    assert_eq!(chained.to_string(), "a - b - c");
    let selector = metric("up").matching(Matcher::one_of("job", ["a.b", "c"])).ne("instance", "q\"\\");
    assert_eq!(selector.to_string(), r#"up{job=~"a\\.b|c",instance!="q\"\\"}"#);
    assert_eq!(PromDuration(Duration::from_millis(5_400_250)).to_string(), "1h30m250ms");
}

#[test]
fn numbers_and_names_of_all_kinds_are_printed() {
    let text = |number: f64| Expression::from(number).to_string();
    assert_eq!([text(-1.5), text(f64::NAN), text(1e300), text(-0.0)], ["-1.5", "NaN", "1e300", "-0"]);
    assert_eq!([text(f64::INFINITY), text(f64::NEG_INFINITY), text(2.5e-9)], ["+Inf", "-Inf", "2.5e-9"]);
    // A sign binds closer than any operator that there is here.
    assert_eq!((metric("a") - -1.0).to_string(), "a - -1");
    assert_eq!((-2.0 * (metric("a") + -1.0)).to_string(), "-2 * (a + -1)");
    assert_eq!((metric("a") / (metric("b") * 2.0)).to_string(), "a / (b * 2)");
    assert_eq!(metric("http.requests").eq("k8s.pod", "x").to_string(), r#"{"http.requests","k8s.pod"="x"}"#);
    assert_eq!(metric("NaN").to_string(), r#"{"NaN"}"#);
    assert_eq!(metric("job:up:sum").to_string(), "job:up:sum");
    let dotted = Expression::from(metric("up")).sum_by(["k8s.pod", "job"]);
    assert_eq!(dotted.to_string(), r#"sum by ("k8s.pod", job) (up)"#);
    assert_eq!(metric("a").rate(Duration::ZERO).to_string(), "rate(a[1ms])");
}

#[test]
fn an_empty_set_of_values_means_the_same_here_and_in_promql() {
    let none: [&str; 0] = [];
    let (one_of, none_of) = (Matcher::one_of("a", none), Matcher::none_of("a", none));
    for labels in [Labels::empty(), Labels::from_iter([("a", "1")])] {
        assert!(!one_of.matches(&labels));
        assert!(none_of.matches(&labels));
    }
    // `.*` matches every value, the empty one of a missing label included.
    assert_eq!((one_of.to_string(), none_of.to_string()), (r#"a!~".*""#.to_owned(), r#"a=~".*""#.to_owned()));
}

#[test]
fn matchers_treat_a_missing_label_as_empty() {
    let labels = Labels::from_iter([("a", "1")]);
    assert!(Matcher::equal("b", "").matches(&labels));
    assert!(Matcher::not_equal("b", "1").matches(&labels));
    assert!(Matcher::none_of("a", ["2", "3"]).matches(&labels));
    assert!(!Matcher::one_of("a", ["2", "3"]).matches(&labels));
}
