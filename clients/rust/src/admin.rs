//! Topics, queues, exchanges, offsets and the cluster: one method for each call of the contract,
//! with its own types.
//!
//! Each goes to one node after the other until one answers. What only reads, or does the same when
//! it is done twice, is repeated up to `retry_timeout_ms`; the rest only while it is certain that
//! it wasn't done, and otherwise fails as UNKNOWN.

use kontiki_proto::v1;
use v1::cluster_client::ClusterClient;
use v1::exchanges_client::ExchangesClient;
use v1::pub_sub_client::PubSubClient;
use v1::queue_client::QueueClient;
use v1::topics_client::TopicsClient;

use crate::client::Repeat;
use crate::{Client, Error};

/// See the module. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

/// Calls about the messages of one queue.
macro_rules! queue_calls {
    ($($(#[$doc:meta])* $repeat:ident $name:ident($request:ident) -> $answer:ident;)*) => {
        impl Admin {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// What the nodes refuse; UNAVAILABLE if no node is able to within `retry_timeout_ms`;
            /// UNKNOWN if nobody knows whether it was done.
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, Error> {
                let bytes_max = self.client.options().message_bytes_max;
                let queue = request.queue.clone();
                self.client
                    .call_near(&queue, Repeat::$repeat, request, |channel, request| async move {
                        QueueClient::new(channel)
                            .max_decoding_message_size(bytes_max)
                            .max_encoding_message_size(bytes_max)
                            .$name(request)
                            .await
                    })
                    .await
            }
        )*}
    };
}

macro_rules! calls {
    ($($(#[$doc:meta])* $service:ident $repeat:ident
       $name:ident($request:ident) -> $answer:ident;)*) => {
        impl Admin {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// What the nodes refuse; UNAVAILABLE if no node is able to within `retry_timeout_ms`;
            /// UNKNOWN if nobody knows whether it was done.
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, Error> {
                let bytes_max = self.client.options().message_bytes_max;
                self.client
                    .call(Repeat::$repeat, request, |channel, request| async move {
                        $service::new(channel)
                            .max_decoding_message_size(bytes_max)
                            .max_encoding_message_size(bytes_max)
                            .$name(request)
                            .await
                    })
                    .await
            }
        )*}
    };
}

use v1::log_client::LogClient;

calls! {
    /// Creates a topic.
    TopicsClient IfNotDone create_topic(CreateTopicRequest) -> CreateTopicResponse;
    /// Changes settings of a topic.
    TopicsClient IfNotDone alter_topic(AlterTopicRequest) -> AlterTopicResponse;
    /// Settings, partitions, sizes and offsets of a topic.
    TopicsClient Always describe_topic(DescribeTopicRequest) -> DescribeTopicResponse;
    /// One page of the topics' names.
    TopicsClient Always list_topics(ListTopicsRequest) -> ListTopicsResponse;
    /// Deletes a topic with its records.
    TopicsClient IfNotDone delete_topic(DeleteTopicRequest) -> DeleteTopicResponse;
    /// Raises a topic's number of partitions.
    TopicsClient IfNotDone add_partitions(AddPartitionsRequest) -> AddPartitionsResponse;

    /// Creates a queue.
    QueueClient IfNotDone create_queue(CreateQueueRequest) -> CreateQueueResponse;
    /// Changes settings of a queue.
    QueueClient IfNotDone alter_queue(AlterQueueRequest) -> AlterQueueResponse;
    /// Settings of a queue, and how many messages are where.
    QueueClient Always describe_queue(DescribeQueueRequest) -> DescribeQueueResponse;
    /// One page of the queues' names.
    QueueClient Always list_queues(ListQueuesRequest) -> ListQueuesResponse;
    /// Deletes a queue with its messages.
    QueueClient IfNotDone delete_queue(DeleteQueueRequest) -> DeleteQueueResponse;
    /// Removes the messages that wait in a queue.
    QueueClient IfNotDone purge_queue(PurgeQueueRequest) -> PurgeQueueResponse;
    /// Begins to move messages of a queue to another one, or back to where they came from; it goes
    /// on by itself.
    QueueClient IfNotDone start_redrive(RedriveRequest) -> StartRedriveResponse;
    /// The last redrives of a queue, the newest first.
    QueueClient Always list_redrives(ListRedrivesRequest) -> ListRedrivesResponse;
    /// How far a redrive is.
    QueueClient Always describe_redrive(DescribeRedriveRequest) -> DescribeRedriveResponse;
    /// Ends a redrive, unless it has ended.
    QueueClient Always cancel_redrive(CancelRedriveRequest) -> CancelRedriveResponse;

    /// Creates an exchange; one that is there and is the same is no failure.
    ExchangesClient Always create_exchange(CreateExchangeRequest) -> CreateExchangeResponse;
    /// Deletes an exchange with its bindings.
    ExchangesClient IfNotDone delete_exchange(DeleteExchangeRequest) -> DeleteExchangeResponse;
    /// One page of the exchanges.
    ExchangesClient Always list_exchanges(ListExchangesRequest) -> ListExchangesResponse;
    /// What an exchange is.
    ExchangesClient Always describe_exchange(DescribeExchangeRequest)
        -> DescribeExchangeResponse;
    /// Binds a queue or an exchange to an exchange; what is bound already is no failure.
    ExchangesClient Always bind(BindRequest) -> BindResponse;
    /// Takes a binding back; one that isn't there is no failure.
    ExchangesClient Always unbind(UnbindRequest) -> UnbindResponse;
    /// One page of the bindings.
    ExchangesClient Always list_bindings(ListBindingsRequest) -> ListBindingsResponse;
    /// Publishes messages to an exchange. They fail one by one: look at every result. What may have
    /// been stored is not published again: give messages a deduplication id, and after UNKNOWN
    /// publish them again yourself.
    ExchangesClient IfNotDone publish(PublishRequest) -> PublishResponse;

    /// Creates a durable subscription.
    PubSubClient IfNotDone create_subscription(CreateSubscriptionRequest)
        -> CreateSubscriptionResponse;
    /// Deletes a durable subscription.
    PubSubClient IfNotDone delete_subscription(DeleteSubscriptionRequest)
        -> DeleteSubscriptionResponse;
    /// One page of the durable subscriptions, and all that are open.
    PubSubClient Always list_subscriptions(ListSubscriptionsRequest) -> ListSubscriptionsResponse;

    /// Nodes and shards.
    ClusterClient Always describe_cluster(DescribeClusterRequest) -> DescribeClusterResponse;
    /// Makes a node a member.
    ClusterClient IfNotDone add_node(AddNodeRequest) -> AddNodeResponse;
    /// Begins to take a node out.
    ClusterClient IfNotDone remove_node(RemoveNodeRequest) -> RemoveNodeResponse;
    /// Moves a shard to a set of nodes.
    ClusterClient IfNotDone move_shard(MoveShardRequest) -> MoveShardResponse;
    /// Asks a shard's leader to hand over.
    ClusterClient IfNotDone transfer_leadership(TransferLeadershipRequest)
        -> TransferLeadershipResponse;
    /// Spreads shards and leaderships evenly, or says what that would take.
    ClusterClient IfNotDone rebalance(RebalanceRequest) -> RebalanceResponse;
    /// Raises the feature level, when all nodes run a release that speaks it.
    ClusterClient Always raise_feature_level(RaiseFeatureLevelRequest)
        -> RaiseFeatureLevelResponse;

    /// Finds offsets. Partitions fail one by one: look at every result.
    LogClient Always list_offsets(ListOffsetsRequest) -> ListOffsetsResponse;
    /// A producer id, or the next epoch of one; an id that nobody uses costs nothing.
    LogClient Always init_producer(InitProducerRequest) -> InitProducerResponse;
    /// Deletes the records below an offset. Partitions fail one by one: look at every result.
    LogClient Always delete_records(DeleteRecordsRequest) -> DeleteRecordsResponse;
    /// Writes once, without batching, sequences or retries of its own: for tools and tests.
    /// Partitions fail one by one: look at every result.
    LogClient IfNotDone produce(ProduceRequest) -> ProduceResponse;
    /// Reads once, without prefetching: for tools and tests. Partitions fail one by one: look at
    /// every result.
    LogClient Always fetch(FetchRequest) -> FetchResponse;
}

queue_calls! {
    /// Sends messages to a queue. What may have been sent is not sent again: give messages a
    /// deduplication id, and after UNKNOWN send them again yourself.
    IfNotDone send(SendRequest) -> SendResponse;
    /// Receives messages once. Where an answer is lost, its messages come again after their lease.
    Always receive(ReceiveRequest) -> ReceiveResponse;
    /// Acknowledges messages. They fail one by one: look at every result.
    IfNotDone acknowledge(AcknowledgeRequest) -> SettleResponse;
    /// Gives messages back. They fail one by one: look at every result.
    IfNotDone release(ReleaseRequest) -> SettleResponse;
    /// Rejects messages. They fail one by one: look at every result.
    IfNotDone reject(RejectRequest) -> SettleResponse;
    /// Keeps messages for longer. They fail one by one: look at every result.
    Always extend(ExtendRequest) -> SettleResponse;
    /// One page of a queue's messages, without leasing them.
    Always peek(PeekRequest) -> PeekResponse;
}

impl Admin {
    /// Moves messages of a queue to another one, or back to where they came from; `progress` hears
    /// how far it is. Who drops the future ends it: what was moved by then stays moved.
    ///
    /// # Errors
    /// What the node refuses, CONFLICT if it was cancelled or has failed, or that the node can't be
    /// reached (any more): then it may go on ([`Admin::list_redrives`]). It is not begun again.
    pub async fn redrive(
        &self,
        request: v1::RedriveRequest,
        mut progress: impl FnMut(&v1::RedriveProgress),
    ) -> Result<v1::RedriveProgress, Error> {
        let mut steps = self
            .client
            .call(Repeat::IfNotDone, request, |channel, mut request| async move {
                // It takes as long as it takes.
                request.metadata_mut().remove("grpc-timeout");
                QueueClient::new(channel).redrive(request).await
            })
            .await?;
        let mut last = v1::RedriveProgress::default();
        loop {
            match steps.message().await {
                Ok(Some(step)) => {
                    progress(&step);
                    last = step;
                }
                Ok(None) if last.done => return Ok(last),
                Ok(None) => {
                    let message = format!("the node ended after {} messages", last.moved);
                    return Err(Error::new(v1::ErrorKind::Unknown, message));
                }
                Err(status) => return Err(Error::from_status(&status, "the node")),
            }
        }
    }

    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}
