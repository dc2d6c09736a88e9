//! What can never be taken is kept as it was, with the reason, and can be sent again.

use super::{
    proxy::{self, Fault},
    world::{DEADLINE, World, settled},
};
use platform_core::telemetry::document::Topic;
use platform_telemetry::ingest::dead_letters::DeadLetters;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn what_is_wrong_becomes_a_dead_letter_and_spoils_nothing_else() {
    let world = World::new("wrong").await;
    let good = world.log("line 0");
    let text = String::from_utf8(good.payload.to_vec()).unwrap();
    let wrong: [(&str, Vec<u8>, &str); 7] = [
        ("array", b"[1,2]".to_vec(), "not_an_object"),
        ("nothing", Vec::new(), "not_an_object"),
        ("utf8", text.replace("line 0", "\u{fffd}").replace('\u{fffd}', "#").into_bytes(), "invalid_utf8"),
        ("large", text.replace("line 0", &"x".repeat(5000)).into_bytes(), "too_large"),
        ("cut", text[..text.len() / 2].to_owned().into_bytes().into_iter().chain(*b"}").collect(), "parsing"),
        (
            "mapping",
            text.replace("\"severity_number\":9", "\"severity_number\":\"nine\"").into_bytes(),
            "parsing",
        ),
        ("time", text.replace("\"@timestamp\":\"20", "\"@timestamp\":\"a20").into_bytes(), "parsing"),
    ];
    let mut messages: Vec<_> = (0..50).map(|line| world.log(&format!("line {line}"))).collect();
    for (key, payload, _) in &wrong {
        let mut payload = payload.clone();
        if *key == "utf8" {
            let at = payload.iter().position(|byte| *byte == b'#').unwrap();
            payload[at] = 0xff;
        }
        messages.insert(messages.len() / 2, world.message(Topic::Logs, key, payload));
    }
    world.send(&messages).await;
    let ingester = world.ingester(&world.elasticsearch).await.max_event_bytes(4000).start().unwrap();
    settled(&ingester, 57).await;
    let ledger = ingester.shutdown(Duration::from_secs(30)).await.unwrap();
    let total = ledger.total();
    assert_eq!((total.indexed, total.dead_lettered), (50, 7), "{ledger}");
    world.assert_lines(50).await;

    let letters = DeadLetters::of(world.kafka.clone(), &world.environment).read(100, DEADLINE).await.unwrap();
    assert_eq!(letters.len(), 7);
    for (key, payload, kind) in &wrong {
        let letter = letters.iter().find(|letter| letter.key == key.as_bytes()).unwrap();
        assert_eq!(letter.topic, world.topic(Topic::Logs));
        assert!(letter.refusal.kind.contains(kind), "{key}: {}", letter.refusal);
        assert_eq!(letter.payload.len(), payload.len(), "{key}");
        if *key == "mapping" {
            assert_eq!(&letter.payload, payload, "as it was");
            assert_eq!(letter.refusal.status, 400);
            assert!(letter.refusal.reason.contains("severity_number"), "{}", letter.refusal);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn dead_letters_are_sent_again_and_known_again() {
    let world = World::new("again").await;
    world.send_lines(0..40).await;
    // Elasticsearch refuses every second one, for once.
    let spoiled = proxy::start(&world.elasticsearch, vec![Fault::EverySecond(400); 4]).await;
    let ingester = world.ingester(&spoiled.url).await.batch_bytes(1 << 20).start().unwrap();
    let dead = settled(&ingester, 40).await.total().dead_lettered;
    assert!(dead > 0 && !spoiled.proxy.seen().is_empty());
    let letters = DeadLetters::of(world.kafka.clone(), &world.environment);
    assert_eq!(letters.read(100, DEADLINE).await.unwrap().len() as u64, dead);
    assert_eq!(letters.read(100, DEADLINE).await.unwrap().len() as u64, dead, "reading changes nothing");
    ingester.shutdown(Duration::from_secs(30)).await.unwrap();

    let ingester = world.ingester(&world.elasticsearch).await.start().unwrap();
    let replayed = letters.replay(|letter| letter.refusal.status == 400, DEADLINE).await.unwrap();
    assert_eq!((replayed.sent, replayed.left_out), (dead, 0));
    let total = settled(&ingester, dead).await.total();
    assert_eq!((total.indexed, total.duplicate), (dead, 0));
    world.assert_lines(40).await;
    // A second replay finds nothing.
    assert_eq!(letters.replay(|_| true, DEADLINE).await.unwrap().sent, 0);
    ingester.shutdown(Duration::from_secs(30)).await.unwrap();
}
