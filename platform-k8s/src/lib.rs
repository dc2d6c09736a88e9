//! Kubernetes for the platform: server-side apply, diff, prune, readiness, isolation objects and rendering.
