//! Requests as forms: EC2's and the query protocol.

use crate::encoding::encoded;

/// The parameters of a request, in the order in which they are given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    parameters: Vec<(String, String)>,
    filters: usize,
}

impl Form {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A parameter.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// A parameter, if there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// A list: `NAME.1`, `NAME.2`.
    pub(crate) fn list<T: Into<String>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            self.parameters.push((format!("{name}.{}", index + 1), value.into()));
        }
        self
    }

    /// A filter of EC2.
    pub(crate) fn filter<T: Into<String>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let index = self.filters + 1;
        let mut form =
            self.set(&format!("Filter.{index}.Name"), name).list(&format!("Filter.{index}.Value"), values);
        form.filters = index;
        form
    }

    /// As a body.
    pub(crate) fn encode(&self, operation: &str, version: &str) -> String {
        let mut parts = vec![format!("Action={operation}"), format!("Version={version}")];
        parts.extend(
            self.parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))),
        );
        parts.join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_filters_are_numbered_from_one() {
        let form = Form::new()
            .set("VpcId", "a b+c/ä")
            .maybe("NextToken", None::<String>)
            .filter("tag:x", ["1", "2"])
            .filter("status", ["available"]);
        assert_eq!(
            form.encode("DescribeVpcs", "2016-11-15"),
            "Action=DescribeVpcs&Version=2016-11-15&VpcId=a%20b%2Bc%2F%C3%A4&Filter.1.Name=tag%3Ax&Filter.1.Value.1=1\
             &Filter.1.Value.2=2&Filter.2.Name=status&Filter.2.Value.1=available"
        );
    }
}
