//! Ingresses: an address, as an ingress controller reports it.

use serde_json::json;

use super::super::error::ApiError;
use super::super::store::Stored;
use super::cluster::Cluster;
use super::object::{INGRESSES, is_being_deleted};

/// Where the simulated ingress controller is reached.
const ADDRESS: &str = "172.18.255.1";

impl Cluster {
    pub(super) fn ingress(&mut self, ingress: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(ingress) {
            return Ok(());
        }
        let status = json!({"loadBalancer": {"ingress": [{"ip": ADDRESS}]}});
        if ingress.get("status") != Some(&status) {
            self.events.normal(ingress, "ingress-controller", "Sync", "Scheduled for sync");
        }
        self.put_status(&INGRESSES, ingress, status, "ingress-controller")
    }
}
