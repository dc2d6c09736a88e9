use super::*;
use platform_core::cluster::ClusterRole;

fn spec(nodes: u32) -> ClusterSpec {
    let mut spec = ClusterSpec::new(
        "shop".parse().unwrap(),
        "shop-production".parse().unwrap(),
        ClusterRole::ControlPlane,
    );
    spec.nodes = nodes;
    spec
}

fn cost(region: &str, nodes: u32, yaml: &str, expected: Expectations) -> ClusterCost {
    let settings = EksSettings::from_yaml(yaml).unwrap();
    ClusterCost::new(&PriceTable::built_in(), region, &spec(nodes), &settings, &expected)
}

fn line<'a>(cost: &'a ClusterCost, what: &str) -> &'a CostLine {
    cost.lines.iter().find(|line| line.what.starts_with(what)).unwrap_or_else(|| panic!("{what}: {cost}"))
}

fn micros(cost: &ClusterCost, what: &str) -> u64 {
    line(cost, what).amount.money().unwrap().micros()
}

#[test]
fn a_default_cluster_of_three_nodes() {
    let cost = cost("eu-west-1", 3, "{}", Expectations::default());
    // 0.10 × 730
    assert_eq!(micros(&cost, "control plane"), 73_000_000);
    // 3 × 0.11235 × 730
    assert_eq!(micros(&cost, "nodes of workers: m7i.large"), 246_046_500);
    // 3 × 40 × 0.088
    assert_eq!(micros(&cost, "root volumes of workers"), 10_560_000);
    // 0.048 × 730
    assert_eq!(micros(&cost, "NAT gateways"), 35_040_000);
    // 0.005 × 730
    assert_eq!(micros(&cost, "public addresses"), 3_650_000);
    assert_eq!(cost.lines.len(), 5);
    assert_eq!(cost.monthly.micros(), 368_296_500);
}

#[test]
fn gateways_and_load_balancers_in_three_zones() {
    let yaml = "network: {new: {zones: 3, natGateways: per-zone}}";
    let cost = cost("us-east-1", 1, yaml, Expectations::default().load_balancers(2));
    // 3 × 0.045 × 730
    assert_eq!(micros(&cost, "NAT gateways"), 98_550_000);
    // 2 × 0.0225 × 730
    assert_eq!(micros(&cost, "network load balancers"), 32_850_000);
    // (3 + 2 × 3) × 0.005 × 730
    assert_eq!(micros(&cost, "public addresses"), 32_850_000);
    assert_eq!(line(&cost, "public addresses").count, "9 × $0.005/h");
}

#[test]
fn spot_is_told_as_the_price_on_demand_at_most() {
    let yaml = "nodeGroups:
      - {name: web, instanceTypes: [m7g.large], amiType: al2023-arm64}
      - {name: other}
      - {name: batch, instanceTypes: [c7i.xlarge, c6i.xlarge], capacityType: spot, scaling: {min: 0, max: 10, desired: 2}}
      - {name: exotic, instanceTypes: [c7i.xlarge, zz9.large], capacityType: spot}";
    let cost = cost("eu-central-1", 4, yaml, Expectations::default());
    // The spec's number is that of the first group: 4 × 0.0978 × 730
    assert_eq!(micros(&cost, "nodes of web"), 285_576_000);
    // One for others: 0.12075 × 730
    assert_eq!(micros(&cost, "nodes of other"), 88_147_500);
    // The dearer type: 2 × 0.2037 × 730
    assert_eq!(line(&cost, "nodes of batch").amount, Amount::UpTo(Money::from_micros(297_402_000)));
    let note = line(&cost, "nodes of batch").note.as_deref().unwrap();
    assert_eq!(note, "$1,487.01 with all of at most 10 nodes");
    // Nobody knows what the other type costs.
    assert!(matches!(&line(&cost, "nodes of exotic").amount, Amount::NotKnown(_)));
}

#[test]
fn what_has_no_price_is_not_guessed() {
    let unknown = cost("eu-north-1", 3, "{}", Expectations::default());
    assert!(unknown.lines.iter().all(|line| line.amount.money().is_none()));
    assert_eq!(unknown.monthly, Money::default());
    let estimate = CostEstimate::new(&PriceTable::built_in(), "eu-north-1", vec![unknown]);
    assert_eq!(estimate.unknown, 5);
    assert!(
        estimate.to_string().contains("not known: the table has no price of it in eu-north-1"),
        "{estimate}"
    );

    let yaml = "nodeGroups: [{name: a, instanceTypes: [zz9.large, m7i.large]}]";
    let dearest = cost("eu-west-1", 1, yaml, Expectations::default());
    assert!(matches!(line(&dearest, "nodes of a").amount, Amount::NotKnown(_)));
}

#[test]
fn fargate_and_auto_mode() {
    let yaml = "{nodeGroups: [], autoMode: {}, fargateProfiles: [{name: a, selectors: [{namespace: b}]}]}";
    let open = cost("us-west-2", 3, yaml, Expectations::default());
    assert_eq!(
        line(&open, "pods on Fargate").note.as_deref(),
        Some("$0.04048 for a vCPU and $0.004445 for a GB an hour")
    );
    assert_eq!(
        line(&open, "nodes of Auto Mode").note.as_deref(),
        Some("about 12 % above the price of the instances")
    );
    let reserved = FargateUse { milli_cpus: 1500, mebibytes: 3072 };
    let known = cost("us-west-2", 3, yaml, Expectations::default().fargate(reserved));
    // 1.5 × 0.04048 × 730
    assert_eq!(micros(&known, "Fargate: vCPUs"), 44_325_600);
    // 3 × 0.004445 × 730
    assert_eq!(micros(&known, "Fargate: memory"), 9_734_550);
}

#[test]
fn support_that_is_extended_costs_more() {
    let later = cost("us-east-1", 1, "upgradePolicy: extended", Expectations::default());
    assert_eq!(micros(&later, "control plane"), 73_000_000);
    assert_eq!(
        line(&later, "control plane").note.as_deref(),
        Some("$0.60/h once the version's standard support has ended")
    );
    let now = cost("us-east-1", 1, "{}", Expectations::default().extended_support());
    assert_eq!(micros(&now, "control plane, extended"), 438_000_000);
}

#[test]
fn an_existing_network_costs_what_it_costs_already() {
    let yaml = "network: {existing: {vpc: vpc-1, subnets: [subnet-1, subnet-2]}}";
    let cost = cost("us-east-1", 1, yaml, Expectations::default());
    assert!(cost.lines.iter().all(|line| !line.what.contains("NAT") && !line.what.contains("addresses")));
}

#[test]
fn an_estimate_prints_as_a_table_and_sums() {
    let prices = PriceTable::built_in();
    let clusters = vec![
        cost("eu-west-1", 3, "{}", Expectations::default()),
        cost("eu-west-1", 1, "{nodeGroups: [], autoMode: {}}", Expectations::default()),
    ];
    let estimate = CostEstimate::new(&prices, "eu-west-1", clusters);
    // 368.2965, and 73 + 35.04 + 3.65
    assert_eq!(estimate.monthly.micros(), 368_296_500 + 111_690_000);
    let text = estimate.to_string();
    let expected = "\
a month of 730 hours in eu-west-1, by prices of 2025-05-28
shop-production
  control plane                1 × $0.10/h            $73.00
  nodes of workers: m7i.large  3 × $0.11235/h        $246.05
  root volumes of workers      120 GB × $0.088        $10.56
  NAT gateways                 1 × $0.048/h           $35.04
  public addresses             1 × $0.005/h            $3.65
  a month                                            $368.30
";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.contains("together $479.99, and 1 line that is not known\nnot counted: data that leaves"),
        "{text}"
    );

    let json: serde_json::Value = serde_json::to_value(&estimate).unwrap();
    assert_eq!(json["monthly"], 479_986_500);
    assert_eq!(json["clusters"][0]["lines"][0]["amount"]["known"], 73_000_000);
}

#[test]
fn a_table_survives_writing_and_is_replaceable() {
    let mut table = PriceTable::built_in();
    assert_eq!(table.regions.len(), 4);
    assert!(table.regions.values().all(|prices| prices.instance_hours.len() == 92));
    assert_eq!(PriceTable::from_json(&serde_json::to_string(&table).unwrap()).unwrap(), table);
    let region = table.regions.get_mut("eu-west-1").unwrap();
    region.instance_hours.insert("m7i.large".to_owned(), Money::from_micros(50_000));
    let cost =
        ClusterCost::new(&table, "eu-west-1", &spec(2), &EksSettings::default(), &Expectations::default());
    assert_eq!(micros(&cost, "nodes of workers"), 73_000_000);
    let error = PriceTable::from_json("{\"date\": 1}").unwrap_err().to_string();
    assert!(error.contains("cannot read the table of prices"), "{error}");
}

#[test]
fn sizes_of_a_family_cost_in_proportion() {
    // Twice the size is twice the price, up to AWS' own rounding: a slip of a digit would show.
    let table = PriceTable::built_in();
    for (region, prices) in &table.regions {
        for (name, price) in &prices.instance_hours {
            let (family, size) = name.split_once('.').unwrap();
            let eighths = match size {
                "nano" => 1,
                "micro" => 2,
                "small" => 4,
                "medium" => 8,
                "large" => 16,
                "xlarge" => 32,
                times => 32 * times.strip_suffix("xlarge").unwrap().parse::<u64>().unwrap(),
            };
            let large = prices.instance_hours[&format!("{family}.large")].micros();
            let wanted = large * eighths / 16;
            assert!(
                price.micros().abs_diff(wanted) * 500 <= wanted,
                "{region} {name}: {price:?}, not {wanted}"
            );
        }
    }
}
