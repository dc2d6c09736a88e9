//! Notifiers against real servers on this machine, and the alert engine on the embedded store.

mod email;
mod http;
mod support;
