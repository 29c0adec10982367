//! `kontiki.v1.Requests`: messages that are answered.

use std::time::Duration;

use kontiki_broker::Error;
use kontiki_broker::options::bounds;
use kontiki_broker::queues::Outgoing;
use kontiki_broker::requests::{Reply, Request};
use kontiki_proto::v1;
use kontiki_proto::v1::requests_server::Requests;
use tonic::{Response, Status};

use super::deadline::Deadline;
use super::queue::{own_headers, shown_headers};
use super::{Service, fields};

#[tonic::async_trait]
impl Requests for Service {
    async fn request(
        &self,
        request: tonic::Request<v1::RequestRequest>,
    ) -> Result<Response<v1::RequestResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let answered = async {
            let request = understood(request.into_inner(), deadline)?;
            self.broker.request(request).await
        };
        let answer = answered.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::RequestResponse {
            body: answer.body,
            headers: shown_headers(answer.headers),
            error: answer.error,
            correlation_id: answer.correlation_id,
        }))
    }

    async fn reply(
        &self,
        request: tonic::Request<v1::ReplyRequest>,
    ) -> Result<Response<v1::ReplyResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let v1::ReplyRequest { reply_to, body, headers, error, correlation_id } =
            request.into_inner();
        let replied = async {
            fields::present("reply_to", &reply_to)?;
            let headers = own_headers(headers)?;
            let reply = Reply { reply_to, body, headers, error, correlation_id };
            deadline.within("Reply", self.broker.reply(reply)).await
        };
        replied.await.map_err(|error| self.status(error))?;
        Ok(Response::new(v1::ReplyResponse {}))
    }
}

fn understood(request: v1::RequestRequest, deadline: Deadline) -> Result<Request, Error> {
    let v1::RequestRequest { queue, body, key, headers, timeout_ms, priority, group } = request;
    fields::present("queue", &queue)?;
    let timeout_ms = match timeout_ms {
        0 => bounds::TIMEOUT_MS_DEFAULT,
        timeout_ms => fields::fits("timeout_ms", timeout_ms, bounds::TIMEOUT_MS_MAX)?,
    };
    let message = Outgoing {
        key,
        body,
        headers: own_headers(headers)?,
        priority: fields::fits("priority", priority, u8::MAX)?,
        group,
        ..Outgoing::default()
    };
    // Whoever gives up before is not to be waited for, and what was asked not to be worked on.
    let timeout = deadline.bounds(Duration::from_millis(timeout_ms.into()));
    Ok(Request { queue, message, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_broker::{Code, Kind};
    use tonic::metadata::{MetadataMap, MetadataValue};

    fn request() -> v1::RequestRequest {
        v1::RequestRequest { queue: "jobs".to_owned(), ..v1::RequestRequest::default() }
    }

    #[test]
    fn a_request_waits_as_long_as_it_says_and_its_caller_does() {
        let patient = Deadline::of(&MetadataMap::new());
        let timeout = |timeout_ms, deadline| {
            understood(v1::RequestRequest { timeout_ms, ..request() }, deadline).unwrap().timeout
        };
        assert_eq!(timeout(0, patient), Duration::from_secs(30));
        assert_eq!(timeout(300_000, patient), Duration::from_secs(300));
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", MetadataValue::from_static("1S"));
        assert!(timeout(5_000, Deadline::of(&metadata)) < Duration::from_secs(1));
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let header = v1::Header { name: "kontiki.reply-to".to_owned(), value: None };
        let wrong = [
            (v1::RequestRequest::default(), "queue is empty"),
            (v1::RequestRequest { timeout_ms: 300_001, ..request() }, "timeout_ms is 300001"),
            (v1::RequestRequest { priority: 256, ..request() }, "priority is 256"),
            (v1::RequestRequest { headers: vec![header], ..request() }, "the name of a header is"),
        ];
        for (request, told) in wrong {
            let error = understood(request, Deadline::of(&MetadataMap::new())).unwrap_err();
            assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
            assert!(error.detail.starts_with(told), "{error}");
        }
    }
}
