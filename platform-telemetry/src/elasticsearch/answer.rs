//! What a bulk request's answer says of each of its events.

use crate::ingest::{Outcome, Refusal};
use platform_core::{Error, ErrorKind, Result};
use serde::{Deserialize, de::IgnoredAny};
use std::borrow::Cow;

/// What is asked of an answer: enough to know the outcome of each event, and little more.
pub(super) const FILTER: &str = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason,items.*.failure_store";

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

/// One operation. We send `create` alone.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    create: Created<'a>,
}

#[derive(Deserialize)]
struct Created<'a> {
    status: u16,
    #[serde(borrow)]
    error: Option<Failure<'a>>,
    #[serde(borrow)]
    failure_store: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    caused_by: Option<Cause<'a>>,
}

#[derive(Deserialize)]
struct Cause<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

/// The outcomes of the events, in their order. An answer that is cut off or in another form is an error: nothing is known then.
pub(super) fn outcomes(body: &[u8]) -> Result<Vec<Outcome>> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| {
        let what = if serde_json::from_slice::<IgnoredAny>(body).is_err() {
            "cut off"
        } else {
            "in an unknown form"
        };
        Error::new(ErrorKind::Corrupt, format!("the answer of {} bytes is {what}", body.len()))
            .retryable(true)
            .source(error)
    })?;
    Ok(answer.items.into_iter().map(|item| outcome(item.create)).collect())
}

fn outcome(created: Created<'_>) -> Outcome {
    let refusal = |created: Created<'_>| {
        let (kind, reason) = created.error.map_or((None, None), |error| {
            let cause = error.caused_by.and_then(|cause| cause.reason);
            let reason = match (error.reason, cause) {
                (Some(reason), Some(cause)) => Some(format!("{reason}: {cause}")),
                (reason, cause) => reason.or(cause).map(Cow::into_owned),
            };
            (error.kind, reason)
        });
        Refusal {
            status: created.status,
            kind: kind.map_or_else(|| "unknown".to_owned(), Cow::into_owned),
            reason: reason.unwrap_or_default(),
        }
    };
    match created.status {
        // "used": it is in the failure store, and not where it belongs.
        200..=299 if created.failure_store.as_deref() == Some("used") => Outcome::KeptAsFailure,
        200..=299 => Outcome::Indexed,
        409 => Outcome::Duplicate,
        // Not this event's fault: too many at once, missing privileges, a full disk, a failed shard.
        401 | 403 | 408 | 429 | 500.. => Outcome::Again(refusal(created)),
        _ => Outcome::Refused(refusal(created)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_own_outcome() {
        let body = br#"{"errors":true,"items":[
            {"create":{"status":201}},
            {"create":{"status":201,"failure_store":"used"}},
            {"create":{"status":201,"failure_store":"not_applicable_or_unknown"}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"exists"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}},
            {"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"[1:5] failed","caused_by":{"reason":"For input \u0022x\u0022"}}}},
            {"create":{"status":403,"error":{"type":"cluster_block_exception","reason":"read-only"}}}
        ]}"#;
        let outcomes = outcomes(body).unwrap();
        assert_eq!(
            outcomes[..4],
            [Outcome::Indexed, Outcome::KeptAsFailure, Outcome::Indexed, Outcome::Duplicate]
        );
        assert!(matches!(&outcomes[4], Outcome::Again(why) if why.kind == "es_rejected_execution_exception"));
        assert!(
            matches!(&outcomes[5], Outcome::Refused(why) if why.reason == "[1:5] failed: For input \"x\"")
        );
        assert!(matches!(&outcomes[6], Outcome::Again(why) if why.status == 403));
    }

    #[test]
    fn of_an_answer_that_is_cut_off_nothing_is_known() {
        let whole = br#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#;
        assert_eq!(outcomes(whole).unwrap().len(), 2);
        for end in 0..whole.len() {
            let error = outcomes(&whole[..end]).unwrap_err();
            assert!(error.is_retryable() && error.to_string().contains("cut off"), "{error}");
        }
        assert!(outcomes(b"{\"took\":1}").unwrap_err().to_string().contains("unknown form"));
    }
}
