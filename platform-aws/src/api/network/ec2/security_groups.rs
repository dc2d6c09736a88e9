//! Security groups, which hold each other by their rules.

use super::{Done, all, interfaces::Interface, tagged};
use crate::api::{
    ApiError, ApiErrorKind, ApiResult,
    network::{
        Leftover, LeftoverKind,
        tags::{List, Tag},
    },
    signed::{EC2, Form, SignedClient},
};
use futures::future;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(rename = "groupId")]
    id: String,
    #[serde(rename = "groupName")]
    name: String,
    #[serde(default)]
    tag_set: List<Tag>,
    #[serde(default)]
    ip_permissions: List<Rule>,
    #[serde(default)]
    ip_permissions_egress: List<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    ip_protocol: String,
    from_port: Option<String>,
    to_port: Option<String>,
    #[serde(default)]
    groups: List<Peer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    group_id: Option<String>,
}

pub(in crate::api::network) async fn leftovers(
    client: &SignedClient,
    cluster: &str,
) -> ApiResult<Vec<Leftover>> {
    let found: Vec<Group> = tagged(client, "ec2:DescribeSecurityGroups", cluster).await?;
    // A VPC's own group can never be deleted.
    let found = found.into_iter().filter(|one| one.tag_set.is_of(cluster) && one.name != "default");
    let ids: BTreeSet<String> = found.map(|one| one.id).collect();
    let users = users_of(client, &ids).await?;
    let leftover = |id: String| Leftover {
        kind: LeftoverKind::SecurityGroup,
        in_use: users.get(&id).map(|user| format!("used by {user}")),
        id,
    };
    Ok(ids.into_iter().map(leftover).collect())
}

/// One network interface of each of these groups that has any.
async fn users_of(client: &SignedClient, groups: &BTreeSet<String>) -> ApiResult<BTreeMap<String, String>> {
    /// As many values as a filter takes.
    const VALUES: usize = 200;
    let groups: Vec<&String> = groups.iter().collect();
    let mut users = BTreeMap::new();
    for some in groups.chunks(VALUES) {
        let form = Form::new().filter("group-id", some.iter().map(|id| (*id).clone()));
        let interfaces: Vec<Interface> = all(client, "ec2:DescribeNetworkInterfaces", form).await?;
        for interface in interfaces {
            for group in interface.group_set.items {
                users.insert(group.id, interface.id.clone());
            }
        }
    }
    Ok(users)
}

/// Deletes a group after every rule, of whichever group, that lets its members in or out: EC2 refuses to delete a group that a rule speaks of.
pub(in crate::api::network) async fn delete(client: &SignedClient, id: &str) -> ApiResult<()> {
    const ACTION: &str = "ec2:DeleteSecurityGroup";
    let used = users_of(client, &[id.to_owned()].into()).await?;
    if let Some(user) = used.get(id) {
        let why = format!("{id} is used by {user}");
        return Err(ApiError::new(ApiErrorKind::InUse, ACTION, why));
    }
    let referring = ["ip-permission.group-id", "egress.ip-permission.group-id"].map(|filter| {
        let form = Form::new().filter(filter, [id]);
        all::<Group>(client, "ec2:DescribeSecurityGroups", form)
    });
    let referring = future::try_join_all(referring).await?.into_iter().flatten();
    // A group with rules in both directions is found twice.
    let referring: BTreeMap<String, Group> = referring.map(|group| (group.id.clone(), group)).collect();
    for group in referring.values() {
        let directions = [
            ("ec2:RevokeSecurityGroupIngress", &group.ip_permissions),
            ("ec2:RevokeSecurityGroupEgress", &group.ip_permissions_egress),
        ];
        for (action, rules) in directions {
            let Some(form) = revocation(&group.id, rules, id) else { continue };
            match client.query::<Done>(EC2, action, form).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
    }
    client.query::<Done>(EC2, ACTION, Form::new().set("GroupId", id)).await.map(drop)
}

/// The request that takes from `group` those of its `rules` that speak of `peer`; `None`: none does.
fn revocation(group: &str, rules: &List<Rule>, peer: &str) -> Option<Form> {
    let speaks = |rule: &&Rule| rule.groups.items.iter().any(|one| one.group_id.as_deref() == Some(peer));
    let mut form = Form::new().set("GroupId", group);
    let mut count = 0;
    for rule in rules.items.iter().filter(speaks) {
        count += 1;
        let name = |part: &str| format!("IpPermissions.{count}.{part}");
        form = form
            .set(&name("IpProtocol"), rule.ip_protocol.as_str())
            .maybe(&name("FromPort"), rule.from_port.as_deref())
            .maybe(&name("ToPort"), rule.to_port.as_deref())
            .set(&name("Groups.1.GroupId"), peer);
    }
    (count > 0).then_some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_that_speak_of_a_group_are_revoked() {
        let group = "<item><groupId>sg-2</groupId><groupName>b</groupName><ipPermissions>\
             <item><ipProtocol>tcp</ipProtocol><fromPort>80</fromPort><toPort>81</toPort><groups><item><groupId>sg-1</groupId></item>\
             <item><groupId>sg-3</groupId></item></groups><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item>\
             <item><ipProtocol>-1</ipProtocol><groups><item><groupId>sg-3</groupId></item></groups></item></ipPermissions></item>";
        let group: Group = quick_xml::de::from_str(group).unwrap();
        let form = revocation(&group.id, &group.ip_permissions, "sg-1").unwrap();
        assert_eq!(
            form.encode("X", "1"),
            "Action=X&Version=1&GroupId=sg-2&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80\
             &IpPermissions.1.ToPort=81&IpPermissions.1.Groups.1.GroupId=sg-1"
        );
        assert!(revocation(&group.id, &group.ip_permissions_egress, "sg-1").is_none());
    }
}
