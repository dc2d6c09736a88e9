//! Who is told of alerts: a terminal, a webhook, Slack, people by email.
//!
//! Each makes one call for one [`Notification`](platform_core::alert::Notification); the
//! [`AlertEngine`](crate::alerting::AlertEngine) bounds and repeats it. Addresses that are secrets and credentials appear neither in
//! `Debug` nor in errors.

mod email;
mod slack;
mod terminal;
mod webhook;

pub use email::{Email, EmailBuilder, EmailSecurity};
pub use slack::Slack;
pub use terminal::Terminal;
pub use webhook::Webhook;
