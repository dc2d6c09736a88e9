//! Who asks, and whether they may.
//!
//! ```text
//! user   who a request is from, as authentication found out
//! ```

mod user;

pub(super) use self::user::User;
