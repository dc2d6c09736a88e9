//! One rule and the alerts that it has raised: the state machine, without time or store of its own.

use platform_core::{
    Error, Result,
    alert::{Alert, AlertRule, AlertState},
    clock::Timestamp,
    telemetry::{Labels, Series},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Labels that say which alert it is and how it stands: they come from the rule, never from a series.
const RESERVED: [&str; 4] = ["alertname", "alertstate", "severity", "notifier"];

/// `labels` without those that the rule gives.
pub(super) fn identity(labels: &Labels) -> Labels {
    labels.iter().filter(|(name, _)| !RESERVED.contains(name)).collect()
}

/// A rule with its active alerts.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) definition: AlertRule,
    active: BTreeMap<Labels, Tracked>,
}

#[derive(Debug)]
struct Tracked {
    alert: Alert,
    /// When the condition ceased to hold, while it is kept firing.
    lapsed_at: Option<Timestamp>,
    /// Restored and not seen since: until then, missing data does not resolve it.
    awaited_until: Option<Timestamp>,
}

/// What an evaluation changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Alerts that began to fire.
    pub(super) fired: Vec<Alert>,
    /// Alerts that fired and no longer do.
    pub(super) resolved: Vec<Alert>,
    /// Which alert left which state.
    pub(super) left: Vec<(Labels, AlertState)>,
}

/// An alert as a former run left it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Remembered {
    pub(super) labels: Labels,
    pub(super) active_since: Timestamp,
    /// The last evaluation that saw it.
    pub(super) seen_at: Timestamp,
    pub(super) firing: bool,
}

impl Rule {
    pub(super) fn new(definition: AlertRule) -> Self {
        Self { definition, active: BTreeMap::new() }
    }

    /// Active alerts, by their labels.
    pub(super) fn active(&self) -> impl Iterator<Item = &Alert> {
        self.active.values().map(|tracked| &tracked.alert)
    }

    /// The gravest state of its alerts; `None`: inactive.
    pub(super) fn state(&self) -> Option<AlertState> {
        let states = || self.active().map(|alert| alert.state);
        states().find(|state| *state == AlertState::Firing).or_else(|| states().next())
    }

    /// Takes the answer to the rule's expression at `at`, a moment not before those of former calls.
    ///
    /// Fails, and changes nothing, if two series have the same labels once those of the rule are put on them.
    pub(super) fn advance(&mut self, answer: &[Series], at: Timestamp) -> Result<Changes> {
        let mut holding = BTreeMap::new();
        let mut answered = BTreeSet::new();
        for series in answer {
            let Some(&(_, value)) = series.points.last() else { continue };
            let mut alert = Alert::pending(&self.definition, &identity(&series.labels), value, at);
            alert.labels = identity(&alert.labels);
            if !answered.insert(alert.labels.clone()) {
                return Err(Error::invalid(format!(
                    "several series of its answer have the labels {} once those of the rule are put on them",
                    alert.labels
                ))
                .help("keep the label that tells them apart, or aggregate them"));
            }
            if self.definition.condition.holds(value) {
                holding.insert(alert.labels.clone(), alert);
            }
        }

        let mut changes = Changes::default();
        self.lapse(&holding, &answered, at, &mut changes);
        for (labels, seen) in holding {
            if let Some(tracked) = self.active.get_mut(&labels) {
                (tracked.alert.value, tracked.alert.summary) = (seen.value, seen.summary);
                (tracked.lapsed_at, tracked.awaited_until) = (None, None);
            } else {
                self.active.insert(labels, Tracked { alert: seen, lapsed_at: None, awaited_until: None });
            }
        }
        for (labels, tracked) in &mut self.active {
            let alert = &mut tracked.alert;
            let due = at.since(alert.active_since) >= self.definition.pending_for;
            if alert.state == AlertState::Pending && tracked.awaited_until.is_none() && due {
                // One that fires at its first evaluation was never seen pending.
                if alert.active_since != at {
                    changes.left.push((labels.clone(), AlertState::Pending));
                }
                alert.state = AlertState::Firing;
                alert.fired_at = Some(at);
                changes.fired.push(alert.clone());
            }
        }
        Ok(changes)
    }

    /// Drops or resolves what does not hold any more.
    fn lapse(
        &mut self,
        holding: &BTreeMap<Labels, Alert>,
        answered: &BTreeSet<Labels>,
        at: Timestamp,
        changes: &mut Changes,
    ) {
        let keep_firing_for = self.definition.keep_firing_for;
        self.active.retain(|labels, tracked| {
            if holding.contains_key(labels) {
                return true;
            }
            if tracked.awaited_until.is_some_and(|until| at < until) && !answered.contains(labels) {
                return true;
            }
            tracked.awaited_until = None;
            if tracked.alert.state == AlertState::Pending {
                changes.left.push((labels.clone(), AlertState::Pending));
                return false;
            }
            let lapsed_at = *tracked.lapsed_at.get_or_insert(at);
            if at.since(lapsed_at) < keep_firing_for {
                return true;
            }
            changes.left.push((labels.clone(), AlertState::Firing));
            let mut alert = tracked.alert.clone();
            alert.state = AlertState::Resolved;
            alert.resolved_at = Some(at);
            changes.resolved.push(alert);
            false
        });
    }

    /// Takes up an alert of a former run at `now`.
    ///
    /// The time in between does not count towards [`AlertRule::pending_for`], since nobody looked. Until the data that the rule looks
    /// back on can be there again, that the series is missing does not resolve the alert.
    pub(super) fn restore(&mut self, remembered: Remembered, now: Timestamp) {
        let Remembered { labels, active_since, seen_at, firing } = remembered;
        let mut alert = Alert::pending(&self.definition, &labels, f64::NAN, active_since);
        if firing {
            alert.state = AlertState::Firing;
            alert.fired_at = Some((active_since + self.definition.pending_for).min(seen_at));
        } else {
            alert.active_since = active_since + now.since(seen_at);
        }
        let looks_back = self.definition.expression.selectors().into_iter().map(|(_, window)| window).max();
        let awaited_until = Some(now + looks_back.unwrap_or_default());
        alert.labels = labels.clone();
        self.active.insert(labels, Tracked { alert, lapsed_at: None, awaited_until });
    }

    /// Moves all moments back after the clock was set back `by`, so that what has passed stays passed and no more.
    pub(super) fn rewind(&mut self, by: Duration) {
        for tracked in self.active.values_mut() {
            let alert = &mut tracked.alert;
            alert.active_since = alert.active_since - by;
            let moments = [&mut alert.fired_at, &mut tracked.lapsed_at, &mut tracked.awaited_until];
            for moment in moments.into_iter().flatten() {
                *moment = *moment - by;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::{alert::Condition, telemetry::metric};
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn rule() -> AlertRule {
        AlertRule::new("Hot", metric("temperature"), Condition::Above(80.0))
            .unwrap()
            .pending_for(2 * MINUTE)
            .label("team", "ops")
            .summary("{{room}} has {{value}} degrees")
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn answer(values: &[(&str, f64)]) -> Vec<Series> {
        let series = |(room, value): &(&str, f64)| Series {
            metric: Some("temperature".into()),
            labels: Labels::from_iter([("room", *room)]),
            points: vec![(Timestamp::default(), *value)],
        };
        values.iter().map(series).collect()
    }

    #[test]
    fn a_series_is_pending_then_firing_then_resolved() {
        let mut rule = Rule::new(rule());
        let hot = answer(&[("attic", 90.0), ("cellar", 10.0)]);
        assert_eq!(rule.advance(&hot, at(1)).unwrap(), Changes::default());
        assert_eq!(rule.state(), Some(AlertState::Pending));
        assert_eq!(rule.advance(&hot, at(2)).unwrap(), Changes::default());
        let changes = rule.advance(&answer(&[("attic", 95.0)]), at(3)).unwrap();
        let [fired] = changes.fired.as_slice() else { panic!("{changes:?}") };
        assert_eq!(fired.labels.to_string(), r#"{room="attic",team="ops"}"#);
        assert_eq!((fired.active_since, fired.fired_at), (at(1), Some(at(3))));
        assert_eq!(fired.summary, "attic has 95.0 degrees");
        assert_eq!(changes.left, [(fired.labels.clone(), AlertState::Pending)]);
        // It goes on firing without being told again, and is resolved when the series vanishes.
        assert_eq!(rule.advance(&hot, at(4)).unwrap(), Changes::default());
        let changes = rule.advance(&[], at(5)).unwrap();
        assert_eq!(changes.resolved[0].resolved_at, Some(at(5)));
        assert_eq!(changes.resolved[0].state, AlertState::Resolved);
        assert_eq!(rule.state(), None);
    }

    #[test]
    fn a_gap_in_the_condition_starts_pending_anew() {
        let mut rule = Rule::new(rule());
        rule.advance(&answer(&[("attic", 90.0)]), at(1)).unwrap();
        rule.advance(&answer(&[("attic", 80.0)]), at(2)).unwrap();
        rule.advance(&answer(&[("attic", 90.0)]), at(3)).unwrap();
        assert_eq!(rule.advance(&answer(&[("attic", 90.0)]), at(4)).unwrap().fired, []);
        assert_eq!(rule.advance(&answer(&[("attic", 90.0)]), at(5)).unwrap().fired.len(), 1);
    }

    #[test]
    fn it_is_kept_firing_and_a_relapse_restarts_the_wait() {
        let mut rule = Rule::new(rule().pending_for(Duration::ZERO).keep_firing_for(2 * MINUTE));
        let (hot, cold) = (answer(&[("attic", 90.0)]), answer(&[("attic", 20.0)]));
        assert_eq!(rule.advance(&hot, at(1)).unwrap().fired.len(), 1);
        rule.advance(&cold, at(2)).unwrap();
        assert_eq!(rule.advance(&hot, at(3)).unwrap(), Changes::default());
        rule.advance(&cold, at(4)).unwrap();
        assert_eq!(rule.advance(&cold, at(5)).unwrap().resolved, []);
        assert_eq!(rule.advance(&cold, at(6)).unwrap().resolved.len(), 1);
    }

    #[test]
    fn series_that_become_the_same_are_refused_and_change_nothing() {
        let mut rule = Rule::new(rule().label("room", "any").pending_for(Duration::ZERO));
        let error = rule.advance(&answer(&[("attic", 90.0), ("cellar", 91.0)]), at(1)).unwrap_err();
        assert!(error.to_string().contains(r#"room="any""#), "{error}");
        assert_eq!(rule.state(), None);
    }

    #[test]
    fn a_restored_alert_fires_on_without_news_and_waits_for_its_data() {
        let mut rule = Rule::new(rule());
        let labels = Labels::from_iter([("room", "attic"), ("team", "ops")]);
        let remembered =
            Remembered { labels: labels.clone(), active_since: at(1), seen_at: at(9), firing: true };
        rule.restore(remembered.clone(), at(30));
        assert_eq!(rule.advance(&[], at(31)).unwrap(), Changes::default());
        assert_eq!(rule.advance(&answer(&[("attic", 99.0)]), at(32)).unwrap(), Changes::default());
        assert_eq!(rule.active().next().map(|a| (a.value, a.fired_at)), Some((99.0, Some(at(3)))));
        assert_eq!(rule.advance(&[], at(33)).unwrap().resolved.len(), 1, "it has been seen: no more waiting");

        rule.restore(remembered, at(40));
        assert_eq!(rule.advance(&answer(&[("attic", 1.0)]), at(41)).unwrap().resolved.len(), 1);
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_make_a_restored_alert_fire() {
        let labels = Labels::from_iter([("room", "attic"), ("team", "ops")]);
        let remembered = Remembered { labels, active_since: at(1), seen_at: at(2), firing: false };
        let mut seen = Rule::new(rule());
        seen.restore(remembered.clone(), at(30));
        assert_eq!(seen.advance(&answer(&[("attic", 90.0)]), at(30)).unwrap(), Changes::default());
        assert_eq!(seen.advance(&answer(&[("attic", 90.0)]), at(31)).unwrap().fired.len(), 1);

        let mut missing = Rule::new(rule());
        missing.restore(remembered, at(30));
        assert_eq!(missing.advance(&[], at(34)).unwrap(), Changes::default(), "missing data does not fire");
        assert_eq!(missing.advance(&[], at(35)).unwrap().fired, []);
        assert_eq!(missing.state(), None);
    }

    proptest! {
        /// Whatever is answered: an alert fires only after the condition held at every evaluation for `pending_for`, and
        /// nothing is resolved that did not fire.
        #[test]
        fn firing_means_that_it_held_long_enough(
            values in prop::collection::vec(prop_oneof![Just(None), (0.0..160.0).prop_map(Some)], 1..60),
            rewind_at in 0_usize..60,
        ) {
            let mut rule = Rule::new(rule());
            let (mut held, mut firing, mut shift) = (0_u32, false, 0);
            for (i, value) in values.into_iter().enumerate() {
                if i == rewind_at {
                    rule.rewind(Duration::from_secs(6000));
                    shift = 100;
                }
                let series: Vec<_> = value.iter().map(|v| ("attic", *v)).collect();
                let now = at(i64::try_from(i).unwrap() - shift);
                let changes = rule.advance(&answer(&series), now).unwrap();
                held = if value.is_some_and(|v| v > 80.0) { held + 1 } else { 0 };
                prop_assert_eq!(changes.fired.len(), usize::from(held == 3));
                prop_assert_eq!(changes.resolved.len(), usize::from(firing && held == 0));
                firing = held >= 3;
            }
        }
    }
}
