//! Ingesters of one group come and go.

use super::world::{DEADLINE, World};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kafka, elasticsearch"]
async fn ingesters_that_come_and_go_lose_and_repeat_nothing() {
    let world = World::new("rebalance").await;
    let first = world.ingester(&world.elasticsearch).await.start().unwrap();
    let mut sent = 0;
    let mut indexed = 0;
    let mut shared = 0;
    for _ in 0..3 {
        let second = world.ingester(&world.elasticsearch).await.start().unwrap();
        let until = Instant::now() + DEADLINE;
        // Until both have read something of the same stream of lines.
        while second.ledger().total().read == 0 {
            assert!(Instant::now() < until, "the second ingester got nothing:\n{}", second.ledger());
            world.send_lines(sent..sent + 100).await;
            sent += 100;
        }
        world.send_lines(sent..sent + 200).await;
        sent += 200;
        let ledger = second.shutdown(Duration::from_secs(30)).await.unwrap();
        assert!(ledger.is_balanced(), "{ledger}");
        indexed += ledger.total().indexed;
        shared += ledger.total().read;
    }
    // All partitions come back to the one that is left.
    world.send_lines(sent..sent + 200).await;
    sent += 200;
    let until = Instant::now() + DEADLINE;
    while !(first.ledger().is_balanced() && first.ledger().total().indexed + indexed >= sent as u64) {
        assert!(
            Instant::now() < until,
            "{} of {sent} and {indexed} elsewhere:\n{}",
            first.ledger().total().indexed,
            first.ledger()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ledger = first.shutdown(Duration::from_secs(30)).await.unwrap();
    assert_eq!(
        ledger.total().indexed + indexed,
        sent as u64,
        "each line was indexed by one of them:\n{ledger}"
    );
    assert!(shared > 0 && ledger.total().read > 0);
    world.assert_lines(sent).await;
}
