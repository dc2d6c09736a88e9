//! Label and field selectors.

use serde_json::{Map, Value};

/// A label selector: all of its requirements must hold. The default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// A field selector: equalities over dotted paths. The default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldTerm>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    /// The label is an integer greater than this one.
    Above(i64),
    /// The label is an integer less than this one.
    Below(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl LabelSelector {
    /// Parses the query form: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text), position: 0, text };
        let mut requirements = Vec::new();
        while parser.peek().is_some() {
            requirements.push(parser.requirement()?);
            match parser.next() {
                None => break,
                Some(Token::Comma) if parser.peek().is_some() => {}
                Some(other) => return Err(parser.unexpected(&other, "',' and another requirement")),
            }
        }
        Ok(Self(requirements))
    }

    /// Reads the object form with `matchLabels` and `matchExpressions`; `null` selects nothing by the rules of
    /// most kinds, which the caller decides.
    pub fn from_json(selector: &Value) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().ok_or_else(|| format!("matchLabels[{key}] must be a string"))?;
            requirements.push(Requirement::new(key, Operator::In(vec![value.to_owned()]))?);
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(Requirement::from_expression(expression)?);
        }
        Ok(Self(requirements))
    }

    /// A selector for exactly these labels, as in a Service or a ReplicationController.
    pub fn from_labels(labels: &Map<String, Value>) -> Self {
        let one = |(key, value): (&String, &Value)| {
            let operator = Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]);
            Requirement { key: key.clone(), operator }
        };
        Self(labels.iter().map(one).collect())
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.0.iter().all(|requirement| {
            requirement
                .matches(labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str))
        })
    }
}

impl FieldSelector {
    /// Parses `metadata.name=a,status.phase!=Running`. A backslash escapes `\`, `,` and `=` in values.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for term in split_unescaped(text, ',') {
            if term.is_empty() {
                continue;
            }
            let (path, value, equal) = split_field_term(term)
                .ok_or_else(|| format!("invalid field selector {text:?}: no operator in {term:?}"))?;
            let path = path.trim().split('.').map(str::to_owned).collect();
            terms.push(FieldTerm { path, value: unescape(value), equal });
        }
        Ok(Self(terms))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with another path in place of one, for fields that are selected by another name than their own.
    #[must_use]
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        for term in &mut self.0 {
            if term.path.iter().map(String::as_str).eq(from.split('.')) {
                term.path = to.split('.').map(str::to_owned).collect();
            }
        }
        self
    }

    /// The dotted paths that it looks at.
    pub fn paths(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|term| term.path.join("."))
    }

    /// The value that `path` must have, if the selector demands one.
    pub fn required(&self, path: &str) -> Option<&str> {
        let term = self
            .0
            .iter()
            .find(|term| term.equal && term.path.iter().map(String::as_str).eq(path.split('.')))?;
        Some(&term.value)
    }

    /// Whether an object is selected. A missing field equals the empty string.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|term| {
            let found = term.path.iter().try_fold(object, |value, segment| value.get(segment));
            let found = match found {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (found == term.value) == term.equal
        })
    }
}

impl Requirement {
    fn new(key: &str, operator: Operator) -> Result<Self, String> {
        check_key(key)?;
        if let Operator::In(values) | Operator::NotIn(values) = &operator {
            for value in values {
                check_value(value)?;
            }
        }
        Ok(Self { key: key.to_owned(), operator })
    }

    fn from_expression(expression: &Value) -> Result<Self, String> {
        let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
        let values =
            expression.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let values: Option<Vec<String>> =
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        let values = values.ok_or_else(|| format!("the values for {key:?} must be strings"))?;
        let operator = expression.get("operator").and_then(Value::as_str).unwrap_or_default();
        let operator = match (operator, values.is_empty()) {
            ("In", false) => Operator::In(values),
            ("NotIn", false) => Operator::NotIn(values),
            ("Exists", true) => Operator::Exists,
            ("DoesNotExist", true) => Operator::Absent,
            ("In" | "NotIn", true) => return Err(format!("{operator} of {key:?} needs values")),
            ("Exists" | "DoesNotExist", false) => {
                return Err(format!("{operator} of {key:?} takes no values"));
            }
            _ => return Err(format!("{operator:?} is not a valid label selector operator")),
        };
        Self::new(key, operator)
    }

    fn matches(&self, label: Option<&str>) -> bool {
        match &self.operator {
            Operator::In(values) => label.is_some_and(|label| values.iter().any(|value| value == label)),
            Operator::NotIn(values) => !label.is_some_and(|label| values.iter().any(|value| value == label)),
            Operator::Exists => label.is_some(),
            Operator::Absent => label.is_none(),
            Operator::Above(bound) => integer(label).is_some_and(|number| number > *bound),
            Operator::Below(bound) => integer(label).is_some_and(|number| number < *bound),
        }
    }
}

fn integer(label: Option<&str>) -> Option<i64> {
    label.and_then(|label| label.parse().ok())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Not,
    Equal,
    NotEqual,
    Greater,
    Less,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let token = match character {
            ',' => Token::Comma,
            '(' => Token::Open,
            ')' => Token::Close,
            '>' => Token::Greater,
            '<' => Token::Less,
            '!' if characters.next_if_eq(&'=').is_some() => Token::NotEqual,
            '!' => Token::Not,
            '=' => {
                characters.next_if_eq(&'=');
                Token::Equal
            }
            space if space.is_whitespace() => continue,
            first => {
                let mut word = String::from(first);
                while let Some(next) =
                    characters.next_if(|next| !next.is_whitespace() && !",()<>!=".contains(*next))
                {
                    word.push(next);
                }
                Token::Word(word)
            }
        };
        tokens.push(token);
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token>,
    position: usize,
    text: &'a str,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.position += 1;
        token
    }

    fn unexpected(&self, found: &Token, expected: &str) -> String {
        format!("unable to parse selector {:?}: found {found:?}, expected {expected}", self.text)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.peek() == Some(&Token::Not) {
            self.position += 1;
            return Requirement::new(&self.word("a label key")?, Operator::Absent);
        }
        let key = self.word("a label key")?;
        let operator = match self.peek().cloned() {
            None | Some(Token::Comma) => Operator::Exists,
            Some(operator) => {
                self.position += 1;
                self.operator(&operator)?
            }
        };
        Requirement::new(&key, operator)
    }

    fn operator(&mut self, operator: &Token) -> Result<Operator, String> {
        Ok(match operator {
            Token::Equal => Operator::In(vec![self.value()]),
            Token::NotEqual => Operator::NotIn(vec![self.value()]),
            Token::Greater => Operator::Above(self.number()?),
            Token::Less => Operator::Below(self.number()?),
            Token::Word(word) if word == "in" => Operator::In(self.values()?),
            Token::Word(word) if word == "notin" => Operator::NotIn(self.values()?),
            other => return Err(self.unexpected(other, "=, ==, !=, in, notin, > or <")),
        })
    }

    fn word(&mut self, expected: &str) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            Some(other) => Err(self.unexpected(&other, expected)),
            None => Err(format!("unable to parse selector {:?}: expected {expected} at its end", self.text)),
        }
    }

    /// `a=` and `a=,b` are valid: the value is empty.
    fn value(&mut self) -> String {
        match self.peek().cloned() {
            Some(Token::Word(word)) => {
                self.position += 1;
                word
            }
            _ => String::new(),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.word("an integer")?;
        word.parse().map_err(|_| format!("for '>' and '<' the value must be an integer, not {word:?}"))
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Some(Token::Open) => {}
            Some(other) => return Err(self.unexpected(&other, "'('")),
            None => return Err(format!("unable to parse selector {:?}: expected '(' at its end", self.text)),
        }
        let mut values = vec![self.value()];
        loop {
            match self.next() {
                Some(Token::Comma) => values.push(self.value()),
                Some(Token::Close) => return Ok(values),
                Some(other) => return Err(self.unexpected(&other, "',' or ')'")),
                None => return Err(format!("unable to parse selector {:?}: '(' is never closed", self.text)),
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    super::validate::names::qualified_name(key)
        .map_or(Ok(()), |why| Err(format!("invalid label key {key:?}: {why}")))
}

fn check_value(value: &str) -> Result<(), String> {
    super::validate::names::label_value(value)
        .map_or(Ok(()), |why| Err(format!("invalid label value {value:?}: {why}")))
}

fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, character) in text.char_indices() {
        if character == separator && !escaped {
            parts.push(text.get(start..index).unwrap_or_default());
            start = index + separator.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

fn split_field_term(term: &str) -> Option<(&str, &str, bool)> {
    let (index, operator, equal) = [("!=", false), ("==", true), ("=", true)]
        .into_iter()
        .filter_map(|(operator, equal)| term.find(operator).map(|index| (index, operator, equal)))
        .min_by_key(|(index, ..)| *index)?;
    Some((term.get(..index)?, term.get(index + operator.len()..)?, equal))
}

fn unescape(value: &str) -> String {
    let mut characters = value.chars();
    let mut out = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn selects(selector: &str, labels: &Value) -> bool {
        LabelSelector::parse(selector).unwrap().matches(labels.as_object())
    }

    #[test]
    fn every_operator_of_the_query_form() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        for yes in [
            "",
            "app=web",
            "app==web",
            "app = web",
            "app!=db",
            "missing!=x",
            "app in (web,db)",
            "app in (web)",
            "tier notin (back, middle)",
            "missing notin (x)",
            "app",
            "!missing",
            "n>4",
            "n<6",
            "app=web,tier in (front),!missing",
            "missing notin (a),app",
        ] {
            assert!(selects(yes, &labels), "{yes}");
        }
        for no in ["app=db", "app!=web", "app in (db)", "app notin (web)", "missing", "!app", "n>5", "app="] {
            assert!(!selects(no, &labels), "{no}");
        }
        assert!(selects("a=", &json!({"a": ""})));
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for bad in
            ["=a", "a in", "a in (b", "a b", "a=b=c", "!", ",", "a,,b", "a=b,", "a>x", "-a=b", "a=b c", "a=é"]
        {
            assert!(LabelSelector::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_object_form_means_the_same() {
        let selector = LabelSelector::from_json(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["back"]},
                {"key": "gone", "operator": "DoesNotExist"}
            ]
        }))
        .unwrap();
        assert!(selector.matches(json!({"app": "web"}).as_object()));
        assert!(!selector.matches(json!({"app": "web", "tier": "back"}).as_object()));
        assert!(!selector.matches(json!({"app": "web", "gone": ""}).as_object()));
        assert!(
            LabelSelector::from_json(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).is_err()
        );
        assert!(
            LabelSelector::from_json(&json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}))
                .is_err()
        );
    }

    #[test]
    fn field_selectors_compare_dotted_paths() {
        let pod =
            json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}, "spec": {"hostNetwork": true}});
        for yes in
            ["", "metadata.name=a", "status.phase!=Pending", "spec.nodeName=", "spec.hostNetwork==true"]
        {
            assert!(FieldSelector::parse(yes).unwrap().matches(&pod), "{yes}");
        }
        assert!(!FieldSelector::parse("metadata.name=a,status.phase=Failed").unwrap().matches(&pod));
        assert!(FieldSelector::parse("metadata.name").is_err());
        assert_eq!(FieldSelector::parse("metadata.name=a").unwrap().required("metadata.name"), Some("a"));
        assert!(FieldSelector::parse(r"a=x\,y").unwrap().matches(&json!({"a": "x,y"})));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,40}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text);
        }
    }
}
