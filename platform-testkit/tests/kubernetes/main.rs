//! The embedded Kubernetes API, driven by `kube` as its users drive it.

mod crud;
mod fixture;
