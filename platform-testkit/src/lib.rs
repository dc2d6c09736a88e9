//! What tests and demonstrations stand on: an embedded Kubernetes API and its cluster provider, and conformance suites over the platform traits.
