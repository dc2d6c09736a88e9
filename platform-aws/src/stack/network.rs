//! A VPC: public and private subnets in each zone, their way to the internet, and the control plane's security group.

use super::{
    Place,
    outputs::{CIDR, PRIVATE_SUBNETS, PUBLIC_SUBNETS, SECURITY_GROUP, VPC, ZONES},
    template::{Draft, attribute},
};
use crate::settings::NatGateways;
use serde_json::{Value, json};

const EVERYWHERE: &str = "0.0.0.0/0";
/// What needs public addresses needs the gateway attached, also while it is deleted.
const ATTACHMENT: &str = "GatewayAttachment";
/// The route of public subnets, without which a NAT gateway reaches nobody.
const PUBLIC_ROUTE: &str = "PublicInternetRoute";

/// Adds the VPC of `name` to a template.
pub(super) fn add(draft: &mut Draft, name: &str, place: &Place, nat: NatGateways) {
    let vpc = draft.resource(
        "Vpc",
        "AWS::EC2::VPC",
        json!({
            "CidrBlock": place.cidr.to_string(),
            "EnableDnsHostnames": true,
            "EnableDnsSupport": true,
            "Tags": tags(name, None),
        }),
    );
    let public_routes = internet(draft, name, &vpc);
    let mut public = Vec::new();
    let mut private = Vec::new();
    for (index, subnets) in place.subnets().into_iter().enumerate() {
        let number = index + 1;
        let subnet = |draft: &mut Draft, kind: &str, cidr: String, role: &str| {
            let name = format!("{name}-{}-{}", kind.to_lowercase(), subnets.zone);
            let properties = json!({
                "AvailabilityZone": &subnets.zone,
                "CidrBlock": cidr,
                "Tags": tags(&name, Some(role)),
                "VpcId": &vpc,
            });
            draft.resource(format!("{kind}Subnet{number}"), "AWS::EC2::Subnet", properties)
        };
        let public_subnet = subnet(draft, "Public", subnets.public.to_string(), "kubernetes.io/role/elb");
        let private_subnet =
            subnet(draft, "Private", subnets.private.to_string(), "kubernetes.io/role/internal-elb");
        associate(draft, &format!("PublicAssociation{number}"), &public_subnet, &public_routes);

        // A table for each zone even where they share a NAT gateway, so that it can get one of its own without a cut.
        let routes = draft.resource(
            format!("PrivateRoutes{number}"),
            "AWS::EC2::RouteTable",
            json!({"Tags": tags(&format!("{name}-private-{}", subnets.zone), None), "VpcId": &vpc}),
        );
        associate(draft, &format!("PrivateAssociation{number}"), &private_subnet, &routes);
        if let Some(gateway) = nat_gateway(draft, name, nat, number, &subnets.zone, &public_subnet) {
            draft.resource(
                format!("PrivateInternetRoute{number}"),
                "AWS::EC2::Route",
                json!({"DestinationCidrBlock": EVERYWHERE, "NatGatewayId": gateway, "RouteTableId": routes}),
            );
        }
        public.push(public_subnet);
        private.push(private_subnet);
    }
    draft.resource(
        SECURITY_GROUP,
        "AWS::EC2::SecurityGroup",
        json!({
            "GroupDescription": "The interfaces of the control plane",
            "Tags": tags(&format!("{name}-control-plane"), None),
            "VpcId": &vpc,
        }),
    );
    draft.output(VPC, &vpc);
    draft.output(CIDR, &json!(place.cidr.to_string()));
    draft.output(ZONES, &json!(place.zones.join(",")));
    draft.output(PUBLIC_SUBNETS, &json!({"Fn::Join": [",", public]}));
    draft.output(PRIVATE_SUBNETS, &json!({"Fn::Join": [",", private]}));
    draft.output(SECURITY_GROUP, &attribute(SECURITY_GROUP, "GroupId"));
}

/// The internet gateway and the routes of public subnets.
fn internet(draft: &mut Draft, name: &str, vpc: &Value) -> Value {
    let gateway =
        draft.resource("InternetGateway", "AWS::EC2::InternetGateway", json!({"Tags": tags(name, None)}));
    draft.resource(
        ATTACHMENT,
        "AWS::EC2::VPCGatewayAttachment",
        json!({"InternetGatewayId": &gateway, "VpcId": vpc}),
    );
    let routes = draft.resource(
        "PublicRoutes",
        "AWS::EC2::RouteTable",
        json!({"Tags": tags(&format!("{name}-public"), None), "VpcId": vpc}),
    );
    draft.resource_after(
        PUBLIC_ROUTE,
        "AWS::EC2::Route",
        &[ATTACHMENT],
        json!({"DestinationCidrBlock": EVERYWHERE, "GatewayId": gateway, "RouteTableId": &routes}),
    );
    routes
}

fn associate(draft: &mut Draft, id: &str, subnet: &Value, routes: &Value) {
    let properties = json!({"RouteTableId": routes, "SubnetId": subnet});
    draft.resource(id, "AWS::EC2::SubnetRouteTableAssociation", properties);
}

/// The NAT gateway of the zone with this number, made with it where it has one of its own.
fn nat_gateway(
    draft: &mut Draft,
    name: &str,
    nat: NatGateways,
    number: usize,
    zone: &str,
    subnet: &Value,
) -> Option<Value> {
    match nat {
        NatGateways::None => return None,
        NatGateways::Single if number > 1 => return Some(json!({"Ref": "NatGateway1"})),
        NatGateways::Single | NatGateways::PerZone => {}
    }
    let name = format!("{name}-{zone}");
    let address = format!("NatAddress{number}");
    draft.resource_after(
        &address,
        "AWS::EC2::EIP",
        &[ATTACHMENT],
        json!({"Domain": "vpc", "Tags": tags(&name, None)}),
    );
    Some(draft.resource_after(
        format!("NatGateway{number}"),
        "AWS::EC2::NatGateway",
        &[PUBLIC_ROUTE],
        json!({
            "AllocationId": attribute(&address, "AllocationId"),
            "SubnetId": subnet,
            "Tags": tags(&name, None),
        }),
    ))
}

/// A name, and by which tag load balancers find a subnet.
fn tags(name: &str, role: Option<&str>) -> Value {
    let mut tags = vec![json!({"Key": "Name", "Value": name})];
    tags.extend(role.map(|role| json!({"Key": role, "Value": "1"})));
    Value::Array(tags)
}
