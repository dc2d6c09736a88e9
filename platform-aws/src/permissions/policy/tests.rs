use super::*;
use crate::{permissions::Phase, settings::EksSettings};
use platform_core::name::ClusterName;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn clusters(names: &[&str]) -> Vec<ClusterName> {
    names.iter().map(|name| ClusterName::new(*name).unwrap()).collect()
}

fn scope<'a>(clusters: &'a [ClusterName], settings: &'a EksSettings) -> PermissionScope<'a> {
    PermissionScope { partition: "aws", account: "123456789012", region: "eu-west-1", clusters, settings }
}

/// Everything at once.
fn everything() -> EksSettings {
    EksSettings::from_yaml(
        "{autoMode: {}, secretsEncryptionKey: 'arn:aws:kms:eu-west-1:123456789012:key/1',
          fargateProfiles: [{name: a, selectors: [{namespace: b}]}],
          serviceAccountRoles: [
            {namespace: a, serviceAccount: b, policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess']},
            {namespace: a, serviceAccount: c, mechanism: irsa, policies: ['arn:aws:iam::123456789012:policy/own']}]}",
    )
    .unwrap()
}

fn json_of(policy: &IamPolicy) -> Value {
    serde_json::from_str(&policy.to_string()).unwrap()
}

fn statements_of<'a>(policy: &'a IamPolicy, action: &str) -> Vec<&'a Statement> {
    policy.statements.iter().filter(|statement| statement.action.contains(&action)).collect()
}

#[test]
fn a_policy_is_what_iam_takes() {
    let settings = EksSettings::default();
    let clusters = clusters(&["shop-production"]);
    let policy = IamPolicy::new(&scope(&clusters, &settings));
    let value = json_of(&policy);
    assert_eq!(value["Version"], "2012-10-17");
    let mut sids = BTreeSet::new();
    for statement in value["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        let sid = statement["Sid"].as_str().unwrap();
        assert!(sid.chars().all(|c| c.is_ascii_alphanumeric()) && sids.insert(sid), "{sid}");
        assert!(!statement["Action"].as_array().unwrap().is_empty(), "{sid}");
        assert!(!statement["Resource"].as_array().unwrap().is_empty(), "{sid}");
    }
    assert!(format!("{policy:#}").contains("\n  \"Statement\""));
}

#[test]
fn a_policy_for_a_cluster_can_be_attached() {
    for settings in [EksSettings::default(), everything()] {
        for names in [vec!["shop-production"], vec!["shop-testing", "shop-staging", "shop-production"]] {
            let clusters = clusters(&names);
            let whole = IamPolicy::new(&scope(&clusters, &settings));
            println!("{} clusters: {} characters", names.len(), whole.size());
            let statements: BTreeSet<String> = whole.statements.iter().map(|s| s.sid.clone()).collect();
            let parts = whole.parts();
            assert!(parts.len() <= 2, "{}", parts.len());
            assert!(parts.iter().all(|part| part.size() <= LIMIT));
            let split = parts.iter().flat_map(|part| &part.statements).map(|s| s.sid.clone());
            assert_eq!(split.collect::<BTreeSet<_>>(), statements);
        }
    }
    let settings = EksSettings::default();
    let one = clusters(&["shop-production"]);
    assert_eq!(IamPolicy::new(&scope(&one, &settings)).parts().len(), 1);

    // Names as long as can be, and more of them than anybody has.
    let names: Vec<String> = (10..30).map(|n| format!("{}{n}", "n".repeat(61))).collect();
    let many = clusters(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let settings = everything();
    let parts = IamPolicy::new(&scope(&many, &settings)).parts();
    assert!(parts.len() <= 10 && parts.iter().all(|part| part.size() <= LIMIT), "{}", parts.len());
}

#[test]
fn writes_are_limited_to_what_is_ours() {
    let settings = everything();
    let clusters = clusters(&["shop-production"]);
    let policy = IamPolicy::new(&scope(&clusters, &settings));
    for statement in &policy.statements {
        if statement.resource.contains(&"*".to_owned()) {
            for action in &statement.action {
                let call = action.split(':').nth(1).unwrap();
                let reads = ["Describe", "Get", "List"].iter().any(|verb| call.starts_with(verb));
                assert!(reads, "{action} on everything");
            }
        } else {
            for arn in &statement.resource {
                let parts: Vec<&str> = arn.splitn(6, ':').collect();
                assert_eq!(parts[1], "aws", "{arn}");
                assert!(parts[4] == "123456789012" || arn.ends_with("image/*"), "{arn}");
            }
        }
    }
    let through_stacks =
        json!({"ForAnyValue:StringEquals": {"aws:CalledVia": ["cloudformation.amazonaws.com"]}});
    for action in ["ec2:CreateVpc", "ec2:DeleteVpc", "iam:CreateRole", "iam:DeleteRole"] {
        let found = statements_of(&policy, action);
        assert_eq!(found.len(), 1, "{action}");
        assert_eq!(json!(found[0].condition), through_stacks, "{action}");
    }
    assert_eq!(
        statements_of(&policy, "cloudformation:CreateStack")[0].resource,
        ["arn:aws:cloudformation:eu-west-1:123456789012:stack/platform-*"]
    );
    let clusters = &statements_of(&policy, "eks:DeleteNodegroup")[0].resource;
    assert!(clusters.contains(&"arn:aws:eks:eu-west-1:123456789012:nodegroup/shop-production/*".to_owned()));
}

#[test]
fn roles_cannot_become_more_than_they_are() {
    let settings = everything();
    let clusters = clusters(&["shop-production"]);
    let policy = IamPolicy::new(&scope(&clusters, &settings));
    let attach = statements_of(&policy, "iam:AttachRolePolicy")[0];
    assert_eq!(attach.resource, ["arn:aws:iam::123456789012:role/platform-*"]);
    assert_eq!(
        attach.condition["ArnLike"]["iam:PolicyARN"],
        [
            "arn:aws:iam::123456789012:policy/own",
            "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
            "arn:aws:iam::aws:policy/AmazonEKS*",
            "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
        ]
    );
    let pass = statements_of(&policy, "iam:PassRole")[0];
    assert_eq!(pass.resource, ["arn:aws:iam::123456789012:role/platform-*"]);
    assert_eq!(
        pass.condition["StringEquals"]["iam:PassedToService"],
        [
            "eks.amazonaws.com",
            "ec2.amazonaws.com",
            "eks-fargate-pods.amazonaws.com",
            "pods.eks.amazonaws.com"
        ]
    );
}

#[test]
fn every_policy_of_a_template_can_be_attached() {
    let settings = everything();
    let clusters = clusters(&["shop-production"]);
    let policy = IamPolicy::new(&scope(&clusters, &settings));
    let patterns = &statements_of(&policy, "iam:AttachRolePolicy")[0].condition["ArnLike"]["iam:PolicyARN"];
    let templates = [
        crate::stack::cluster(&clusters[0], &settings, None).unwrap(),
        crate::stack::service_accounts(
            &clusters[0],
            &settings,
            "https://oidc.eks.eu-west-1.amazonaws.com/id/A",
        )
        .unwrap(),
    ];
    let mut seen = 0;
    for template in templates {
        let template: Value = serde_json::from_str(&template.body).unwrap();
        for resource in template["Resources"].as_object().unwrap().values() {
            for arn in resource["Properties"]["ManagedPolicyArns"].as_array().into_iter().flatten() {
                let arn = arn.as_str().or_else(|| arn["Fn::Sub"].as_str()).unwrap();
                let arn = arn.replace("${AWS::Partition}", "aws");
                let matches = |pattern: &String| match pattern.strip_suffix('*') {
                    Some(prefix) => arn.starts_with(prefix),
                    None => *pattern == arn,
                };
                assert!(patterns.iter().any(matches), "{arn}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn only_what_settings_need_is_allowed() {
    let settings = EksSettings::from_yaml(
        "{network: {existing: {vpc: vpc-1, subnets: [subnet-1, subnet-2]}},
          roles: {cluster: 'arn:aws:iam::1:role/c', node: 'arn:aws:iam::1:role/n'}}",
    )
    .unwrap();
    let clusters = clusters(&["shop-production"]);
    let policy = IamPolicy::new(&scope(&clusters, &settings));
    for action in [
        "ec2:CreateVpc",
        "iam:CreateRole",
        "iam:AttachRolePolicy",
        "kms:CreateGrant",
        "iam:CreateInstanceProfile",
    ] {
        assert!(statements_of(&policy, action).is_empty(), "{action}");
    }
    assert_eq!(
        statements_of(&policy, "iam:PassRole")[0].resource,
        ["arn:aws:iam::1:role/c", "arn:aws:iam::1:role/n"]
    );
    let everything = everything();
    let policy = IamPolicy::new(&scope(&clusters, &everything));
    for action in actions() {
        assert!(!statements_of(&policy, action.name).is_empty(), "{}", action.name);
    }
}

#[test]
fn what_is_swept_bears_the_tag_of_a_cluster() {
    let settings = everything();
    let clusters = clusters(&["shop-testing", "shop-production"]);
    let policy = IamPolicy::new(&scope(&clusters, &settings));
    let sweeps = statements_of(&policy, "ec2:DeleteVolume");
    let conditions: Vec<Value> =
        sweeps.iter().map(|statement| json!(statement.condition["StringEquals"])).collect();
    assert_eq!(
        conditions,
        [
            json!({"aws:ResourceTag/elbv2.k8s.aws/cluster": ["shop-testing", "shop-production"]}),
            json!({"aws:ResourceTag/eks:eks-cluster-name": ["shop-testing", "shop-production"]}),
            json!({"aws:ResourceTag/kubernetes.io/cluster/shop-testing": ["owned"]}),
            json!({"aws:ResourceTag/kubernetes.io/cluster/shop-production": ["owned"]}),
        ]
    );
    let interfaces = statements_of(&policy, "ec2:DeleteNetworkInterface");
    assert_eq!(interfaces.len(), 5);
    assert_eq!(
        json!(interfaces[4].condition["StringEquals"]),
        json!({"aws:ResourceTag/cluster.k8s.amazonaws.com/name": ["shop-testing", "shop-production"]})
    );
    assert_eq!(interfaces[4].action, ["ec2:DeleteNetworkInterface"]);
    // The control plane's group is the stack's to delete.
    let stack = statements_of(&policy, "ec2:DeleteSecurityGroup");
    assert_eq!(stack.len(), 5, "by four tags, and through stacks");
    assert_eq!(stack[4].action, ["ec2:DeleteSecurityGroup"]);
    assert!(stack[4].condition.contains_key("ForAnyValue:StringEquals"));
}

#[test]
fn checks_ask_with_a_resource_and_a_context() {
    let settings = EksSettings::default();
    let clusters = clusters(&["shop-production"]);
    let checks = scope(&clusters, &settings).checks(&[Phase::Create]);
    let of = |action: &str| checks.iter().find(|check| check.actions.contains(&action)).unwrap();
    assert_eq!(
        of("eks:CreateCluster").resource,
        "arn:aws:eks:eu-west-1:123456789012:cluster/shop-production"
    );
    assert_eq!(of("ec2:CreateVpc").context["aws:CalledVia"], "cloudformation.amazonaws.com");
    assert_eq!(of("iam:PassRole").resource, "arn:aws:iam::123456789012:role/platform-check");
    assert_eq!(of("iam:PassRole").context["iam:PassedToService"], "eks.amazonaws.com");
    assert!(!checks.iter().any(|check| check.actions.contains(&"eks:DeleteCluster")));
    assert!(checks.iter().all(|check| !check.actions.is_empty()));
}

#[test]
#[ignore = "needs cfn-lint"]
fn cfn_lint_knows_every_action_and_condition() {
    let program = std::env::var("PLATFORM_CFN_LINT").expect("PLATFORM_CFN_LINT is the program cfn-lint");
    let settings = everything();
    let clusters = clusters(&["shop-production"]);
    let parts = IamPolicy::new(&scope(&clusters, &settings)).parts();
    let resources = parts.iter().enumerate().map(|(index, part)| {
        (
            format!("Policy{index}"),
            json!({"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": part}}),
        )
    });
    let template = json!({"Resources": resources.collect::<serde_json::Map<_, _>>()});
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.json");
    std::fs::write(&file, template.to_string()).unwrap();
    let output = std::process::Command::new(program)
        .args(["--regions", "eu-west-1", "--include-checks", "I", "--"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
