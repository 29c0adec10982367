use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::runner::{Numbers, Output, Scene};

fn parse(words: &[&str]) -> Result<Command, clap::Error> {
    let words = std::iter::once("kontiki-sim").chain(words.iter().copied());
    Cli::try_parse_from(words).map(|cli| cli.command)
}

fn scene() -> Scene {
    Scene {
        seed: 77,
        profile: "swarm".to_owned(),
        nodes: Some(5),
        drop: Numbers::from_iter([0, 1, 2, 3, 7]),
        mutant: Some("skip-truncation".to_owned()),
        duration_ms: Some(4_000),
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_batch_has_defaults_and_takes_everything() {
    let Ok(Command::Run(args)) = parse(&["run"]) else { panic!("the defaults") };
    assert_eq!((args.seeds, args.minutes, args.first_seed), (None, None, None));
    assert!(!args.keep_going && !args.no_shrink);
    assert_eq!((args.shrink_runs, args.children.seed_timeout), (60, 300));
    assert_eq!((args.variant.profile.as_str(), args.variant.nodes), ("default", None));
    assert_eq!(args.output, Output::Human);

    let words = ["run", "--seeds=9", "--first-seed=3", "--profile=disk", "--nodes=7", "--jobs=2"];
    let more = ["--keep-going", "--output=json", "--failures=x", "--seed-timeout=9"];
    let all: Vec<&str> = words.into_iter().chain(more).collect();
    let Ok(Command::Run(args)) = parse(&all) else { panic!("all of it") };
    assert_eq!((args.seeds, args.first_seed), (Some(9), Some(3)));
    assert_eq!((args.variant.profile.as_str(), args.variant.nodes), ("disk", Some(7)));
    assert_eq!((args.children.jobs(), args.children.seed_timeout), (2, 9));
    assert_eq!(args.failures, std::path::PathBuf::from("x"));
    assert!(args.keep_going && args.output == Output::Json);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for words in [
        &["run", "--seeds=1", "--minutes=1"][..],
        &["run", "--nodes=4"],
        &["run", "--profile=mild"],
        &["run", "--seeds=0"],
        &["run", "--minutes=0"],
        &["run", "--minutes=nan"],
        &["run", "--jobs=0"],
        &["replay"],
        &["replay", "--seed=1", "--drop=4-2"],
        &["replay", "--seed=1", "--mutant=none-of-ours"],
        &[],
    ] {
        let error = parse(words).expect_err("it makes no sense");
        assert_eq!(error.exit_code(), 2, "{words:?}: {error}");
    }
}

#[test]
fn a_run_is_handed_to_its_process_unchanged() {
    let args = OneArgs {
        scene: scene(),
        trace: Some("a b.jsonl".into()),
        evidence: Some("e".into()),
        details: Some("d".into()),
    };
    let words: Vec<String> = args.arguments();
    let mut all = vec!["one"];
    all.extend(words.iter().map(String::as_str));
    let Ok(Command::One(parsed)) = parse(&all) else { panic!("{words:?}") };
    assert_eq!(parsed, args);
}

#[test]
fn the_replay_command_is_the_run() {
    let command = scene().replay_command();
    assert_eq!(
        command,
        "kontiki sim replay --seed 77 --profile swarm --nodes 5 --drop 0-3,7 \
         --mutant skip-truncation --duration-ms 4000"
    );
    let words: Vec<&str> = command.split(' ').skip(2).collect();
    let Ok(Command::Replay(parsed)) = parse(&words) else { panic!("{command}") };
    assert_eq!(parsed.scene, scene());

    let plain = Scene { seed: 1, profile: "calm".to_owned(), ..Scene::default() };
    assert_eq!(plain.replay_command(), "kontiki sim replay --seed 1 --profile calm");
}
