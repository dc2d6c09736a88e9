//! Answers and errors, in XML and JSON.

use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_types::error::metadata::ErrorMetadata;
use serde::{Deserialize, de::DeserializeOwned};
use std::fmt;

/// The bytes of an answer. They are not printed.
pub(super) struct Body(pub(super) Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// The body of an answer, or the error that it says.
pub(super) fn read(response: &HttpResponse) -> Result<Body, OrchestratorError<ErrorMetadata>> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        return Ok(Body(body.to_vec()));
    }
    let header = response.headers().get("x-amzn-errortype");
    let error = said(header, &String::from_utf8_lossy(body));
    Err(OrchestratorError::operation(error))
}

/// What an answer in XML holds.
pub(super) fn xml<T: DeserializeOwned>(body: &Body) -> Result<T, String> {
    let text = std::str::from_utf8(&body.0).map_err(|e| e.to_string())?;
    quick_xml::de::from_str(text).map_err(|e| e.to_string())
}

#[derive(Deserialize)]
struct Refusal {
    /// EC2's.
    #[serde(rename = "Errors")]
    errors: Option<Errors>,
    /// That of the others.
    #[serde(rename = "Error")]
    error: Option<Said>,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(rename = "Error")]
    error: Said,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "__type")]
    kind: Option<String>,
    #[serde(rename = "Message")]
    message: Option<String>,
    /// Some services, and emulators of others, write it so, beside the former or alone.
    #[serde(rename = "message")]
    small: Option<String>,
}

/// The code and the message, where there are any: a proxy's page has neither.
fn said(header: Option<&str>, body: &str) -> ErrorMetadata {
    let said = if body.trim_start().starts_with('{') {
        serde_json::from_str::<Said>(body).unwrap_or_default()
    } else {
        let refusal = quick_xml::de::from_str::<Refusal>(body).ok();
        refusal.and_then(|one| one.errors.map(|e| e.error).or(one.error)).unwrap_or_default()
    };
    let mut error = ErrorMetadata::builder();
    // `NAMESPACE#CODE:URL` in JSON's answers.
    let code = said.code.as_deref().or(said.kind.as_deref()).or(header).map(|code| {
        let code = code.rsplit('#').next().unwrap_or(code);
        code.split(':').next().unwrap_or(code).trim().to_owned()
    });
    if let Some(code) = code.filter(|code| !code.is_empty()) {
        error = error.code(code);
    }
    if let Some(message) = said.message.or(said.small) {
        error = error.message(message);
    }
    error.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_says_errors_in_its_own_way() {
        let ec2 = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>InvalidGroup.NotFound</Code>\
                   <Message>The security group &#39;sg-1&#39; does not exist</Message></Error></Errors><RequestID>1</RequestID></Response>";
        let error = said(None, ec2);
        assert_eq!(error.code(), Some("InvalidGroup.NotFound"));
        assert_eq!(error.message(), Some("The security group 'sg-1' does not exist"));

        let query = "<ErrorResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><Error><Type>Sender</Type>\
                     <Code>LoadBalancerNotFound</Code><Message>gone</Message></Error><RequestId>1</RequestId></ErrorResponse>";
        assert_eq!(said(None, query).code(), Some("LoadBalancerNotFound"));

        let twice = "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>a</Message><message>b</message></Error></ErrorResponse>";
        assert_eq!(said(None, twice).message(), Some("a"));

        let json = r#"{"__type":"com.amazonaws.servicequotas#NoSuchResourceException","Message":"no"}"#;
        let error = said(None, json);
        assert_eq!((error.code(), error.message()), (Some("NoSuchResourceException"), Some("no")));
        let error = said(Some("ThrottlingException:http://internal.amazon.com/"), "{}");
        assert_eq!(error.code(), Some("ThrottlingException"));

        for page in ["<html><body>502</body></html>", "", "<", "{"] {
            assert_eq!((said(None, page).code(), said(None, page).message()), (None, None), "{page}");
        }
    }
}
