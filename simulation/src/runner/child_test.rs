use super::*;

/// Runs a shell script in place of the program.
fn run(script: &str, limit: Duration, stop: &Stop) -> Ended {
    let mut args = OneArgs::default();
    args.scene.seed = 5;
    args.scene.profile = "calm".to_owned();
    Children::of_script(script, limit).run(&args, stop)
}

const LONG: Duration = Duration::from_secs(60);

fn finished(ended: Ended) -> Finished {
    match ended {
        Ended::Finished(finished) => *finished,
        other @ (Ended::Stopped | Ended::Unable(_)) => panic!("{other:?}"),
    }
}

#[test]
fn the_outcome_is_the_line_that_it_prints() {
    let json = serde_json::to_string(&Finished { seed: 5, events: 9, ..Finished::default() });
    let script = format!("echo noise; echo '{}'; echo more >&2", json.expect("plain data"));
    let finished = finished(run(&script, LONG, &Stop::default()));
    assert_eq!((finished.seed, finished.events, finished.died), (5, 9, None));
}

#[test]
fn a_panic_is_a_failure_with_its_last_words() {
    let plan = Plan { nodes: 3, ..Plan::default() };
    let announced = serde_json::to_string(&Announced { plan: plan.clone() }).expect("plain data");
    let script = format!(
        "echo '{announced}'; for i in $(seq 150); do echo line $i >&2; done; \
         echo 'panicked at raft/src/a.rs:3:4' >&2; exit 101"
    );
    let finished = finished(run(&script, LONG, &Stop::default()));
    let died = finished.died.expect("it died");
    assert!(died.starts_with("exit status: 101\nline 52\n"), "{died}");
    assert!(died.ends_with("line 150\npanicked at raft/src/a.rs:3:4"), "{died}");
    assert_eq!((finished.seed, finished.profile.as_str(), finished.plan), (5, "calm", plan));
}

#[test]
fn a_hang_is_a_failure() {
    let finished = finished(run("exec sleep 600", Duration::from_millis(50), &Stop::default()));
    assert_eq!(finished.died.as_deref(), Some("no end within 0 s: ended"));
}

#[test]
fn a_process_that_nobody_waits_for_is_ended() {
    let stop = Stop::default();
    stop.set();
    assert!(matches!(run("exec sleep 600", LONG, &stop), Ended::Stopped));
}

#[test]
fn one_that_can_run_nothing_is_no_failure_of_the_cluster() {
    let ended = run("echo no such flag >&2; exit 2", LONG, &Stop::default());
    assert!(matches!(&ended, Ended::Unable(why) if why == "no such flag"), "{ended:?}");
}
