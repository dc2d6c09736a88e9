//! What librdkafka's errors mean here.

use platform_core::{Error, ErrorKind};
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

/// The error of an operation on a subject.
pub(crate) fn failure(operation: &str, subject: impl Into<String>, error: KafkaError) -> Error {
    let (kind, help) = match error.rdkafka_error_code() {
        Some(code) => meaning(code),
        None => match error {
            KafkaError::ClientConfig(..) => (ErrorKind::Invalid, Some("correct this property of Kafka")),
            KafkaError::Canceled => (ErrorKind::Cancelled, None),
            _ => (ErrorKind::Unavailable, None),
        },
    };
    let message =
        error.rdkafka_error_code().map_or_else(|| "Kafka's client failed".to_owned(), |c| c.to_string());
    let made = Error::new(kind, message).operation(operation).subject(subject).source(error);
    match help {
        Some(help) => made.help(help),
        None => made,
    }
}

fn meaning(code: RDKafkaErrorCode) -> (ErrorKind, Option<&'static str>) {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => {
            (ErrorKind::Denied, Some("see Kafka's ACLs and the credentials of this client"))
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            (ErrorKind::Exhausted, Some("raise the topic's max.message.bytes"))
        }
        Code::InvalidTopic | Code::InvalidArgument | Code::InvalidConfig | Code::UnsupportedFeature => {
            (ErrorKind::Invalid, None)
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            (ErrorKind::Unavailable, Some("create the topic, or let the brokers create topics"))
        }
        Code::TopicAlreadyExists => (ErrorKind::AlreadyExists, None),
        _ => (ErrorKind::Unavailable, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let of = |code| failure("send", "testing.logs.v1", KafkaError::MessageProduction(code));
        assert!(of(RDKafkaErrorCode::BrokerTransportFailure).is_retryable());
        assert!(of(RDKafkaErrorCode::MessageTimedOut).is_retryable());
        assert!(!of(RDKafkaErrorCode::MessageSizeTooLarge).is_retryable());
        let denied = of(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(denied.kind(), ErrorKind::Denied);
        assert!(denied.to_string().contains("ACLs"), "{denied}");
    }
}
