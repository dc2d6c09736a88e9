//! `one_click` on EKS, as its user runs it, against an emulator of AWS: `PLATFORM_AWS_EMULATOR` names a program that is run with a port as its only
//! argument and serves AWS' APIs on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Long enough for a loaded machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Examples are built into the folder beside that of tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/one_click");
    assert!(program.exists(), "{} is not built: run `cargo build --examples`", program.display());
    program
}

/// The program on EKS, at this endpoint.
fn one_click(endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(["--provider", "eks"]).args(arguments).env("AWS_ENDPOINT_URL", endpoint);
    // Whatever is set where tests run, it must not be of any account.
    for variable in
        ["AWS_PROFILE", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it said when it refused.
fn refusal(endpoint: &str, arguments: &[&str]) -> String {
    let output = one_click(endpoint, arguments).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Reads what a run tells until a line with `text`.
fn told_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) -> String {
    let mut told = String::new();
    for line in lines {
        let line = line.unwrap();
        told = format!("{told}{line}\n");
        if line.contains(text) {
            return told;
        }
    }
    panic!("it ended without {text:?}: {told}")
}

struct Emulator {
    _process: Running,
    address: String,
}

impl Emulator {
    fn start() -> Self {
        let program = std::env::var("PLATFORM_AWS_EMULATOR").expect("PLATFORM_AWS_EMULATOR names no program");
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&program);
        command.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let emulator = Self { _process: Running(process), address: format!("127.0.0.1:{port}") };
        let begun = Instant::now();
        while TcpStream::connect(&emulator.address).is_err() {
            assert!(begun.elapsed() < DEADLINE, "{program} does not answer at {}", emulator.address);
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn ask(&self, method: &str, path: &str, service: &str, kind: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, \
             Signature=0\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The names of its clusters.
    fn clusters(&self) -> Vec<String> {
        let list: Value =
            serde_json::from_str(&self.ask("GET", "/clusters", "eks", "application/json", "")).unwrap();
        list["clusters"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The states of all its stacks that are not deleted.
    fn stacks(&self) -> Vec<String> {
        let form = "Action=DescribeStacks&Version=2010-05-15";
        let answer = self.ask("POST", "/", "cloudformation", "application/x-www-form-urlencoded", form);
        let states =
            answer.split("<StackStatus>").skip(1).map(|part| part.split('<').next().unwrap().to_owned());
        states.filter(|state| state != "DELETE_COMPLETE").collect()
    }

    fn vpcs(&self) -> usize {
        let form = "Action=DescribeVpcs&Version=2016-11-15";
        self.ask("POST", "/", "ec2", "application/x-www-form-urlencoded", form).matches("<vpcId>").count()
    }

    /// Has node groups take so many looks until they are there.
    fn slow_down_nodes(&self, progression: &str, looks: u32) {
        let transition = serde_json::json!({
            "model_name": "eks::nodegroup", "transition": {"progression": progression, "times": looks},
        });
        let path = "/moto-api/state-manager/set-transition";
        self.ask("POST", path, "moto", "application/json", &transition.to_string());
    }
}

/// What an address answers to somebody without credentials.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn lines(child: &mut Child) -> impl Iterator<Item = std::io::Result<String>> + use<> {
    BufReader::new(child.stderr.take().unwrap()).lines()
}

fn summary(mut child: Child, rest: impl Iterator<Item = std::io::Result<String>>) -> Value {
    let told: Vec<String> = rest.map(Result::unwrap).collect();
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert!(child.wait().unwrap().success(), "{}", told.join("\n"));
    assert_eq!(stdout.trim().lines().count(), 1, "more than the summary on stdout: {stdout}");
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn nothing_but_an_emulator_of_this_machine_is_spoken_to() {
    for elsewhere in [
        "https://eks.eu-west-1.amazonaws.com",
        "http://eks.eu-west-1.amazonaws.com",
        "http://127.0.0.1:5000@eks.eu-west-1.amazonaws.com",
        "http://192.0.2.1:5000",
        "http://0.0.0.0:5000",
        "https://127.0.0.1:5000",
    ] {
        let told = refusal(elsewhere, &["--emulator", "--for", "1s"]);
        assert!(told.contains("cannot use the AWS emulator: AWS_ENDPOINT_URL is"), "{elsewhere}: {told}");
    }
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let told = refusal(&format!("http://localhost:{port}"), &["--emulator", "--for", "1s"]);
    assert!(told.contains(&format!("nothing answers at 127.0.0.1:{port}")), "{told}");
    assert!(told.contains("start one"), "{told}");
}

#[test]
fn nobody_pays_for_clusters_without_having_agreed() {
    let told = refusal("http://127.0.0.1:1", &["--for", "1s"]);
    assert!(told.contains("cost money") && told.contains("--yes"), "{told}");
}

#[test]
#[ignore = "needs the AWS emulator"]
fn the_whole_runs_at_an_emulator_and_leaves_nothing() {
    let emulator = Emulator::start();
    let vpcs = emulator.vpcs();
    let mut child =
        one_click(&emulator.url(), &["--emulator", "--for", "15s", "--output", "json"]).spawn().unwrap();
    let mut stderr = lines(&mut child);
    let told = told_until(&mut stderr, "The page is at ");
    for expected in
        ["on eks-emulator", "are simulated: no container runs", "together $", "nothing of it is charged"]
    {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    assert_eq!(emulator.clusters(), ["shop-control-plane", "shop-production", "shop-testing"]);
    assert_eq!(emulator.stacks().len(), 3);
    // Behind each cluster is an API server that knows the caller by a token of EKS, and nobody without one.
    let servers: Vec<&str> =
        told.lines().filter_map(|line| line.split_once("Kubernetes v")?.1.split(' ').nth(2)).collect();
    assert_eq!(servers.len(), 3, "{told}");
    for server in servers {
        let address = server.strip_prefix("http://").unwrap();
        assert!(get(address, "/version").starts_with("HTTP/1.1 200"), "{server}");
        assert!(get(address, "/api/v1/secrets").starts_with("HTTP/1.1 403"), "{server}");
    }

    let summary = summary(child, stderr);
    assert_eq!(summary["provider"], "eks-emulator");
    assert_eq!(
        (&summary["simulated"], &summary["isolation_holds"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!((summary["clusters"].as_u64(), summary["clusters_created"].as_u64()), (Some(3), Some(3)));
    for counted in [
        "objects_applied",
        "isolation_attempts",
        "samples_stored",
        "log_lines_stored",
        "alerts_fired",
        "notifications_sent",
    ] {
        assert!(summary[counted].as_u64() > Some(0), "{counted} in {summary}");
    }
    assert_eq!(summary["dropped"], 0);
    assert_eq!((emulator.clusters().len(), emulator.stacks()), (0, Vec::new()));
    assert_eq!(emulator.vpcs(), vpcs);
}

#[test]
#[ignore = "needs the AWS emulator"]
fn a_run_that_was_killed_is_completed_and_cleaned_up_by_the_next() {
    let emulator = Emulator::start();
    let vpcs = emulator.vpcs();
    emulator.slow_down_nodes("manual", 100_000);
    let arguments = ["--emulator", "--for", "3s", "--output", "json"];
    let mut first = Running(one_click(&emulator.url(), &arguments).spawn().unwrap());
    let begun = Instant::now();
    while emulator.clusters().len() < 2 {
        assert!(begun.elapsed() < DEADLINE, "no cluster is being made");
        assert!(first.0.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert!(!emulator.stacks().is_empty(), "nothing was left to clean up");

    emulator.slow_down_nodes("immediate", 1);
    let mut second = one_click(&emulator.url(), &arguments).spawn().unwrap();
    let stderr = lines(&mut second);
    let summary = summary(second, stderr);
    assert_eq!((summary["clusters"].as_u64(), &summary["isolation_holds"]), (Some(3), &Value::Bool(true)));
    assert_eq!((emulator.clusters().len(), emulator.stacks()), (0, Vec::new()));
    assert_eq!(emulator.vpcs(), vpcs);
}
