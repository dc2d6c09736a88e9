//! Steps in an order that can be run.

use super::{Step, StepId};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Steps whose prerequisites are known and do not go round in a circle.
#[derive(Debug, Default)]
pub struct StepGraph {
    pub(super) steps: Vec<Step>,
    /// For each step, those that wait for it.
    pub(super) dependents: Vec<Vec<Dependent>>,
    /// For each step, how many it waits for.
    pub(super) waits_for: Vec<usize>,
}

/// A step that waits for another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dependent {
    pub(super) step: usize,
    /// Whether it runs however the other one ends.
    pub(super) whatever: bool,
}

impl StepGraph {
    /// Checks the steps: no identity twice, every prerequisite there, no cycle. The error names the steps.
    pub fn new(steps: Vec<Step>) -> Result<Self> {
        let mut index = HashMap::with_capacity(steps.len());
        for (at, step) in steps.iter().enumerate() {
            if index.insert(step.id.clone(), at).is_some() {
                return Err(Error::invalid(format!("step {} is there twice", step.id)));
            }
        }
        let mut dependents = vec![Vec::new(); steps.len()];
        let mut waits_for = vec![0; steps.len()];
        for (at, step) in steps.iter().enumerate() {
            for (wanted, whatever) in step.before() {
                let Some(&before) = index.get(wanted) else {
                    return Err(Error::invalid(format!(
                        "step {} is after {wanted}, which does not exist",
                        step.id
                    )));
                };
                dependents[before].push(Dependent { step: at, whatever });
                waits_for[at] += 1;
            }
        }
        let graph = Self { steps, dependents, waits_for };
        match graph.cycle(&index) {
            None => Ok(graph),
            Some(cycle) => {
                let names: Vec<&str> = cycle.iter().map(StepId::as_str).collect();
                Err(Error::invalid(format!("steps wait for each other: {}", names.join(" after "))))
            }
        }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A cycle, if there is one: steps in which each is after the next and the last is the first again.
    fn cycle(&self, index: &HashMap<StepId, usize>) -> Option<Vec<StepId>> {
        let mut waits_for = self.waits_for.clone();
        let mut ready: Vec<usize> = (0..self.steps.len()).filter(|&at| waits_for[at] == 0).collect();
        let mut reached = 0;
        while let Some(at) = ready.pop() {
            reached += 1;
            for &Dependent { step: next, .. } in &self.dependents[at] {
                waits_for[next] -= 1;
                if waits_for[next] == 0 {
                    ready.push(next);
                }
            }
        }
        if reached == self.steps.len() {
            return None;
        }
        // Every step left waits for another one left: following them must come round.
        let mut at = waits_for.iter().position(|&n| n > 0)?;
        let mut path: Vec<usize> = Vec::new();
        while !path.contains(&at) {
            path.push(at);
            at = *self.steps[at]
                .before()
                .filter_map(|(id, _)| index.get(id))
                .find(|&&before| waits_for[before] > 0)?;
        }
        let start = path.iter().position(|&seen| seen == at)?;
        path.push(at);
        Some(path[start..].iter().map(|&at| self.steps[at].id.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::StepDone;

    fn step(id: &str, after: &[&str]) -> Step {
        Step::new(id, "nothing", |_| async { Ok(StepDone::unchanged("")) }).after(after.iter().copied())
    }

    #[test]
    fn a_cycle_is_named() {
        let steps =
            vec![step("start", &[]), step("a", &["start", "c"]), step("b", &["a"]), step("c", &["b"])];
        let error = StepGraph::new(steps).unwrap_err();
        assert_eq!(error.to_string(), "steps wait for each other: a after c after b after a");
        let error = StepGraph::new(vec![step("self", &["self"])]).unwrap_err();
        assert_eq!(error.to_string(), "steps wait for each other: self after self");
    }

    #[test]
    fn unknown_and_doubled_steps_are_named() {
        let error = StepGraph::new(vec![step("a", &["b"])]).unwrap_err();
        assert_eq!(error.to_string(), "step a is after b, which does not exist");
        let error = StepGraph::new(vec![step("a", &[]), step("a", &[])]).unwrap_err();
        assert_eq!(error.to_string(), "step a is there twice");
    }
}
