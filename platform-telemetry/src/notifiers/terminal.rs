//! A line for each alert on a terminal.

use async_trait::async_trait;
use console::Style;
use platform_core::{
    Error, ErrorKind, Result,
    alert::{Alert, AlertSeverity, AlertState, Notification, Notifier},
};
use std::{
    fmt,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

/// Writes a line for each alert: `2026-11-23T20:36:28.000Z FIRING   critical HighCpu {cluster="shop-testing"} CPU is at 93.1 %`.
///
/// Characters that control a terminal are replaced, since labels and summaries may hold what others wrote.
#[derive(Clone)]
pub struct Terminal {
    name: String,
    colours: bool,
    writer: Arc<Mutex<dyn Write + Send>>,
}

impl Terminal {
    /// Writes to standard error, in colours if it is a terminal and neither `NO_COLOR` nor `CLICOLOR=0` is set.
    pub fn stderr() -> Self {
        Self::writer(std::io::stderr()).colours(console::colors_enabled_stderr())
    }

    /// Writes to `writer`, without colours.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self { name: "terminal".to_owned(), colours: false, writer: Arc::new(Mutex::new(writer)) }
    }

    /// Sets whether it writes in colours.
    #[must_use]
    pub fn colours(mut self, colours: bool) -> Self {
        self.colours = colours;
        self
    }

    /// Sets its name, `terminal` by default.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn line(&self, notification: &Notification, alert: &Alert) -> String {
        let state = match (alert.state, alert.severity) {
            (AlertState::Resolved, _) => Style::new().green(),
            (_, AlertSeverity::Critical) => Style::new().red().bold(),
            (_, AlertSeverity::Info) => Style::new().cyan(),
            _ => Style::new().yellow().bold(),
        };
        let paint = |style: Style, text: String| style.force_styling(self.colours).apply_to(text).to_string();
        format!(
            "{} {} {:8} {} {} {}\n",
            paint(Style::new().dim(), notification.at.to_string()),
            paint(state, format!("{:8}", alert.state.to_string().to_uppercase())),
            alert.severity,
            paint(Style::new().bold(), alert.name.clone()),
            paint(Style::new().dim(), printable(&alert.labels.to_string())),
            printable(&alert.summary),
        )
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("name", &self.name)
            .field("colours", &self.colours)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Notifier for Terminal {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, notification: &Notification) -> Result<()> {
        let lines: String = notification.alerts.iter().map(|alert| self.line(notification, alert)).collect();
        let writer = self.writer.clone();
        // A terminal may block: its flow control, a pager.
        let written = tokio::task::spawn_blocking(move || {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.write_all(lines.as_bytes()).and_then(|()| writer.flush())
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(Error::new(ErrorKind::Failed, "the line could not be written").source(error))
            }
            Err(error) => Err(Error::internal("the writer panicked").source(error)),
        }
    }
}
