//! One run: the cluster is founded, faults and clients go on for a while, everything is repaired,
//! clients finish, all is read, and the checks look at what has come together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use kontiki_client::Client;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use crate::bug::Bug;
use crate::check::{self, End, Evidence, FinalLog, Replica, Violation};
use crate::cluster::{CLIENT_PORT, Cluster, Connector, LAG_MAX, host};
use crate::entropy::{self, fork};
use crate::faults::Nemesis;
use crate::history::{ClientId, Ms, Outcome, Recorder};
use crate::profile::{Profile, Shape};
use crate::report::{Details, Finished, Plan};
use crate::runner::{OneArgs, announce};
use crate::trace::Trace;
use crate::workload::{self, Context, Direct, Topics};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The seed.
    pub seed: u64,
    /// The profile.
    pub profile: Profile,
    /// Nodes, where the seed is not to decide.
    pub nodes: Option<u32>,
    /// How long faults and clients go on, where it isn't the usual time.
    pub duration_ms: Option<u64>,
    /// Faults that are left out, by number.
    pub drop: Vec<usize>,
    /// A deliberate bug.
    pub mutant: Option<Bug>,
}

/// For founding a cluster and making the first topics.
const FOUND_MS: Ms = 60_000;
/// From the last fault until the cluster is whole.
const HEAL_MS: u64 = 60_000;
/// From then until every client has finished: the longest of their own limits, and some.
const CLIENTS_MS: u64 = 90_000;
/// The client that settles what is left in queues.
const DRAINER: u32 = 1_000;
/// Clients go on for so long in a healed cluster.
const SERVE_MS: Ms = 2_000;
/// How often replicas are compared while the cluster runs.
const COMPARE_EVERY_MS: Ms = 5_000;
/// How often it is looked whether a node has left or been rebuilt.
const LOOK_EVERY_MS: Ms = 100;

/// Runs what is asked for, in this process.
///
/// # Errors
/// The run can't be made: a name is none, or a file can't be written.
pub fn one(args: &OneArgs) -> anyhow::Result<(Finished, Details)> {
    let scene = &args.scene;
    let profile = Profile::ALL.into_iter().find(|profile| profile.name() == scene.profile);
    let mutant = scene.mutant.as_ref().map(|name| {
        let found = Bug::all().find(|mutant| mutant.name() == name);
        found.with_context(|| format!("{name} is no deliberate bug"))
    });
    let spec = Spec {
        seed: scene.seed,
        profile: profile.with_context(|| format!("{} is no profile", scene.profile))?,
        nodes: scene.nodes,
        duration_ms: scene.duration_ms,
        drop: scene.drop.to_vec(),
        mutant: mutant.transpose()?,
    };
    let trace = match &args.trace {
        None => Trace::default(),
        Some(path) => {
            let file = File::create(path);
            let file = file.with_context(|| format!("{} can't be written", path.display()))?;
            Trace::into_file(BufWriter::new(file))
        }
    };
    end_with_a_panic(&trace, args.details.clone());
    let (finished, evidence) = run(&spec, &trace)?;
    trace.finish().context("the trace can't be written")?;
    if let Some(path) = &args.evidence {
        let file = File::create(path).and_then(|file| {
            serde_json::to_writer(BufWriter::new(file), &evidence).map_err(Into::into)
        });
        file.with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok((finished, Details::of(&trace)))
}

/// A panic anywhere is the end of the run: tasks are not to be swallowed, and what happened before
/// it is kept.
fn end_with_a_panic(trace: &Trace, details: Option<PathBuf>) {
    let (trace, usual) = (trace.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        // There is nobody to tell where this fails, nor below.
        let _ = writeln!(std::io::stderr(), "at {} ms of simulated time", trace.now());
        if let Some(file) = details.as_ref().and_then(|path| File::create(path).ok()) {
            let _ = serde_json::to_writer(BufWriter::new(file), &Details::of(&trace));
        }
        std::process::exit(101);
    }));
}

/// Runs a seed in this process, which must not have done anything else before: much of what it has
/// is counted from the start of the process.
///
/// # Errors
/// Nothing that a promise is about: the harness itself failed.
pub fn run(spec: &Spec, trace: &Trace) -> anyhow::Result<(Finished, Evidence)> {
    let started = entropy::real_ms();
    entropy::arm(fork(spec.seed, "process"));
    if let Some(mutant) = spec.mutant {
        mutant.arm();
    }
    crate::cluster::capture_logs(trace.clone());
    let shape = Shape::new(spec.seed, spec.profile, spec.nodes, spec.duration_ms);
    let mut run = Run::new(shape, trace.clone());
    let violation = run.phases(spec).and_then(|()| match check::first_violation(&run.evidence) {
        Some(violation) => Err(violation),
        None => Ok(()),
    });
    let (hash, events) = trace.hash();
    let operations = operations(&run.evidence);
    let finished = Finished {
        seed: spec.seed,
        profile: spec.profile.name().to_owned(),
        mutant: spec.mutant.map(|mutant| mutant.name().to_owned()),
        plan: run.plan(),
        hash,
        events,
        simulated_ms: run.cluster.now(),
        real_ms: entropy::real_ms() - started,
        operations,
        seen: run.seen(),
        violation: violation.err(),
        died: None,
    };
    Ok((finished, run.evidence))
}

struct Run {
    cluster: Cluster,
    nemesis: Nemesis,
    recorder: Recorder,
    topics: Topics,
    evidence: Evidence,
    samples: Vec<Replica>,
    stop: watch::Sender<bool>,
    /// What clients have told in the end: `None` while they work.
    clients: Vec<(String, Ended)>,
}

type Ended = Arc<Mutex<Option<Result<(), String>>>>;

fn ended(cell: &Ended) -> Option<Result<(), String>> {
    cell.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn broken(check: &str, text: impl Into<String>, at: Ms) -> Violation {
    let check = check.to_owned();
    Violation { check, text: text.into(), at: Some(at), ops: Vec::new(), nodes: Vec::new() }
}

impl Run {
    fn new(shape: Shape, trace: Trace) -> Self {
        let topics = Topics::of(&shape.clients);
        let nemesis = Nemesis::new(&shape, Ms::MAX / 2, &[]);
        Self {
            cluster: Cluster::new(shape, trace),
            nemesis,
            recorder: Recorder::default(),
            topics,
            evidence: Evidence::default(),
            samples: Vec::new(),
            stop: watch::channel(false).0,
            clients: Vec::new(),
        }
    }

    fn phases(&mut self, spec: &Spec) -> Result<(), Violation> {
        self.found()?;
        let begin = self.cluster.now();
        self.nemesis = Nemesis::new(&self.cluster.shape, begin, &spec.drop);
        announce(&self.plan());
        self.hire();
        let end = begin + self.cluster.shape.work_ms;
        while self.cluster.now() < end {
            self.step()?;
        }
        self.heal()?;
        self.finish()?;
        self.read_all()?;
        self.evidence.history = self.recorder.history();
        let probes = std::mem::take(&mut *self.probes());
        self.evidence.probes = probes;
        self.evidence.replicas = std::mem::take(&mut self.samples);
        self.evidence.replicas.extend(self.cluster.replicas(true));
        Ok(())
    }

    fn probes(&self) -> std::sync::MutexGuard<'_, Vec<check::Probe>> {
        self.cluster.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A millisecond of everything.
    fn step(&mut self) -> Result<(), Violation> {
        self.nemesis.tick(&mut self.cluster);
        let stepped = self.cluster.step();
        stepped.map_err(|why| broken("client", why, self.cluster.now()))?;
        let now = self.cluster.now();
        if now.is_multiple_of(LOOK_EVERY_MS) {
            self.look();
        }
        if now.is_multiple_of(COMPARE_EVERY_MS) {
            self.samples.extend(self.cluster.replicas(false));
        }
        Ok(())
    }

    /// What operators see: nodes that have left are switched off, rebuilt ones are whole again.
    fn look(&mut self) {
        for (order, result) in self.cluster.operator.results() {
            let text = match result {
                Ok(()) => "done".to_owned(),
                Err(why) => why,
            };
            self.cluster.note(None, "order", &format!("{order:?}: {text}"));
        }
        let members: Vec<u32> = self.cluster.members().collect();
        for node in members {
            if self.cluster.has_left(node) {
                self.cluster.note(None, "node-left", &host(node));
                self.cluster.retire(node);
            }
        }
        if !self.cluster.damaged.is_empty() && self.cluster.ailments(0).is_empty() {
            self.cluster.damaged.clear();
            self.cluster.note(None, "rebuilt", "every replica is whole again");
        }
    }

    fn client(&self, name: &str, rng: &mut SmallRng) -> Client {
        let mut nodes: Vec<u32> = (1..=self.cluster.shape.nodes).collect();
        nodes.shuffle(rng);
        let addresses: Vec<String> =
            nodes.iter().map(|node| format!("{}:{CLIENT_PORT}", host(*node))).collect();
        let connector = Connector::new(name, self.cluster.trace.clone());
        workload::client(&addresses, connector)
    }

    fn direct(&self, name: &str) -> Direct {
        let connector = Connector::new(name, self.cluster.trace.clone());
        Direct::new(connector, self.cluster.shape.nodes)
    }

    /// Adds a client whose end is kept.
    fn add(&mut self, name: String, work: impl Future<Output = Result<(), String>> + 'static) {
        let cell = Ended::default();
        self.clients.push((name.clone(), Arc::clone(&cell)));
        self.cluster.add_client(&name, async move {
            let done = work.await;
            *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            Ok(())
        });
    }

    /// Until the last client that was added has ended.
    fn wait_for_last(&mut self, check: &str, within: Ms) -> Result<(), Violation> {
        let (name, cell) = self.clients.pop().expect("one was added");
        let end = self.cluster.now() + within;
        while self.cluster.now() < end {
            match ended(&cell) {
                Some(Ok(())) => return Ok(()),
                Some(Err(why)) => {
                    return Err(broken(check, format!("{name}: {why}"), self.cluster.now()));
                }
                None => self.step()?,
            }
        }
        let ailments = self.cluster.ailments(LAG_MAX).join("; ");
        let text = format!("{name} has not ended within {within} ms; {ailments}");
        Err(broken(check, text, self.cluster.now()))
    }

    fn found(&mut self) -> Result<(), Violation> {
        let mut rng = SmallRng::seed_from_u64(fork(self.cluster.shape.seed, "founding"));
        let client = self.client("founder", &mut rng);
        let topics = self.topics.clone();
        let (recorder, trace) = (self.recorder.clone(), self.cluster.trace.clone());
        self.add("founder".to_owned(), async move {
            workload::set_up(&client, &topics, &recorder, &trace).await
        });
        self.wait_for_last("founding", FOUND_MS)
    }

    fn hire(&mut self) {
        let seed = self.cluster.shape.seed;
        for (index, kind) in self.cluster.shape.clients.clone().into_iter().enumerate() {
            let id = ClientId(u32::try_from(index).expect("there are a few") + 1);
            let name = format!("c{}", id.0);
            let mut rng = SmallRng::seed_from_u64(fork(seed, &name));
            let context = Context {
                id,
                client: self.client(&name, &mut rng),
                direct: self.direct(&name),
                recorder: self.recorder.clone(),
                trace: self.cluster.trace.clone(),
                stop: self.stop.subscribe(),
                topics: self.topics.clone(),
                pace_ms: kind.pace_ms(rng.random_range(100..400)),
                rng,
            };
            self.add(name, workload::run(kind, context));
        }
        let mut rng = SmallRng::seed_from_u64(fork(seed, "operator"));
        let (client, operator) = (self.client("operator", &mut rng), self.cluster.operator.clone());
        self.cluster.add_client("operator", async move {
            operator.run(client).await;
            Ok(())
        });
    }

    /// Everything is repaired; the cluster has some time to become whole.
    fn heal(&mut self) -> Result<(), Violation> {
        self.cluster.repair();
        self.cluster.note(None, "calm", "all faults are over");
        let calm_since = self.cluster.now();
        let mut end = End {
            calm_since,
            heal_bound_ms: HEAL_MS,
            client_bound_ms: CLIENTS_MS,
            ..End::default()
        };
        while self.cluster.now() < calm_since + HEAL_MS {
            self.step()?;
            if self.cluster.now().is_multiple_of(LOOK_EVERY_MS) {
                let busy = self.cluster.operator.is_busy();
                end.not_whole = self.cluster.ailments(LAG_MAX);
                if busy {
                    end.not_whole.push("the operator's order is not carried out".to_owned());
                }
                if end.not_whole.is_empty() {
                    end.whole_at = Some(self.cluster.now());
                    break;
                }
            }
        }
        self.evidence.end = end;
        let serve_until = self.cluster.now() + SERVE_MS;
        while self.cluster.now() < serve_until {
            self.step()?;
        }
        Ok(())
    }

    /// Clients stop, and have some time to end what is under way.
    fn finish(&mut self) -> Result<(), Violation> {
        self.stop.send_replace(true);
        self.cluster.operator.stop();
        let end = self.cluster.now() + CLIENTS_MS;
        loop {
            let working: Vec<&String> = self
                .clients
                .iter()
                .filter(|(_, cell)| ended(cell).is_none())
                .map(|(name, _)| name)
                .collect();
            if working.is_empty() {
                break;
            }
            if self.cluster.now() >= end {
                self.evidence.end.unfinished = working.into_iter().cloned().collect();
                break;
            }
            self.step()?;
        }
        self.converge()?;
        for (name, cell) in &self.clients {
            if let Some(Err(why)) = ended(cell) {
                return Err(broken("client", format!("{name}: {why}"), self.cluster.now()));
            }
        }
        Ok(())
    }

    /// Nobody writes any more: every replica gets everything.
    fn converge(&mut self) -> Result<(), Violation> {
        if self.evidence.end.whole_at.is_none() {
            return Ok(());
        }
        let end = self.cluster.now() + HEAL_MS;
        loop {
            let missing = self.cluster.ailments(0);
            if missing.is_empty() {
                return Ok(());
            }
            if self.cluster.now() >= end {
                self.evidence.end.whole_at = None;
                self.evidence.end.not_whole = missing;
                return Ok(());
            }
            self.step()?;
        }
    }

    /// Everything that is there is read once more.
    fn read_all(&mut self) -> Result<(), Violation> {
        if self.evidence.end.whole_at.is_none() {
            // The liveness check says so; what can't be read proves nothing.
            return Ok(());
        }
        let mut rng = SmallRng::seed_from_u64(fork(self.cluster.shape.seed, "reader"));
        let client = self.client("reader", &mut rng);
        let topics = self.topics.clone();
        let logs: Arc<Mutex<BTreeMap<String, BTreeMap<u32, FinalLog>>>> = Arc::default();
        let found = Arc::clone(&logs);
        self.add("reader".to_owned(), async move {
            let read = workload::final_logs(&client, &topics).await?;
            *found.lock().unwrap_or_else(PoisonError::into_inner) = read;
            Ok(())
        });
        self.wait_for_last("final-reading", CLIENTS_MS)?;
        let mut rng = SmallRng::seed_from_u64(fork(self.cluster.shape.seed, "drainer"));
        let id = ClientId(DRAINER);
        let context = Context {
            id,
            client: self.client("drainer", &mut rng),
            direct: self.direct("drainer"),
            recorder: self.recorder.clone(),
            trace: self.cluster.trace.clone(),
            stop: self.stop.subscribe(),
            topics: self.topics.clone(),
            pace_ms: (20, 100),
            rng,
        };
        self.add("drainer".to_owned(), async move {
            workload::drain_subscription(&context).await?;
            workload::drain(context).await
        });
        self.wait_for_last("queues-drained", CLIENTS_MS)?;
        self.evidence.logs =
            std::mem::take(&mut *logs.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn plan(&self) -> Plan {
        let shape = &self.cluster.shape;
        Plan {
            nodes: shape.nodes,
            clients: u32::try_from(shape.clients.len()).expect("there are a few"),
            kinds: shape.kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            faults: self.nemesis.plan(),
        }
    }

    fn seen(&self) -> BTreeMap<String, u64> {
        let mut seen = self.cluster.seen.clone();
        let mut count = |what: &str| *seen.entry(what.to_owned()).or_default() += 1;
        for probe in &self.evidence.probes {
            match probe.deed {
                check::Deed::Leads { .. } => count("replica became leader"),
                check::Deed::Installed { .. } => count("snapshot installed"),
                check::Deed::Opened { next } if next > 0 => count("replica opened with state"),
                check::Deed::Opened { .. } | check::Deed::Applied { .. } => {}
            }
        }
        seen
    }
}

fn operations(evidence: &Evidence) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for op in &evidence.history.ops {
        let how = match &op.returned {
            Some((_, Outcome::Ok(_))) => "ok",
            Some((_, Outcome::Refused(_))) => "refused",
            Some((_, Outcome::Unknown(_))) => "unknown",
            None => "unfinished",
        };
        *counts.entry(format!("{} {how}", op.call.name())).or_default() += 1;
    }
    counts
}
