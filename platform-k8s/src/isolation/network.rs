//! What pods reach over the network.
//!
//! In each environment, and in the platform's namespace, a pod and a Service serve a word that nobody else knows. From each environment another pod asks all
//! of them. The word tells a pod that was reached from another that happens to have its address, as in two clusters with the same
//! pod network; the pod of its own environment tells a border from a probe that does not work.

use super::{
    caller::{Call, Caller},
    probe::{self, Run},
    verify::Place,
};
use futures::future::join_all;
use platform_core::{
    Error, ErrorKind, Image, Result,
    cluster::{Cluster, ListOptions},
    component::SYSTEM_NAMESPACE,
    event::Progress,
    isolation::{Action, Attempt, Barrier, NotTried, Principal, Verdict},
    manifest::ObjectRef,
    name::{EnvironmentName, Namespace},
};
use serde_json::{Value, json};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::time::Instant;

const PORT: u16 = 8080;
/// How long a probe may take to start, its image included, or to end.
const PROBE_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);

/// Serves the word that is its first argument.
const SERVE: &str = "echo \"$0\" > /work/index.html && exec httpd -f -p 8080 -h /work";

/// Asks each `MODE,URL,WORD` that is an argument, and writes `NUMBER reached` or `NUMBER silent` for each to the termination message.
///
/// Networks learn of new pods with some delay, in which policies may not hold yet and addresses may not answer yet: what should be reached is asked
/// until it is, five times at most, and what should not be is asked until it is silent, three times at most.
const ASK: &str = r#"
ask() {
  mode=${2%%,*} rest=${2#*,}
  url=${rest%,*} word=${rest##*,}
  case $mode in control) tries=5 until=reached ;; *) tries=3 until=silent ;; esac
  while :; do
    if [ "$(timeout 3 wget -q -O - "$url" 2>/dev/null)" = "$word" ]; then seen=reached; else seen=silent; fi
    tries=$((tries - 1))
    if [ $seen = $until ] || [ $tries = 0 ]; then break; fi
    sleep 1
  done
  echo "$1 $seen" > "/work/$1"
}
number=0
for target in "$@"; do
  ask $number "$target" &
  number=$((number + 1))
done
wait
cat /work/* > /dev/termination-log
"#;

/// A pod and a Service that serve a word.
struct Server {
    /// `None`: the platform's own namespace.
    environment: Option<EnvironmentName>,
    /// Which of the places it is in.
    place: usize,
    namespace: String,
    word: String,
    state: State,
}

/// Addresses, or why there are none.
type State = std::result::Result<Addresses, NotTried>;

#[derive(Clone, Copy)]
struct Addresses {
    pod: IpAddr,
    service: IpAddr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Pod,
    Service,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.environment {
            Some(environment) => write!(f, "{environment} in {}", self.namespace),
            None => write!(f, "the platform in {}", self.namespace),
        }
    }
}

/// What a pod of an environment asks.
struct Question<'a> {
    server: &'a Server,
    door: Door,
    is_control: bool,
    /// What it means if no answer comes.
    barrier: Barrier,
}

impl Question<'_> {
    fn argument(&self) -> Option<String> {
        let addresses = self.server.state.as_ref().ok()?;
        let address = match self.door {
            Door::Pod => addresses.pod,
            Door::Service => addresses.service,
        };
        let mode = if self.is_control { "control" } else { "crossing" };
        Some(format!("{mode},http://{}/,{}", SocketAddr::new(address, PORT), self.server.word))
    }

    fn attempt(&self, principal: &Principal, verdict: Verdict) -> Attempt {
        let target = match self.door {
            Door::Pod => format!("pod of {}", self.server),
            Door::Service => format!("Service of {}", self.server),
        };
        if self.is_control {
            Attempt::control(principal.clone(), Action::Connect, target, verdict)
        } else {
            Attempt::crossing(principal.clone(), Action::Connect, target, verdict)
        }
    }
}

/// Tries to connect from every environment to every other and to the platform's namespaces.
pub(super) async fn attempts(
    places: &[Place<'_>],
    run: &Run,
    image: &Image,
    progress: &Progress,
) -> Result<Vec<Attempt>> {
    let mut servers = servers(places).await?;
    for (at, place) in places.iter().enumerate() {
        if let Some(why) = unable(place).await? {
            for server in servers.iter_mut().filter(|server| server.place == at) {
                server.state = Err(why.clone());
            }
        }
    }
    sweep(places, probe::is_left_behind).await;
    let states = join_all(servers.iter().map(|server| async {
        let Some(place) = places.get(server.place) else { return server.state.clone() };
        match &server.state {
            Err(NotTried::Failed { .. }) => start(place, server, run, image, progress)
                .await
                .map_err(|e| NotTried::Failed { reason: format!("its probe did not start: {e}") }),
            state => state.clone(),
        }
    }))
    .await;
    for (server, state) in servers.iter_mut().zip(states) {
        server.state = state;
    }
    let asking = places.iter().enumerate().flat_map(|(at, place)| {
        place.cluster.scopes.iter().filter_map(move |scope| {
            // From another namespace than the one that is asked, where the environment has one.
            let (namespace, _) = scope.namespaces.last()?;
            Some((at, place, &scope.environment.name, namespace))
        })
    });
    let answers = join_all(asking.map(|(at, place, environment, namespace)| {
        let questions = questions(&servers, at, environment);
        async move {
            let principal = Principal::Pod { environment: environment.clone(), namespace: namespace.clone() };
            let verdicts = ask(place, environment, namespace, &questions, run, image).await;
            let attempts = questions.iter().zip(verdicts);
            attempts.map(|(question, verdict)| question.attempt(&principal, verdict)).collect::<Vec<_>>()
        }
    }))
    .await;
    let name = |object: &Value| object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
    let ours = [run.name("server"), run.name("client")];
    let is_ours = |object: &Value| {
        name(object).is_some_and(|name| ours.iter().any(|ours| name.starts_with(ours.as_str())))
    };
    sweep(places, is_ours).await;
    Ok(answers.into_iter().flatten().collect())
}

/// One for each environment with a namespace, and one for the platform's namespace where a cluster has it. None has been started.
async fn servers(places: &[Place<'_>]) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let environments = place.cluster.scopes.iter().filter_map(|scope| {
            let (namespace, _) = scope.namespaces.first()?;
            Some((Some(scope.environment.name.clone()), namespace.to_string()))
        });
        let system = place.kube.get(&ObjectRef::new("v1", "Namespace", SYSTEM_NAMESPACE)).await?;
        let system = system.map(|_| (None, SYSTEM_NAMESPACE.to_owned()));
        for (environment, namespace) in environments.chain(system) {
            servers.push(Server {
                environment,
                place: at,
                namespace,
                word: probe::random(8)?,
                state: Err(NotTried::Failed { reason: "it was not started".to_owned() }),
            });
        }
    }
    Ok(servers)
}

/// What a pod of `environment` in the place `at` asks.
fn questions<'a>(servers: &'a [Server], at: usize, environment: &EnvironmentName) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    for server in servers {
        let is_here = server.place == at;
        let is_control = is_here && server.environment.as_ref() == Some(environment);
        // Addresses of Services are of their cluster alone.
        let doors: &[Door] = if is_here { &[Door::Pod, Door::Service] } else { &[Door::Pod] };
        questions.extend(doors.iter().map(|door| Question {
            server,
            door: *door,
            is_control,
            barrier: if is_here { Barrier::NetworkPolicy } else { Barrier::OtherNetwork },
        }));
    }
    // What shows that the probe works comes first.
    questions.sort_by_key(|question| !question.is_control);
    questions
}

/// Why no pod can run in a cluster.
async fn unable(place: &Place<'_>) -> Result<Option<NotTried>> {
    if place.cluster.simulated {
        return Ok(Some(NotTried::Simulated));
    }
    let nodes = place.kube.list("v1", "Node", &ListOptions::all()).await?;
    let is_ready = |node: &Value| {
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
        let ready =
            |c: &Value| c.get("type") == Some(&"Ready".into()) && c.get("status") == Some(&"True".into());
        conditions.into_iter().flatten().any(ready)
    };
    Ok((!nodes.iter().any(is_ready)).then_some(NotTried::NoNodes))
}

async fn start(
    place: &Place<'_>,
    server: &Server,
    run: &Run,
    image: &Image,
    progress: &Progress,
) -> Result<Addresses> {
    let (name, namespace) = (run.name("server"), server.namespace.as_str());
    let mut pod = run.pod(namespace, &name, image, &["sh", "-c", SERVE, &server.word]);
    if let Some(Value::Object(container)) = pod.pointer_mut("/spec/containers/0") {
        container.insert("ports".to_owned(), json!([{"containerPort": PORT}]));
        let asking = json!({"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1});
        container.insert("readinessProbe".to_owned(), asking);
    }
    if let Some(Value::Object(labels)) = pod.pointer_mut("/metadata/labels") {
        labels.insert(probe::NAME.to_owned(), name.as_str().into());
    }
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": run.metadata(namespace, &name),
        "spec": {"selector": {probe::NAME: name}, "ports": [{"port": PORT}]},
    });
    let service = create(&place.admin, namespace, "services", service).await?;
    create(&place.admin, namespace, "pods", pod).await?;
    let reference = ObjectRef::new("v1", "Pod", &name).in_namespace(namespace);
    place.kube.wait_ready(std::slice::from_ref(&reference), PROBE_DEADLINE, progress).await?;
    let live = place.kube.get(&reference).await?.unwrap_or_default();
    let address = |object: &Value, path: &str| {
        let text = object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        text.parse::<IpAddr>().map_err(|_| {
            Error::new(ErrorKind::Corrupt, format!("{text:?} is not an address"))
                .operation("probe")
                .subject(reference.to_string())
        })
    };
    Ok(Addresses { pod: address(&live, "/status/podIP")?, service: address(&service, "/spec/clusterIP")? })
}

/// Asks from a pod of the environment, and answers with a verdict for each question.
async fn ask(
    place: &Place<'_>,
    environment: &EnvironmentName,
    namespace: &Namespace,
    questions: &[Question<'_>],
    run: &Run,
    image: &Image,
) -> Vec<Verdict> {
    let arguments: Vec<Option<String>> = questions.iter().map(Question::argument).collect();
    let asked: Vec<&str> = arguments.iter().flatten().map(String::as_str).collect();
    let seen = if asked.is_empty() {
        Ok(Vec::new())
    } else {
        hear(place, environment, namespace, &asked, run, image).await
    };
    let mut numbers = 0..;
    let verdicts = questions.iter().zip(&arguments).map(|(question, argument)| {
        let not_tried = |why| Verdict::NotTried { why };
        if argument.is_none() {
            return match &question.server.state {
                Err(why) => not_tried(why.clone()),
                Ok(_) => not_tried(NotTried::Failed { reason: "it has no address".to_owned() }),
            };
        }
        let number: usize = numbers.next().unwrap_or_default();
        let failed = |reason: String| not_tried(NotTried::Failed { reason });
        match &seen {
            Ok(seen) => match seen.get(number) {
                Some(true) => Verdict::Allowed,
                Some(false) => Verdict::Stopped { by: question.barrier.clone() },
                None => failed("its probe did not say what it saw".to_owned()),
            },
            Err(error) => failed(format!("its probe did not run: {error}")),
        }
    });
    verdicts.collect()
}

/// Runs a pod that asks `arguments`, and answers whether each was reached.
async fn hear(
    place: &Place<'_>,
    environment: &EnvironmentName,
    namespace: &Namespace,
    arguments: &[&str],
    run: &Run,
    image: &Image,
) -> Result<Vec<bool>> {
    // Environments may share a namespace's name in two clusters, and never in one.
    let name = run.name("client");
    let namespace = namespace.as_str();
    let command: Vec<&str> =
        ["sh", "-c", ASK, "probe"].into_iter().chain(arguments.iter().copied()).collect();
    create(&place.admin, namespace, "pods", run.pod(namespace, &name, image, &command)).await?;
    let reference = ObjectRef::new("v1", "Pod", &name).in_namespace(namespace);
    let until = Instant::now() + PROBE_DEADLINE;
    let failed = |kind, message: String| {
        Error::new(kind, message).operation("probe").subject(format!("{reference} of {environment}"))
    };
    loop {
        let pod = place.kube.get(&reference).await?.unwrap_or_default();
        let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        let message = "/status/containerStatuses/0/state/terminated/message";
        match phase {
            "Succeeded" => {
                let text = pod.pointer(message).and_then(Value::as_str).unwrap_or_default();
                return heard(text, arguments.len())
                    .ok_or_else(|| failed(ErrorKind::Corrupt, format!("it says {text:?}")));
            }
            "Failed" => return Err(failed(ErrorKind::Failed, "it ended with a failure".to_owned())),
            _ => {}
        }
        if Instant::now() > until {
            // Its readiness says why, in the words of the pod.
            let health = place.kube.health(std::slice::from_ref(&reference)).await?;
            let why = health.first().map(|health| health.message.clone()).unwrap_or_default();
            return Err(failed(
                ErrorKind::Timeout,
                format!("it did not end within {PROBE_DEADLINE:?}: {why}"),
            ));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads the termination message, which has a line for each argument in any order.
fn heard(text: &str, count: usize) -> Option<Vec<bool>> {
    let mut seen = vec![None; count];
    for line in text.lines() {
        let (number, word) = line.split_once(' ')?;
        let reached = match word {
            "reached" => true,
            "silent" => false,
            _ => return None,
        };
        *seen.get_mut(number.parse::<usize>().ok()?)? = Some(reached);
    }
    seen.into_iter().collect()
}

async fn create(admin: &Caller, namespace: &str, plural: &str, object: Value) -> Result<Value> {
    let path = format!("/api/v1/namespaces/{namespace}/{plural}");
    admin.send(&Call::create(&path, object)).await?.map_err(|status| {
        Error::new(ErrorKind::Failed, status.message.clone())
            .operation("create a probe in")
            .subject(namespace)
    })
}

/// Deletes the probes that `which` picks, in all namespaces of the clusters. What cannot be deleted ends by itself.
async fn sweep(places: &[Place<'_>], which: impl Fn(&Value) -> bool) {
    let options = ListOptions::all().label(probe::PROBE, probe::ISOLATION);
    for place in places {
        for (kind, plural) in [("Pod", "pods"), ("Service", "services")] {
            let objects = place.kube.list("v1", kind, &options).await.unwrap_or_default();
            let paths = objects.iter().filter(|object| which(object)).filter_map(|object| {
                let text = |key: &str| object.pointer(&format!("/metadata/{key}"))?.as_str();
                Some(format!("/api/v1/namespaces/{}/{plural}/{}", text("namespace")?, text("name")?))
            });
            let calls: Vec<Call> = paths.map(Call::delete).collect();
            let deletions = join_all(calls.iter().map(|call| place.admin.send(call))).await;
            for answer in deletions {
                if let Err(error) = answer {
                    tracing::debug!(%error, "A probe was not deleted and ends by itself");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_an_answer() {
        assert_eq!(heard("1 silent\n0 reached\n", 2), Some(vec![true, false]));
        for broken in ["", "0 reached\n", "0 reached\n2 silent\n", "0 reached\n1 perhaps\n", "reached"] {
            assert_eq!(heard(broken, 2), None, "{broken:?}");
        }
    }
}
