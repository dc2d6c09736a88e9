//! What the components of the catalogue have in common, so that each one's file says what is special about it.

mod configuration;
mod container;
mod defaults;
mod installation;
mod job;
mod objects;
mod pod;
mod rendering;

pub use installation::Installation;

pub(crate) use configuration::Configuration;
pub(crate) use container::{Container, http_get, tcp_socket};
pub(crate) use defaults::{ContainerDefaults, Defaults, Tag};
pub(crate) use installation::Program;
pub(crate) use job::Job;
pub(crate) use objects::{Service, Workload, rule};
pub(crate) use pod::Pod;
pub(crate) use rendering::Frame;
