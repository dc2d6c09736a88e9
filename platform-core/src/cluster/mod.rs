//! Clusters: where they come from ([`ClusterProvider`]), how they are reached ([`ClusterAccess`]) and what is done in
//! them ([`Cluster`]).

mod access;
mod api;
mod drift;
mod provider;
mod proxy;
mod selection;

pub use access::{ClusterAccess, Credential, CredentialSource, NoCredential};
pub use api::{
    ApplyOptions, ApplyReport, Cluster, DeleteReport, FieldChange, ListOptions, ObjectChange, ObjectDiff,
    ObjectHealth, ObjectOutcome, Readiness, SetOwner, Watch, WatchEvent,
};
pub use drift::{Drift, FieldDrift, ObjectDrift};
pub use provider::{
    ClusterChange, ClusterPhase, ClusterProvider, ClusterRole, ClusterSpec, ClusterStatus, Deletion,
    ProviderCapabilities,
};
pub use proxy::{ProxyRequest, ProxyTarget};
pub use selection::Clusters;
