//! The part of JSONPath that CRDs use for printer columns and scale paths: `.a.b`, `['a']`, `[0]`, `[*]` and
//! `[?(@.a=="b")]`.

use serde_json::Value;

/// Everything that the path selects; nothing when the path is not understood.
pub(super) fn find<'a>(root: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![root];
    let mut rest = path.trim().trim_start_matches('$');
    while !rest.is_empty() {
        let Some((step, tail)) = next(rest) else { return Vec::new() };
        found = found.into_iter().flat_map(|value| step.apply(value)).collect();
        rest = tail;
    }
    found.retain(|value| !value.is_null());
    found
}

enum Step<'p> {
    Field(&'p str),
    Index(i64),
    All,
    Where { field: &'p str, equals: &'p str },
}

fn next(path: &str) -> Option<(Step<'_>, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at_checked(end)?;
        return (!name.is_empty()).then_some((if name == "*" { Step::All } else { Step::Field(name) }, tail));
    }
    let rest = path.strip_prefix('[')?;
    if let Some(condition) = rest.strip_prefix("?(") {
        let (condition, tail) = condition.split_once(")]")?;
        let (field, equals) = condition.split_once("==")?;
        let field = field.trim().strip_prefix("@.")?;
        return Some((Step::Where { field, equals: equals.trim().trim_matches(['"', '\'']) }, tail));
    }
    let (inside, tail) = rest.split_once(']')?;
    let step = match inside.trim() {
        "*" => Step::All,
        quoted if quoted.starts_with(['"', '\'']) => Step::Field(quoted.trim_matches(['"', '\''])),
        number => Step::Index(number.parse().ok()?),
    };
    Some((step, tail))
}

impl Step<'_> {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(*name).into_iter().collect(),
            Self::Index(index) => {
                let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let from_end = || list.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?);
                let position = if *index < 0 { from_end() } else { usize::try_from(*index).ok() };
                position.and_then(|position| list.get(position)).into_iter().collect()
            }
            Self::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            },
            Self::Where { field, equals } => {
                let holds = |item: &&Value| match item.pointer(&format!("/{}", field.replace('.', "/"))) {
                    Some(Value::String(text)) => text == equals,
                    Some(other) => serde_json::from_str::<Value>(equals).is_ok_and(|wanted| wanted == *other),
                    None => false,
                };
                value.as_array().into_iter().flatten().filter(holds).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_paths_of_printer_columns_are_understood() {
        let object = json!({
            "spec": {"size": 3, "a.b": "dotted", "list": [{"n": 1}, {"n": 2}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        let texts = |path: &str| find(&object, path).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(".spec.size"), ["3"]);
        assert_eq!(texts(".status.conditions[?(@.type==\"Ready\")].status"), ["\"True\""]);
        assert_eq!(texts(".spec.list[*].n"), ["1", "2"]);
        assert_eq!(texts(".spec.list[-1].n"), ["2"]);
        assert_eq!(texts("$.spec['a.b']"), ["\"dotted\""]);
        assert!(texts(".spec[").is_empty());
        assert!(texts("spec").is_empty());
        assert!(texts(".spec.none").is_empty());
    }
}
