//! Email over SMTP.

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use platform_core::{
    Error, ErrorKind, Result,
    alert::{Alert, AlertState, Notification, Notifier},
};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, fmt::Write as _, time::Duration};

/// How the connection to the server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum EmailSecurity {
    /// `STARTTLS` (RFC 3207) before anything is sent; a server that does not offer it is told nothing. Port 587.
    #[default]
    StartTls,
    /// TLS from the first byte (RFC 8314). Port 465.
    Tls,
    /// None, for servers on this machine. Port 25. Credentials are refused with it.
    None,
}

/// Sends a message for each notification, as text and as HTML.
///
/// Temporary refusals (4xx) and broken connections are worth a retry; permanent ones (5xx) and a server that cannot be trusted are not.
/// A message is for all recipients: if the server refuses one of them, nobody gets it, and the error says so.
#[derive(Clone)]
pub struct Email {
    name: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    timeout: Duration,
}

/// Sets up an [`Email`].
#[derive(Debug)]
pub struct EmailBuilder {
    host: String,
    port: Option<u16>,
    security: EmailSecurity,
    from: String,
    to: Vec<String>,
    credentials: Option<(String, SecretString)>,
    root_certificate: Option<Vec<u8>>,
    timeout: Duration,
    name: Option<String>,
}

impl Email {
    /// Sends by the server `host`, from the address `from`: `alerts@example.com` or `Alerts <alerts@example.com>`.
    pub fn builder(host: impl Into<String>, from: impl Into<String>) -> EmailBuilder {
        EmailBuilder {
            host: host.into(),
            port: None,
            security: EmailSecurity::default(),
            from: from.into(),
            to: Vec::new(),
            credentials: None,
            root_certificate: None,
            timeout: Duration::from_secs(20),
            name: None,
        }
    }

    fn message(&self, notification: &Notification) -> Result<Message> {
        let title: String = notification.title().split_whitespace().collect::<Vec<_>>().join(" ");
        // RFC 3834: nobody's holiday should answer.
        let automatic =
            HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(title)
            .date_now()
            .message_id(None)
            .raw_header(automatic);
        for recipient in &self.to {
            message = message.to(recipient.clone());
        }
        let body = MultiPart::alternative_plain_html(text(notification), html(notification));
        message.multipart(body).map_err(|e| Error::invalid("the message cannot be built").source(e))
    }
}

impl EmailBuilder {
    /// Adds a recipient.
    #[must_use]
    pub fn to(mut self, address: impl Into<String>) -> Self {
        self.to.push(address.into());
        self
    }

    /// Sets the port. Default: that of the [`EmailSecurity`].
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets how the connection is protected. Default: [`EmailSecurity::StartTls`].
    #[must_use]
    pub fn security(mut self, security: EmailSecurity) -> Self {
        self.security = security;
        self
    }

    /// Logs in.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Trusts a certificate authority besides Mozilla's, in PEM.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// Sets how long it may take to deliver a message, from connecting to the server's last word. Default: 20 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets its name, `email to FIRST RECIPIENT` by default.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Makes the notifier; connects only when there is something to send.
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) for a bad address, no recipient, a bad certificate, or credentials that would be sent
    /// unprotected.
    pub fn build(self) -> Result<Email> {
        self.check().map_err(|e| e.operation("set up").subject("email"))
    }

    fn check(self) -> Result<Email> {
        let mailbox = |address: &str| {
            let parsed: Result<Mailbox, _> = address.parse();
            parsed.map_err(|e| Error::invalid(format!("{address:?} is not an email address")).source(e))
        };
        let from = mailbox(&self.from)?;
        let to = self.to.iter().map(|address| mailbox(address)).collect::<Result<Vec<_>>>()?;
        let Some(first) = to.first() else {
            return Err(Error::invalid("it has no recipient").help("add one by `to`"));
        };
        let name = self.name.unwrap_or_else(|| match to.len() {
            1 => format!("email to {}", first.email),
            more => format!("email to {} and {} more", first.email, more - 1),
        });
        let mut tls = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.root_certificate {
            let certificate = Certificate::from_pem(pem)
                .map_err(|e| Error::invalid("the root certificate is not valid PEM").source(e))?;
            tls = tls.add_root_certificate(certificate);
        }
        let tls = || tls.build_rustls().map_err(|e| Error::invalid("TLS cannot be set up").source(e));
        let (port, tls) = match self.security {
            EmailSecurity::StartTls => (587, Tls::Required(tls()?)),
            EmailSecurity::Tls => (465, Tls::Wrapper(tls()?)),
            EmailSecurity::None if self.credentials.is_some() => {
                return Err(Error::invalid("its password would be sent unprotected")
                    .help("use STARTTLS or TLS, or leave the credentials out"));
            }
            EmailSecurity::None => (25, Tls::None),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host)
            .port(self.port.unwrap_or(port))
            .tls(tls)
            .timeout(Some(self.timeout));
        if let Some((user, password)) = self.credentials {
            transport = transport.credentials(Credentials::new(user, password.expose_secret().to_owned()));
        }
        Ok(Email { name, from, to, transport: transport.build(), timeout: self.timeout })
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("name", &self.name).field("from", &self.from).finish_non_exhaustive()
    }
}

#[async_trait]
impl Notifier for Email {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, notification: &Notification) -> Result<()> {
        let message = self.message(notification)?;
        // The transport's own timeout ends with connecting.
        match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(sent) => sent.map(drop).map_err(failure),
            Err(_) => Err(too_late().retryable(true)),
        }
    }
}

fn failure(error: lettre::transport::smtp::Error) -> Error {
    let code = error.status().map(u16::from);
    let refused = |kind, message: &str| Error::new(kind, message).retryable(false);
    let failure = if error.is_permanent() && matches!(code, Some(530 | 534 | 535 | 538)) {
        refused(ErrorKind::Denied, "the mail server refused the login")
    } else if error.is_permanent() {
        refused(ErrorKind::Failed, "the mail server refused the message")
    } else if error.is_transient() {
        Error::new(ErrorKind::Unavailable, "the mail server cannot take the message now")
    } else if error.is_tls() || is_untrusted(&error) {
        refused(ErrorKind::Failed, "the connection to the mail server cannot be protected")
    } else if error.is_client() {
        refused(ErrorKind::Failed, "the mail server lacks what is needed")
    } else if error.is_timeout() {
        too_late().retryable(true)
    } else {
        Error::new(ErrorKind::Unavailable, "the connection to the mail server failed")
    };
    failure.source(error)
}

/// Whether the handshake failed by what the server showed: the next one would too.
fn is_untrusted(error: &lettre::transport::smtp::Error) -> bool {
    let chain = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    chain.filter_map(|cause| cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()).any(|cause| {
        matches!(cause, rustls::Error::InvalidCertificate(_) | rustls::Error::PeerIncompatible(_))
    })
}

fn too_late() -> Error {
    Error::new(ErrorKind::Timeout, "the mail server did not answer in time")
}

fn text(notification: &Notification) -> String {
    let mut text = format!("{}\n", notification.title());
    for alert in &notification.alerts {
        let _ = write!(text, "\n{} is {} ({})\n", alert.name, alert.state, alert.severity);
        for (name, value) in facts(alert) {
            let _ = writeln!(text, "  {name}: {value}");
        }
    }
    if let Some(url) = &notification.console_url {
        let _ = write!(text, "\n{url}\n");
    }
    text
}

fn html(notification: &Notification) -> String {
    let mut html = format!("<!doctype html><html><body><h3>{}</h3>", escape(&notification.title()));
    for alert in &notification.alerts {
        let colour = if alert.state == AlertState::Resolved { "#2eb886" } else { "#a30200" };
        let name = escape(&alert.name);
        let _ = write!(
            html,
            "<h4 style=\"color:{colour}\">{name} is {} ({})</h4><table>",
            alert.state, alert.severity
        );
        for (name, value) in facts(alert) {
            let _ = write!(html, "<tr><td>{}</td><td>{}</td></tr>", escape(&name), escape(&value));
        }
        html.push_str("</table>");
    }
    if let Some(url) = &notification.console_url {
        let url = escape(url);
        let _ = write!(html, "<p><a href=\"{url}\">{url}</a></p>");
    }
    html.push_str("</body></html>");
    html
}

/// What there is to know of an alert, as names and values.
fn facts(alert: &Alert) -> Vec<(String, String)> {
    let moments =
        [("since", Some(alert.active_since)), ("fired", alert.fired_at), ("resolved", alert.resolved_at)];
    let mut facts = vec![("value".to_owned(), alert.value.to_string())];
    if !alert.summary.is_empty() {
        facts.insert(0, ("summary".to_owned(), alert.summary.clone()));
    }
    facts.extend(moments.into_iter().filter_map(|(name, at)| Some((name.to_owned(), at?.to_string()))));
    facts.extend(alert.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    facts
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_neither_sent_unprotected_nor_shown() {
        let builder =
            || Email::builder("mail.example.com", "alerts@example.com").credentials("ops", "secret");
        assert!(!format!("{:?}", builder().to("a@example.com")).contains("secret"));
        let email = builder().to("a@example.com").build().unwrap();
        assert!(!format!("{email:?}").contains("secret"));
        let error = builder().to("a@example.com").security(EmailSecurity::None).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("cannot set up email: its password"), "{error}");
    }

    #[test]
    fn bad_addresses_are_told() {
        let error = Email::builder("localhost", "nobody").to("a@example.com").build().unwrap_err();
        assert!(error.to_string().contains("\"nobody\" is not an email address"), "{error}");
        let error = Email::builder("localhost", "a@example.com").build().unwrap_err();
        assert!(error.to_string().contains("no recipient"), "{error}");
    }
}
