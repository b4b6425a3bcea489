//! Answers that nobody takes: broken off, so that neither they nor the control plane's connections are held for ever.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

tokio::task_local! {
    /// How far the answer of the HTTP/2 stream that runs has been taken.
    static TAKEN: Arc<Taken>;
}

/// How far an answer has been taken. Odd while a part of it is with the library, which asks for the next one only when the
/// client has room for that; even while the library waits for the next part.
#[derive(Debug, Default)]
pub(super) struct Taken(AtomicU64);

impl Taken {
    /// That of the HTTP/2 stream that runs; a new one elsewhere.
    pub(super) fn of_stream() -> Arc<Self> {
        TAKEN.try_with(Arc::clone).unwrap_or_default()
    }

    /// A part, or the head, is handed to the library.
    pub(super) fn handed(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// What was handed to the library has been taken, if there was any.
    pub(super) fn taken(&self) {
        self.0.fetch_add(self.0.load(Ordering::Relaxed) & 1, Ordering::Relaxed);
    }

    /// Whether a part waits to be taken; remembers which.
    fn is_awaited(&self, before: &mut u64) -> bool {
        *before = self.0.load(Ordering::Relaxed);
        *before & 1 == 1
    }

    /// Whether nothing has been taken since a look that found `before`; remembers what this one finds.
    pub(super) fn stalls(&self, before: &mut u64) -> bool {
        let now = self.0.load(Ordering::Relaxed);
        now & 1 == 1 && std::mem::replace(before, now) == now
    }
}

/// Runs the streams of an HTTP/2 connection, each until its client takes nothing of its answer for this long, or at most
/// twice as long. The stream is then reset, and what was left of the answer is dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams(pub(super) Duration);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let taken = Arc::new(Taken::default());
        tokio::spawn(TAKEN.scope(Arc::clone(&taken), unless_stalled(stream, taken, self.0)));
    }
}

async fn unless_stalled(stream: impl Future<Output = ()>, taken: Arc<Taken>, patience: Duration) {
    let mut stream = pin!(stream);
    // Made when a part of the answer is not taken at once: most are.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let mut before = 0;
    poll_fn(|task| {
        if stream.as_mut().poll(task).is_ready() {
            return Poll::Ready(());
        }
        if timer.is_none() && !taken.is_awaited(&mut before) {
            return Poll::Pending;
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        while timer.as_mut().poll(task).is_ready() {
            if taken.stalls(&mut before) {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + patience);
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_be_waited_for_but_does_not_wait() {
        let taken = Arc::new(Taken::default());
        let begun = Instant::now();
        let stream = async {
            // The control plane takes its time.
            tokio::time::sleep(PATIENCE * 5).await;
            taken.handed();
            // The client takes each part a little late.
            for _ in 0..5 {
                tokio::time::sleep(PATIENCE * 3 / 4).await;
                taken.taken();
                taken.handed();
            }
            std::future::pending::<()>().await;
        };
        unless_stalled(stream, Arc::clone(&taken), PATIENCE).await;
        let after = begun.elapsed().saturating_sub(PATIENCE * 5 + PATIENCE * 15 / 4);
        assert!(after >= PATIENCE && after <= PATIENCE * 2, "{after:?}");
    }

    #[test]
    fn a_part_is_with_the_library_until_it_asks_for_the_next() {
        let (taken, mut before) = (Taken::default(), 0);
        assert!(!taken.stalls(&mut before) && !taken.stalls(&mut before));
        taken.handed();
        assert!(!taken.stalls(&mut before) && taken.stalls(&mut before));
        taken.taken();
        taken.taken();
        assert!(!taken.stalls(&mut before) && !taken.stalls(&mut before));
        taken.handed();
        assert!(!taken.stalls(&mut before) && taken.stalls(&mut before));
    }
}
