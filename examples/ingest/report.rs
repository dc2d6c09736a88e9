//! What came of it.

use platform_core::{Error, ErrorKind, Result};
use platform_telemetry::{agent::AgentStats, ingest::Ledger};
use std::{fmt, time::Duration};

pub(crate) struct Report {
    pub(crate) agent: AgentStats,
    pub(crate) ledger: Ledger,
    pub(crate) took: Duration,
}

impl Report {
    /// Whether everything that was sent is accounted for.
    pub(crate) fn verdict(&self) -> Result<()> {
        let (sent, total) = (self.agent.forward.sent_messages, self.ledger.total());
        let waiting = self.agent.spool.waiting_records;
        if self.ledger.is_balanced() && total.read >= sent && waiting == 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Failed,
            format!("{waiting} records are in the spool, {sent} were sent, {} were read", total.read),
        ))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (forward, total) = (&self.agent.forward, self.ledger.total());
        writeln!(
            f,
            "\nagent: {} messages sent, {} refused, {} not finite, {} in the spool",
            forward.sent_messages,
            forward.dead_letters,
            self.agent.not_finite,
            self.agent.spool.waiting_records
        )?;
        writeln!(f, "\n{}\n", self.ledger)?;
        let rate = total.read as f64 / self.took.as_secs_f64();
        let megabytes = total.bytes as f64 / 1e6;
        write!(
            f,
            "{} events, {megabytes:.1} MB in {:.1} s: {rate:.0} events/s; read = indexed + duplicate + dead letters + filtered: {}",
            total.read,
            self.took.as_secs_f64(),
            self.ledger.is_balanced()
        )
    }
}
