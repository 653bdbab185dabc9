//! The end of a thread's queue, where what is ready to be written waits until what is ready to be read has been read.
//!
//! A write to a socket on whose other end somebody sleeps wakes them, and the waking costs more than the rest of the
//! write. In a busy moment writes that leave one behind the other find their readers awake, and the code of each half of
//! a call stays in the caches. In a quiet moment the queue is empty and nobody waits.

use std::future::poll_fn;
use std::task::Poll;

/// Lets the tasks that are ready on this thread go first, once.
pub(crate) async fn last_in_line() {
    let mut waited = false;
    poll_fn(|cx| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[tokio::test(flavor = "current_thread")]
    async fn all_read_before_the_first_writes() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let call = |log: Rc<RefCell<Vec<_>>>| async move {
            log.borrow_mut().push("read");
            last_in_line().await;
            log.borrow_mut().push("write");
        };
        let local = tokio::task::LocalSet::new();
        (0..3).for_each(|_| drop(local.spawn_local(call(log.clone()))));
        local.await;
        assert_eq!(*log.borrow(), ["read", "read", "read", "write", "write", "write"]);
    }
}
