//! Whether the expressions of a policy can come to what they are for: what they refer to, and their type as far as it
//! can be known beforehand.

use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::cel::{Expression, located};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    UInt,
    Double,
    String,
    Bytes,
    Null,
    List,
    Map,
    /// Some other type, by its name.
    Other(&'static str),
    /// An object with these fields and no others.
    Struct(&'static Shape),
    /// Known only when there is a value.
    Dyn,
}

/// The fields of an object whose type is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    name: &'static str,
    fields: &'static [(&'static str, Type)],
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::UInt => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Null => "null_type",
            Self::List => "list(dyn)",
            Self::Map => "map(dyn, dyn)",
            Self::Other(name) => name,
            Self::Struct(shape) => shape.name,
            Self::Dyn => "dyn",
        }
    }

    /// Whether a value of the one type may be compared with one of the other.
    fn comparable(self, other: Self) -> bool {
        self == other
            || [self, other].iter().any(|one| matches!(one, Self::Dyn | Self::Null | Self::Other(_)))
    }
}

const KIND: Shape = Shape {
    name: "kubernetes.GroupVersionKind",
    fields: &[("group", Type::String), ("version", Type::String), ("kind", Type::String)],
};
const RESOURCE: Shape = Shape {
    name: "kubernetes.GroupVersionResource",
    fields: &[("group", Type::String), ("version", Type::String), ("resource", Type::String)],
};
const USER: Shape = Shape {
    name: "kubernetes.UserInfo",
    fields: &[
        ("username", Type::String),
        ("uid", Type::String),
        ("groups", Type::List),
        ("extra", Type::Map),
    ],
};
/// The variable `request`.
pub(super) const REQUEST: Shape = Shape {
    name: "kubernetes.AdmissionRequest",
    fields: &[
        ("kind", Type::Struct(&KIND)),
        ("resource", Type::Struct(&RESOURCE)),
        ("subResource", Type::String),
        ("requestKind", Type::Struct(&KIND)),
        ("requestResource", Type::Struct(&RESOURCE)),
        ("requestSubResource", Type::String),
        ("name", Type::String),
        ("namespace", Type::String),
        ("operation", Type::String),
        ("userInfo", Type::Struct(&USER)),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ],
};
const NAMESPACE_METADATA: Shape = Shape {
    name: "kubernetes.NamespaceMetadata",
    fields: &[
        ("name", Type::String),
        ("generateName", Type::String),
        ("namespace", Type::String),
        ("labels", Type::Map),
        ("annotations", Type::Map),
        ("UID", Type::String),
        ("creationTimestamp", Type::Other("google.protobuf.Timestamp")),
        ("deletionGracePeriodSeconds", Type::Int),
        ("deletionTimestamp", Type::Other("google.protobuf.Timestamp")),
        ("generation", Type::Int),
        ("resourceVersion", Type::String),
        ("finalizers", Type::List),
    ],
};
const NAMESPACE_SPEC: Shape =
    Shape { name: "kubernetes.NamespaceSpec", fields: &[("finalizers", Type::List)] };
const NAMESPACE_STATUS: Shape =
    Shape { name: "kubernetes.NamespaceStatus", fields: &[("phase", Type::String)] };
/// The variable `namespaceObject`.
pub(super) const NAMESPACE: Shape = Shape {
    name: "kubernetes.Namespace",
    fields: &[
        ("metadata", Type::Struct(&NAMESPACE_METADATA)),
        ("spec", Type::Struct(&NAMESPACE_SPEC)),
        ("status", Type::Struct(&NAMESPACE_STATUS)),
    ],
};

/// The functions there are, by what they give.
const FUNCTIONS: [(Type, &[&str]); 8] = [
    (
        Type::Bool,
        &[
            "contains",
            "startsWith",
            "endsWith",
            "matches",
            "bool",
            "hasValue",
            "isSorted",
            "sets.contains",
            "sets.equivalent",
            "sets.intersects",
            "isURL",
            "isIP",
            "isCIDR",
            "ip.isCanonical",
            "isLoopback",
            "isUnspecified",
            "isLinkLocalMulticast",
            "isLinkLocalUnicast",
            "isGlobalUnicast",
            "containsIP",
            "containsCIDR",
            "allowed",
            "errored",
            "isQuantity",
            "isInteger",
            "isGreaterThan",
            "isLessThan",
            "isSemver",
        ],
    ),
    (
        Type::Int,
        &[
            "size",
            "int",
            "indexOf",
            "lastIndexOf",
            "compareTo",
            "asInteger",
            "sign",
            "family",
            "prefixLength",
            "major",
            "minor",
            "patch",
            "getFullYear",
            "getMonth",
            "getDayOfYear",
            "getDayOfMonth",
            "getDate",
            "getDayOfWeek",
            "getHours",
            "getMinutes",
            "getSeconds",
            "getMilliseconds",
        ],
    ),
    (Type::UInt, &["uint"]),
    (Type::Double, &["double", "asApproximateFloat"]),
    (
        Type::String,
        &[
            "string",
            "charAt",
            "lowerAscii",
            "upperAscii",
            "replace",
            "substring",
            "trim",
            "join",
            "strings.quote",
            "find",
            "getScheme",
            "getHost",
            "getHostname",
            "getPort",
            "getEscapedPath",
            "format",
            "base64.encode",
            "jsonpatch.escapeKey",
            "reason",
            "error",
        ],
    ),
    (Type::Bytes, &["bytes", "base64.decode"]),
    (Type::List, &["split", "findAll", "distinct", "flatten", "sort", "slice", "lists.range"]),
    (
        Type::Dyn,
        &[
            "dyn",
            "duration",
            "timestamp",
            "optional.none",
            "optional.of",
            "optional.ofNonZeroValue",
            "value",
            "or",
            "orValue",
            "min",
            "max",
            "sum",
            "reverse",
            "first",
            "last",
            "quantity",
            "add",
            "sub",
            "url",
            "getQuery",
            "ip",
            "cidr",
            "masked",
            "semver",
            "math.ceil",
            "math.floor",
            "math.round",
            "math.trunc",
            "math.abs",
            "math.sign",
            "math.isInf",
            "math.isNaN",
            "math.isFinite",
            "math.bitAnd",
            "math.bitOr",
            "math.bitXor",
            "math.bitNot",
            "math.bitShiftLeft",
            "math.bitShiftRight",
            "math.sqrt",
            "math.least",
            "math.greatest",
            "format.dns1123Label",
            "format.dns1123Subdomain",
            "format.dns1035Label",
            "format.dns1035LabelPrefix",
            "format.dns1123LabelPrefix",
            "format.dns1123SubdomainPrefix",
            "format.qualifiedName",
            "format.labelValue",
            "format.uri",
            "format.uuid",
            "format.byte",
            "format.date",
            "format.datetime",
            "path",
            "group",
            "serviceAccount",
            "resource",
            "subresource",
            "namespace",
            "name",
            "check",
            "format.named",
            "validate",
        ],
    ),
];

/// What an expression may refer to.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    names: Vec<(String, Type)>,
    /// The variables of the policy, as far as they are declared before; `None` where there are none.
    pub(super) variables: Option<Vec<(String, Type)>>,
}

impl Declared {
    pub(super) fn with(mut self, name: &str, kind: Type) -> Self {
        self.names.push((name.to_owned(), kind));
        self
    }

    fn find(&self, name: &str) -> Option<Type> {
        self.names.iter().rev().find(|(known, _)| known == name).map(|(_, kind)| *kind)
    }
}

/// The type of an expression, or what is wrong with it as kube-apiserver tells it.
pub(super) fn check(expression: &Expression, declared: &Declared) -> Result<Type, String> {
    let mut checker = Checker { source: &expression.source, problems: Vec::new() };
    let kind = checker.type_of(expression.tree(), declared);
    if checker.problems.is_empty() {
        Ok(kind)
    } else {
        Err(format!("compilation failed: {}", checker.problems.join("\n")))
    }
}

struct Checker<'a> {
    source: &'a str,
    problems: Vec<String>,
}

impl Checker<'_> {
    fn problem(&mut self, token: &str, message: &str) {
        self.problems.push(located(self.source, place(self.source, token), message));
    }

    fn undeclared(&mut self, token: &str, name: &str) {
        self.problem(token, &format!("undeclared reference to '{name}' (in container '')"));
    }

    fn type_of(&mut self, node: &IdedExpr, declared: &Declared) -> Type {
        match &node.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::String,
                LiteralValue::UInt(_) => Type::UInt,
            },
            Expr::Ident(name) if name == "variables" && declared.variables.is_some() => Type::Dyn,
            Expr::Ident(name) => declared.find(name).unwrap_or_else(|| {
                self.undeclared(name, name);
                Type::Dyn
            }),
            Expr::Select(select) => {
                self.field(&select.operand, &select.field, declared);
                Type::Bool
            }
            Expr::Call(call) => self.call(call, declared),
            Expr::List(list) => {
                for element in &list.elements {
                    self.type_of(element, declared);
                }
                Type::List
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.type_of(&entry.key, declared);
                        self.type_of(&entry.value, declared);
                    }
                }
                Type::Map
            }
            Expr::Comprehension(loops) => {
                let range = self.type_of(&loops.iter_range, declared);
                if let Type::Struct(shape) = range {
                    let why = "cannot be range of a comprehension (must be list, map, or dynamic)";
                    self.problem("", &format!("expression of type '{}' {why}", shape.name));
                }
                let start = self.type_of(&loops.accu_init, declared);
                let inside = declared.clone().with(&loops.iter_var, Type::Dyn).with(&loops.accu_var, start);
                self.type_of(&loops.loop_cond, &inside);
                self.type_of(&loops.loop_step, &inside);
                self.type_of(&loops.result, &inside)
            }
            Expr::Struct(object) => {
                self.undeclared(&object.type_name, &object.type_name);
                Type::Dyn
            }
            Expr::Unspecified => Type::Dyn,
        }
    }

    /// The type of a field.
    fn field(&mut self, operand: &IdedExpr, field: &str, declared: &Declared) -> Type {
        if let (Expr::Ident(name), Some(variables)) = (&operand.expr, &declared.variables)
            && name == "variables"
        {
            let known = variables.iter().find(|(name, _)| name == field).map(|(_, kind)| *kind);
            return known.unwrap_or_else(|| {
                self.problem(&format!(".{field}"), &format!("undefined field '{field}'"));
                Type::Dyn
            });
        }
        match self.type_of(operand, declared) {
            Type::Struct(shape) => {
                let known = shape.fields.iter().find(|(name, _)| *name == field).map(|(_, kind)| *kind);
                known.unwrap_or_else(|| {
                    self.problem(&format!(".{field}"), &format!("undefined field '{field}'"));
                    Type::Dyn
                })
            }
            _ => Type::Dyn,
        }
    }

    fn call(&mut self, call: &CallExpr, declared: &Declared) -> Type {
        let name = call.func_name.as_str();
        if let (operators::INDEX | operators::OPT_INDEX, [operand, index]) = (name, call.args.as_slice()) {
            if let Expr::Literal(LiteralValue::String(field)) = &index.expr {
                let kind = self.field(operand, field.inner(), declared);
                return if name == operators::INDEX { kind } else { Type::Dyn };
            }
            self.type_of(operand, declared);
            self.type_of(index, declared);
            return Type::Dyn;
        }
        let qualified = match call.target.as_deref().map(|target| &target.expr) {
            Some(Expr::Ident(prefix)) => Some(format!("{prefix}.{name}")),
            _ => None,
        };
        let known =
            |name: &str| FUNCTIONS.iter().find(|(_, names)| names.contains(&name)).map(|(kind, _)| *kind);
        let qualified = qualified.as_deref().and_then(known);
        if let (Some(target), None) = (&call.target, qualified) {
            self.type_of(target, declared);
        }
        let types: Vec<Type> = call.args.iter().map(|arg| self.type_of(arg, declared)).collect();
        if let Some(kind) = operator(name, &types) {
            return kind.unwrap_or_else(|(token, why)| {
                self.problem(token, &why);
                Type::Dyn
            });
        }
        qualified.or_else(|| known(name)).unwrap_or_else(|| {
            let token = if call.target.is_some() { format!(".{name}") } else { name.to_owned() };
            let column = isize::from(call.target.is_some());
            let (line, at) = place(self.source, &token);
            let length = isize::try_from(token.len()).unwrap_or_default() - column;
            let message = format!("undeclared reference to '{name}' (in container '')");
            // The place of a call is its opening bracket.
            self.problems.push(located(self.source, (line, at + column + length), &message));
            Type::Dyn
        })
    }
}

/// The type of an operator's result, `None` for functions.
#[allow(clippy::type_complexity)] // a type, or the token and the words of what is wrong with it
fn operator(name: &str, types: &[Type]) -> Option<Result<Type, (&'static str, String)>> {
    let overload = |token: &'static str| {
        let listed: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
        let listed = listed.join(", ");
        Err((token, format!("found no matching overload for '{name}' applied to '({listed})'")))
    };
    let alike = || matches!(types, [left, right] if left.comparable(*right));
    let not_bool = || types.iter().find(|kind| !matches!(kind, Type::Bool | Type::Dyn | Type::Other(_)));
    let expected = |token: &'static str, found: &Type| {
        Err((token, format!("expected type 'bool' but found '{}'", found.name())))
    };
    Some(match name {
        operators::EQUALS if !alike() => overload("=="),
        operators::NOT_EQUALS if !alike() => overload("!="),
        operators::EQUALS
        | operators::NOT_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::IN
        | operators::NOT_STRICTLY_FALSE => Ok(Type::Bool),
        operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT => match not_bool() {
            Some(found) => {
                let token = match name {
                    operators::LOGICAL_AND => "&&",
                    operators::LOGICAL_OR => "||",
                    _ => "!",
                };
                expected(token, found)
            }
            None => Ok(Type::Bool),
        },
        operators::CONDITIONAL => match types {
            [_, left, right] if left == right => Ok(*left),
            [_, left, right] if left.comparable(*right) => Ok(Type::Dyn),
            _ => overload("?"),
        },
        operators::ADD
        | operators::SUBSTRACT
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO => match types {
            [left, right] if left == right => Ok(*left),
            [Type::Dyn, known] | [known, Type::Dyn] if *known != Type::Null => Ok(*known),
            [left, right] if left.comparable(*right) => Ok(Type::Dyn),
            _ => overload(match name {
                operators::ADD => "+",
                operators::SUBSTRACT => "-",
                operators::MULTIPLY => "*",
                operators::DIVIDE => "/",
                _ => "%",
            }),
        },
        operators::NEGATE => Ok(types.first().copied().unwrap_or(Type::Dyn)),
        _ => return None,
    })
}

/// Where a token is first found in a source that tells no places itself: line and column, both from 1.
fn place(source: &str, token: &str) -> (isize, isize) {
    let word = |character: Option<char>| character.is_some_and(|one| one.is_alphanumeric() || one == '_');
    let is_word = token.chars().any(char::is_alphanumeric);
    let found = source.match_indices(token).find(|(at, _)| {
        let before = source.get(..*at).and_then(|text| text.chars().next_back());
        let after = source.get(at + token.len()..).and_then(|text| text.chars().next());
        let joined = !token.starts_with('.') && (word(before) || before == Some('.'));
        !(is_word && (joined || word(after)))
    });
    let before = source.get(..found.map_or(0, |(at, _)| at)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (isize::try_from(line).unwrap_or(1), isize::try_from(column).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(source: &str) -> Result<Type, String> {
        let mut declared = Declared::default()
            .with("object", Type::Dyn)
            .with("request", Type::Struct(&REQUEST))
            .with("namespaceObject", Type::Struct(&NAMESPACE));
        declared.variables = Some(vec![("x".to_owned(), Type::Int)]);
        Expression::compile(source).and_then(|expression| check(&expression, &declared))
    }

    #[test]
    fn types_are_known_as_far_as_they_can_be() {
        for (source, kind) in [
            ("object.a", Type::Dyn),
            ("object.a == 1", Type::Bool),
            ("'a' + object.b", Type::String),
            ("size(object.a)", Type::Int),
            ("object.a.all(x, x > 1)", Type::Bool),
            ("object.a.map(x, x)", Type::List),
            ("has(object.a) ? 'x' : 'y'", Type::String),
            ("request.userInfo.username", Type::String),
            ("variables.x", Type::Int),
            ("object.?a.orValue(1) == 1", Type::Bool),
            ("optional.of(1).hasValue()", Type::Bool),
        ] {
            assert_eq!(checked(source), Ok(kind), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_as_by_a_real_server() {
        for (source, why) in [
            ("foo == 1", "1:1: undeclared reference to 'foo' (in container '')\n | foo == 1\n | ^"),
            (
                "object.foo()",
                "1:11: undeclared reference to 'foo' (in container '')\n | object.foo()\n | ..........^",
            ),
            ("nope(1)", "1:5: undeclared reference to 'nope' (in container '')\n | nope(1)\n | ....^"),
            (
                "1 == 'a'",
                "1:3: found no matching overload for '_==_' applied to '(int, string)'\n | 1 == 'a'\n | ..^",
            ),
            ("request.foo == 1", "1:8: undefined field 'foo'\n | request.foo == 1\n | .......^"),
            ("variables.y == 1", "1:10: undefined field 'y'\n | variables.y == 1\n | .........^"),
        ] {
            assert_eq!(checked(source), Err(format!("compilation failed: ERROR: <input>:{why}")), "{source}");
        }
        assert!(checked("Foo{a: 1} == 1").is_err());
        assert!(checked("request.map(k, k)").is_err());
    }
}
