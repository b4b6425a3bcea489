//! Leaving an issuer alone that does not answer: for a second, and for longer each time it fails again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const LONGEST: Duration = Duration::from_secs(30);

/// Whether an issuer is left alone.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    pub(super) fn lasts(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.until.is_some_and(|until| Instant::now() < until)
    }

    /// A question that was asked at that time has failed. Those that were under way when a pause began count no more.
    pub(super) fn begin(&self, asked: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.until.is_none_or(|until| until <= asked) {
            let doubled = 1u64.checked_shl(state.failures).unwrap_or(u64::MAX);
            state.until = Some(Instant::now() + Duration::from_secs(doubled).min(LONGEST));
            state.failures = state.failures.saturating_add(1);
        }
    }

    /// The issuer has answered.
    pub(super) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn length(pause: &Pause) -> u64 {
        let begun = Instant::now();
        while pause.lasts() {
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_while_it_fails_and_begin_small_after_an_answer() {
        let pause = Pause::default();
        assert!(!pause.lasts());
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            pause.begin(Instant::now());
            assert_eq!(length(&pause).await, expected);
        }
        pause.end();
        pause.begin(Instant::now());
        assert_eq!(length(&pause).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn many_questions_that_fail_together_count_once() {
        let pause = Pause::default();
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(10)).await;
        for _ in 0..64 {
            pause.begin(asked);
        }
        assert_eq!(length(&pause).await, 1);
    }
}
