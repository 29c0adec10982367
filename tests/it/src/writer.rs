//! An idempotent producer that never gives up: it sends one batch at a time and sends it again,
//! with the same sequence number, to one node after another until it is acknowledged.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_proto::v1;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::AnyNode;
use crate::ledger::Ledger;
use crate::payload::RecordName;
use crate::wait;

/// What a writer writes.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The topic, which is there already.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Tells it from other writers of the same partition.
    pub writer: u32,
    /// Records in one batch.
    pub batch_records: u32,
    /// Bytes of a record's value; a batch of 4 KiB and more is stored outside of the Raft log.
    pub value_bytes: usize,
    /// A pause after every batch, so that a test doesn't only measure the disk.
    pub pause: Duration,
}

impl WriterOptions {
    /// Batches of ten records of 600 bytes.
    #[must_use]
    pub fn new(topic: &str, partition: u32, writer: u32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            writer,
            batch_records: 10,
            value_bytes: 600,
            pause: Duration::from_millis(2),
        }
    }
}

/// A writer at work.
#[derive(Debug)]
pub struct Writer {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    progress: watch::Receiver<Progress>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Records acknowledged.
    acknowledged: u64,
    /// The longest time from one acknowledgement to the next, since the mark was set.
    longest_gap: Duration,
}

impl Writer {
    /// Begins to write through the nodes at these addresses.
    #[must_use]
    pub fn start(
        addresses: Vec<SocketAddrV4>,
        ledger: Arc<Ledger>,
        options: WriterOptions,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let start = Progress { acknowledged: 0, longest_gap: Duration::ZERO };
        let (report, progress) = watch::channel(start);
        let nodes = AnyNode::of(addresses);
        let task = tokio::spawn(write(nodes, ledger, options, stopped, report));
        Self { task, stop, progress }
    }

    /// Waits until this many more records are acknowledged than are now.
    ///
    /// # Panics
    /// After a minute, and where the writer has met an error that can't be cured.
    pub async fn progress(&mut self, records: u64) {
        let goal = self.progress.borrow().acknowledged + records;
        let reached = self.progress.wait_for(|progress| progress.acknowledged >= goal);
        match tokio::time::timeout(wait::PATIENCE, reached).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => panic!("the writer has ended before {records} more acknowledgements"),
            Err(_) => panic!("no {records} more acknowledgements in {:?}", wait::PATIENCE),
        }
    }

    /// The longest time that the writer had to wait for an acknowledgement so far.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        self.progress.borrow().longest_gap
    }

    /// Lets it finish the batch that it is at.
    ///
    /// # Panics
    /// Where that isn't acknowledged in a minute, or an error can't be cured.
    pub async fn stop(self) -> Duration {
        let _ = self.stop.send(true);
        let ended = tokio::time::timeout(wait::PATIENCE, self.task).await;
        ended.expect("the last batch is acknowledged in time").expect("the writer met no error");
        self.progress.borrow().longest_gap
    }
}

async fn write(
    nodes: AnyNode,
    ledger: Arc<Ledger>,
    options: WriterOptions,
    stopped: watch::Receiver<bool>,
    report: watch::Sender<Progress>,
) {
    let producer = nodes
        .ask("a producer id", |api| async move {
            let request = v1::InitProducerRequest { current: None };
            Ok(api.log().init_producer(request).await?.into_inner())
        })
        .await;
    let count = u64::from(options.batch_records);
    let mut last = Instant::now();
    while !*stopped.borrow() {
        let first = ledger.sending(options.partition, options.writer, count);
        let batch = batch(&options, &producer, first);
        let result = nodes
            .ask("a batch", |api| {
                let batch = batch.clone();
                async move { api.produce(batch).await }
            })
            .await;
        assert!(result.offset_known, "a quorum's answer has an offset");
        ledger.acknowledged(options.partition, options.writer, first, count, result.base_offset);
        report.send_modify(|progress| {
            progress.acknowledged += count;
            progress.longest_gap = progress.longest_gap.max(last.elapsed());
        });
        last = Instant::now();
        tokio::time::sleep(options.pause).await;
    }
}

fn batch(
    options: &WriterOptions,
    producer: &v1::InitProducerResponse,
    first: u64,
) -> v1::PartitionRecords {
    let numbers = first..first + u64::from(options.batch_records);
    let records = numbers.map(|number| {
        let name = RecordName { writer: options.writer, number };
        let value = Bytes::from(name.value(options.value_bytes));
        v1::Record { key: None, value: Some(value), ..Default::default() }
    });
    let sequence = v1::ProducerSequence {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        base_sequence: u32::try_from(first).expect("a test sends fewer than 2^31 records"),
    };
    let set = v1::RecordSet {
        records: records.collect(),
        compression: v1::Compression::None.into(),
        producer: Some(sequence),
    };
    v1::PartitionRecords {
        topic: options.topic.clone(),
        partition: options.partition,
        data: Some(v1::partition_records::Data::Records(set)),
    }
}
