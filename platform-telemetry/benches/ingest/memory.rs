//! How much memory is taken while nothing can be written.

use crate::{builder, events::Topics, sink::Sink, table::Row};
use std::time::{Duration, Instant};

const GIGABYTE: u64 = 1 << 30;
const STILL: Duration = Duration::from_secs(60);
/// What the goal is for, in megabytes.
const WANTED: u64 = 256;
const DEADLINE: Duration = Duration::from_secs(600);

/// Lets the same events through often enough for a gigabyte, by groups of their own, while the server stands still for a minute.
pub(crate) async fn row(topics: &Topics, sink: &Sink) -> Row {
    let (mut bytes, mut round, mut most) = (0, 100, 0);
    while bytes < GIGABYTE {
        let ingester = builder(topics, &sink.url, round).await.start().unwrap();
        if round == 100 {
            sink.stand_still(true).await;
        }
        let began = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            most = most.max(resident());
            if round == 100 && began.elapsed() >= STILL {
                let total = ingester.ledger().total();
                assert!(total.indexed == 0 && total.read > 0, "the server stood still: {total:?}");
                sink.stand_still(false).await;
                round += 1;
            }
            let total = ingester.ledger().total();
            if total.indexed == crate::EVENTS {
                bytes += total.bytes;
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{}", ingester.ledger());
        }
        ingester.shutdown(DEADLINE).await.unwrap();
        round += 1;
    }
    Row {
        work: "1 GB, the server stands still for a minute".to_owned(),
        ours: format!("{} MB resident at most", most >> 20),
        peer: "-".to_owned(),
        ratio: None,
        goal: format!("< {WANTED} MB"),
        met: most >> 20 < WANTED,
    }
}

fn resident() -> u64 {
    let told = std::fs::read_to_string("/proc/self/statm").unwrap();
    told.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
