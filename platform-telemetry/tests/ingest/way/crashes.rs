//! Processes die with kill -9 in the middle: the ingester, Kafka, Elasticsearch.

use super::{
    servers::Server,
    world::{DEADLINE, World, settled, variable},
};
use platform_core::telemetry::Labels;
use platform_telemetry::{
    agent::Agent,
    kafka::KafkaSink,
    sources::{FileTail, StartAt},
};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// The environment of a child's test: it is the ingester that is killed.
const CHILD: &str = "PLATFORM_TEST_INGEST";

/// Not a test of its own: what the next one starts as a child and kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn ingester_of_the_next_test() {
    let Ok(environment) = std::env::var(CHILD) else { return };
    let world = World::joined(&environment, &variable("PLATFORM_KAFKA"), &variable("PLATFORM_ELASTICSEARCH"));
    let ingester = world.ingester(&world.elasticsearch).await.batch_bytes(20_000).start().unwrap();
    loop {
        println!("read {}", ingester.ledger().total().read);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn an_ingester_that_is_killed_loses_and_repeats_nothing() {
    const LINES: usize = 6000;
    let world = World::new("killed").await;
    world.send_lines(0..LINES).await;
    let mut seen_working = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "way::crashes::ingester_of_the_next_test", "--nocapture"])
            .env(CHILD, &world.environment)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut until = Instant::now() + DEADLINE;
        let mut is_reading = false;
        for line in lines.map_while(Result::ok) {
            let read: u64 = line.strip_prefix("read ").and_then(|read| read.parse().ok()).unwrap_or(0);
            if read > 0 && !is_reading {
                is_reading = true;
                seen_working += 1;
                until = Instant::now() + Duration::from_millis(30 * (round + 1));
            }
            if Instant::now() >= until {
                break;
            }
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    }
    assert!(seen_working > 0, "none was killed at its work");
    let ingester = world.ingester(&world.elasticsearch).await.start().unwrap();
    let until = Instant::now() + DEADLINE;
    while world.bodies().await.len() < LINES {
        assert!(
            Instant::now() < until,
            "{} of {LINES} are there:\n{}",
            world.bodies().await.len(),
            ingester.ledger()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ingester.shutdown(Duration::from_secs(30)).await.unwrap();
    world.assert_lines(LINES).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers to kill"]
async fn servers_that_are_killed_and_come_back_lose_nothing() {
    let mut kafka = Server::start("PLATFORM_KAFKA_SERVER");
    let mut elasticsearch = Server::start("PLATFORM_ELASTICSEARCH_SERVER");
    let world = World::within("servers", &kafka.address, &elasticsearch.address).await;
    let ingester = world.ingester(&world.elasticsearch).await.batch_bytes(20_000).start().unwrap();
    world.send_lines(0..2000).await;
    settled(&ingester, 2000).await;

    elasticsearch.kill();
    world.send_lines(2000..4000).await;
    let until = Instant::now() + DEADLINE;
    while ingester.trouble().is_none() {
        assert!(Instant::now() < until, "the death of Elasticsearch was not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    elasticsearch.again();
    settled(&ingester, 4000).await;

    kafka.kill();
    let refused = tokio::net::TcpStream::connect(&kafka.address).await;
    assert!(refused.is_err(), "Kafka is dead");
    kafka.again();
    world.send_lines(4000..6000).await;
    settled(&ingester, 6000).await;
    let ledger = ingester.shutdown(Duration::from_secs(30)).await.unwrap();
    assert!(ledger.is_balanced(), "{ledger}");
    world.assert_lines(6000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs elasticsearch, servers to kill"]
async fn an_agent_outlives_kafka() {
    let mut kafka = Server::start("PLATFORM_KAFKA_SERVER");
    let world = World::within("agent", &kafka.address, &variable("PLATFORM_ELASTICSEARCH")).await;
    let ingester = world.ingester(&world.elasticsearch).await.start().unwrap();
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("app.log");
    let mut file = File::create(&path).unwrap();
    let tail = FileTail::builder([path.display().to_string()])
        .start_at(StartAt::Beginning)
        .checkpoint(data.path().join("positions.json"))
        .poll_interval(Duration::from_millis(20));
    let sink =
        KafkaSink::builder(world.kafka.clone()).delivery_timeout(Duration::from_secs(3)).build().unwrap();
    let agent = Agent::builder(data.path().join("agent"), Arc::new(sink))
        .environment(&world.environment)
        .labels(Labels::from_iter([("environment", world.environment.as_str())]))
        .source(Arc::new(tail.build().unwrap()))
        .start()
        .await
        .unwrap();
    let mut write = |lines: std::ops::Range<usize>| {
        lines.for_each(|line| writeln!(file, "line {line}").unwrap());
        file.flush().unwrap();
    };
    write(0..500);
    settled(&ingester, 500).await;
    kafka.kill();
    write(500..1000);
    let until = Instant::now() + DEADLINE;
    while !agent.stats().forward.failing {
        assert!(Instant::now() < until, "the death of Kafka was not noticed: {:?}", agent.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kafka.again();
    write(1000..1500);
    let until = Instant::now() + DEADLINE;
    while world.bodies().await.len() < 1500 {
        assert!(Instant::now() < until, "{:?}\n{}", agent.stats(), ingester.ledger());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    agent.shutdown(DEADLINE).await.unwrap();
    let stats = agent.stats();
    assert_eq!((stats.spool.waiting_records, stats.forward.dead_letters), (0, 0), "{stats:?}");
    let ledger = ingester.shutdown(Duration::from_secs(30)).await.unwrap();
    assert!(ledger.is_balanced(), "{ledger}");
}
