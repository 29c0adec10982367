//! Who waits on this node for a reply. In memory only: a caller is gone with its node.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use kontiki_proto::node::PassReplyRequest;
use kontiki_records::Header;
use tokio::sync::oneshot;

use super::Answer;
use crate::error::{Code, Error, Kind};

type Token = [u8; 16];

/// See the module. Memory: some 200 bytes for each who waits, of whom there are at most
/// `broker.requests.waiting_max`, and a reply until it is on its way to its caller.
#[derive(Debug)]
pub(crate) struct Waiting {
    callers: Mutex<HashMap<Token, oneshot::Sender<Answer>>>,
    limit: usize,
}

/// A place among those who wait; whoever drops it waits no more.
pub(super) struct Place<'a> {
    waiting: &'a Waiting,
    token: Token,
    pub(super) reply: oneshot::Receiver<Answer>,
}

impl Waiting {
    pub(crate) fn new(limit: usize) -> Self {
        Self { callers: Mutex::default(), limit }
    }

    /// # Errors
    /// As many wait as may.
    pub(super) fn begin(&self, token: Token, retry_after_ms: u32) -> Result<Place<'_>, Error> {
        let (sender, reply) = oneshot::channel();
        let mut callers = self.callers.lock().expect("nothing panics under this lock");
        if callers.len() >= self.limit {
            let name = "broker.requests.waiting_max";
            return Err(Error::throttled(name, self.limit, retry_after_ms));
        }
        callers.insert(token, sender);
        Ok(Place { waiting: self, token, reply })
    }

    /// Hands a reply to its caller. The first one counts.
    ///
    /// # Errors
    /// Nobody waits for it (any more).
    pub(super) fn complete(&self, token: Token, answer: Answer) -> Result<(), Error> {
        let sender = self.callers.lock().expect("nothing panics under this lock").remove(&token);
        let handed = sender.is_some_and(|sender| sender.send(answer).is_ok());
        if handed { Ok(()) } else { Err(nobody_waits()) }
    }

    /// A reply that another node has taken.
    pub(crate) fn take_over(&self, request: PassReplyRequest) -> Result<(), Error> {
        let PassReplyRequest { token, body, headers, error } = request;
        let token = Token::try_from(token.as_ref()).map_err(|_| {
            Error::internal(format!("another node sent a token of {} bytes", token.len()))
        })?;
        let headers = headers.into_iter();
        let headers = headers.map(|one| Header { name: one.name, value: one.value }).collect();
        self.complete(token, Answer { body, headers, error, correlation_id: String::new() })
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.callers.lock().expect("nothing panics under this lock").len()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.callers.lock().expect("nothing panics under this lock").remove(&self.token);
    }
}

pub(super) fn nobody_waits() -> Error {
    let detail = "nobody waits for this reply any more: the caller's time is over, it has gone, or \
                  has a reply already; acknowledge the request";
    Error::new(Kind::NotFound, Code::NOBODY_WAITS, detail)
}

/// The same reply for another node.
pub(super) fn pass_on(token: Token, answer: Answer) -> PassReplyRequest {
    let Answer { body, headers, error, .. } = answer;
    let header =
        |one: Header| kontiki_proto::node::ReplyHeader { name: one.name, value: one.value };
    PassReplyRequest {
        token: Bytes::copy_from_slice(&token),
        body,
        headers: headers.into_iter().map(header).collect(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = [7; 16];

    fn answer() -> Answer {
        let headers = vec![Header::new("color", "red"), Header { name: "x".into(), value: None }];
        Answer { body: "done".into(), headers, ..Answer::default() }
    }

    #[tokio::test]
    async fn the_first_reply_counts_and_later_ones_are_told_so() {
        let waiting = Waiting::new(1);
        let mut place = waiting.begin(TOKEN, 100).expect("there is room");
        let passed = pass_on(TOKEN, answer());
        assert_eq!(waiting.take_over(passed.clone()), Ok(()));
        assert_eq!(waiting.take_over(passed).unwrap_err().code, Code::NOBODY_WAITS);
        assert_eq!((&mut place.reply).await, Ok(answer()));
    }

    #[test]
    fn whoever_goes_makes_room_and_is_not_waited_for() {
        let waiting = Waiting::new(1);
        let place = waiting.begin(TOKEN, 250).expect("there is room");
        let error = waiting.begin([8; 16], 250).err().expect("there is none");
        assert_eq!((error.kind, error.retry_after_ms), (Kind::Throttled, 250));
        assert!(error.detail.contains("broker.requests.waiting_max = 1"), "{error}");
        drop(place);
        let error = waiting.complete(TOKEN, answer()).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::NotFound, Code::NOBODY_WAITS));
        assert!(waiting.begin([8; 16], 250).is_ok());
    }

    #[test]
    fn a_token_of_another_length_is_a_fault() {
        let short = PassReplyRequest { token: "short".into(), ..PassReplyRequest::default() };
        assert_eq!(Waiting::new(1).take_over(short).unwrap_err().kind, Kind::Internal);
    }
}
