//! The console over real connections: its API, its events, and its page in a browser.

mod api;
mod browser;
mod dashboards;
mod events;
mod fixture;
mod misuse;
mod page;
