//! The variable `authorizer`: whether the author of a request may do something else.

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Opaque;
use kube_cel::cel::{Context, ExecutionError, Value as Cel};

use super::super::Request;
use crate::kubernetes::auth::{Access, ResourceAccess, User, authorize};
use crate::kubernetes::store::Store;

/// The variable that expressions write as `authorizer.requestResource`.
pub(super) const REQUEST_RESOURCE: &str = "authorizer.requestResource";

/// A question to the authorizer, as far as it is asked.
#[derive(Clone)]
struct Question {
    store: Arc<Store>,
    user: Arc<User>,
    about: About,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    Nothing,
    Path(String),
    Group(String),
    Resource(ResourceAccess),
}

/// The authorizer's answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    allowed: bool,
    reason: String,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("user", &self.user.name)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.user == other.user && self.about == other.about
    }
}

impl Eq for Question {}

impl Opaque for Question {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.authorization.Authorizer"
    }
}

impl Opaque for Answer {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.authorization.Decision"
    }
}

/// The values of `authorizer` and of `authorizer.requestResource` for a request.
pub(super) fn variables(store: &Arc<Store>, request: &Request<'_>) -> [(&'static str, Cel); 2] {
    let ask = |about| {
        let question = Question { store: store.clone(), user: Arc::new(request.user.clone()), about };
        Cel::Opaque(Arc::new(question))
    };
    let access = ResourceAccess::new("", &request.resource.group, request.resource.id.plural())
        .subresource(request.subresource.unwrap_or_default())
        .within(request.key.namespace.as_str())
        .named(request.key.name.as_str());
    [("authorizer", ask(About::Nothing)), (REQUEST_RESOURCE, ask(About::Resource(access)))]
}

/// Adds the functions by which expressions ask.
pub(super) fn register(context: &mut Context<'static>) {
    context.add_function("path", |This(this): This<Cel>, path: Arc<String>| {
        narrowed(&this, |about| match about {
            About::Nothing => Some(About::Path(path.as_str().to_owned())),
            _ => None,
        })
    });
    context.add_function("group", |This(this): This<Cel>, group: Arc<String>| {
        narrowed(&this, |about| match about {
            About::Nothing => Some(About::Group(group.as_str().to_owned())),
            _ => None,
        })
    });
    context.add_function(
        "serviceAccount",
        |This(this): This<Cel>, namespace: Arc<String>, name: Arc<String>| {
            let question = question(&this)?;
            let groups = [
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ];
            let user = User {
                name: format!("system:serviceaccount:{namespace}:{name}"),
                groups: groups.into(),
                ..User::default()
            };
            Ok(Cel::Opaque(Arc::new(Question { user: Arc::new(user), ..question.clone() })))
        },
    );
    context.add_function("resource", |This(this): This<Cel>, resource: Arc<String>| {
        narrowed(&this, |about| match about {
            About::Group(group) => Some(About::Resource(ResourceAccess::new("", group, &resource))),
            _ => None,
        })
    });
    context.add_function("subresource", |This(this): This<Cel>, subresource: Arc<String>| {
        of_resource(&this, |access| access.subresource(subresource.as_str()))
    });
    context.add_function("namespace", |This(this): This<Cel>, namespace: Arc<String>| {
        of_resource(&this, |access| access.within(namespace.as_str()))
    });
    context.add_function("name", |This(this): This<Cel>, name: Arc<String>| {
        of_resource(&this, |access| access.named(name.as_str()))
    });
    context.add_function("check", |This(this): This<Cel>, verb: Arc<String>| {
        let question = question(&this)?;
        let verb = verb.as_str().to_owned();
        let access = match &question.about {
            About::Path(path) => Access::Path { verb, path: path.clone() },
            About::Resource(access) => Access::Resource(ResourceAccess { verb, ..access.clone() }),
            About::Nothing | About::Group(_) => return Err(ExecutionError::NoSuchOverload),
        };
        let decision = authorize(&question.store, &question.user, &access);
        Ok(Cel::Opaque(Arc::new(Answer { allowed: decision.allowed, reason: decision.reason })))
    });
    context.add_function("allowed", |This(this): This<Cel>| Ok(Cel::Bool(answer(&this)?.allowed)));
    context.add_function("reason", |This(this): This<Cel>| Ok(Cel::from(answer(&this)?.reason.as_str())));
    // The authorizer here does not fail.
    context.add_function("errored", |This(this): This<Cel>| answer(&this).map(|_| Cel::Bool(false)));
    context.add_function("error", |This(this): This<Cel>| answer(&this).map(|_| Cel::from("")));
}

fn question(value: &Cel) -> Result<&Question, ExecutionError> {
    match value {
        Cel::Opaque(value) => value.downcast_ref::<Question>().ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn answer(value: &Cel) -> Result<&Answer, ExecutionError> {
    match value {
        Cel::Opaque(value) => value.downcast_ref::<Answer>().ok_or(ExecutionError::NoSuchOverload),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn narrowed(value: &Cel, narrow: impl FnOnce(&About) -> Option<About>) -> Result<Cel, ExecutionError> {
    let question = question(value)?;
    let about = narrow(&question.about).ok_or(ExecutionError::NoSuchOverload)?;
    Ok(Cel::Opaque(Arc::new(Question { about, ..question.clone() })))
}

fn of_resource(
    value: &Cel,
    change: impl FnOnce(ResourceAccess) -> ResourceAccess,
) -> Result<Cel, ExecutionError> {
    narrowed(value, |about| match about {
        About::Resource(access) => Some(About::Resource(change(access.clone()))),
        _ => None,
    })
}
