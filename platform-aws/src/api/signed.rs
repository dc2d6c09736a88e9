//! Requests that are signed here, for services whose clients are too heavy.
//!
//! They go through what AWS' own clients stand on: the same credentials and their cache, the same retries and deadlines. Only the requests and
//! answers are written here.
//!
//! ```text
//! service  where a service is
//! form     requests as forms
//! answer   answers and errors, in XML and JSON
//! ```

mod answer;
mod form;
mod service;

pub(super) use form::Form;
pub(super) use service::{CLASSIC_LOAD_BALANCING, EC2, IAM, LOAD_BALANCING, SERVICE_QUOTAS, Service};

use self::answer::Body;
use self::service::Protocol;
use super::{ApiError, ApiErrorKind, ApiResult};
use aws_config::{
    SdkConfig,
    identity::IdentityCache,
    retry::RetryConfig,
    timeout::{TimeoutConfig, TimeoutConfigBuilder},
};
use aws_runtime::{
    auth::{
        SigV4OperationSigningConfig,
        sigv4::{SCHEME_ID, SigV4AuthScheme},
    },
    retries::classifiers::AwsErrorCodeClassifier,
    service_clock_skew::{ServiceClockSkewClassifier, ServiceClockSkewInterceptor},
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::client::{
    auth::{
        AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
        static_resolver::StaticAuthSchemeOptionResolver,
    },
    identity::SharedIdentityCache,
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponentsBuilder,
    runtime_plugin::StaticRuntimePlugin,
};
use aws_smithy_types::{body::SdkBody, config_bag::Layer, error::metadata::ErrorMetadata};
use aws_types::{
    SigningName,
    region::{Region, SigningRegion},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc, time::Duration};

/// The deadline of an attempt where the configuration has none. These calls answer within seconds.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Signs requests with the credentials of a configuration and sends them. Cheap to clone.
#[derive(Clone)]
pub(super) struct SignedClient {
    configuration: Arc<SdkConfig>,
    identities: SharedIdentityCache,
}

impl SignedClient {
    pub(super) fn new(configuration: &SdkConfig) -> Self {
        Self {
            configuration: Arc::new(configuration.clone()),
            identities: configuration.identity_cache().unwrap_or_else(|| IdentityCache::lazy().build()),
        }
    }

    /// Calls `action`, such as `ec2:DescribeVpcs`, with a form, and reads what its answer holds.
    pub(super) async fn query<T: DeserializeOwned>(
        &self,
        service: Service,
        action: &'static str,
        form: Form,
    ) -> ApiResult<T> {
        let Protocol::Query(version) = service.protocol else { return Err(mismatch(action)) };
        let body = form.encode(operation_of(action), version);
        let headers = vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
        let body = self.send(service, action, headers, body).await?;
        answer::xml(&body).map_err(|why| unreadable(action, &why))
    }

    /// Calls `action` with JSON, and reads its answer.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        service: Service,
        action: &'static str,
        request: &(impl Serialize + Sync),
    ) -> ApiResult<T> {
        let Protocol::Json(target) = service.protocol else { return Err(mismatch(action)) };
        let body = serde_json::to_string(request)
            .map_err(|e| ApiError::new(ApiErrorKind::Invalid, action, e.to_string()))?;
        let headers = vec![
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("{target}.{}", operation_of(action))),
        ];
        let body = self.send(service, action, headers, body).await?;
        serde_json::from_slice(&body.0).map_err(|e| unreadable(action, &e.to_string()))
    }

    async fn send(
        &self,
        service: Service,
        action: &'static str,
        headers: Vec<(&'static str, String)>,
        body: String,
    ) -> ApiResult<Body> {
        let configuration = &self.configuration;
        let region = configuration.region().ok_or_else(|| no_region(action))?.as_ref();
        let credentials = configuration.credentials_provider().ok_or_else(|| no_credentials(action))?;
        let endpoint = configuration.endpoint_url().map_or_else(
            || service.endpoint(region, configuration.use_fips().unwrap_or_default()),
            str::to_owned,
        );

        let mut layer = Layer::new("signed");
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        layer.store_put(SigningName::from_static(service.name));
        let signing = service.signing_region(region).into_owned();
        layer.store_put(SigningRegion::from(Region::new(signing)));
        layer.store_put(SigV4OperationSigningConfig::default());
        let mut components = RuntimeComponentsBuilder::new("signed")
            .with_identity_cache(Some(self.identities.clone()))
            .with_http_client(configuration.http_client())
            .with_retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .with_retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .with_retry_classifier(HttpStatusCodeClassifier::default())
            .with_retry_classifier(ServiceClockSkewClassifier::<ErrorMetadata>::new())
            .with_interceptor(ServiceClockSkewInterceptor::new());
        let schemes = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
        components.set_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(schemes)));
        components.push_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()));
        components.set_identity_resolver(SCHEME_ID, credentials);
        components.set_sleep_impl(configuration.sleep_impl());
        components.set_time_source(configuration.time_source());
        let plugin =
            StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components);

        let mut operation = Operation::builder();
        if let Some(version) = configuration.behavior_version() {
            operation = operation.behavior_version(version);
        }
        let operation = operation
            .service_name(service.name)
            .operation_name(operation_of(action))
            .endpoint_url(&endpoint)
            .standard_retry(&configuration.retry_config().cloned().unwrap_or_else(RetryConfig::standard))
            .timeout_config(self.timeouts())
            .with_connection_poisoning()
            .runtime_plugin(plugin)
            .serializer(move |(): ()| {
                let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
                request.set_method("POST")?;
                request.set_uri("/")?;
                for (name, value) in &headers {
                    request.headers_mut().try_insert(*name, value.clone())?;
                }
                let length = body.len().to_string();
                request.headers_mut().try_insert("content-length", length)?;
                Ok(request)
            })
            .deserializer(answer::read)
            .build();
        operation.invoke(()).await.map_err(|error| ApiError::of(action, &error))
    }

    fn timeouts(&self) -> TimeoutConfig {
        let configured = self.configuration.timeout_config();
        let mut timeouts = configured.map_or_else(TimeoutConfigBuilder::new, TimeoutConfig::to_builder);
        if configured.and_then(TimeoutConfig::operation_attempt_timeout).is_none() {
            timeouts.set_operation_attempt_timeout(Some(ATTEMPT));
        }
        timeouts.build()
    }
}

/// Without credentials, which the configuration holds.
impl fmt::Debug for SignedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let configuration = &self.configuration;
        f.debug_struct("SignedClient")
            .field("region", &configuration.region())
            .field("endpoint", &configuration.endpoint_url())
            .finish_non_exhaustive()
    }
}

/// `DescribeVpcs` of `ec2:DescribeVpcs`.
fn operation_of(action: &'static str) -> &'static str {
    action.rsplit(':').next().unwrap_or(action)
}

fn mismatch(action: &'static str) -> ApiError {
    ApiError::new(ApiErrorKind::Unknown, action, "the service does not speak the protocol of this call")
}

fn no_region(action: &'static str) -> ApiError {
    ApiError::new(
        ApiErrorKind::Invalid,
        action,
        "no region is configured: set AWS_REGION or that of the profile",
    )
}

fn no_credentials(action: &'static str) -> ApiError {
    ApiError::new(ApiErrorKind::Credentials, action, "no provider of credentials is configured")
}

fn unreadable(action: &'static str, why: &str) -> ApiError {
    ApiError::new(ApiErrorKind::Unknown, action, format!("the answer cannot be read: {why}"))
}
