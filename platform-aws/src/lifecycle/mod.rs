//! The life of a cluster at EKS.
//!
//! ```text
//! job            one cluster as it is wanted, and what it is worked on with
//! observe        what there is
//! changes        what stands between the two: computed once, told by plans and carried out by creation
//! create         the order of it all
//!   foundation     the stack of the network and of roles
//!   control_plane  the cluster itself, its configuration and version
//!   nodes          node groups and Fargate profiles
//!   addons         addons
//!   access         access entries, and the roles of pods
//! delete         the order of taking it down
//!   sweep          what controllers left behind
//! ```

pub(crate) mod access;
pub(crate) mod addons;
pub(crate) mod changes;
pub(crate) mod control_plane;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod foundation;
pub(crate) mod job;
pub(crate) mod nodes;
pub(crate) mod observe;
pub(crate) mod sweep;
