//! A policy ready to be evaluated.

use std::collections::HashMap;
use std::sync::OnceLock;

use kube_cel::cel::{Context, Value as Cel};
use serde_json::{Value, json};

use super::super::pod::items;
use super::authorizer;
use super::cel::{Expression, Failure, map_of, value_of};
use super::check::{Declared, NAMESPACE, REQUEST, Type, check as check_expression};
use super::facts::Facts;
use crate::kubernetes::error::Cause;
use crate::kubernetes::state::Stored;

/// A message that is longer is not told.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// A policy. Its expressions are compiled when they are first needed.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) spec: Value,
    expressions: OnceLock<Result<Expressions, String>>,
}

#[derive(Debug)]
struct Expressions {
    conditions: Vec<Expression>,
    variables: Vec<(String, Expression)>,
    validations: Vec<Validation>,
}

#[derive(Debug)]
struct Validation {
    expression: Expression,
    told: Option<Expression>,
    message: Option<String>,
    reason: String,
}

/// That a policy does not let a request through, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) message: String,
    pub(super) reason: &'static str,
    pub(super) code: u16,
}

impl Denial {
    pub(super) fn of(message: String) -> Self {
        Self { message, reason: "Invalid", code: 422 }
    }

    fn because(message: String, reason: &str) -> Self {
        let (reason, code) = match reason {
            "Unauthorized" => ("Unauthorized", 401),
            "Forbidden" => ("Forbidden", 403),
            "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
            _ => ("Invalid", 422),
        };
        Self { message, reason, code }
    }
}

impl Compiled {
    pub(super) fn of(policy: &Value) -> Self {
        Self { spec: policy["spec"].clone(), expressions: OnceLock::new() }
    }

    /// Whether what goes wrong in its evaluation lets requests through.
    pub(super) fn is_lenient(&self) -> bool {
        self.spec["failurePolicy"] == "Ignore"
    }

    /// Every reason for which the request is not let through.
    pub(super) fn denials(&self, facts: &Facts<'_>, parameter: Option<&Stored>) -> Vec<Denial> {
        let expressions = match self.expressions.get_or_init(|| Expressions::of(&self.spec)) {
            Ok(expressions) => expressions,
            Err(_) if self.is_lenient() => return Vec::new(),
            Err(why) => return vec![Denial::of(why.clone())],
        };
        let mut scope = facts.scope();
        if self.spec["paramKind"].is_object() {
            let parameter = parameter.map_or(Cel::Null, |parameter| value_of(parameter.value()));
            scope.add_variable_from_value("params", parameter);
        }
        let failed = |expression: &Expression, why: &str| {
            Denial::of(format!("expression '{}' resulted in error: {why}", expression.source))
        };
        match expressions.applies(&scope) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(_) if self.is_lenient() => return Vec::new(),
            Err((condition, failure)) => return vec![failed(condition, &failure.why)],
        }
        let broken = expressions.compute(&mut scope);
        let mut denials = Vec::new();
        for validation in &expressions.validations {
            match validation.expression.evaluate(&scope) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => denials.push(validation.denial(&scope)),
                outcome if !self.is_lenient() => {
                    let why = match outcome {
                        Ok(_) => "unexpected type returned by the expression".to_owned(),
                        Err(failure) => explained(&failure, &broken),
                    };
                    let message = failed(&validation.expression, &why).message;
                    denials.push(Denial::because(message, &validation.reason));
                }
                _ => {}
            }
        }
        denials
    }
}

/// Why an expression failed: where a variable of the policy failed before, that is the reason.
fn explained(failure: &Failure, broken: &HashMap<String, String>) -> String {
    let variable = failure.missing.as_ref().and_then(|name| Some((name, broken.get(name)?)));
    match variable {
        Some((name, why)) => format!("composited variable \"{name}\" fails to evaluate: {why}"),
        None => failure.why.clone(),
    }
}

impl Expressions {
    fn of(spec: &Value) -> Result<Self, String> {
        let compile = |value: &Value| Expression::compile(value.as_str().unwrap_or_default().trim());
        let conditions = items(spec, "matchConditions").iter();
        let conditions = conditions.map(|condition| compile(&condition["expression"]));
        let variables = items(spec, "variables").iter().map(|variable| {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            Ok::<_, String>((name, compile(&variable["expression"])?))
        });
        let validations = items(spec, "validations").iter().map(|validation| {
            let told = validation.get("messageExpression").map(compile).transpose()?;
            let text = |field: &str| validation[field].as_str().map(str::to_owned);
            Ok::<_, String>(Validation {
                expression: compile(&validation["expression"])?,
                told,
                message: text("message"),
                reason: text("reason").unwrap_or_default(),
            })
        });
        Ok(Self {
            conditions: conditions.collect::<Result<_, _>>()?,
            variables: variables.collect::<Result<_, _>>()?,
            validations: validations.collect::<Result<_, _>>()?,
        })
    }

    /// Whether all conditions hold. One that does not hold counts more than one that fails.
    fn applies(&self, scope: &Context<'_>) -> Result<bool, (&Expression, Failure)> {
        let mut failed = None;
        for condition in &self.conditions {
            match condition.evaluate(scope) {
                Ok(Cel::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(failure) => failed = failed.or(Some((condition, failure))),
            }
        }
        failed.map_or(Ok(true), Err)
    }

    /// Puts `variables` into the scope. Returns those that failed: they count only where they are used.
    fn compute(&self, scope: &mut Context<'_>) -> HashMap<String, String> {
        let (mut values, mut broken) = (HashMap::new(), HashMap::new());
        if self.variables.is_empty() {
            return broken;
        }
        for (name, expression) in &self.variables {
            scope.add_variable_from_value("variables", map_of(values.clone()));
            match expression.evaluate(scope) {
                Ok(value) => drop(values.insert(name.clone(), value)),
                Err(failure) => {
                    let why = explained(&failure, &broken);
                    broken.insert(name.clone(), why);
                }
            }
        }
        scope.add_variable_from_value("variables", map_of(values));
        broken
    }
}

impl Validation {
    fn denial(&self, scope: &Context<'_>) -> Denial {
        let told = self.told.as_ref().and_then(|told| match told.evaluate(scope) {
            Ok(Cel::String(text)) => Some(text.trim().to_owned()),
            _ => None,
        });
        let told =
            told.filter(|text| !text.is_empty() && !text.contains('\n') && text.len() <= LONGEST_MESSAGE);
        let message = told
            .or_else(|| self.message.as_deref().map(|message| message.trim().to_owned()))
            .filter(|message| !message.is_empty())
            .unwrap_or_else(|| format!("failed expression: {}", self.expression.source));
        Denial::because(message, &self.reason)
    }
}

/// What is wrong with the expressions of a policy.
pub(super) fn check(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut declared = Declared::default()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", Type::Struct(&REQUEST))
        .with("namespaceObject", Type::Struct(&NAMESPACE));
    if spec["paramKind"].is_object() {
        declared = declared.with("params", Type::Dyn);
    }
    let asking = |declared: &Declared| {
        declared.clone().with("authorizer", Type::Dyn).with(authorizer::REQUEST_RESOURCE, Type::Dyn)
    };
    let mut look = |path: String, value: &Value, wanted: &[Type], declared: &Declared| -> Type {
        let source = value.as_str().unwrap_or_default().trim();
        if source.is_empty() {
            // That there is none is found elsewhere.
            return Type::Dyn;
        }
        let found = Expression::compile(source).and_then(|one| check_expression(&one, declared));
        let kind = match found {
            Err(why) => {
                causes.push(Cause::invalid(path, &json!(source), &why));
                return Type::Dyn;
            }
            Ok(kind) => kind,
        };
        if !wanted.is_empty() && !wanted.contains(&kind) {
            let wanted = match wanted {
                [one] => one.name().to_owned(),
                many => {
                    let names: Vec<&str> = many.iter().map(|one| one.name()).collect();
                    format!("one of [{}]", names.join(" "))
                }
            };
            let why = format!("must evaluate to {wanted} but got {}", kind.name());
            causes.push(Cause::invalid(path, &json!(source), &why));
        }
        kind
    };
    for (index, condition) in items(spec, "matchConditions").iter().enumerate() {
        let path = format!("spec.matchConditions[{index}].expression");
        look(path, &condition["expression"], &[Type::Bool], &asking(&declared));
    }
    for (index, variable) in items(spec, "variables").iter().enumerate() {
        let path = format!("spec.variables[{index}].expression");
        let mut known = asking(&declared);
        known.variables.get_or_insert_default();
        let kind = look(path, &variable["expression"], &[], &known);
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        declared.variables.get_or_insert_default().push((name, kind));
    }
    for (index, validation) in items(spec, "validations").iter().enumerate() {
        let path = |field: &str| format!("spec.validations[{index}].{field}");
        look(path("expression"), &validation["expression"], &[Type::Bool], &asking(&declared));
        look(path("messageExpression"), &validation["messageExpression"], &[Type::String], &declared);
    }
    for (index, annotation) in items(spec, "auditAnnotations").iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}].valueExpression");
        look(path, &annotation["valueExpression"], &[Type::String, Type::Null], &declared);
    }
    causes
}
