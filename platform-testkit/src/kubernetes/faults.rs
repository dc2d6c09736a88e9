//! Faults for tests: requests that fail, wait or lose their connection.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;

/// The faults waiting for requests. Each is used up by the requests that it matches, the oldest first.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Mutex<Vec<Fault>>,
}

/// What happens to the next requests that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    method: Option<Method>,
    path: String,
    effect: Effect,
    times: u32,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Answers with this status code and does nothing else.
    Status(u16),
    /// Waits before the request is served.
    Delay(Duration),
    /// Closes the connection before the request is served: nothing was written.
    Drop,
    /// Closes the connection after the request was served: the client does not learn what was written.
    DropAnswer,
}

impl Fault {
    /// Happens once, to any request.
    pub fn new(effect: Effect) -> Self {
        Self { method: None, path: String::new(), effect, times: 1 }
    }

    /// Only to requests with this method.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Only to requests whose path contains this text, such as `/configmaps/settings`.
    #[must_use]
    pub fn path(self, part: impl Into<String>) -> Self {
        Self { path: part.into(), ..self }
    }

    /// To this many requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted == method) && path.contains(&self.path)
    }
}

impl Faults {
    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        if fault.times > 0 {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        }
    }

    /// Takes back every fault that is still waiting, and says how many requests they would have met.
    pub fn clear(&self) -> u32 {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.iter().map(|fault| fault.times).sum()
    }

    pub(super) fn take(&self, method: &Method, path: &str) -> Option<Effect> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let index = waiting.iter().position(|fault| fault.matches(method, path))?;
        let fault = waiting.get_mut(index)?;
        fault.times -= 1;
        let effect = fault.effect;
        if fault.times == 0 {
            waiting.remove(index);
        }
        Some(effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_only_what_it_matches_and_is_used_up() {
        let faults = Faults::default();
        faults.inject(Fault::new(Effect::Status(503)).method(Method::PATCH).path("/configmaps/").times(2));
        assert_eq!(faults.take(&Method::GET, "/api/v1/configmaps/a"), None);
        assert_eq!(faults.take(&Method::PATCH, "/api/v1/secrets/a"), None);
        for _ in 0..2 {
            assert_eq!(faults.take(&Method::PATCH, "/api/v1/configmaps/a"), Some(Effect::Status(503)));
        }
        assert_eq!(faults.take(&Method::PATCH, "/api/v1/configmaps/a"), None);
        faults.inject(Fault::new(Effect::Drop).times(3));
        assert_eq!(faults.clear(), 3);
    }
}
