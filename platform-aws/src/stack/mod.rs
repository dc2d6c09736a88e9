//! Stacks of CloudFormation: what is made beside a cluster, as templates, and what stacks tell of it.
//!
//! ```text
//! names       how stacks are called
//! place       the addresses of a new VPC and of its subnets
//! template    templates as values: text and digest
//! cluster     the network and the roles of a cluster
//! network     the VPC in it
//! roles       the roles in it, and those of service accounts
//! outputs     what a stack tells
//! ```

mod cluster;
mod names;
mod network;
mod outputs;
mod place;
mod roles;
mod template;

pub(crate) use cluster::{cluster, is_needed, service_accounts};
pub(crate) use names::{PREFIX, cluster_stack_name, service_accounts_stack_name};
pub(crate) use outputs::{StackOutputs, digest_of, place_of, service_account_roles, vpc_of};
pub(crate) use place::{Place, free_cidr};
pub(crate) use template::Template;
