//! Names that are checked once, where they enter.
//!
//! Every name ends up as (a part of) a Kubernetes name, so all follow the DNS label of [RFC 1123]:
//! lower case letters, digits and `-`, starting and ending with a letter or digit. Their lengths leave room for what is
//! put before or behind them: an isolation that gives each application of an environment a namespace
//! joins both names by `-`, and a label value holds 63 characters.
//!
//! [RFC 1123]: https://www.rfc-editor.org/rfc/rfc1123

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Checks `name` against the DNS label rule with at most `max` characters; `what` names it in the error.
fn check(what: &str, name: &str, max: usize) -> Result<()> {
    let problem = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > max {
        format!("it has {} characters, at most {max} are allowed", name.len())
    } else if let Some(bad) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        format!("{bad:?} is not allowed, only a-z, 0-9 and '-' are")
    } else if name.starts_with('-') || name.ends_with('-') {
        "it must start and end with a letter or a digit".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{name:?} is not a valid {what}: {problem}")))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $max:literal;)*) => {$(
        $(#[$doc])*
        #[doc = concat!("\n\nA DNS label of at most ", stringify!($max), " characters. Cheap to clone.")]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Checks `name` and makes a ", $what, " of it.")]
            pub fn new(name: impl AsRef<str>) -> Result<Self> {
                check($what, name.as_ref(), $max)?;
                Ok(Self(name.as_ref().into()))
            }

            /// A name that is made of checked names, whose lengths are bounded so that the whole is valid.
            #[allow(dead_code, reason = "not every kind of name is made of others")]
            pub(crate) fn joined(name: impl Into<Arc<str>>) -> Self {
                let name = name.into();
                debug_assert!(check($what, &name, $max).is_ok(), "{name:?}");
                Self(name)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }
    )*};
}

names! {
    /// The name of a platform; the prefix of its clusters' names.
    PlatformName, "platform name", 20;
    /// The name of an environment: `testing`, `production`.
    EnvironmentName, "environment name", 30;
    /// The name of an application: `api1`.
    ApplicationName, "application name", 30;
    /// The name of a component: `node-exporter`.
    ComponentName, "component name", 40;
    /// The name of a cluster: the platform's and the environment's, joined by `-`.
    ClusterName, "cluster name", 63;
    /// The name of a Kubernetes namespace.
    Namespace, "namespace", 63;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bad_name_is_told_what_is_wrong_with_it() {
        let message = |name: &str| EnvironmentName::new(name).map_err(|e| e.to_string());
        assert_eq!(
            message("Prod"),
            Err("\"Prod\" is not a valid environment name: 'P' is not allowed, only a-z, 0-9 and '-' are"
                .into())
        );
        assert!(message("").is_err_and(|m| m.contains("empty")));
        assert!(message("-a").is_err_and(|m| m.contains("start and end")));
        assert!(message(&"a".repeat(31)).is_err_and(|m| m.contains("31 characters")));
        assert_eq!(EnvironmentName::new("production").unwrap(), "production");
    }

    #[test]
    fn a_name_in_a_document_is_checked() {
        let error = serde_json::from_str::<ClusterName>("\"a_b\"").unwrap_err();
        assert!(error.to_string().contains("'_' is not allowed"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_a_dns_label(name in "\\PC{0,40}") {
            let label = !name.is_empty()
                && name.len() <= 30
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !name.starts_with('-')
                && !name.ends_with('-');
            prop_assert_eq!(EnvironmentName::new(&name).is_ok(), label);
        }
    }
}
