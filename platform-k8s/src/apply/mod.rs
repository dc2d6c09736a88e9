//! Server-side apply of manifest sets: what would change, staged writing, pruning, deletion.
//!
//! A set is an ApplySet ([KEP-3659]), so that `kubectl apply --prune --applyset` and other tools see the same members.
//!
//! [KEP-3659]: https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune

mod applyset;
mod compare;
mod delete;
mod difference;
mod drift;
mod handover;
mod judge;
mod likeness;
mod review;
mod stage;
mod write;

pub(crate) use applyset::{ApplySet, list_sets};
pub(crate) use delete::delete_set;
pub(crate) use drift::drift;
pub(crate) use review::diff_all;
pub(crate) use write::apply;
