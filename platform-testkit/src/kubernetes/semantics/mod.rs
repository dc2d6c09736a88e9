//! What the Kubernetes API means by a request, as pure functions on JSON values.
//!
//! [`selector`] picks objects, [`schema`] says how their fields merge, [`apply`] and [`patch`] merge them and
//! [`validate`] defaults, prunes and checks them. Nothing here does I/O, holds a lock or reads a clock.

pub mod apply;
pub mod patch;
pub mod schema;
pub mod selector;
pub mod validate;
