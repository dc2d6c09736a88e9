//! What is scraped.

use super::history;
use platform_core::{Error, Result, clock::Timestamp, telemetry::Labels};
use reqwest::Url;
use std::{fmt, time::Duration};

/// An address with labels.
pub(super) struct Target {
    url: Url,
    labels: Labels,
}

impl Target {
    pub(super) fn new(address: &str, labels: &Labels) -> Result<Self> {
        if address.is_empty() || address.starts_with('/') {
            return Err(Error::invalid("the address of a target names no host"));
        }
        let url = if address.contains("://") {
            Url::parse(address)
        } else {
            Url::parse(&format!("http://{address}/metrics"))
        };
        // An address that does not parse may hold a password anywhere: it is not shown.
        let url = url.map_err(|e| Error::invalid("the address of a target is no URL").source(e))?;
        let (Some(host), Some(port), "http" | "https") =
            (url.host_str(), url.port_or_known_default(), url.scheme())
        else {
            return Err(Error::invalid(format!(
                "the scheme {:?} of a target is not http or https",
                url.scheme()
            )));
        };
        let instance = Labels::from_iter([("instance", format!("{host}:{port}"))]);
        Ok(Self { labels: instance.with(labels), url })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How long from `now` until its moment in the interval.
    pub(super) fn delay(&self, interval: Duration, now: Timestamp) -> Duration {
        history::delay(&(&self.url, &self.labels), interval, now)
    }
}

/// Without what may be secret: user, password and query.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default());
        write!(f, "{}://{host}:{}{}", self.url.scheme(), port.unwrap_or_default(), self.url.path())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self} {})", self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str) -> Target {
        Target::new(address, &Labels::from_iter([("job", "web")])).unwrap()
    }

    #[test]
    fn addresses_are_urls_or_hosts_with_ports() {
        assert_eq!(target("localhost:9100").url().as_str(), "http://localhost:9100/metrics");
        let secret = target("https://user:word@example.com/probe?token=x");
        assert_eq!(secret.labels().get("instance"), Some("example.com:443"));
        assert_eq!(secret.to_string(), "https://example.com:443/probe");
        assert!(!format!("{secret:?}").contains("word") && !format!("{secret:?}").contains("token"));
        assert!(Target::new("ftp://example.com", &Labels::empty()).is_err());
        assert!(Target::new("", &Labels::empty()).is_err());
    }

    #[test]
    fn targets_are_spread_over_the_interval_and_keep_their_moment() {
        let interval = Duration::from_secs(15);
        let moment = |target: &Target, now: i64| {
            (u64::try_from(now).unwrap()
                + target.delay(interval, Timestamp::from_millis(now)).as_millis() as u64)
                % 15_000
        };
        let (one, other) = (target("a:1"), target("b:1"));
        assert_eq!(moment(&one, 0), moment(&one, 1_795_466_188_123));
        assert_ne!(moment(&one, 0), moment(&other, 0));
    }
}
