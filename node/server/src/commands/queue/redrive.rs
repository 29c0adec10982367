//! Redrives: messages go to another queue, or back to where they came from.

use clap::{Args, ValueEnum};
use kontiki_client::{Admin, v1};
use serde_json::{Value, json};

use crate::commands::topic::{say, setting};
use crate::commands::{CommandError, output};

/// Messages to be moved.
#[derive(Debug, Args)]
pub struct RedriveArgs {
    /// The queue that they are in
    queue: String,
    /// Where to; without it, to the queue that each of them came from
    #[arg(long, default_value = "", hide_default_value = true, value_name = "QUEUE")]
    to: String,
    /// Only those that match, such as 'headers.color == "red"'
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    filter: String,
    /// What the filter is written in
    #[arg(long, value_enum, default_value_t = FilterKind::Cel, value_name = "KIND")]
    filter_kind: FilterKind,
    /// Messages in a second at most; 0: as many as go
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    rate: u32,
    /// Messages at most; 0: all that wait now
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    max: u64,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// A header that they get on their way; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set_header: Vec<(String, String)>,
    /// A header that they lose on their way; may be repeated
    #[arg(long, value_name = "NAME")]
    remove_header: Vec<String>,
    /// Don't wait: it goes on by itself
    #[arg(long)]
    detach: bool,
}

/// What a filter is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FilterKind {
    /// A CEL expression
    Cel,
    /// A filter policy of Amazon SNS on the headers
    SnsAttributes,
    /// A filter policy of Amazon SNS on the body
    SnsBody,
}

impl From<FilterKind> for v1::RedriveFilterKind {
    fn from(kind: FilterKind) -> Self {
        match kind {
            FilterKind::Cel => Self::Cel,
            FilterKind::SnsAttributes => Self::SnsAttributes,
            FilterKind::SnsBody => Self::SnsBody,
        }
    }
}

pub(super) async fn run(admin: &Admin, args: RedriveArgs, json: bool) -> Result<(), CommandError> {
    let RedriveArgs { queue, to, filter, filter_kind, rate, max, dry_run, .. } = args;
    let RedriveArgs { set_header, remove_header, detach, .. } = args;
    let set_headers = set_header.into_iter().map(|(name, value)| (name, value.into()));
    let request = v1::RedriveRequest {
        queue: queue.clone(),
        target: to,
        filter,
        messages_per_second: rate,
        max_messages: max,
        dry_run,
        filter_kind: v1::RedriveFilterKind::from(filter_kind).into(),
        set_headers: set_headers.collect(),
        remove_headers: remove_header,
    };
    if detach {
        let redrive = admin.start_redrive(request).await?.redrive;
        let text = format!(
            "redrive {redrive} of {queue} is begun: \
             kontiki queue redrives {queue} shows how far it is"
        );
        return say(json, &text, || json!({ "queue": queue, "redrive": redrive }));
    }
    let show = |step: &v1::RedriveProgress| {
        tracing::info!(examined = step.examined, moved = step.moved, "redriving");
    };
    let v1::RedriveProgress { examined, moved, stranded, filter_errors, redrive, .. } =
        admin.redrive(request, show).await?;
    let would = if dry_run { "would be moved" } else { "are moved" };
    let mut text = format!("{moved} of {examined} messages {would}");
    if stranded > 0 {
        text += &format!(
            "; {stranded} can't be: it isn't known where to, that queue is gone, or they are too \
             large for it"
        );
    }
    if filter_errors > 0 {
        text += &format!("; on {filter_errors} the filter could not be evaluated");
    }
    say(json, &text, || {
        json!({
            "redrive": redrive,
            "examined": examined,
            "moved": moved,
            "stranded": stranded,
            "filter_errors": filter_errors,
            "dry_run": dry_run,
        })
    })
}

pub(super) async fn list(admin: &Admin, queue: String, json: bool) -> Result<(), CommandError> {
    let redrives = admin.list_redrives(v1::ListRedrivesRequest { queue }).await?.redrives;
    if json {
        return output::json(&redrives.iter().map(document).collect());
    }
    let rows: Vec<Vec<String>> = redrives
        .iter()
        .map(|task| {
            let progress = task.progress.unwrap_or_default();
            let to = if task.target.is_empty() { "(back)" } else { task.target.as_str() };
            let what = if task.dry_run { "dry run" } else { task.failure.as_str() };
            vec![
                task.redrive.to_string(),
                status(task.status()),
                to.to_owned(),
                progress.examined.to_string(),
                progress.moved.to_string(),
                progress.stranded.to_string(),
                progress.filter_errors.to_string(),
                what.to_owned(),
            ]
        })
        .collect();
    let head = ["ID", "STATUS", "TO", "EXAMINED", "MOVED", "STRANDED", "FILTER_ERRORS", "NOTE"];
    output::table(&head, &rows)
}

pub(super) async fn cancel(
    admin: &Admin,
    queue: String,
    redrive: u64,
    json: bool,
) -> Result<(), CommandError> {
    let request = v1::CancelRedriveRequest { queue: queue.clone(), redrive };
    let status = status(admin.cancel_redrive(request).await?.status());
    let text = format!("redrive {redrive} of {queue} is {status}");
    say(json, &text, || json!({ "queue": queue, "redrive": redrive, "status": status }))
}

fn document(task: &v1::RedriveTask) -> Value {
    let progress = task.progress.unwrap_or_default();
    json!({
        "redrive": task.redrive,
        "status": status(task.status()),
        "target": task.target,
        "dry_run": task.dry_run,
        "examined": progress.examined,
        "moved": progress.moved,
        "stranded": progress.stranded,
        "filter_errors": progress.filter_errors,
        "started_ms": task.started_ms,
        "changed_ms": task.changed_ms,
        "failure": task.failure,
    })
}

fn status(status: v1::RedriveStatus) -> String {
    let name = status.as_str_name();
    name.strip_prefix("REDRIVE_STATUS_").unwrap_or(name).to_lowercase()
}
