//! The produce stream to one node, which all partitions that the node leads share. It is opened
//! with the next request after it broke.

use std::sync::Arc;

use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::link::{Call, Link};
use crate::{Client, Error};

/// `ProduceStream`, with one partition in each request.
pub(crate) struct Write;

pub(crate) type Job = crate::link::Job<Write>;

impl Call for Write {
    type Request = v1::ProduceRequest;
    type Answer = v1::ProduceResponse;
    type Outcome = v1::ProduceResult;
    type Share = ();

    async fn open(
        client: &Client,
        channel: Channel,
        requests: ReceiverStream<v1::ProduceRequest>,
    ) -> Result<Response<Streaming<v1::ProduceResponse>>, Status> {
        client.log(channel).produce_stream(requests).await
    }

    fn number(request: &mut v1::ProduceRequest, correlation_id: u64) {
        request.correlation_id = correlation_id;
    }

    fn read(answer: v1::ProduceResponse) -> (u64, Option<Result<v1::ProduceResult, Error>>) {
        (answer.correlation_id, answer.results.into_iter().next().map(Ok))
    }
}

/// It ends when all senders of `jobs` are gone and all is answered.
pub(crate) async fn run(client: Client, address: Arc<str>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let error = match client.pool().get(&address).await {
            Ok(channel) => {
                let mut link = Link::new(&client, &address);
                let served = link.serve(&client, channel, first, &mut jobs, || false).await;
                let Err(error) = served else { return };
                client.pool().discard(&address);
                link.fail(&error);
                error
            }
            Err(error) => {
                // Nothing was sent.
                let _ = first.answer.send(Err(error.clone()));
                error
            }
        };
        tracing::debug!(%address, %error, "a produce stream broke");
    }
}
