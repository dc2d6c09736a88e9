//! What the caller may need to do at AWS, why, and a policy that allows this and no more. `sts:GetCallerIdentity` needs no permission.
//!
//! ```text
//! table      every action: for what, and when
//! scope      on which resources, and under which conditions
//! policy     statements of IAM, and policies small enough to be attached
//! check      the same as questions to IAM's simulation
//! ```

mod check;
mod policy;
mod scope;
mod table;

pub use check::PermissionCheck;
pub use policy::{IamPolicy, Statement};
pub use scope::PermissionScope;
pub use table::{Action, Phase, actions};
