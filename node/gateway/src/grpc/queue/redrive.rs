//! Redrives: begin, follow, look at, end.

use std::collections::BTreeMap;

use kontiki_broker::queues::{Language, Progress, Redrive, Redriving, Status as Doing, Task};
use kontiki_broker::{Code, Error, Kind};
use kontiki_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

/// Progress that waits for the client to read it.
const PROGRESS_MAX: usize = 4;

type Answers = mpsc::Sender<Result<v1::RedriveProgress, Status>>;

impl Service {
    pub(super) async fn begin_redrive(
        &self,
        request: v1::RedriveRequest,
        deadline: Deadline,
    ) -> Result<v1::StartRedriveResponse, Error> {
        let redrive = understood(request)?;
        let begun = self.broker.start_redrive(redrive);
        let redrive = deadline.within("StartRedrive", begun).await?;
        Ok(v1::StartRedriveResponse { redrive })
    }

    pub(super) async fn follow_redrive(
        &self,
        request: v1::RedriveRequest,
    ) -> Result<ReceiverStream<Result<v1::RedriveProgress, Status>>, Error> {
        let redriving = self.broker.redrive(understood(request)?).await?;
        let (answers, receiver) = mpsc::channel(PROGRESS_MAX);
        tokio::spawn(follow(self.clone(), redriving, answers));
        Ok(ReceiverStream::new(receiver))
    }

    pub(super) async fn all_redrives(
        &self,
        request: v1::ListRedrivesRequest,
        deadline: Deadline,
    ) -> Result<v1::ListRedrivesResponse, Error> {
        fields::present("queue", &request.queue)?;
        let tasks = deadline.within("ListRedrives", self.broker.redrives(&request.queue)).await?;
        Ok(v1::ListRedrivesResponse { redrives: tasks.into_iter().map(wire).collect() })
    }

    pub(super) async fn one_redrive(
        &self,
        request: v1::DescribeRedriveRequest,
        deadline: Deadline,
    ) -> Result<v1::DescribeRedriveResponse, Error> {
        let v1::DescribeRedriveRequest { queue, redrive } = request;
        fields::present("queue", &queue)?;
        let described = self.broker.describe_redrive(&queue, redrive);
        let task = deadline.within("DescribeRedrive", described).await?;
        Ok(v1::DescribeRedriveResponse { redrive: Some(wire(task)) })
    }

    pub(super) async fn end_redrive(
        &self,
        request: v1::CancelRedriveRequest,
        deadline: Deadline,
    ) -> Result<v1::CancelRedriveResponse, Error> {
        let v1::CancelRedriveRequest { queue, redrive } = request;
        fields::present("queue", &queue)?;
        let cancelled = self.broker.cancel_redrive(&queue, redrive);
        let doing = deadline.within("CancelRedrive", cancelled).await?;
        Ok(v1::CancelRedriveResponse { status: status(doing).into() })
    }
}

/// Tells the client how far it is. Ends the redrive with the call.
async fn follow(service: Service, mut redriving: Redriving, answers: Answers) {
    let number = redriving.number();
    loop {
        let stepped = tokio::select! {
            stepped = redriving.step() => stepped,
            () = answers.closed() => {
                if let Err(error) = redriving.cancel().await {
                    tracing::warn!(redrive = number, %error, "a redrive can't be cancelled");
                }
                return;
            }
            () = service.broker.stopped() => {
                let detail = format!(
                    "this node is stopping; redrive {number} goes on: ask another node how far"
                );
                Err(Error::new(Kind::Unavailable, Code::STOPPING, detail))
            }
        };
        let (answer, done) = match stepped {
            Ok((progress, done)) => (Ok(told(number, progress, done)), done),
            Err(error) => (Err(service.status(error)), true),
        };
        // Whoever goes is noticed above.
        let _ = answers.send(answer).await;
        if done {
            return;
        }
    }
}

fn understood(request: v1::RedriveRequest) -> Result<Redrive, Error> {
    let v1::RedriveRequest { queue, target, filter, filter_kind, dry_run, .. } = request;
    let v1::RedriveRequest { messages_per_second, max_messages, .. } = request;
    let v1::RedriveRequest { set_headers, remove_headers, .. } = request;
    fields::present("queue", &queue)?;
    let name = |kind: &v1::RedriveFilterKind| kind.as_str_name();
    let filter_kind = match fields::known("filter_kind", filter_kind, name)? {
        v1::RedriveFilterKind::Cel => Language::Cel,
        v1::RedriveFilterKind::SnsAttributes => Language::PolicyOnHeaders,
        v1::RedriveFilterKind::SnsBody => Language::PolicyOnBody,
    };
    // In the order of their names: the same request does the same.
    let set_headers: BTreeMap<_, _> = set_headers.into_iter().collect();
    Ok(Redrive {
        queue,
        target,
        filter,
        filter_kind: Some(filter_kind),
        per_second: messages_per_second,
        max: max_messages,
        dry_run,
        set_headers: set_headers.into_iter().collect(),
        remove_headers,
    })
}

fn told(redrive: u64, progress: Progress, done: bool) -> v1::RedriveProgress {
    let Progress { examined, moved, stranded, filter_errors } = progress;
    v1::RedriveProgress { examined, moved, stranded, filter_errors, done, redrive }
}

fn wire(task: Task) -> v1::RedriveTask {
    let done = match task.status {
        Doing::Running | Doing::Cancelling => false,
        Doing::Completed | Doing::Cancelled | Doing::Failed => true,
    };
    v1::RedriveTask {
        redrive: task.number,
        status: status(task.status).into(),
        progress: Some(told(task.number, task.progress, done)),
        target: task.target.unwrap_or_default(),
        dry_run: task.dry_run,
        started_ms: task.started_ms,
        changed_ms: task.changed_ms,
        failure: task.failure.unwrap_or_default(),
    }
}

fn status(doing: Doing) -> v1::RedriveStatus {
    match doing {
        Doing::Running => v1::RedriveStatus::Running,
        Doing::Completed => v1::RedriveStatus::Completed,
        Doing::Cancelling => v1::RedriveStatus::Cancelling,
        Doing::Cancelled => v1::RedriveStatus::Cancelled,
        Doing::Failed => v1::RedriveStatus::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_of_an_unknown_kind_is_refused() {
        let request = v1::RedriveRequest { queue: "dead".to_owned(), ..Default::default() };
        let redrive = understood(request.clone()).expect("all that is needed");
        assert_eq!(redrive.filter_kind, Some(Language::Cel));
        let error = understood(v1::RedriveRequest { filter_kind: 7, ..request }).expect_err("7");
        assert!(error.detail.contains("REDRIVE_FILTER_KIND_SNS_BODY (2)"), "{error}");
    }
}
