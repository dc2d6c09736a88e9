//! The calls of CloudFormation.

use super::{ApiError, ApiErrorKind, ApiResult};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_sdk_cloudformation::{
    Client,
    operation::create_stack::CreateStackError,
    types::{Capability, OnFailure, StackStatus, Tag},
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::{collections::BTreeMap, fmt};

/// Stacks of CloudFormation.
#[async_trait]
pub trait StackApi: Send + Sync + fmt::Debug {
    /// `cloudformation:DescribeStacks` of one that is not deleted, by its name or id.
    async fn describe(&self, stack: &str) -> ApiResult<Stack>;
    /// `cloudformation:DescribeStacks`, all pages: those that are not deleted.
    async fn list(&self) -> ApiResult<Vec<Stack>>;
    /// `cloudformation:DescribeStackEvents`, the latest page, the latest first.
    async fn events(&self, stack: &str) -> ApiResult<Vec<StackEvent>>;
    /// `cloudformation:CreateStack`, which is left as it is where it fails; answers with its id.
    async fn create(&self, request: StackRequest) -> ApiResult<String>;
    /// `cloudformation:UpdateStack`. `false`: there is nothing to update.
    async fn update(&self, request: StackRequest) -> ApiResult<bool>;
    /// `cloudformation:DeleteStack`.
    async fn delete(&self, stack: &str) -> ApiResult<()>;
}

/// A stack as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackRequest {
    /// Its name.
    pub name: String,
    /// Its template in JSON.
    pub template: String,
    /// Its tags, which its resources get too.
    pub tags: BTreeMap<String, String>,
}

/// A stack as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stack {
    /// Its id, an ARN that no other stack has had.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its state, `CREATE_COMPLETE`.
    pub status: String,
    /// Why it is in this state, if CloudFormation says so.
    pub reason: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What its template tells.
    pub outputs: BTreeMap<String, String>,
}

impl Stack {
    /// A stack without tags and outputs.
    pub fn new(id: impl Into<String>, name: impl Into<String>, status: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            status: status.into(),
            reason: None,
            tags: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }
}

/// Something that happened to a resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackEvent {
    /// The resource's name in the template.
    pub resource: String,
    /// Its type, `AWS::EC2::VPC`.
    pub resource_type: String,
    /// Its state, `CREATE_FAILED`.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
}

/// CloudFormation itself.
#[derive(Debug)]
pub(super) struct StackClient(Client);

impl StackClient {
    pub(super) fn new(configuration: &SdkConfig) -> Self {
        let configuration = aws_sdk_cloudformation::config::Builder::from(configuration);
        Self(Client::from_conf(configuration.retry_classifier(QuotasStay).build()))
    }
}

/// AWS' clients take this code for a throttling; CloudFormation says by it that the account has as many stacks as it may.
#[derive(Debug)]
struct QuotasStay;

impl ClassifyRetry for QuotasStay {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error =
            context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let metadata =
            error.and_then(|error| error.downcast_ref::<CreateStackError>()).map(ProvideErrorMetadata::meta);
        match metadata.and_then(|metadata| metadata.code()) {
            Some("LimitExceededException") => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "quotas of CloudFormation"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(AwsErrorCodeClassifier::<CreateStackError>::new().priority())
    }
}

fn tags_of(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn stack_of(found: aws_sdk_cloudformation::types::Stack) -> Stack {
    let pair = |key: Option<String>, value: Option<String>| Some((key?, value?));
    let tags = found.tags.unwrap_or_default().into_iter();
    let outputs = found.outputs.unwrap_or_default().into_iter();
    Stack {
        id: found.stack_id.unwrap_or_default(),
        name: found.stack_name.unwrap_or_default(),
        status: found.stack_status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
        reason: found.stack_status_reason,
        tags: tags.filter_map(|tag| pair(tag.key, tag.value)).collect(),
        outputs: outputs.filter_map(|output| pair(output.output_key, output.output_value)).collect(),
    }
}

#[async_trait]
impl StackApi for StackClient {
    async fn describe(&self, stack: &str) -> ApiResult<Stack> {
        const ACTION: &str = "cloudformation:DescribeStacks";
        let answer = self.0.describe_stacks().stack_name(stack).send().await;
        let mut stacks = answer.map_err(|e| ApiError::of(ACTION, &e))?.stacks.unwrap_or_default();
        // By its id, a deleted one is still told of.
        stacks.retain(|stack| stack.stack_status != Some(StackStatus::DeleteComplete));
        match stacks.into_iter().next() {
            Some(found) => Ok(stack_of(found)),
            None => {
                Err(ApiError::new(ApiErrorKind::NotFound, ACTION, format!("stack {stack} does not exist")))
            }
        }
    }

    async fn list(&self) -> ApiResult<Vec<Stack>> {
        let mut pages = self.0.describe_stacks().into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| ApiError::of("cloudformation:DescribeStacks", &e))?;
            all.extend(page.stacks.unwrap_or_default().into_iter().map(stack_of));
        }
        all.retain(|stack| stack.status != "DELETE_COMPLETE");
        Ok(all)
    }

    async fn events(&self, stack: &str) -> ApiResult<Vec<StackEvent>> {
        let answer = self.0.describe_stack_events().stack_name(stack).send().await;
        let answer = answer.map_err(|e| ApiError::of("cloudformation:DescribeStackEvents", &e))?;
        let events = answer.stack_events.unwrap_or_default().into_iter().map(|event| StackEvent {
            resource: event.logical_resource_id.unwrap_or_default(),
            resource_type: event.resource_type.unwrap_or_default(),
            status: event.resource_status.map(|status| status.as_str().to_owned()).unwrap_or_default(),
            reason: event.resource_status_reason,
        });
        Ok(events.collect())
    }

    async fn create(&self, request: StackRequest) -> ApiResult<String> {
        let call = self
            .0
            .create_stack()
            .stack_name(request.name)
            .template_body(request.template)
            .set_tags(Some(tags_of(&request.tags)))
            .capabilities(Capability::CapabilityIam)
            .on_failure(OnFailure::Rollback);
        let answer = call.send().await.map_err(|e| ApiError::of("cloudformation:CreateStack", &e))?;
        Ok(answer.stack_id.unwrap_or_default())
    }

    async fn update(&self, request: StackRequest) -> ApiResult<bool> {
        let call = self
            .0
            .update_stack()
            .stack_name(request.name)
            .template_body(request.template)
            .set_tags(Some(tags_of(&request.tags)))
            .capabilities(Capability::CapabilityIam);
        match call.send().await.map_err(|e| ApiError::of("cloudformation:UpdateStack", &e)) {
            Ok(_) => Ok(true),
            Err(error) if error.message.contains("No updates are to be performed") => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, stack: &str) -> ApiResult<()> {
        let answer = self.0.delete_stack().stack_name(stack).send().await;
        answer.map(drop).map_err(|e| ApiError::of("cloudformation:DeleteStack", &e))
    }
}
