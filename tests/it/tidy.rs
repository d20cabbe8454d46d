//! What holds of the repository itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use guardrail::control::{Control, TOLD_EVENTS};
use guardrail_tests::local_aws::workspace;

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

/// The part of a source file before its tests.
fn code(path: impl AsRef<Path>) -> String {
    read(path).split("#[cfg(test)]").next().unwrap().to_owned()
}

/// The Rust files in a folder and its folders.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .collect()
}

#[test]
fn decisions_import_no_aws_crate() {
    for file in
        ["baseline", "control", "lifecycle", "plan", "policy", "redact", "report", "verify/evidence", "verify/judge"]
    {
        assert!(!code(format!("shared/src/{file}.rs")).contains("aws_"), "{file}.rs");
    }
}

#[test]
fn no_code_names_a_partition() {
    let sources = ["shared/src", "functions"].map(|it| sources(&workspace().join(it))).concat();
    assert!(sources.len() > 20, "{sources:?}");
    for path in sources {
        assert!(!code(&path).contains("arn:aws:"), "{}", path.display());
    }
    for template in ["infra/foundation.yaml", "infra/wiring.yaml"] {
        assert!(!read(template).contains("arn:aws:"), "{template}");
    }
}

#[test]
fn the_event_rule_has_exactly_the_names_of_the_table() {
    let template = read("infra/wiring.yaml");
    let names = template.split_once("eventName:").unwrap().1.split_once("Targets:").unwrap().0;
    let names: Vec<_> = names.lines().filter_map(|it| it.trim().strip_prefix("- ")).collect();
    let table: Vec<_> =
        Control::ALL.iter().flat_map(|it| it.vocabulary().events).chain(&TOLD_EVENTS).copied().collect();
    assert_eq!(names, table);
    assert!(template.contains("managementEvent: [true]"));
}

#[test]
fn the_role_may_do_exactly_what_the_table_says_to_buckets() {
    let template = read("infra/foundation.yaml");
    for role in ["RemediateRole:", "BootstrapRole:"] {
        let statement = template.split_once(role).unwrap().1.split_once("Sid: ReadAndRestoreBuckets").unwrap().1;
        let statement = statement.split_once("Resource:").unwrap().0;
        let mut actions: Vec<_> = statement.lines().filter_map(|it| it.trim().strip_prefix("- ")).collect();
        let mut table: Vec<_> = Control::ALL
            .iter()
            .map(|it| it.vocabulary())
            .flat_map(|it| [it.iam_reads, it.iam_writes])
            .flatten()
            .copied()
            .collect();
        actions.sort_unstable();
        table.sort_unstable();
        assert_eq!(actions, table, "{role}");
    }
}

#[test]
fn guardrail_verify_may_read_exactly_what_the_table_says() {
    let template = read("infra/foundation.yaml");
    let statement = template.split_once("VerifyRole:").unwrap().1.split_once("Sid: ReadBuckets").unwrap().1;
    let statement = statement.split_once("Resource:").unwrap().0;
    let mut actions: Vec<_> = statement.lines().filter_map(|it| it.trim().strip_prefix("- ")).collect();
    let mut table: Vec<_> = Control::ALL.iter().flat_map(|it| it.vocabulary().iam_reads).copied().collect();
    actions.sort_unstable();
    table.sort_unstable();
    assert_eq!(actions, table);
}

#[test]
fn every_package_forbids_unsafe_code() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    let functions = fs::read_dir(workspace().join("functions")).unwrap().map(|it| it.unwrap().path());
    for package in functions.chain(["shared", "tests"].map(PathBuf::from)) {
        assert!(read(package.join("Cargo.toml")).contains("[lints]\nworkspace = true"), "{}", package.display());
    }
}
