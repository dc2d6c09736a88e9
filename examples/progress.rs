//! A run as a person watches it: bars on a terminal, plain lines elsewhere. All on stderr, so that stdout is free for results.

use console::style;
use futures::{Stream, StreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use platform_core::event::{Event, StepOutcome};
use std::{collections::HashMap, time::Duration};

/// Shows events until the run ends.
pub async fn show(events: impl Stream<Item = Event>) {
    let bars = MultiProgress::new();
    let mut view: Box<dyn View + Send> =
        if console::user_attended_stderr() { Box::new(Bars::new(bars)) } else { Box::new(Lines) };
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        view.event(&event);
    }
}

trait View {
    fn event(&mut self, event: &Event);
}

/// One line for each thing that ends or is tried again.
struct Lines;

impl View for Lines {
    fn event(&mut self, event: &Event) {
        if let Some(line) = line(event) {
            eprintln!("{line}");
        }
    }
}

/// A bar for the run, a spinner for each step that runs, a line for each that ended.
struct Bars {
    lines: MultiProgress,
    whole: ProgressBar,
    running: HashMap<String, ProgressBar>,
}

impl Bars {
    fn new(bars: MultiProgress) -> Self {
        let whole = bars.add(ProgressBar::new(0));
        // The templates are constants that are known to parse; the default style is the fallback.
        if let Ok(style) = ProgressStyle::with_template("{bar:40.cyan/dim} {pos}/{len} steps, {elapsed}") {
            whole.set_style(style);
        }
        Self { lines: bars, whole, running: HashMap::new() }
    }
}

impl View for Bars {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted { steps } => self.whole.set_length(*steps as u64),
            Event::StepStarted { step, description } => {
                let spinner = self.lines.insert_before(&self.whole, ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {prefix}: {wide_msg:.dim}") {
                    spinner.set_style(style);
                }
                spinner.set_prefix(description.clone());
                spinner.enable_steady_tick(Duration::from_millis(100));
                self.running.insert(step.to_string(), spinner);
            }
            Event::StepProgress { step, message } => {
                if let Some(spinner) = self.running.get(step.as_str()) {
                    spinner.set_message(message.clone());
                }
            }
            Event::StepFinished { step, .. } => {
                if let Some(spinner) = self.running.remove(step.as_str()) {
                    spinner.finish_and_clear();
                }
                self.whole.inc(1);
            }
            Event::RunFinished { .. } => self.whole.finish_and_clear(),
            _ => {}
        }
        if let Some(line) = line(event) {
            let _ = self.lines.println(line);
        }
    }
}

fn line(event: &Event) -> Option<String> {
    match event {
        Event::StepFinished { step, outcome, elapsed, message, .. } => {
            let mark = match outcome {
                StepOutcome::Done => style("+").green(),
                StepOutcome::Unchanged => style("=").dim(),
                StepOutcome::Failed => style("x").red().bold(),
                _ => style("-").yellow(),
            };
            let seconds = elapsed.as_secs_f64();
            Some(format!(
                "{} {step} {}",
                mark.for_stderr(),
                style(format!("{message} ({seconds:.2} s)")).for_stderr().dim()
            ))
        }
        Event::StepRetrying { step, attempt, wait, error } => {
            let again = format!("attempt {attempt} failed, again in {:.1} s: {error}", wait.as_secs_f64());
            Some(format!("{} {step} {again}", style("!").for_stderr().yellow()))
        }
        Event::Missed { count } => Some(format!("({count} events were not shown)")),
        _ => None,
    }
}
