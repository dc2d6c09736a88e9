//! Which container a log file is of, by its name.

use std::path::{Path, PathBuf};

/// How many links are followed to the file of a container.
const LINKS: usize = 4;

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    /// The pod's uid as the kubelet knows it: of a static pod, not the API server's.
    pub(super) uid: Option<String>,
}

impl Place {
    /// The container that `path` is named after: `…/POD_NAMESPACE_CONTAINER-ID.log`, or `…/pods/NAMESPACE_POD_UID/CONTAINER/N.log`. Links are followed,
    /// for the first kind leads to the second, which knows the uid.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let mut place = named(path);
        let mut at = path.to_owned();
        for _ in 0..LINKS {
            if let Some(found) = of_pod(&at) {
                return Some(place.map_or(found.clone(), |named| Self { uid: found.uid, ..named }));
            }
            let Ok(target) = std::fs::read_link(&at) else { break };
            at = match at.parent() {
                Some(directory) => directory.join(target),
                None => target,
            };
            place = place.or_else(|| named(&at));
        }
        place
    }
}

/// Where a file really is, and with it the files that it was renamed to.
pub(super) fn resolved(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok().filter(|real| real != path)
}

/// `POD_NAMESPACE_CONTAINER-ID.log`
fn named(path: &Path) -> Option<Place> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".log")?;
    let (rest, id) = stem.rsplit_once('-')?;
    let mut parts = rest.split('_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_container_id(id) || [pod, namespace, container].contains(&"") {
        return None;
    }
    Some(Place { namespace: namespace.into(), pod: pod.into(), container: container.into(), uid: None })
}

/// `pods/NAMESPACE_POD_UID/CONTAINER/N.log`
fn of_pod(path: &Path) -> Option<Place> {
    let parts: Vec<&str> = path.iter().rev().take(4).map(|part| part.to_str()).collect::<Option<_>>()?;
    let [file, container, pod, "pods"] = parts.as_slice() else { return None };
    let number = file.split_once(".log")?.0;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) || container.is_empty() {
        return None;
    }
    let mut names = pod.split('_');
    let (namespace, pod, uid) = (names.next()?, names.next()?, names.next()?);
    if names.next().is_some() || [namespace, pod, uid].contains(&"") {
        return None;
    }
    Some(Place {
        namespace: namespace.into(),
        pod: pod.into(),
        container: (*container).into(),
        uid: Some(uid.into()),
    })
}

/// 64 hexadecimal digits.
pub(super) fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uid: Option<&str>) -> Place {
        Place {
            namespace: "shop".into(),
            pod: "web-7d4b9-x2x".into(),
            container: "main-app".into(),
            uid: uid.map(str::to_owned),
        }
    }

    #[test]
    fn names_say_whose_a_file_is() {
        let id = "0123456789abcdef".repeat(4);
        let of = |path: &str| Place::of(Path::new(path));
        assert_eq!(of(&format!("/nowhere/web-7d4b9-x2x_shop_main-app-{id}.log")), Some(place(None)));
        let pods = "/nowhere/pods/shop_web-7d4b9-x2x_u-1/main-app";
        assert_eq!(of(&format!("{pods}/0.log")), Some(place(Some("u-1"))));
        assert_eq!(of(&format!("{pods}/12.log.20261123-203628")), Some(place(Some("u-1"))));
        for other in [
            format!("/nowhere/web_shop_main-{}.log", &id[1..]),
            format!("/nowhere/web_shop_{id}.log"),
            format!("/nowhere/a_b_c_d-{id}.log"),
            "/nowhere/pods/shop_web/main/0.log".to_owned(),
            "/nowhere/pods/shop_web_u/main/app.log".to_owned(),
            "/nowhere/app.log".to_owned(),
        ] {
            assert_eq!(of(&other), None, "{other}");
        }
    }

    #[test]
    fn links_lead_to_the_uid() {
        let directory = tempfile::tempdir().unwrap();
        let pod = directory.path().join("pods/shop_web-7d4b9-x2x_u-1/main-app");
        std::fs::create_dir_all(&pod).unwrap();
        std::fs::write(pod.join("0.log"), "").unwrap();
        let id = "0123456789abcdef".repeat(4);
        let link = directory.path().join(format!("web-7d4b9-x2x_shop_main-app-{id}.log"));
        std::os::unix::fs::symlink(pod.join("0.log"), &link).unwrap();
        assert_eq!(Place::of(&link), Some(place(Some("u-1"))));
        assert!(resolved(&link).unwrap().ends_with("main-app/0.log"));
    }
}
