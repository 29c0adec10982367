//! Lets dead letters go back to where they came from, by tasks that go on by themselves.

use std::time::Duration;

use kontiki_client::v1;
use rand::Rng as _;
use v1::RedriveStatus;

use super::{AGAIN, AGAIN_DEAD, Context};
use crate::history::{Answer, Call};

/// How often it is looked at whether the last one has ended.
const LOOK_MS: u64 = 300;

pub(super) async fn run(mut context: Context) {
    while !context.stopped() {
        context.pause().await;
        let mut request =
            v1::RedriveRequest { queue: AGAIN_DEAD.to_owned(), ..v1::RedriveRequest::default() };
        if context.rng.random_bool(0.5) {
            request.target = AGAIN.to_owned();
        }
        if context.rng.random_bool(0.3) {
            request.messages_per_second = context.rng.random_range(5..50);
        }
        if context.rng.random_bool(0.5) {
            request.set_headers.insert("redriven".to_owned(), b"1".as_slice().into());
        }
        let call = Call::StartRedrive { queue: AGAIN_DEAD.to_owned() };
        let admin = context.client.admin();
        let work = async move { admin.start_redrive(request).await.map(|_| Answer::Done) };
        context.op(call, work).await;
    }
    while is_under_way(&context).await {
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Whether a redrive has not ended, or may not have.
async fn is_under_way(context: &Context) -> bool {
    let queue = AGAIN_DEAD.to_owned();
    let call = Call::ListRedrives { queue: queue.clone() };
    let admin = context.client.admin();
    let work = async move {
        let redrives = admin.list_redrives(v1::ListRedrivesRequest { queue }).await?.redrives;
        let count = |status| redrives.iter().filter(|task| task.status() == status).count() as u64;
        let stranded = redrives.iter().filter_map(|task| Some(task.progress.as_ref()?.stranded));
        let under_way = count(RedriveStatus::Running) + count(RedriveStatus::Cancelling) > 0;
        let failed = count(RedriveStatus::Failed);
        Ok(Answer::Redrives { under_way, failed, stranded: stranded.sum() })
    };
    !matches!(context.op(call, work).await, Some(Answer::Redrives { under_way: false, .. }))
}
