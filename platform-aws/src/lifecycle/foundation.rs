//! The stack of the network and of roles.

use super::job::Job;
use crate::{
    api::{ApiErrorKind, Stack, StackEvent, StackRequest},
    settings::Network,
    stack::{self, Place, StackOutputs, Template, cluster_stack_name, digest_of, place_of},
    wait::State,
};
use platform_core::{Error, ErrorKind, Result};

/// How often a stack is looked at anew, after something of it was waited for or removed.
const ROUNDS: usize = 8;
/// How many failures of a stack are told.
const FAILURES: usize = 3;

/// A stack, and what its template tells.
#[derive(Debug, Clone)]
pub(crate) struct Foundation {
    pub(crate) stack: Option<Stack>,
    pub(crate) outputs: StackOutputs,
}

impl Foundation {
    /// What tells this stack from a former one of the same name.
    pub(crate) fn incarnation(&self) -> &str {
        self.stack.as_ref().map(|stack| stack.id.as_str()).unwrap_or_default()
    }
}

/// What a stack's state allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StackPhase {
    /// It can be used and updated.
    Stable,
    /// Something is being done to it.
    Busy,
    /// It is being deleted.
    Deleting,
    /// It never became whole: all that can be done with it is to delete it.
    Broken,
    /// Only a person can mend it.
    Stuck,
}

impl StackPhase {
    /// By the state that CloudFormation gives.
    pub(crate) fn of(status: &str) -> Self {
        match status {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE" | "IMPORT_COMPLETE" => {
                Self::Stable
            }
            "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" | "DELETE_FAILED"
            | "REVIEW_IN_PROGRESS" => Self::Broken,
            "DELETE_IN_PROGRESS" => Self::Deleting,
            "UPDATE_ROLLBACK_FAILED" | "UPDATE_FAILED" | "IMPORT_ROLLBACK_FAILED" => Self::Stuck,
            _ => Self::Busy,
        }
    }
}

impl Job<'_> {
    /// Makes the stack, if anything of it is wanted, or finishes it, whatever an interrupted run left.
    pub(crate) async fn ensure_foundation(&self) -> Result<Option<Stack>> {
        if !stack::is_needed(self.settings) {
            return Ok(None);
        }
        let name = cluster_stack_name(&self.spec.name);
        let template = || async {
            let place = self.place().await?;
            let template = stack::cluster(&self.spec.name, self.settings, place.as_ref());
            template.ok_or_else(|| Error::internal("a stack that is needed has no template"))
        };
        self.ensure_stack(&name, template).await.map(Some)
    }

    /// What the stack made, by the settings that it must have been made by.
    pub(crate) fn foundation(&self, stack: Option<Stack>) -> Result<Foundation> {
        let outputs = match &stack {
            Some(stack) => StackOutputs::parse(&stack.outputs, self.settings)
                .map_err(|e| e.subject(format!("stack {}", stack.name)))?,
            None => StackOutputs::default(),
        };
        Ok(Foundation { stack, outputs })
    }

    /// A stack of ours that can be used. What became of a former one that never did is removed first, once.
    pub(crate) async fn ensure_stack<F>(&self, name: &str, template: impl Fn() -> F) -> Result<Stack>
    where
        F: Future<Output = Result<Template>>,
    {
        // A failure of a stack that was being made while this run watched would only come again.
        let mut watched = false;
        for _ in 0..ROUNDS {
            let Some(stack) = self.own_stack(name).await? else {
                let template = template().await?;
                self.progress.report(format!("creating stack {name}"));
                let request =
                    StackRequest { name: name.to_owned(), template: template.body, tags: self.tags() };
                match self.aws.stacks.create(request).await {
                    Ok(_) => watched = true,
                    // Somebody was faster, or the answer of an earlier try was lost.
                    Err(error) if error.kind == ApiErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error.into()),
                }
                self.await_stack(name).await?;
                continue;
            };
            match StackPhase::of(&stack.status) {
                StackPhase::Stable => return Ok(stack),
                StackPhase::Busy => {
                    watched = true;
                    self.await_stack(name).await?;
                }
                StackPhase::Deleting => self.await_stack_gone(name).await?,
                StackPhase::Stuck => return Err(self.stack_failed(&stack).await),
                StackPhase::Broken if watched => return Err(self.stack_failed(&stack).await),
                StackPhase::Broken => {
                    let why = self.stack_failed(&stack).await;
                    self.progress.report(format!(
                        "stack {name} is {}: it is deleted and made anew ({})",
                        stack.status,
                        why.message()
                    ));
                    self.aws.stacks.delete(name).await?;
                    self.await_stack_gone(name).await?;
                }
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("stack {name} changed {ROUNDS} times while it was worked on"),
        )
        .help("see who else works on it, then run it again"))
    }

    /// Brings the stack to its template and answers with what it is then.
    pub(crate) async fn update_foundation(&self, stack: &Stack) -> Result<Option<Stack>> {
        let place = place_of(&stack.outputs)?;
        if let Some(template) = stack::cluster(&self.spec.name, self.settings, place.as_ref()) {
            self.update_stack(&stack.name, template).await?;
        }
        self.own_stack(&stack.name).await
    }

    /// Brings a stack that is there to a template.
    pub(crate) async fn update_stack(&self, name: &str, template: Template) -> Result<()> {
        self.progress.report(format!("updating stack {name}"));
        let wanted = template.digest.clone();
        let request = StackRequest { name: name.to_owned(), template: template.body, tags: self.tags() };
        let updated = self.waiter(self.deadlines.settle);
        if !updated.settle(name, |_| false, || self.aws.stacks.update(request.clone())).await? {
            return Ok(());
        }
        self.await_stack(name).await?;
        let Some(stack) = self.own_stack(name).await? else {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("stack {name} is gone while it was being updated"),
            ));
        };
        if StackPhase::of(&stack.status) == StackPhase::Stable && digest_of(&stack.outputs) == Some(&wanted) {
            return Ok(());
        }
        Err(self.stack_failed(&stack).await)
    }

    /// Waits until nothing is being done to a stack. A stack that answers at once is not waited for.
    async fn await_stack(&self, name: &str) -> Result<()> {
        let read = || async {
            Ok(match self.own_stack(name).await? {
                Some(stack) if StackPhase::of(&stack.status) == StackPhase::Busy => {
                    State::Pending(stack.status)
                }
                _ => State::Done(()),
            })
        };
        match read().await {
            Ok(State::Done(())) => Ok(()),
            _ => self.waiter(self.deadlines.stack).until(&format!("stack {name}"), read).await,
        }
    }

    /// Waits until a stack is gone; fails if its deletion does.
    pub(crate) async fn await_stack_gone(&self, name: &str) -> Result<()> {
        let read = || async {
            Ok(match self.own_stack(name).await? {
                None => State::Done(()),
                Some(stack) if stack.status == "DELETE_FAILED" => {
                    return Err(self.stack_failed(&stack).await);
                }
                Some(stack) => State::Pending(stack.status),
            })
        };
        match read().await {
            Ok(State::Done(())) => Ok(()),
            Err(error) => Err(error),
            Ok(State::Pending(_)) => {
                self.waiter(self.deadlines.stack).until(&format!("deletion of stack {name}"), read).await
            }
        }
    }

    /// Why a stack is not what it should be, by the first resources that failed.
    pub(crate) async fn stack_failed(&self, stack: &Stack) -> Error {
        let events = self.aws.stacks.events(&stack.id).await.unwrap_or_default();
        // The latest come first. What came before this operation is another story; what failed first in it is what the others followed.
        let begins = |event: &StackEvent| {
            event.resource == stack.name
                && ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"]
                    .contains(&event.status.as_str())
        };
        let mut failures: Vec<String> = events
            .iter()
            .take_while(|event| !begins(event))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .filter(|event| event.status.ends_with("_FAILED") && event.resource != stack.name)
            .filter(|event| !event.reason.as_deref().is_some_and(|reason| reason.contains("cancelled")))
            .map(|event| {
                format!(
                    "{} ({}): {}",
                    event.resource,
                    event.resource_type,
                    event.reason.as_deref().unwrap_or("no reason given")
                )
            })
            .collect();
        failures.dedup();
        failures.truncate(FAILURES);
        if failures.is_empty() {
            failures.extend(stack.reason.clone());
        }
        let reached =
            failures.iter().any(|failure| failure.contains("LimitExceeded") || failure.contains("limit"));
        let kind = if reached { ErrorKind::Exhausted } else { ErrorKind::Failed };
        let error =
            Error::new(kind, format!("stack {} is {}: {}", stack.name, stack.status, failures.join("; ")));
        if StackPhase::of(&stack.status) == StackPhase::Stuck {
            error.help(format!(
                "continue the rollback of stack {} in CloudFormation, then run it again",
                stack.name
            ))
        } else if reached {
            error.help(
                "have the quota raised in Service Quotas, or delete what is not needed, then run it again",
            )
        } else {
            error.help("mend what it names, then run it again")
        }
    }

    /// The zones and addresses of a new VPC; nothing where the VPC exists.
    async fn place(&self) -> Result<Option<Place>> {
        let Network::New(wanted) = &self.settings.network else { return Ok(None) };
        let (zones, vpcs) = futures::try_join!(self.aws.network.zones(), self.aws.network.vpcs())?;
        if zones.len() < usize::from(wanted.zones) {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("the region has {} zones, {} are wanted", zones.len(), wanted.zones),
            )
            .help("set network.new.zones to what there is, or take another region"));
        }
        let zones: Vec<String> = zones.into_iter().take(usize::from(wanted.zones)).collect();
        let taken: Vec<(&str, ipnet::Ipv4Net)> =
            vpcs.iter().flat_map(|vpc| vpc.cidrs.iter().map(|cidr| (vpc.id.as_str(), *cidr))).collect();
        let choose = |reserved: &[ipnet::Ipv4Net]| -> Result<Place> {
            let overlaps = |a: &ipnet::Ipv4Net, b: &ipnet::Ipv4Net| a.contains(b) || b.contains(a);
            if let Some(cidr) = wanted.cidr {
                if let Some((vpc, other)) = taken.iter().find(|(_, other)| overlaps(&cidr, other)) {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        format!("network.new.cidr: {cidr} overlaps {other} of {vpc}"),
                    )
                    .help("choose other addresses, or leave them out for the first that are free"));
                }
                // Two that are made at the same time do not see each other's network yet.
                if let Some(other) = reserved.iter().find(|other| overlaps(&cidr, other)) {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        format!("network.new.cidr: {cidr} overlaps {other} of another cluster that is being made"),
                    )
                    .help("choose other addresses for one of them, or leave them out for the first that are free"));
                }
                return Ok(Place { zones: zones.clone(), cidr });
            }
            let all: Vec<ipnet::Ipv4Net> =
                taken.iter().map(|(_, cidr)| *cidr).chain(reserved.iter().copied()).collect();
            let cidr = stack::free_cidr(&all).ok_or_else(|| {
                Error::new(ErrorKind::Exhausted, "no /16 of 10.0.0.0/8 is free").help("set network.new.cidr")
            })?;
            Ok(Place { zones: zones.clone(), cidr })
        };
        self.reservations.reserve(&self.spec.name, choose, |place| place.cidr).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_say_what_can_be_done() {
        for (status, phase) in [
            ("CREATE_COMPLETE", StackPhase::Stable),
            ("UPDATE_ROLLBACK_COMPLETE", StackPhase::Stable),
            ("CREATE_IN_PROGRESS", StackPhase::Busy),
            ("ROLLBACK_IN_PROGRESS", StackPhase::Busy),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", StackPhase::Busy),
            ("ROLLBACK_COMPLETE", StackPhase::Broken),
            ("DELETE_FAILED", StackPhase::Broken),
            ("DELETE_IN_PROGRESS", StackPhase::Deleting),
            ("UPDATE_ROLLBACK_FAILED", StackPhase::Stuck),
        ] {
            assert_eq!(StackPhase::of(status), phase, "{status}");
        }
    }
}
