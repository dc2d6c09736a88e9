//! CEL expressions: compiling them, and evaluating them over JSON.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ExecutionError, Value as Cel};
use serde_json::Value;

use super::authorizer;

/// A compiled expression.
#[derive(Debug)]
pub(in crate::kubernetes) struct Expression {
    pub(super) source: String,
    tree: IdedExpr,
}

impl Expression {
    /// Compiles; the error is told as kube-apiserver tells it.
    pub(in crate::kubernetes) fn compile(source: &str) -> Result<Self, String> {
        // A parser that gives up in the middle of some text must not take the server with it.
        let parsed = std::panic::catch_unwind(|| {
            Parser::new().enable_optional_syntax(true).parse(source).map_err(|errors| {
                let errors = errors.errors.iter();
                errors.map(|error| located(source, error.pos, &error.msg)).collect::<Vec<_>>().join("\n")
            })
        });
        let mut tree = parsed
            .unwrap_or_else(|_| Err(located(source, (1, 1), "the expression cannot be parsed")))
            .map_err(|why| format!("compilation failed: {why}"))?;
        select_strictly(&mut tree);
        Ok(Self { source: source.to_owned(), tree })
    }

    pub(super) fn tree(&self) -> &IdedExpr {
        &self.tree
    }

    /// What it comes to in this scope.
    pub(in crate::kubernetes) fn evaluate(&self, scope: &Context<'_>) -> Result<Cel, Failure> {
        Cel::resolve(&self.tree, scope).map_err(Failure::from)
    }
}

/// Why an expression came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kubernetes) struct Failure {
    pub(in crate::kubernetes) why: String,
    /// The key that was not there.
    pub(super) missing: Option<String>,
}

impl From<ExecutionError> for Failure {
    /// Told as cel-go tells it, and without the values that an expression saw: those may be secret.
    fn from(error: ExecutionError) -> Self {
        let mut missing = None;
        let why = match error {
            ExecutionError::NoSuchKey(key) => {
                missing = Some(key.as_str().to_owned());
                format!("no such key: {key}")
            }
            ExecutionError::UndeclaredReference(name) => format!("no such attribute(s): {name}"),
            ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
            ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
            ExecutionError::Overflow(..) => "integer overflow".to_owned(),
            ExecutionError::IndexOutOfBounds(Cel::Int(index)) => format!("index out of bounds: {index}"),
            ExecutionError::FunctionError { message, .. } => message,
            _ => "no such overload".to_owned(),
        };
        Self { why, missing }
    }
}

/// Where the functions of Kubernetes' CEL are found; scopes with variables are made within it.
pub(in crate::kubernetes) fn functions() -> &'static Context<'static> {
    static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());
    static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| {
        // The libraries, and what Kubernetes has beyond them.
        let mut context = Context::default().with_all();
        authorizer::register(&mut context);
        context.add_function("dyn", |value: Cel| -> Result<Cel, ExecutionError> { Ok(value) });
        context.add_function("bool", |value: Cel| -> Result<Cel, ExecutionError> {
            let Cel::String(text) = &value else {
                return if matches!(value, Cel::Bool(_)) {
                    Ok(value)
                } else {
                    Err(ExecutionError::NoSuchOverload)
                };
            };
            match text.as_str() {
                "1" | "t" | "true" | "TRUE" | "True" => Ok(Cel::Bool(true)),
                "0" | "f" | "false" | "FALSE" | "False" => Ok(Cel::Bool(false)),
                _ => {
                    let why = "type conversion error from 'string' to 'bool'";
                    Err(ExecutionError::function_error("bool", why))
                }
            }
        });
        context.add_function("string", |value: Cel| -> Result<Cel, ExecutionError> {
            if let Cel::Bool(flag) = value {
                return Ok(Cel::from(flag.to_string()));
            }
            let mut scope = LIBRARY.new_inner_scope();
            scope.add_variable_from_value("value", value);
            let argument = IdedExpr { id: 1, expr: Expr::Ident("value".to_owned()) };
            let call = CallExpr { func_name: "string".to_owned(), target: None, args: vec![argument] };
            Cel::resolve(&IdedExpr { id: 2, expr: Expr::Call(call) }, &scope)
        });
        context
    });
    &FUNCTIONS
}

/// A JSON value as an expression sees it.
pub(in crate::kubernetes) fn value_of(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(value_of).collect())),
        Value::Object(fields) => {
            map_of(fields.iter().map(|(name, value)| (name.clone(), value_of(value))).collect())
        }
    }
}

/// A map of named values.
pub(super) fn map_of(fields: HashMap<String, Cel>) -> Cel {
    let keyed = fields.into_iter().map(|(name, value)| (Key::String(Arc::new(name)), value));
    Cel::Map(Map { map: Arc::new(keyed.collect()) })
}

/// A message with its place in the source, as cel-go writes it.
pub(super) fn located(source: &str, (line, column): (isize, isize), message: &str) -> String {
    let told = format!("ERROR: <input>:{line}:{column}: {message}");
    let index = usize::try_from(line - 1).unwrap_or_default();
    let Some(text) = source.lines().nth(index) else { return told };
    let dots = ".".repeat(usize::try_from(column - 1).unwrap_or_default());
    format!("{told}\n | {text}\n | {dots}^")
}

/// Makes `a.b` an index `a["b"]`, which fails on what is no map, and `a.?b` one that may find nothing: the evaluator's
/// own selections are lenient with the one and strict with the other.
fn select_strictly(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Select(select) => {
            if matches!(&select.operand.expr, Expr::Ident(name) if name == "authorizer")
                && select.field == "requestResource"
            {
                node.expr = Expr::Ident(authorizer::REQUEST_RESOURCE.to_owned());
                return;
            }
            select_strictly(&mut select.operand);
            if !select.test {
                let operand = std::mem::take(&mut *select.operand);
                let field = LiteralValue::String(select.field.as_str().into());
                let field = IdedExpr { id: node.id, expr: Expr::Literal(field) };
                let call = CallExpr {
                    func_name: operators::INDEX.to_owned(),
                    target: None,
                    args: vec![operand, field],
                };
                node.expr = Expr::Call(call);
            }
        }
        Expr::Call(call) => {
            if call.func_name == operators::OPT_SELECT {
                operators::OPT_INDEX.clone_into(&mut call.func_name);
            }
            call.target.iter_mut().for_each(|target| select_strictly(target));
            call.args.iter_mut().for_each(select_strictly);
        }
        Expr::Comprehension(loops) => {
            for part in [
                &mut loops.iter_range,
                &mut loops.accu_init,
                &mut loops.loop_cond,
                &mut loops.loop_step,
                &mut loops.result,
            ] {
                select_strictly(part);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(select_strictly),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    select_strictly(&mut entry.key);
                    select_strictly(&mut entry.value);
                }
            }
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn evaluated(source: &str) -> Result<Cel, String> {
        let mut scope = functions().new_inner_scope();
        let object = json!({"spec": {"replicas": 3, "none": null}, "metadata": {"labels": {"app.kubernetes.io/name": "x"}}});
        scope.add_variable_from_value("object", value_of(&object));
        scope.add_variable_from_value("oldObject", Cel::Null);
        Expression::compile(source)?.evaluate(&scope).map_err(|failure| failure.why)
    }

    #[test]
    fn expressions_see_json_as_it_is() {
        for source in [
            "object.spec.replicas == 3",
            "object.metadata.labels['app.kubernetes.io/name'] == 'x'",
            "object.?metadata.?annotations.?a.orValue('none') == 'none'",
            "object.?spec.?replicas.orValue(0) > 2",
            "object.?spec.replicas.orValue(0) > 2",
            "object[?'spec'].hasValue() && !object[?'other'].hasValue()",
            "has(object.spec.replicas) && !has(object.spec.other)",
            "oldObject == null",
            "object.spec.none == null",
            "object.spec.replicas < 10 || object.nope",
            "object.nope || object.spec.replicas < 10",
            "[1, 2].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].map(x, x * 2) == [2, 4]",
            "object.metadata.labels.all(k, k.startsWith('app'))",
            "dyn(3) == 3",
            "quantity('1Gi').isGreaterThan(quantity('1Mi'))",
            "'a' in {'a': 1} && 1 in [1]",
            "(true ? 'a' : 'b') == 'a'",
            "'a,b'.split(',').size() == 2",
            "'web-1'.matches('^web-[0-9]+$')",
            "string(true) + string(1) + string('x') == 'true1x'",
            "bool('true') && !bool('f')",
        ] {
            assert_eq!(evaluated(source), Ok(Cel::Bool(true)), "{source}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_and_not_false() {
        for (source, why) in [
            ("object.nope == 1", "no such key: nope"),
            ("object.nope.more == 1", "no such key: nope"),
            ("has(object.nope.more)", "no such key: nope"),
            ("oldObject.metadata.name == 'x'", "no such overload"),
            ("object.spec.replicas.more == 1", "no such overload"),
            ("object.spec.replicas + 'a' == 1", "no such overload"),
            ("object.spec.replicas > 'a'", "no such overload"),
            ("1 / 0 == 1", "division by zero"),
            ("[1][5] == 1", "index out of bounds: 5"),
        ] {
            assert_eq!(evaluated(source), Err(why.to_owned()), "{source}");
        }
    }

    #[test]
    fn syntax_errors_are_told_with_their_place() {
        let why = Expression::compile("1 +").map(|_| ()).unwrap_err();
        assert!(
            why.starts_with("compilation failed: ERROR: <input>:1:4: Syntax error: mismatched input"),
            "{why}"
        );
        assert!(why.ends_with("\n | 1 +\n | ...^"), "{why}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9 .?'\"\\[\\]{}()+*/<>=!&|,:\\\\-]{0,40}") {
            let _ = evaluated(&text);
        }
    }
}
