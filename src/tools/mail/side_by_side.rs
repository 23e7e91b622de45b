//! Questions that wait for others, asked at the same time.

use std::thread;

/// The answers in the order of the questions. A panic is passed on, so that it ends the job as one
/// of its own; where no thread is to be had, the question is asked here.
pub(super) fn side_by_side<Q: Sync, A: Send>(
    questions: &[Q],
    ask: impl Fn(&Q) -> A + Sync,
) -> Vec<A> {
    let ask = &ask;
    thread::scope(|scope| {
        let begin = |question| {
            let begun = thread::Builder::new().spawn_scoped(scope, move || ask(question));
            begun.map_err(|_| question)
        };
        let running: Vec<_> = questions.iter().map(begin).collect();
        let end = |running| match running {
            Ok(thread) => joined(thread),
            Err(question) => ask(question),
        };
        running.into_iter().map(end).collect()
    })
}

fn joined<A>(thread: thread::ScopedJoinHandle<'_, A>) -> A {
    let answer = thread.join();
    answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
