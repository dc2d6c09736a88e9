//! The emulator: one for each test, so that none sees what another made.

use crate::{
    access::{Memory, Remembering},
    wire::Wire,
};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use platform_aws::{EksProvider, EksProviderBuilder, Polling};
use platform_core::{
    cluster::{ClusterRole, ClusterSpec},
    name::{ClusterName, EnvironmentName, PlatformName},
};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// A running emulator. It ends with this value.
pub(crate) struct Emulator {
    process: Child,
    port: u16,
    memory: Memory,
}

impl Emulator {
    /// Starts the program of `PLATFORM_AWS_EMULATOR` and waits until it answers.
    pub(crate) async fn start() -> Self {
        let program = std::env::var("PLATFORM_AWS_EMULATOR").expect("PLATFORM_AWS_EMULATOR names no program");
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let process = Command::new(&program)
            .arg(port.to_string())
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let mut emulator = Self { process, port, memory: Memory::default() };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{program} does not answer on port {port}");
            if let Some(status) = emulator.process.try_wait().unwrap() {
                panic!("{program} ended with {status}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        emulator
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A configuration for it, in `region`. Attempts are few and their pauses short.
    pub(crate) fn configuration(&self, region: &'static str) -> SdkConfig {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .endpoint_url(self.url())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(50)))
            .http_client(http)
            .build()
    }

    /// A provider of its clusters that waits for nothing longer than it must, and the wire that its calls go over.
    pub(crate) async fn provider(
        &self,
        change: impl FnOnce(EksProviderBuilder) -> EksProviderBuilder,
    ) -> (EksProvider, Wire) {
        let wire = Wire::default();
        let builder = change(self.builder(&wire));
        let mut aws = builder.connect_aws().await.unwrap();
        aws.access = Arc::new(Remembering { inner: aws.access.clone(), memory: self.memory.clone() });
        (builder.aws(aws).connect().await.unwrap(), wire)
    }

    /// The same, to be connected to something else.
    pub(crate) fn builder(&self, wire: &Wire) -> EksProviderBuilder {
        let quick = Duration::from_millis(5);
        EksProvider::builder()
            .region("eu-west-1")
            .endpoint_url(self.url())
            .credentials(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
            .http_client(wire.clone())
            .polling(Polling::new(quick, quick * 10, Duration::ZERO))
            .retries(3, quick)
            .settle_deadline(Duration::from_secs(5))
    }

    /// Has things of a kind take so many looks until they are done.
    pub(crate) fn slow_down(&self, model: &str, looks: u32) {
        let transition =
            format!(r#"{{"model_name":"{model}","transition":{{"progression":"manual","times":{looks}}}}}"#);
        self.send(
            "POST",
            "/moto-api/state-manager/set-transition",
            "content-type: application/json",
            &transition,
        );
    }

    /// Adds a fault: `{"match": "…", "status": 503, "times": 1, …}`.
    pub(crate) fn fault(&self, fault: &str) {
        self.send("POST", "/_faults", "content-type: application/json", fault);
    }

    /// Takes back all faults.
    pub(crate) fn forget_faults(&self) {
        self.send("DELETE", "/_faults", "accept: */*", "");
    }

    /// The calls that it took, as `METHOD PATH ACTION`.
    pub(crate) fn calls(&self) -> String {
        self.send("GET", "/_faults", "accept: */*", "")
    }

    /// Makes something by a form of `service`, beside the code that is tested, and answers with what it said.
    pub(crate) fn make(&self, region: &str, service: &str, form: &str) -> String {
        let header = format!(
            "content-type: application/x-www-form-urlencoded\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=AKIDEXAMPLE/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        self.send("POST", "/", &header, form)
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{headers}");
        write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{body}: {answer}");
        answer
    }
}

pub(crate) fn platform() -> PlatformName {
    PlatformName::new("shop").unwrap()
}

/// A cluster of one environment.
pub(crate) fn cluster(name: &str) -> ClusterSpec {
    let role = ClusterRole::Environments(vec![EnvironmentName::new("testing").unwrap()]);
    let mut spec = ClusterSpec::new(platform(), ClusterName::new(name).unwrap(), role);
    spec.kubernetes_version = Some("1.33".to_owned());
    spec
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
