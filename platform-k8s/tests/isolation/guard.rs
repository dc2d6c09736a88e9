//! The deletion guard, as somebody meets it who deletes by mistake.

use crate::{apply, kubeconfig, platform, shared};
use platform_core::{ErrorKind, Isolation, PlatformSpec, cluster::ApplyOptions, manifest::ObjectRef};
use std::process::Command;

/// What kubectl says, and whether it succeeded.
fn kubectl(arguments: &[&str]) -> (bool, String) {
    let program = std::env::var("PLATFORM_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let output =
        Command::new(program).arg("--kubeconfig").arg(kubeconfig()).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.success(), text)
}

fn refused(arguments: &[&str]) -> String {
    let (succeeded, text) = kubectl(arguments);
    assert!(!succeeded, "{arguments:?}: {text}");
    text
}

fn done(arguments: &[&str]) {
    let (succeeded, text) = kubectl(arguments);
    assert!(succeeded, "{arguments:?}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_protected_namespace_is_deleted_only_by_who_says_so_twice() {
    let platform = platform("twice", Isolation::NamespacePerEnvironment, true).await;
    apply(&platform).await;
    // From the moment that apply is done.
    let text = refused(&["delete", "namespace", "twice-b"]);
    assert!(
        text.contains("namespace twice-b is protected: confirm its deletion with `kubectl annotate namespace twice-b platform.dev/confirm-deletion=twice-b`, then delete it again"),
        "{text}"
    );
    let text = refused(&["label", "namespace", "twice-b", "platform.dev/protected-"]);
    assert!(text.contains("is protected: confirm that it may be deleted with"), "{text}");
    refused(&["label", "--overwrite", "namespace", "twice-b", "platform.dev/environment=twice-a"]);
    refused(&["label", "namespace", "twice-b", "platform.dev/platform-"]);
    // Another name is no confirmation, and other changes are nobody's business.
    done(&["annotate", "namespace", "twice-b", "platform.dev/confirm-deletion=twice-a"]);
    refused(&["delete", "namespace", "twice-b"]);
    done(&["label", "namespace", "twice-b", "team=b"]);
    // The one who may break the glass.
    let glass = ["--as=somebody", "--as-group=platform:break-glass", "--as-group=system:masters"];
    done(&[&["delete", "namespace", "twice-b", "--dry-run=server"], &glass[..]].concat());
    refused(&[
        "delete",
        "namespace",
        "twice-b",
        "--dry-run=server",
        "--as=somebody",
        "--as-group=system:masters",
    ]);

    // A second apply finds everything as it should be, and leaves a stranger's label alone.
    done(&["annotate", "namespace", "twice-b", "platform.dev/confirm-deletion-"]);
    assert!(platform.plan().await.unwrap().is_empty());
    // The set is not deleted either, although its guard would go first.
    let cluster = shared(&platform).await;
    let options = ApplyOptions::new(platform.spec().name.clone());
    let error = cluster.delete_set("isolation.twice-b", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("it would delete the protected namespace twice-b"), "{error}");

    done(&["annotate", "namespace", "twice-b", "platform.dev/confirm-deletion=twice-b"]);
    done(&["delete", "namespace", "twice-b"]);
    for set in cluster.sets(&options.owner).await.unwrap() {
        cluster.delete_set(&set, &options).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn protection_is_given_and_taken_by_the_spec() {
    let guarded = platform("given", Isolation::NamespacePerApplication, true).await;
    let open = platform("given", Isolation::NamespacePerApplication, false).await;
    let delete = ["delete", "namespace", "given-b-api1", "--dry-run=server"];
    apply(&open).await;
    done(&delete);
    apply(&guarded).await;
    refused(&delete);
    let plan = open.plan().await.unwrap();
    assert!(plan.to_string().contains("platform.dev/protected"), "{plan}");
    open.apply(&plan).unwrap().await.unwrap();
    done(&delete);
    let cluster = shared(&open).await;
    let policy = ObjectRef::new(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        "deletion-guard.given.given-b",
    );
    assert_eq!(cluster.get(&policy).await.unwrap(), None);
    assert!(open.plan().await.unwrap().is_empty());

    // An environment that leaves the spec while it is protected is not lost by that.
    apply(&guarded).await;
    let spec: PlatformSpec = {
        let mut spec = guarded.spec().clone();
        spec.environments.pop();
        spec
    };
    let smaller = platform_core::Platform::from_spec(spec)
        .provider(crate::Existing::of([("-shared", kubeconfig())]).await)
        .orchestrator(platform_k8s::Kubernetes::default())
        .build()
        .unwrap();
    let plan = smaller.plan().await.unwrap();
    let error = smaller.apply(&plan).unwrap().await.unwrap_err();
    assert!(error.to_string().contains("protected namespace given-b-api1"), "{error}");
    refused(&delete);
    apply(&open).await;
    apply(&smaller).await;
    let options = ApplyOptions::new(open.spec().name.clone());
    for set in cluster.sets(&options.owner).await.unwrap() {
        cluster.delete_set(&set, &options).await.unwrap();
    }
}
