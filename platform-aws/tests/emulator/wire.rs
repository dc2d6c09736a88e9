//! What calls go over: it counts them, and breaks where it is told to.

use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::HttpRequest,
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    shared::IntoShared,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::Notify;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// The line is cut before the call gets through, and stays cut.
    Before,
    /// The call is executed, its answer lost, and the line stays cut.
    After,
    /// The program ends before the call gets through.
    KillBefore,
    /// The call is executed, and the program ends before it has its answer.
    KillAfter,
    /// The answer is lost, once.
    LoseAnswer,
}

impl Break {
    /// A failure before and one after the execution of a call, and an end of the program, in turn before and after.
    pub(crate) fn at(call: usize) -> [Self; 3] {
        [Self::Before, Self::After, if call.is_multiple_of(2) { Self::KillBefore } else { Self::KillAfter }]
    }

    fn executes(self) -> bool {
        matches!(self, Self::After | Self::KillAfter | Self::LoseAnswer)
    }
}

/// A call as it went over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The method and path, and the action of a form.
    pub(crate) what: String,
    /// The status, if it was answered.
    pub(crate) status: u16,
}

/// A wire. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire(Arc<State>);

#[derive(Debug, Default)]
struct State {
    calls: Mutex<Vec<Call>>,
    plan: Mutex<Plan>,
    reached: Notify,
}

#[derive(Debug, Default)]
struct Plan {
    /// What breaks, and how many calls before it still get through.
    broken: Option<(usize, Break)>,
    /// Whether it has broken.
    cut: Option<Break>,
    hits: usize,
}

impl Wire {
    /// Breaks at the call after `calls` more.
    pub(crate) fn break_after(&self, calls: usize, how: Break) {
        *self.0.plan.lock().unwrap() = Plan { broken: Some((calls, how)), cut: None, hits: 0 };
    }

    /// Mends it, and tells how often it broke.
    pub(crate) fn mend(&self) -> usize {
        std::mem::take(&mut *self.0.plan.lock().unwrap()).hits
    }

    /// Until the program is to end.
    pub(crate) async fn killed(&self) {
        self.0.reached.notified().await;
    }

    /// Every call that was executed since the last time, and forgets them.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.calls.lock().unwrap())
    }

    /// How often each thing was made: calls that made something, by what they made.
    pub(crate) fn made(calls: &[Call]) -> BTreeMap<String, usize> {
        let mut made = BTreeMap::new();
        for call in calls {
            let makes = call.what.starts_with("POST /clusters") || call.what.contains("CreateStack");
            let updates = call.what.contains("update") || call.what.contains("access-policies");
            if makes && !updates && (200..300).contains(&call.status) {
                *made.entry(call.what.clone()).or_default() += 1;
            }
        }
        made
    }

    /// What is to happen to the next call.
    fn next(&self) -> Option<Break> {
        let mut plan = self.0.plan.lock().unwrap();
        match plan.cut {
            Some(Break::KillBefore | Break::KillAfter) => return Some(Break::KillBefore),
            Some(_) => return Some(Break::Before),
            None => {}
        }
        let (left, how) = plan.broken.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let how = *how;
        plan.hits += 1;
        plan.broken = None;
        if how != Break::LoseAnswer {
            plan.cut = Some(how);
        }
        Some(how)
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let client: SharedHttpClient =
            Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https().into_shared();
        let inner = client.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, wire: self.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    wire: Wire,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let what = describe(&request);
        let (inner, wire) = (self.inner.clone(), self.wire.clone());
        HttpConnectorFuture::new(async move {
            let how = wire.next();
            if let Some(how) = how.filter(|how| !how.executes()) {
                return Err(wire.cut(how, &what).await);
            }
            // What is under way is executed, whether or not somebody still waits for its answer.
            let (calls, named) = (wire.0.clone(), what.clone());
            let executed = tokio::spawn(async move {
                let answer = inner.call(request).await;
                if let Ok(answer) = &answer {
                    let status = answer.status().as_u16();
                    calls.calls.lock().unwrap().push(Call { what: named, status });
                }
                answer
            });
            let answer = executed.await.unwrap();
            match how {
                Some(how) => Err(wire.cut(how, &what).await),
                None => answer,
            }
        })
    }
}

impl Wire {
    async fn cut(&self, how: Break, what: &str) -> ConnectorError {
        if matches!(how, Break::KillBefore | Break::KillAfter) {
            self.0.reached.notify_one();
            std::future::pending::<()>().await;
        }
        let message = format!("the line is cut at {what}");
        match how {
            // AWS' client tries again what was lost on the way.
            Break::LoseAnswer => ConnectorError::io(message.into()),
            _ => ConnectorError::user(message.into()),
        }
    }
}

fn describe(request: &HttpRequest) -> String {
    let path = request
        .uri()
        .split("://")
        .nth(1)
        .and_then(|rest| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or("/");
    let body = request.body().bytes().and_then(|body| std::str::from_utf8(body).ok()).unwrap_or_default();
    let mut what = format!("{} {}", request.method(), path.split('?').next().unwrap_or(path));
    if let Some(action) = body.split("Action=").nth(1).and_then(|rest| rest.split('&').next()) {
        what = format!("{what} {action}");
    }
    // JSON names its action beside the body.
    if let Some(action) = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next()) {
        what = format!("{what} {action}");
    }
    if let Some(stack) = body.split("StackName=").nth(1).and_then(|rest| rest.split('&').next()) {
        what = format!("{what} {stack}");
    }
    // What a thing is called tells apart what is made below one path.
    for key in ["nodegroupName", "addonName", "principalArn", "fargateProfileName", "serviceAccount"] {
        let found = body.split(&format!("\"{key}\":\"")).nth(1).and_then(|rest| rest.split('"').next());
        if let Some(name) = found {
            what = format!("{what} {name}");
        }
    }
    what
}
