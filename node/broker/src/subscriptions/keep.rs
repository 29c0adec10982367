//! A consumer's side of being attached to a durable subscription: it says again and again that it
//! is there, and hears where another one has taken over.

use std::sync::Arc;
use std::time::Duration;

use kontiki_storage::id::{ShardId, SubscriptionId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Code, Error, Kind};
use crate::read::wire::{Attach, Attached, Holding, Request, Response};

/// Attached, until this is dropped or [`end`](Self::end)ed.
pub(super) struct Attachment {
    core: Arc<Core>,
    attach: Attach,
    generation: u64,
    lost: watch::Receiver<Option<u32>>,
    keeper: JoinHandle<()>,
}

impl Attachment {
    /// Attaches.
    ///
    /// # Errors
    /// Another consumer is attached; or the catalog has no leader in time.
    pub(super) async fn begin(
        core: &Arc<Core>,
        (subscription, name): (SubscriptionId, &str),
        takeover: bool,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let holding = if takeover { Holding::TakeOver } else { Holding::Begin };
        let session = (core.random)();
        let attach = Attach { subscription: subscription.0, session, node: core.node.0, holding };
        let generation = loop {
            let error = match ask(core, attach, deadline).await {
                Ok(Attached { other: None, generation }) => break generation.unwrap_or_default(),
                Ok(Attached { other: Some(node), .. }) => return Err(held(name, node)),
                Err(error) => error,
            };
            let pause = error.retry_after().filter(|_| error.code == Code::NOT_READY);
            let Some(pause) = pause.filter(|pause| Instant::now() + *pause < deadline) else {
                return Err(error.about(format_args!("subscription {name}")));
            };
            tokio::time::sleep(pause).await;
        };
        let (lose, lost) = watch::channel(None);
        let attach = Attach { holding: Holding::Renew, ..attach };
        let keeper = tokio::spawn(keep(Arc::clone(core), attach, lose));
        Ok(Self { core: Arc::clone(core), attach, generation, lost, keeper })
    }

    /// Higher than those of all consumers that were attached before; 0 where a leader of an earlier
    /// release doesn't say.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The node of another consumer, if it is known that one has the subscription.
    pub(super) fn lost_to(&self) -> Option<u32> {
        *self.lost.borrow()
    }

    /// Waits until another consumer has the subscription; returns its node.
    pub(super) async fn lost(&mut self) -> u32 {
        let lost = self.lost.wait_for(Option::is_some).await.ok().and_then(|lost| *lost);
        match lost {
            Some(node) => node,
            None => std::future::pending().await,
        }
    }

    /// Lets others have the subscription at once.
    pub(super) async fn end(self) {
        self.keeper.abort();
        let deadline = Instant::now() + self.pause();
        let attach = Attach { holding: Holding::End, ..self.attach };
        if let Err(error) = ask(&self.core, attach, deadline).await {
            tracing::debug!(%error, "a subscription is free when its consumer isn't heard of");
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.core.options.subscribe.attach_ms)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(core: Arc<Core>, attach: Attach, lose: watch::Sender<Option<u32>>) {
    let every = Duration::from_millis(core.options.subscribe.attach_ms) / 4;
    loop {
        tokio::time::sleep(every).await;
        // A leader that is gone is asked for until it is time to ask again anyway.
        match ask(&core, attach, Instant::now() + every * 2).await {
            Ok(Attached { other: None, .. }) => {}
            Ok(Attached { other: Some(node), .. }) => {
                lose.send_replace(Some(node));
                return;
            }
            Err(error) => tracing::debug!(%error, "the catalog is asked again"),
        }
    }
}

async fn ask(core: &Arc<Core>, attach: Attach, deadline: Instant) -> Result<Attached, Error> {
    let request = Request::Attach(attach);
    let (response, _) = core.read_shard(ShardId::CATALOG, &request, deadline).await?;
    let Response::Attached(attached) = response else {
        return Err(Error::internal("an attachment was answered with something else"));
    };
    Ok(attached)
}

fn held(name: &str, node: u32) -> Error {
    let detail = format!(
        "subscription {name} has a consumer on node {node}: end that one, take the subscription \
         over, or create another one"
    );
    Error::new(Kind::Conflict, Code::SUBSCRIPTION_ATTACHED, detail)
}

/// The end of a consumer whose subscription another one has.
pub(super) fn taken_over(name: &str, node: u32) -> Error {
    let detail = format!("subscription {name} was taken over by a consumer on node {node}");
    Error::new(Kind::Conflict, Code::SUBSCRIPTION_ATTACHED, detail)
}
