//! An embedded Kubernetes API: one simulated cluster in this process, which `kube` and `kubectl` use over HTTP
//! as they use a real one.
//!
//! ```text
//! server       what users start, address and stop
//! http         what a request means: paths, media types, tables, discovery
//! admission    what the cluster lets be written: policies, quotas, limits, Pod Security
//! write        the way of an object into the store: decode, default, validate, track managers
//! store        objects, versions, watches; the handle that controllers use
//! semantics    pure rules: server-side apply, strategic merge, selectors, validation
//! auth         who asks, and whether they may
//! controllers  what makes workloads run: deployments, jobs, endpoints, a kubelet
//! garbage      what deletes: owners' dependents, namespaces' content
//! journal      what a cluster of a former run left on disk
//! ```
//!
//! The cluster is simulated: nothing runs in its pods. What it promises is the API: objects, versions, conflicts,
//! watches and status as a real control plane gives them. [A suite](crate::conformance::kubernetes) holds it to that beside
//! real ones.
//!
//! Requests without credentials are the administrator's. Tokens of service accounts and impersonation make others of
//! them, who may do what RBAC gives them; for tokens of others [somebody](TokenAuthenticator) can vouch. There are no client certificates, and the controllers in this process are
//! not asked what they may.
//!
//! Not simulated: the descriptions of fields in OpenAPI v3, which `kubectl explain` prints; admission webhooks; `exec`, `attach` and
//! `port-forward`.

mod admission;
mod auth;
mod bootstrap;
mod builtin;
mod controllers;
mod decode;
mod deletion;
mod error;
mod faults;
mod garbage;
mod http;
mod journal;
mod logs;
mod metadata;
mod requests;
mod resource;
pub mod semantics;
mod server;
mod state;
mod store;
mod strategy;
mod write;

pub use auth::{TokenAuthenticator, User};
pub use controllers::{Behaviour, ImageBehaviour};
pub use deletion::{DeleteOptions, Deletion, Propagation};
pub use error::{ApiError, Cause, Details};
pub use faults::{Effect, Fault, Faults};
pub use journal::DataError;
pub use logs::{Line, Logs};
pub use requests::RequestCounts;
pub use resource::{Catalog, Custom, GroupResource, Registry, Resource};
pub use server::{EmbeddedApi, EmbeddedApiBuilder, StartError};
pub use store::{Change, Event, Key, Listing, Store, Stored, Watch};
