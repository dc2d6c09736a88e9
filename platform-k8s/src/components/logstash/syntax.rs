//! Logstash's language of pipelines, written from values: blocks are balanced and texts quoted by construction.

use std::fmt::{self, Write as _};

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    Text(String),
    Number(u64),
    Flag(bool),
    List(Vec<String>),
    Map(Vec<(String, String)>),
    /// A plugin as the value: a codec.
    Plugin(Plugin),
}

impl From<&str> for Setting {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Setting {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Setting {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Setting {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<const N: usize> From<[&str; N]> for Setting {
    fn from(list: [&str; N]) -> Self {
        Self::List(list.map(str::to_owned).to_vec())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Setting {
    fn from(map: [(&str, &str); N]) -> Self {
        Self::Map(map.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec())
    }
}

impl From<Plugin> for Setting {
    fn from(plugin: Plugin) -> Self {
        Self::Plugin(plugin)
    }
}

/// An input, filter, output or codec with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plugin {
    pub(super) name: &'static str,
    pub(super) options: Vec<(&'static str, Setting)>,
}

impl Plugin {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, options: Vec::new() }
    }

    pub(super) fn set(mut self, option: &'static str, setting: impl Into<Setting>) -> Self {
        self.options.push((option, setting.into()));
        self
    }
}

/// What a section does with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Plugin(Plugin),
    /// The first branch whose condition holds, else the last.
    If {
        branches: Vec<(String, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
}

impl From<Plugin> for Statement {
    fn from(plugin: Plugin) -> Self {
        Self::Plugin(plugin)
    }
}

/// A file of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) input: Vec<Statement>,
    pub(super) filter: Vec<Statement>,
    pub(super) output: Vec<Statement>,
}

impl Pipeline {
    fn sections(&self) -> [(&'static str, &[Statement]); 3] {
        [("input", &self.input), ("filter", &self.filter), ("output", &self.output)]
    }

    /// All plugins in it with the section that they are in, those in conditions and codecs too.
    #[cfg(test)]
    pub(super) fn plugins(&self) -> Vec<(&'static str, &Plugin)> {
        fn collect<'a>(
            section: &'static str,
            from: &'a [Statement],
            to: &mut Vec<(&'static str, &'a Plugin)>,
        ) {
            for statement in from {
                match statement {
                    Statement::Plugin(plugin) => {
                        to.push((section, plugin));
                        for (_, setting) in &plugin.options {
                            if let Setting::Plugin(codec) = setting {
                                to.push(("codec", codec));
                            }
                        }
                    }
                    Statement::If { branches, otherwise } => {
                        for (_, statements) in branches {
                            collect(section, statements, to);
                        }
                        collect(section, otherwise, to);
                    }
                }
            }
        }
        let mut found = Vec::new();
        for (section, statements) in self.sections() {
            collect(section, statements, &mut found);
        }
        found
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, statements) in self.sections() {
            writeln!(f, "{name} {{")?;
            block(f, statements, 1)?;
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}

fn block(f: &mut fmt::Formatter<'_>, statements: &[Statement], depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for statement in statements {
        match statement {
            Statement::Plugin(plugin) => {
                f.write_str(&indent)?;
                write_plugin(f, plugin, depth)?;
                f.write_char('\n')?;
            }
            Statement::If { branches, otherwise } => {
                for (at, (condition, then)) in branches.iter().enumerate() {
                    let before = if at == 0 { indent.as_str() } else { " else " };
                    writeln!(f, "{before}if {condition} {{")?;
                    block(f, then, depth + 1)?;
                    write!(f, "{indent}}}")?;
                }
                if !otherwise.is_empty() {
                    writeln!(f, " else {{")?;
                    block(f, otherwise, depth + 1)?;
                    write!(f, "{indent}}}")?;
                }
                f.write_char('\n')?;
            }
        }
    }
    Ok(())
}

fn write_plugin(f: &mut fmt::Formatter<'_>, plugin: &Plugin, depth: usize) -> fmt::Result {
    if plugin.options.is_empty() {
        return write!(f, "{} {{ }}", plugin.name);
    }
    let indent = "  ".repeat(depth);
    writeln!(f, "{} {{", plugin.name)?;
    for (option, setting) in &plugin.options {
        write!(f, "{indent}  {option} => ")?;
        match setting {
            Setting::Text(text) => write!(f, "{}", Quoted(text))?,
            Setting::Number(number) => write!(f, "{number}")?,
            Setting::Flag(flag) => write!(f, "{flag}")?,
            Setting::List(list) => {
                let items: Vec<String> = list.iter().map(|item| Quoted(item).to_string()).collect();
                write!(f, "[{}]", items.join(", "))?;
            }
            Setting::Map(map) => {
                writeln!(f, "{{")?;
                for (key, value) in map {
                    writeln!(f, "{indent}    {} => {}", Quoted(key), Quoted(value))?;
                }
                write!(f, "{indent}  }}")?;
            }
            Setting::Plugin(codec) => write_plugin(f, codec, depth + 1)?,
        }
        f.write_char('\n')?;
    }
    write!(f, "{indent}}}")
}

/// Logstash knows no escapes unless it is told to: the quotation mark is the one that is not in the text. A text with both is not
/// written here; where settings could bring one, it is refused before.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{mark}{}{mark}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_written_as_an_operator_would_write_it() {
        let pipeline = Pipeline {
            input: vec![Plugin::new("stdin").set("codec", Plugin::new("json")).into()],
            filter: vec![Statement::If {
                branches: vec![("[a] == \"b\"".into(), vec![Plugin::new("drop").into()])],
                otherwise: vec![Plugin::new("mutate").set("replace", [("c", "say \"d\"")]).into()],
            }],
            output: vec![Plugin::new("stdout").set("workers", 2_u64).set("tags", ["x", "y"]).into()],
        };
        assert_eq!(
            pipeline.to_string(),
            "input {\n  stdin {\n    codec => json { }\n  }\n}\nfilter {\n  if [a] == \"b\" {\n    drop { }\n  } else {\n    \
             mutate {\n      replace => {\n        \"c\" => 'say \"d\"'\n      }\n    }\n  }\n}\noutput {\n  stdout {\n    \
             workers => 2\n    tags => [\"x\", \"y\"]\n  }\n}\n"
        );
        assert_eq!(pipeline.plugins().len(), 5);
    }
}
