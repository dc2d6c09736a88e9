//! Who calls, what it may, and which quotas hold: STS, IAM and Service Quotas.

use super::{
    ApiError, ApiErrorKind, ApiResult,
    signed::{Form, IAM, SERVICE_QUOTAS, SignedClient},
};
use crate::permissions::PermissionCheck;
use async_trait::async_trait;
use aws_config::SdkConfig;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked of the account.
#[async_trait]
pub trait AccountApi: Send + Sync + fmt::Debug {
    /// `sts:GetCallerIdentity`.
    async fn caller(&self) -> ApiResult<Caller>;
    /// `iam:GetRole`: the ARN of a role with its path, which STS does not tell.
    async fn role_arn(&self, name: &str) -> ApiResult<String>;
    /// `iam:SimulatePrincipalPolicy`: which of these actions `principal` may do, on such a resource and in such a context.
    async fn permissions(&self, principal: &str, check: &PermissionCheck) -> ApiResult<Vec<Permission>>;
    /// `servicequotas:GetServiceQuota`, for instance of `eks` and `L-1194D53C`.
    async fn quota(&self, service: &str, code: &str) -> ApiResult<Quota>;
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account, 12 digits.
    pub account: String,
    /// The ARN of the session or user.
    pub arn: String,
}

impl Caller {
    /// The partition of its ARN: `aws`, `aws-cn`, `aws-us-gov`.
    pub fn partition(&self) -> &str {
        self.arn.split(':').nth(1).unwrap_or("aws")
    }

    /// The name of the role whose session it is; `None` for a user.
    pub fn role(&self) -> Option<&str> {
        self.arn.split(":assumed-role/").nth(1)?.split('/').next()
    }
}

/// Whether something is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The action, `eks:CreateCluster`.
    pub action: String,
    /// Whether it is allowed.
    pub allowed: bool,
}

/// A quota.
#[derive(Debug, Clone, PartialEq)]
pub struct Quota {
    /// Its name, as Service Quotas calls it.
    pub name: String,
    /// How much is allowed.
    pub value: f64,
}

/// STS, IAM and Service Quotas themselves.
#[derive(Debug)]
pub(super) struct AccountClient {
    sts: aws_sdk_sts::Client,
    signed: SignedClient,
}

impl AccountClient {
    pub(super) fn new(configuration: &SdkConfig, signed: SignedClient) -> Self {
        Self { sts: aws_sdk_sts::Client::new(configuration), signed }
    }
}

#[async_trait]
impl AccountApi for AccountClient {
    async fn caller(&self) -> ApiResult<Caller> {
        const ACTION: &str = "sts:GetCallerIdentity";
        let answer = self.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| ApiError::of(ACTION, &error))?;
        match (answer.account, answer.arn) {
            (Some(account), Some(arn)) => Ok(Caller { account, arn }),
            _ => Err(incomplete(ACTION, "the account or the ARN")),
        }
    }

    async fn role_arn(&self, name: &str) -> ApiResult<String> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "GetRoleResult")]
            result: Found,
        }
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "Role")]
            role: Role,
        }
        #[derive(Deserialize)]
        struct Role {
            #[serde(rename = "Arn")]
            arn: String,
        }
        let form = Form::new().set("RoleName", name);
        let answer: Answer = self.signed.query(IAM, "iam:GetRole", form).await?;
        Ok(answer.result.role.arn)
    }

    async fn permissions(&self, principal: &str, check: &PermissionCheck) -> ApiResult<Vec<Permission>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "SimulatePrincipalPolicyResult")]
            result: Simulated,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Simulated {
            #[serde(default)]
            evaluation_results: Evaluations,
            #[serde(default)]
            is_truncated: bool,
            marker: Option<String>,
        }
        #[derive(Default, Deserialize)]
        struct Evaluations {
            #[serde(rename = "member", default)]
            all: Vec<Evaluation>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Evaluation {
            eval_action_name: String,
            eval_decision: String,
        }
        const ACTION: &str = "iam:SimulatePrincipalPolicy";
        let mut form = Form::new()
            .set("PolicySourceArn", principal)
            .list("ActionNames.member", check.actions.iter().copied())
            .list("ResourceArns.member", [check.resource.as_str()])
            .set("MaxItems", "1000");
        for (index, (key, value)) in check.context.iter().enumerate() {
            let entry = format!("ContextEntries.member.{}", index + 1);
            form = form
                .set(&format!("{entry}.ContextKeyName"), key)
                .set(&format!("{entry}.ContextKeyType"), "string")
                .list(&format!("{entry}.ContextKeyValues.member"), [value.as_str()]);
        }
        let mut found = Vec::new();
        let mut marker = None;
        loop {
            let form = form.clone().maybe("Marker", marker);
            let answer: Answer = self.signed.query(IAM, ACTION, form).await?;
            found.extend(answer.result.evaluation_results.all.into_iter().map(|one| Permission {
                allowed: one.eval_decision == "allowed",
                action: one.eval_action_name,
            }));
            marker = answer.result.marker.filter(|marker| answer.result.is_truncated && !marker.is_empty());
            if marker.is_none() {
                return Ok(found);
            }
        }
    }

    async fn quota(&self, service: &str, code: &str) -> ApiResult<Quota> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Question<'a> {
            service_code: &'a str,
            quota_code: &'a str,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            quota: Found,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            quota_name: Option<String>,
            value: Option<f64>,
        }
        const ACTION: &str = "servicequotas:GetServiceQuota";
        let question = Question { service_code: service, quota_code: code };
        let answer: Answer = self.signed.json(SERVICE_QUOTAS, ACTION, &question).await?;
        let value = answer.quota.value.ok_or_else(|| incomplete(ACTION, "the value"))?;
        Ok(Quota { name: answer.quota.quota_name.unwrap_or_else(|| code.to_owned()), value })
    }
}

fn incomplete(action: &'static str, part: &str) -> ApiError {
    ApiError::new(ApiErrorKind::Unknown, action, format!("the answer does not have {part}"))
}
