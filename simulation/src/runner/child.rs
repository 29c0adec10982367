//! The process of a run, seen from outside: it is started, listened to, and ended where it takes
//! too long.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::clock::Stopwatch;
use super::one::{Announced, OneArgs};
use super::parallel::Stop;
use crate::report::{Finished, Plan};

/// How many processes, and how long each may take.
#[derive(Debug, Clone, Args)]
pub struct ChildArgs {
    /// How many runs at a time. By default as many as there are cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub jobs: Option<u16>,
    /// Real seconds after which a run is ended, and has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub seed_timeout: u64,
}

impl ChildArgs {
    /// How many runs at a time.
    #[must_use]
    pub fn jobs(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }
}

/// How a process ended.
#[derive(Debug)]
pub enum Ended {
    /// It has run what it was told to, or died of it.
    Finished(Box<Finished>),
    /// It was ended because nobody wants to know any more.
    Stopped,
    /// It can't run anything. No other one will.
    Unable(String),
}

/// Lines of its standard error that are kept.
const STDERR_LINES: usize = 100;
/// Letters of each that are kept.
const STDERR_LETTERS: usize = 1_000;
/// How soon it is noticed that nobody wants to know any more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whoever starts processes.
#[derive(Debug, Clone)]
pub struct Children {
    program: PathBuf,
    /// What comes before the words that say which run.
    first: Vec<String>,
    limit: Duration,
}

impl Children {
    /// Processes of this program.
    ///
    /// # Errors
    /// Nobody knows where it is.
    pub fn new(args: &ChildArgs) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where this program is")?;
        Ok(Self {
            program,
            first: vec!["one".to_owned()],
            limit: Duration::from_secs(args.seed_timeout),
        })
    }

    /// A script in place of this program; it is given the words that say which run.
    #[cfg(test)]
    pub(super) fn of_script(script: &str, limit: Duration) -> Self {
        let first = ["-c", script, "one"].map(str::to_owned).to_vec();
        Self { program: PathBuf::from("/bin/sh"), first, limit }
    }

    /// Runs one, to its end.
    #[must_use]
    pub fn run(&self, args: &OneArgs, stop: &Stop) -> Ended {
        let watch = Stopwatch::start();
        let mut command = Command::new(&self.program);
        command.args(&self.first).args(args.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ended::Unable(format!("{}: {error}", self.program.display())),
        };
        let heard = self.listen(&mut child, watch, stop);
        let status = child.wait();
        let end = match (heard.end, status) {
            (End::Stopped, _) => return Ended::Stopped,
            (End::Late, _) => format!("no end within {} s: ended", self.limit.as_secs()),
            (End::Closed, Ok(status)) if status.success() => match heard.finished {
                Some(finished) => return Ended::Finished(Box::new(finished)),
                None => "it ended without a word of how".to_owned(),
            },
            (End::Closed, Ok(status)) if is_unable(status) => {
                return Ended::Unable(heard.stderr);
            }
            (End::Closed, Ok(status)) => status.to_string(),
            (End::Closed, Err(error)) => format!("nobody knows how it ended: {error}"),
        };
        Ended::Finished(Box::new(dead(
            args,
            heard.finished,
            heard.plan,
            &end,
            &heard.stderr,
            watch,
        )))
    }

    fn listen(&self, child: &mut Child, watch: Stopwatch, stop: &Stop) -> Heard {
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        thread::scope(|scope| {
            let (closed, closings) = sync_channel(2);
            let also_closed = closed.clone();
            let said = scope.spawn(move || {
                let said = said(stdout);
                let _nobody = closed.send(());
                said
            });
            let complained = scope.spawn(move || {
                let complained = last_lines(stderr);
                let _nobody = also_closed.send(());
                complained
            });
            let end = loop {
                match closings.recv_timeout(LOOK_EVERY) {
                    // The other one still speaks, or none does.
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => break End::Closed,
                    Err(RecvTimeoutError::Timeout) if stop.is_set() => break End::Stopped,
                    Err(RecvTimeoutError::Timeout) if watch.elapsed() > self.limit => {
                        break End::Late;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            };
            if end != End::Closed {
                // It fails only where the process has ended by itself.
                let _ended = child.kill();
            }
            let (finished, plan) = said.join().unwrap_or_default();
            let stderr = complained.join().unwrap_or_default();
            Heard { end, finished, plan, stderr }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Stopped,
    Late,
}

struct Heard {
    end: End,
    finished: Option<Finished>,
    plan: Option<Plan>,
    stderr: String,
}

fn is_unable(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(super::UNABLE))
}

/// The plan, where it was announced, and the outcome, where there is one.
fn said(stdout: impl Read) -> (Option<Finished>, Option<Plan>) {
    let (mut finished, mut plan) = (None, None);
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Ok(outcome) = serde_json::from_str(&line) {
            finished = Some(outcome);
        } else if let Ok(Announced { plan: announced }) = serde_json::from_str(&line) {
            plan = Some(announced);
        }
    }
    (finished, plan)
}

fn last_lines(stderr: impl Read) -> String {
    let mut lines: VecDeque<String> = VecDeque::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        if lines.len() == STDERR_LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).chars().take(STDERR_LETTERS).collect());
    }
    Vec::from(lines).join("\n")
}

/// The outcome of a run whose process ended before it could say it, or while it said it.
fn dead(
    args: &OneArgs,
    said: Option<Finished>,
    plan: Option<Plan>,
    end: &str,
    stderr: &str,
    watch: Stopwatch,
) -> Finished {
    let scene = &args.scene;
    let mut finished = said.unwrap_or_else(|| Finished {
        seed: scene.seed,
        profile: scene.profile.clone(),
        mutant: scene.mutant.clone(),
        plan: plan.unwrap_or_default(),
        real_ms: u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..Finished::default()
    });
    let mut text = finished.died.take().unwrap_or_else(|| end.to_owned());
    if !stderr.is_empty() {
        text = format!("{text}\n{stderr}");
    }
    finished.died = Some(text);
    finished
}

#[cfg(all(test, unix))]
#[path = "child_test.rs"]
mod tests;
