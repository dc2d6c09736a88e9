//! Who asks, and whether they may.
//!
//! ```text
//! user         who a request is from
//! webhook      tokens that others vouch for
//! identity     authentication: the credentials and the impersonation of a request
//! token        the tokens of service accounts, as signed JWTs
//! access       what a request wants to do
//! authorizer   RBAC: whether it may
//! rule         one rule of a role: what it allows, and whether others cover it
//! escalation   nobody grants what they do not hold
//! aggregation  the controller of ClusterRoles that sum up others
//! roles        the roles and bindings that every cluster has
//! ```
//!
//! The administrator, and with them everybody in `system:masters`, may do everything and is never looked up.

mod access;
pub(super) mod aggregation;
mod authorizer;
mod escalation;
mod identity;
pub(super) mod roles;
mod rule;
pub(super) mod token;
mod user;
mod webhook;

use super::resource::GroupResource;

pub(super) use self::access::{Access, ResourceAccess};
pub(super) use self::authorizer::{MissingRole, authorize, require, rules_of, summed_up};
pub(super) use self::escalation::check as check_escalation;
pub(super) use self::identity::{identify, user_of};
pub(super) use self::token::Tokens;
pub use self::user::User;
pub use self::webhook::TokenAuthenticator;

/// The API group of roles and bindings.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

const ROLES: GroupResource = GroupResource::new(RBAC, "roles");
const CLUSTER_ROLES: GroupResource = GroupResource::new(RBAC, "clusterroles");
const ROLE_BINDINGS: GroupResource = GroupResource::new(RBAC, "rolebindings");
const CLUSTER_ROLE_BINDINGS: GroupResource = GroupResource::new(RBAC, "clusterrolebindings");
