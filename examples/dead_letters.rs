//! Looks at what could not be stored, and sends it again once the cause is mended.
//!
//! ```text
//! cargo run --example dead_letters --features kafka -- --environment testing
//! cargo run --example dead_letters --features kafka -- --environment testing --replay --error document_parsing_exception
//! ```

use clap::Parser;
use platform_telemetry::{ingest::dead_letters::DeadLetters, kafka::Kafka};
use std::{collections::BTreeMap, time::Duration};

const DEADLINE: Duration = Duration::from_secs(60);

/// Lists dead letters, or sends them to their topics again.
#[derive(Debug, Parser)]
struct Options {
    /// The brokers of Kafka, `host:port`
    #[arg(long, env = "PLATFORM_KAFKA", default_value = "127.0.0.1:9092")]
    kafka: String,
    /// Whose dead letters
    #[arg(long, default_value = "demo")]
    environment: String,
    /// How many are shown
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Sends them again instead of showing them; those that are left out are not offered again
    #[arg(long)]
    replay: bool,
    /// Of those sent again, only those that were refused with this kind of error
    #[arg(long, requires = "replay")]
    error: Option<String>,
}

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let options = Options::parse();
    let letters = DeadLetters::of(Kafka::new(&options.kafka), &options.environment);
    if options.replay {
        let wanted = options.error;
        let choose = move |letter: &platform_telemetry::ingest::dead_letters::DeadLetter| {
            wanted.as_ref().is_none_or(|wanted| *wanted == letter.refusal.kind)
        };
        let replayed = letters.replay(choose, DEADLINE).await?;
        println!("{} sent again, {} left out", replayed.sent, replayed.left_out);
        return Ok(());
    }
    let found = letters.read(options.limit, DEADLINE).await?;
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in &found {
        *kinds.entry(&letter.refusal.kind).or_default() += 1;
        let start: String = String::from_utf8_lossy(&letter.payload).chars().take(120).collect();
        println!("{}/{}@{}  {}\n    {start}", letter.topic, letter.partition, letter.offset, letter.refusal);
    }
    println!("{} shown: {kinds:?}", found.len());
    Ok(())
}
