//! The house rules, on this repository.

use kontiki_tidy::repository::Repository;
use kontiki_tidy::{arrows, code, contract, errors, form, options, report};

#[test]
fn files_have_a_readable_form() {
    let repository = Repository::read();
    report(form::long_files(&repository.sources));
    report(form::long_lines(&repository.sources));
}

#[test]
fn modules_say_what_they_are() {
    let repository = Repository::read();
    report(form::missing_headers(&repository.sources));
    report(form::empty_names(&repository.sources));
}

#[test]
fn no_file_holds_a_forbidden_word() {
    report(form::forbidden_words(&Repository::read().texts));
}

#[test]
fn the_product_holds_no_refused_code() {
    report(code::refused(&Repository::read().sources));
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    report(code::unexplained_unsafe(&Repository::read().sources));
}

#[test]
fn every_option_is_documented() {
    report(options::undocumented(&Repository::read().sources));
}

#[test]
fn every_error_number_is_in_the_readme() {
    report(errors::undocumented(&Repository::read()));
}

#[test]
fn crates_know_only_whom_they_may() {
    let repository = Repository::read();
    let manifests: Vec<_> = repository.named("Cargo.toml").collect();
    report(arrows::wrong_arrows(&manifests));
    assert_eq!(arrows::stale_arrows(&manifests), Vec::<String>::new());
}

#[test]
fn the_contract_only_grows() {
    let now = contract::lines(kontiki_proto::DESCRIPTORS, "kontiki.v1");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/contract/kontiki.v1.txt");
    if std::env::var_os("KONTIKI_FREEZE_CONTRACT").is_some() {
        std::fs::write(path, now.join("\n") + "\n").expect("the file can be written");
    }
    let frozen = std::fs::read_to_string(path).expect("the frozen contract is there");
    let frozen: Vec<&str> = frozen.lines().collect();
    let (gone, new) = contract::compare(&frozen, &now);
    assert!(gone.is_empty(), "clients depend on these lines of {path}:\n{}", gone.join("\n"));
    assert!(
        new.is_empty(),
        "new in the contract; when it is right, run this test once with KONTIKI_FREEZE_CONTRACT=1 \
         and commit {path}:\n{}",
        new.join("\n")
    );
}
