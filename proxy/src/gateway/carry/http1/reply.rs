//! Answers of the gateway's own, on their way.

use std::task::{Poll, ready};
use std::time::Duration;

use super::After;
use super::exchange::Exchange;
use crate::gateway::answer::{Answer, REST};

impl Exchange<'_> {
    /// Sends an answer of the gateway's own. (A client that is gone by now needs none.)
    pub(super) async fn reply(&mut self, answer: Answer) {
        self.request.leaves_service();
        let is_whole = self.upload.is_done()
            || !answer.is_of_itself()
                && answer.leaves_body(self.head.read().expects_continue())
                && self.read_rest(REST).await;
        self.reply_and_keep(answer, is_whole && self.may_keep_client()).await;
    }

    /// The same; `keeps`: the client's connection serves another request afterwards.
    pub(super) async fn reply_and_keep(&mut self, answer: Answer, keeps: bool) {
        self.write_reply(answer, keeps);
        self.progress.taken_at = self.now;
        let sent = self.wait(Self::poll_flush).await.is_ok();
        self.told.keeps_client &= sent;
        self.request.was_answered(self.now);
    }

    /// Reads what is left of the request's body, for so long at most. Whether that was all of it.
    async fn read_rest(&mut self, limit: Duration) -> bool {
        self.upload.give_up();
        let due = self.now + limit;
        self.wait(|Exchange { upload, client, now, .. }, cx| {
            match upload.poll_discard(cx, &mut client.link) {
                Poll::Ready(read) => Poll::Ready(read.is_ok()),
                Poll::Pending => {
                    ready!(client.timer.poll(cx, *now, due));
                    Poll::Ready(false)
                }
            }
        })
        .await
    }

    /// Whether the client's connection may serve another request, when this one has been read.
    pub(super) fn may_keep_client(&self) -> bool {
        let is_over = self.client.is_last || self.gateway.lifecycle.is_closing();
        self.head.read().keeps_alive() && self.upload.is_done() && !is_over
    }

    /// What becomes of the client's connection.
    pub(super) fn after(&mut self, has_failed: bool) -> After {
        match self.told.status {
            Some(_) if has_failed && self.told.replied.is_none() && !self.told.has_end => After::BreakOff,
            Some(_) if has_failed && self.told.replied.is_none() => After::Close { is_sending: false },
            Some(_) if self.told.keeps_client => After::Next,
            _ => After::Close { is_sending: self.is_sending() },
        }
    }

    /// Whether the client may be sending still, or has sent something that was not read.
    fn is_sending(&mut self) -> bool {
        !self.upload.is_done() || !self.upload.input.is_empty() || !self.client.link.is_silent()
    }

    /// The status and the bytes of the body that the client got.
    pub(super) fn answered(&self) -> (u16, usize) {
        let passed = usize::try_from(self.download.passed()).unwrap_or(usize::MAX);
        (self.told.status.unwrap_or(0), self.told.replied.unwrap_or(passed))
    }
}

#[cfg(test)]
mod tests {
    use crate::gateway::door::bench::{Bench, rest, until};
    use tokio::io::AsyncWriteExt;

    /// What a client gets for a request that the gateway refuses by itself, as its path climbs above the root, with a body
    /// of this length, of which this is sent; behind it comes another request.
    async fn refused(length: usize, sent: &str) -> String {
        let bench = Bench::new();
        let mut client = bench.client();
        let head = format!("POST /../a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        client.write_all(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        rest(&mut client).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_goes_on_when_the_rest_of_the_body_has_come() {
        let text = refused(5, "hello").await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("HTTP/1.1 200 "), "{text}");
        let text = refused(5_000, "hello").await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("\r\nConnection: close\r\n"), "{text}");
        assert!(!text.contains("HTTP/1.1 200 "), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_head_has_no_body() {
        let bench = Bench::new();
        let mut client = bench.client();
        let request = b"HEAD /../a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        assert_eq!(rest(&mut client).await, "");
    }
}
