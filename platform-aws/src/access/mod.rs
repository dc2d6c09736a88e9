//! How clusters are reached: tokens for programs, kubeconfigs for people.

mod kubeconfig;
mod token;

pub use kubeconfig::Kubeconfig;
pub use token::EksTokens;
