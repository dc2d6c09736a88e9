//! The embedded Kubernetes API, driven by `kube` as its users drive it, and by the real kubectl.

mod apply;
mod crud;
mod custom;
mod deletion;
mod discovery;
mod faults;
mod fixture;
mod kubectl;
mod persistence;
mod watch;
