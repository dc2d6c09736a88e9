//! Isolation on live clusters: whether it holds, whether the deletion guard is active, and what a deletion would take with it.

mod attempts;
mod caller;
mod contents;
pub(crate) mod guard;
mod network;
mod probe;
mod verify;

pub(crate) use contents::contents;
pub(crate) use verify::verify;
