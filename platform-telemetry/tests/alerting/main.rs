//! Notifiers against real servers on this machine, and the plane with its alerts on the embedded store.

mod email;
mod http;
mod plane;
mod support;
