//! The email notifier: its dialogue with servers that behave in several ways, and a delivery to a mail sink.

use crate::support::{firing, notification, resolved};
use platform_core::{ErrorKind, alert::Notifier};
use platform_telemetry::notifiers::{Email, EmailSecurity};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// The files in `tls` are an authority and a certificate for `localhost` and `127.0.0.1` that serve no other purpose, and are valid for
/// a century.
const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");

/// How a [`Server`] behaves.
#[derive(Debug, Clone, Copy, Default)]
struct Behaviour {
    offers_starttls: bool,
    tls_first: bool,
    /// Answers this instead of accepting the recipient.
    recipient: Option<&'static str>,
    /// Answers this to a login instead of accepting it.
    login: Option<&'static str>,
}

/// A small SMTP server that keeps everything that clients say.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, acceptor) = (heard.clone(), acceptor());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in the middle of a dialogue ends only that.
                let _ = serve(stream, behaviour, &acceptor, &log).await;
            }
        });
        Self { port, heard, _task: AbortOnDropHandle::new(task) }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn email(&self, security: EmailSecurity) -> platform_telemetry::notifiers::EmailBuilder {
        Email::builder("127.0.0.1", "Alerts <alerts@example.com>")
            .port(self.port)
            .security(security)
            .root_certificate(AUTHORITY)
            .to("Ops <ops@example.com>")
            .timeout(Duration::from_secs(20))
    }
}

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

type Log = Arc<Mutex<Vec<String>>>;

async fn serve(stream: TcpStream, behaviour: Behaviour, tls: &TlsAcceptor, log: &Log) -> std::io::Result<()> {
    if behaviour.tls_first {
        dialogue(tls.accept(stream).await?, behaviour, true, true, log).await?;
        return Ok(());
    }
    if let Some(stream) = dialogue(stream, behaviour, false, true, log).await? {
        log.lock().unwrap().push("(tls)".to_owned());
        dialogue(tls.accept(stream).await?, behaviour, true, false, log).await?;
    }
    Ok(())
}

/// Speaks SMTP until the client quits, or answers the stream once the client has asked for TLS.
async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    behaviour: Behaviour,
    secure: bool,
    greets: bool,
    log: &Log,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220 test ESMTP\r\n").await?;
    }
    let mut data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        log.lock().unwrap().push(line.clone());
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let answer = match verb.as_str() {
            _ if data && line == "." => {
                data = false;
                "250 kept"
            }
            _ if data => continue,
            "EHLO" if behaviour.offers_starttls && !secure => "250-test\r\n250 STARTTLS",
            "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
            "STARTTLS" => {
                stream.write_all(b"220 go on\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            "AUTH" => behaviour.login.unwrap_or("235 welcome"),
            "RCPT" => behaviour.recipient.unwrap_or("250 fine"),
            "DATA" => {
                data = true;
                "354 go on"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(None);
            }
            _ => "250 fine",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

#[tokio::test]
async fn a_message_goes_to_all_recipients_as_text_and_html() {
    let server = Server::start(Behaviour::default()).await;
    let email = server.email(EmailSecurity::None).to("boss@example.com").build().unwrap();
    assert_eq!(email.name(), "email to ops@example.com and 1 more");
    email.notify(&notification(vec![firing("attic"), resolved("cellar")])).await.unwrap();
    let heard = server.heard();
    let has = |line: &str| assert!(heard.iter().any(|l| l == line), "no {line:?} in {heard:#?}");
    has("RCPT TO:<ops@example.com>");
    has("RCPT TO:<boss@example.com>");
    has("Subject: [FIRING] 2 alerts on shop");
    has("From: Alerts <alerts@example.com>");
    has("Auto-Submitted: auto-generated");
    assert!(heard.iter().any(|l| l.starts_with("MAIL FROM:<alerts@example.com>")));
    for header in ["Message-ID: <", "Date: ", "Content-Type: multipart/alternative;"] {
        assert_eq!(heard.iter().filter(|l| l.starts_with(header)).count(), 1, "{header}");
    }
    has("  summary: attic has 93.5 degrees, <80> & more");
    has("  resolved: 2026-11-23T00:01:00.500Z");
    // Long lines are broken by the quoted-printable encoding.
    let all = heard.iter().map(|line| line.strip_suffix('=').unwrap_or(line)).collect::<String>();
    assert!(all.contains("attic has 93.5 degrees, &lt;80&gt; &amp; more"), "{all}");
}

#[tokio::test]
async fn nothing_is_said_to_a_server_without_starttls() {
    let server = Server::start(Behaviour::default()).await;
    let email = server.email(EmailSecurity::StartTls).credentials("ops", "secret").build().unwrap();
    let error = email.notify(&notification(vec![firing("attic")])).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Failed, false), "{error}");
    let said = server.heard();
    assert!(said.iter().all(|line| line.starts_with("EHLO") || line.starts_with("QUIT")), "{said:?}");
}

#[tokio::test]
async fn starttls_comes_before_login_and_message() {
    let server = Server::start(Behaviour { offers_starttls: true, ..Behaviour::default() }).await;
    let email = server.email(EmailSecurity::StartTls).credentials("ops", "secret").build().unwrap();
    email.notify(&notification(vec![firing("attic")])).await.unwrap();
    let heard = server.heard();
    let verbs: Vec<_> = heard.iter().filter_map(|line| line.split(' ').next()).take(7).collect();
    assert_eq!(verbs, ["EHLO", "STARTTLS", "(tls)", "EHLO", "AUTH", "MAIL", "RCPT"]);
}

#[tokio::test]
async fn implicit_tls_works_and_an_unknown_authority_is_not_trusted() {
    let server = Server::start(Behaviour { tls_first: true, ..Behaviour::default() }).await;
    server
        .email(EmailSecurity::Tls)
        .build()
        .unwrap()
        .notify(&notification(vec![firing("attic")]))
        .await
        .unwrap();
    let heard = server.heard().len();
    assert!(heard > 0);
    let distrustful = Email::builder("127.0.0.1", "alerts@example.com")
        .to("ops@example.com")
        .port(server.port)
        .security(EmailSecurity::Tls)
        .build()
        .unwrap();
    let error = distrustful.notify(&notification(vec![firing("attic")])).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Failed, false), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert_eq!(server.heard().len(), heard);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let refusal = async |behaviour: Behaviour| {
        let server = Server::start(Behaviour { tls_first: true, ..behaviour }).await;
        let email = server.email(EmailSecurity::Tls).credentials("ops", "secret").build().unwrap();
        let error = email.notify(&notification(vec![firing("attic")])).await.unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
        (error.kind(), error.is_retryable())
    };
    let busy = Behaviour { recipient: Some("451 busy"), ..Behaviour::default() };
    assert_eq!(refusal(busy).await, (ErrorKind::Unavailable, true));
    let unknown = Behaviour { recipient: Some("550 no such user"), ..Behaviour::default() };
    assert_eq!(refusal(unknown).await, (ErrorKind::Failed, false));
    let wrong = Behaviour { login: Some("535 wrong password"), ..Behaviour::default() };
    assert_eq!(refusal(wrong).await, (ErrorKind::Denied, false));
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_worth_a_retry() {
    let away = Email::builder("127.0.0.1", "a@example.com").to("b@example.com").port(1);
    let error = away.build().unwrap().notify(&notification(vec![firing("attic")])).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Email::builder("127.0.0.1", "a@example.com")
        .to("b@example.com")
        .port(listener.local_addr().unwrap().port())
        .timeout(Duration::from_millis(200));
    let error = silent.build().unwrap().notify(&notification(vec![firing("attic")])).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

/// `PLATFORM_SMTP` is the address of a mail sink, `PLATFORM_SMTP_MESSAGES` the URL at which it answers its messages as JSON.
#[tokio::test]
#[ignore = "needs smtp"]
async fn a_mail_sink_gets_the_message() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (smtp, messages) = (variable("PLATFORM_SMTP"), variable("PLATFORM_SMTP_MESSAGES"));
    let (host, port) = smtp.rsplit_once(':').expect("PLATFORM_SMTP is HOST:PORT");
    let room = format!("room-{}", std::process::id());
    let email = Email::builder(host, "alerts@example.com")
        .to("ops@example.com")
        .port(port.parse().unwrap())
        .security(EmailSecurity::None)
        .build()
        .unwrap();
    email.notify(&notification(vec![firing(&room)])).await.unwrap();

    let (server, path) = messages.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(format!("GET /{path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let messages: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
    let ours = |message: &&serde_json::Value| message["subject"].as_str().unwrap().contains(&room);
    let message = messages.iter().find(ours).expect("the sink has the message");
    assert_eq!(message["to"], serde_json::json!(["ops@example.com"]));
    assert!(message["text"].as_str().unwrap().contains("<80> & more"), "{message}");
}
