//! Reads records of all topics whose names match a pattern, as far as a filter wants them.

use std::io::{self, BufWriter, Write as _};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use kontiki_client::{Published, SubscribeOptions, Subscription, v1};
use v1::content_filter::Filter;
use v1::start_at::At;

use super::consume::sink::{Form, write};
use super::{CommandError, Globals};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin(pub(super) At);

impl FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = text.strip_prefix('@').and_then(|ms| ms.parse().ok());
        Ok(Self(match (text, ms) {
            ("earliest", _) => At::Earliest(true),
            ("latest", _) => At::Latest(true),
            (_, Some(ms)) => At::TimestampMs(ms),
            (_, None) => {
                return Err("expected earliest, latest, or @MILLISECONDS since 1970".to_owned());
            }
        }))
    }
}

/// How a pattern is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Syntax {
    /// `*` is one word, `>` one or more at the end.
    #[default]
    Nats,
    /// `*` is one word, `#` any number of words.
    Amqp,
}

impl Syntax {
    pub(super) fn wire(self) -> v1::PatternSyntax {
        match self {
            Self::Nats => v1::PatternSyntax::Nats,
            Self::Amqp => v1::PatternSyntax::Amqp,
        }
    }
}

/// What a policy looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PolicyOn {
    /// The headers.
    #[default]
    Headers,
    /// The body, a JSON object.
    Body,
}

/// Which records.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// How the pattern is written
    #[arg(long, value_enum, default_value_t, value_name = "SYNTAX")]
    pub(super) syntax: Syntax,
    /// Only records that match, such as 'headers.color == "red" && body.price > 10'
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// Only records that match, such as '{"color": [{"prefix": "re"}]}'
    #[arg(long, value_name = "SNS-POLICY", conflicts_with = "filter")]
    policy: Option<String>,
    /// What the policy looks at
    #[arg(long, value_enum, default_value_t, value_name = "PART", requires = "policy")]
    policy_on: PolicyOn,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> Option<Filter> {
        let cel = self.filter.clone().map(Filter::Cel);
        let policy = self.policy.clone().map(|text| match self.policy_on {
            PolicyOn::Headers => Filter::PolicyOnHeaders(text),
            PolicyOn::Body => Filter::PolicyOnBody(text),
        });
        cel.or(policy)
    }
}

/// Records to be read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Values are written as they are, each with a newline. With --output json each record is a JSON object
in one line. Ctrl-C ends it.

With --name the subscription is durable: it is created where it isn't there, and goes on with the
first record that it hasn't written. `kontiki subscription` lists and deletes durable ones.

Examples:
  kontiki subscribe 'orders.*'
  kontiki subscribe 'orders.>' --filter 'body.total > 100' --from earliest --output json
  kontiki subscribe '>' --policy '{\"kind\": [{\"prefix\": \"order.\"}]}' --name audit")]
pub struct SubscribeArgs {
    /// A pattern over names of topics; with --name of a durable subscription that is there, none
    #[arg(required_unless_present = "name")]
    pattern: Option<String>,
    #[command(flatten)]
    which: FilterArgs,
    /// Where to begin: earliest, latest (the default), or @ and milliseconds since 1970
    #[arg(long, value_name = "WHERE")]
    from: Option<Begin>,
    /// The name of a durable subscription
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take a durable subscription over from the consumer that has it
    #[arg(long, requires = "name")]
    takeover: bool,
    /// Begin a durable subscription anew, where --from says
    #[arg(long, requires = "name")]
    reset: bool,
    /// End after this many records
    #[arg(long, value_name = "NUMBER")]
    max_records: Option<u64>,
    /// Write the topic too, and this between topic and value
    #[arg(long, value_name = "TEXT")]
    topic_separator: Option<String>,
}

/// Does it.
pub(super) async fn run(args: SubscribeArgs, globals: &Globals) -> Result<(), CommandError> {
    let client = globals.client()?;
    let from = args.from.map(|from| from.0);
    if let (Some(name), Some(pattern)) = (&args.name, &args.pattern) {
        let request = v1::CreateSubscriptionRequest {
            subscription: name.clone(),
            pattern: pattern.clone(),
            syntax: args.which.syntax.wire().into(),
            filter: args.which.filter().map(|filter| v1::ContentFilter { filter: Some(filter) }),
            from: from.map(|at| v1::StartAt { at: Some(at) }),
            if_not_exists: true,
        };
        client.admin().create_subscription(request).await?;
    }
    let subscribed = client.subscribe(SubscribeOptions {
        pattern: args.pattern.clone().unwrap_or_default(),
        syntax: args.which.syntax.wire(),
        filter: args.which.filter(),
        // A durable one that is there already goes on where it was.
        from: from.filter(|_| args.reset || args.name.is_none()),
        name: args.name.clone().unwrap_or_default(),
        takeover: args.takeover,
        reset: args.reset,
        ..SubscribeOptions::default()
    });
    let mut subscription = subscribed.await?;
    let form = if globals.is_json() { Form::Json } else { Form::Lines(None) };
    let done = follow(&mut subscription, &args, &form).await;
    let closed = subscription.close().await;
    done?;
    Ok(closed?)
}

async fn follow(
    subscription: &mut Subscription,
    args: &SubscribeArgs,
    form: &Form,
) -> Result<(), CommandError> {
    let mut out = BufWriter::new(io::stdout());
    let mut left = args.max_records.unwrap_or(u64::MAX);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    while left > 0 {
        let published = tokio::select! {
            published = subscription.next() => published?,
            _ = &mut interrupt => break,
        };
        let published = first(published, left);
        left -= published.records.len() as u64;
        for record in &published.records {
            let separator = args.topic_separator.as_ref().filter(|_| *form != Form::Json);
            if let Some(separator) = separator {
                write!(out, "{}{separator}", published.topic)?;
            }
            write(&mut out, form, &published.topic, published.partition, record)?;
        }
        out.flush()?;
        subscription.acknowledge(&published);
    }
    Ok(())
}

/// At most so many records: the others are neither written nor acknowledged.
fn first(mut published: Published, max: u64) -> Published {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if published.records.len() > max {
        published.records.truncate(max);
        let next = published.records.last().map(|record| record.offset + 1);
        published.next_offset = next.unwrap_or(published.next_offset);
    }
    published
}

#[cfg(test)]
mod tests {
    use kontiki_client::ConsumedRecord;

    use super::*;

    #[test]
    fn a_beginning_is_a_word_or_a_time() {
        let parsed = |text: &str| text.parse::<Begin>().map(|begin| begin.0);
        assert_eq!(parsed("earliest"), Ok(At::Earliest(true)));
        assert_eq!(parsed("latest"), Ok(At::Latest(true)));
        assert_eq!(parsed("@-5"), Ok(At::TimestampMs(-5)));
        for wrong in ["", "17", "@", "@x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_written_is_not_acknowledged() {
        let record = |offset| ConsumedRecord {
            offset,
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let published = Published {
            topic: "t".to_owned(),
            partition: 0,
            records: vec![record(3), record(7), record(9)],
            next_offset: 20,
        };
        assert_eq!(first(published.clone(), 3), published);
        let two = first(published, 2);
        assert_eq!((two.records.len(), two.next_offset), (2, 8));
    }
}
