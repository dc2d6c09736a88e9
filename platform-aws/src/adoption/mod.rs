//! Clusters that somebody else made: what they are, how they would be described here, and how they are taken over.
//!
//! ```text
//! origin        who made it, by its tags
//! inspection    everything that EKS tells of it; nothing is changed
//! description   it in the words of our settings, and what they have no words for
//! nodes         node groups and profiles in these words
//! import        what taking it over changes, and doing it
//! ```

mod description;
mod import;
mod inspection;
mod nodes;
mod origin;

pub use import::Import;
pub use inspection::{Inspection, Principal, inspect};
pub use origin::Origin;

#[cfg(test)]
mod tests;
