//! A check: a sentence, what it needs, and the function that finds out.

use super::scope::Scope;
use crate::conformance::Outcome;
use futures::future::BoxFuture;

/// What a check needs of a server beyond its API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// The API.
    Nothing,
    /// Nodes on which pods run.
    Nodes,
    /// A client that shows no credentials.
    Stranger,
    /// A client that shows no credentials, and a server where that is nobody.
    Anonymity,
    /// What the embedded API does not simulate, as [its documentation](crate::kubernetes) says.
    Whole,
}

/// One check.
pub(super) struct Check {
    /// What must hold, as a sentence.
    pub(super) name: &'static str,
    pub(super) needs: Needs,
    pub(super) run: for<'a> fn(&'a Scope<'a>) -> BoxFuture<'a, Outcome>,
}

/// The checks of a subject: `"sentence" => function`, and in parentheses what it needs.
macro_rules! checks {
    ($($name:literal => $function:ident $(($needs:ident))?),* $(,)?) => {
        pub(super) const CHECKS: &[$crate::conformance::kubernetes::check::Check] = &[$(
            $crate::conformance::kubernetes::check::Check {
                name: $name,
                needs: checks!(@needs $($needs)?),
                run: |scope| Box::pin($function(scope)),
            }
        ),*];
    };
    (@needs) => { $crate::conformance::kubernetes::check::Needs::Nothing };
    (@needs $needs:ident) => { $crate::conformance::kubernetes::check::Needs::$needs };
}

pub(super) use checks;
