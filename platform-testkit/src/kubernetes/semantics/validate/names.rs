//! The syntax of names, after `k8s.io/apimachinery/pkg/util/validation`. Each function says what is wrong.

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// A DNS label (RFC 1123): containers, volumes, namespaces.
pub fn dns_label(name: &str) -> Option<String> {
    limited(name, 63).or_else(|| (!is_dns_label(name)).then(|| LABEL.to_owned()))
}

/// A DNS subdomain (RFC 1123): most objects.
pub fn dns_subdomain(name: &str) -> Option<String> {
    limited(name, 253).or_else(|| (!name.split('.').all(is_dns_label)).then(|| SUBDOMAIN.to_owned()))
}

/// A label or annotation key: a name with an optional DNS prefix.
pub fn qualified_name(name: &str) -> Option<String> {
    let (prefix, part) = match name.split_once('/') {
        Some((prefix, part)) => (Some(prefix), part),
        None => (None, name),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) if dns_subdomain(prefix).is_some() => return Some(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if part.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if part.len() > 63 {
        return Some("name part must be no more than 63 bytes".to_owned());
    }
    (!is_label_text(part)).then(|| QUALIFIED.to_owned())
}

/// A label's value.
pub fn label_value(value: &str) -> Option<String> {
    limited(value, 63)
        .or_else(|| (!value.is_empty() && !is_label_text(value)).then(|| LABEL_VALUE.to_owned()))
}

/// A key of a ConfigMap or Secret.
pub fn config_key(key: &str) -> Option<String> {
    if let Some(why) = limited(key, 253) {
        return Some(why);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() || !key.bytes().all(allowed) {
        return Some("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    match key {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        key if key.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// The name of a port (RFC 6335): at most 15 characters, a letter among them.
pub fn port_name(name: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() > 15 {
        Some("must be no more than 15 characters long".to_owned())
    } else if !name.bytes().all(allowed) {
        Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned())
    } else if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Some("must contain at least one letter (a-z)".to_owned())
    } else if name.contains("--") {
        Some("must not contain consecutive hyphens".to_owned())
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("must not begin or end with a hyphen".to_owned())
    } else {
        None
    }
}

fn limited(text: &str, limit: usize) -> Option<String> {
    (text.len() > limit).then(|| format!("must be no more than {limit} bytes"))
}

fn is_dns_label(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text.bytes().all(|byte| edge(Some(byte)) || byte == b'-')
}

fn is_label_text(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text.bytes().all(|byte| edge(Some(byte)) || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_grammar() {
        for (check, good, bad) in [
            (
                dns_label as fn(&str) -> Option<String>,
                vec!["a", "a-1", "1a"],
                vec!["", "-a", "a-", "A", "a.b", "a_b"],
            ),
            (dns_subdomain, vec!["a.b", "a-1.c"], vec!["", "a..b", ".a", "A.b", "a_b"]),
            (
                qualified_name,
                vec!["a", "A_b.c", "x.io/a"],
                vec!["", "/a", "x.io/", "x/y/z", "X.io/a", "-a", "é"],
            ),
            (label_value, vec!["", "A", "a_b.c"], vec!["-", "a-", "a b", "é"]),
            (config_key, vec!["a", ".a", "A_b-c.d"], vec!["", ".", "..", "..a", "a/b", "a b"]),
            (port_name, vec!["http", "h2-c", "0a"], vec!["", "80", "HTTP", "a--b", "-a", "sixteen-letters-"]),
        ] {
            for name in good {
                assert_eq!(check(name), None, "{name:?}");
            }
            for name in bad {
                assert!(check(name).is_some(), "{name:?}");
            }
        }
        assert!(dns_label(&"a".repeat(64)).is_some() && label_value(&"a".repeat(64)).is_some());
    }
}
