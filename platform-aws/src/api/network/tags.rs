//! The tags by which what belongs to a cluster is known.

use serde::Deserialize;
use std::collections::BTreeMap;

/// What CloudFormation puts on everything that it makes. A stack deletes that itself.
const STACK: &str = "aws:cloudformation:stack-id";

/// The tags that say that a controller of `cluster` made something, any of them.
pub(super) fn of_cluster(cluster: &str) -> [(String, String); 3] {
    [
        (format!("kubernetes.io/cluster/{cluster}"), "owned".to_owned()),
        ("elbv2.k8s.aws/cluster".to_owned(), cluster.to_owned()),
        ("eks:eks-cluster-name".to_owned(), cluster.to_owned()),
    ]
}

/// A list in an answer of EC2, or of the query protocol.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    #[serde(rename = "item", alias = "member", default = "Vec::new")]
    pub(super) items: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// A tag.
#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    #[serde(rename = "key", alias = "Key")]
    key: String,
    #[serde(rename = "value", alias = "Value", default)]
    value: String,
}

impl List<Tag> {
    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        self.items.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
    }

    /// The value of a tag.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.items.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }

    /// Whether a controller of `cluster` made it.
    pub(super) fn is_of(&self, cluster: &str) -> bool {
        let ours = of_cluster(cluster).iter().any(|(key, value)| self.get(key) == Some(value));
        ours && self.get(STACK).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> List<Tag> {
        let tag = |(key, value): &(&str, &str)| Tag { key: (*key).to_owned(), value: (*value).to_owned() };
        List { items: pairs.iter().map(tag).collect() }
    }

    #[test]
    fn only_what_controllers_of_the_very_cluster_made_is_of_it() {
        for pair in [
            ("kubernetes.io/cluster/shop", "owned"),
            ("elbv2.k8s.aws/cluster", "shop"),
            ("eks:eks-cluster-name", "shop"),
        ] {
            assert!(tags(&[pair]).is_of("shop"), "{pair:?}");
            assert!(!tags(&[pair]).is_of("sho"), "{pair:?}");
            assert!(!tags(&[pair, (STACK, "arn:…")]).is_of("shop"), "{pair:?}");
        }
        assert!(!tags(&[("kubernetes.io/cluster/shop", "shared")]).is_of("shop"));
        assert!(!tags(&[]).is_of("shop"));
    }

    #[test]
    fn lists_are_read_however_they_are_written() {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "tagSet", alias = "Tags", default)]
            tags: List<Tag>,
        }
        let read = |text: &str| quick_xml::de::from_str::<Answer>(text).unwrap().tags.to_map();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let ec2 = "<R><tagSet>\n <item><key>a</key><value>1</value></item> <item><key>b</key><value/></item></tagSet></R>";
        assert_eq!(read(ec2), [pair("a", "1"), pair("b", "")].into());
        let query = "<R xmlns=\"x\"><Tags><member><Value>&lt;1&gt;</Value><Key>a</Key></member></Tags></R>";
        assert_eq!(read(query), [pair("a", "<1>")].into());
        assert!(read("<R><tagSet/></R>").is_empty());
        assert!(read("<R></R>").is_empty());
    }
}
