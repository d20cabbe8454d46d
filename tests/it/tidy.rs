//! What holds of the repository itself.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use guardrail_core::control::{table::Control, vocabulary::CallKind};
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
fn no_code_names_a_partition() {
    let sources = ["shared/core/src", "shared/aws/src", "functions"].map(|it| sources(&workspace().join(it))).concat();
    assert!(sources.len() > 20, "{sources:?}");
    for path in sources {
        assert!(!code(&path).contains("arn:aws:"), "{}", path.display());
    }
    for template in ["infra/foundation.yaml", "infra/global.yaml", "infra/wiring.yaml"] {
        assert!(!read(template).contains("arn:aws:"), "{template}");
    }
}

/// The actions of a statement of a role.
fn actions(role: &str, sid: &str) -> Vec<String> {
    let template = read("infra/foundation.yaml");
    let statement = template.split_once(&format!("{role}:\n")).unwrap().1.split_once(&format!("Sid: {sid}")).unwrap().1;
    let statement = statement.split_once("Resource:").unwrap().0;
    let actions = statement.lines().filter_map(|it| it.trim().strip_prefix("- "));
    let mut actions: Vec<_> = actions.map(str::to_owned).collect();
    actions.sort_unstable();
    actions
}

fn table(controls: &[Control], writes: bool) -> Vec<String> {
    let calls = controls.iter().flat_map(|it| it.vocabulary().calls);
    let calls = calls.filter(|it| writes || it.kind == CallKind::Read);
    let mut actions: Vec<_> = calls.map(|it| it.iam.to_owned()).collect();
    actions.sort_unstable();
    actions
}

#[test]
fn the_roles_may_do_exactly_what_the_table_says() {
    for role in ["RemediateRole", "BootstrapRole"] {
        assert_eq!(actions(role, "ReadAndRestoreBuckets"), table(&Control::OF_BUCKET, true), "{role}");
    }
    assert_eq!(actions("RemediateRole", "ReadAndRestoreKeys"), table(&[Control::KmsKey], true));
    assert_eq!(actions("RemediateRole", "ReadAndRestoreTrails"), table(&[Control::Trail], true));
    assert_eq!(actions("BootstrapRole", "SetUpTrails"), table(&[Control::Trail], true));
    assert_eq!(actions("VerifyRole", "ReadBuckets"), table(&Control::OF_BUCKET, false));
}

#[test]
fn every_package_forbids_unsafe_code() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    let functions = fs::read_dir(workspace().join("functions")).unwrap().map(|it| it.unwrap().path());
    for package in functions.chain(["infra/cli", "shared/core", "shared/aws", "tests"].map(PathBuf::from)) {
        assert!(read(package.join("Cargo.toml")).contains("[lints]\nworkspace = true"), "{}", package.display());
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let sources = ["shared/core/src", "shared/aws/src", "infra/cli/src", "tests/it"]
        .map(|it| sources(&workspace().join(it)))
        .concat();
    let code = sources.iter().map(read).collect::<String>();
    let model = read("SECURITY.md");
    let rows = model.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let tests = rows.flat_map(|row| row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2));
    let tests: Vec<_> = tests.collect();
    assert!(tests.len() > 25, "{tests:?}");
    for test in tests {
        assert!(code.contains(&format!("fn {test}(")), "{test}");
    }
}

/// The page's rows: mark, source, how sure, what holds it.
fn assumptions() -> Vec<[String; 4]> {
    let page = read("ASSUMPTIONS.md");
    let lines = page.lines().filter(|it| it.starts_with("| ") && !it.starts_with("| | Assumption"));
    lines
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let ["", mark, _, source, sure, held, ""] = cells[..] else { panic!("not five cells: {line}") };
            [mark, source, sure, held].map(str::to_owned)
        })
        .collect()
}

#[test]
fn every_test_and_probe_that_an_assumption_names_exists() {
    let sources = ["shared/core/src", "shared/aws/src", "infra/cli/src", "tests/it"]
        .map(|it| sources(&workspace().join(it)))
        .concat();
    let code = sources.iter().map(read).collect::<String>();
    let questions = read("infra/cli/src/first_run/questions.rs");
    let proofs: String = ["openings", "settings", "uploads"]
        .map(|it| read(format!("shared/aws/src/work/verify/proofs/{it}.rs")))
        .concat();
    let rows = assumptions();
    assert!(rows.len() > 35, "{rows:?}");
    for [mark, source, sure, held] in &rows {
        let names: Vec<_> = held.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing holds {mark} {source}");
        for name in &names {
            let exists = match name.split_once(' ') {
                Some(("first-run", mark)) => questions.contains(&format!("\"{mark}\"")),
                Some(("verify", proof)) => proofs.contains(&format!("\"{proof}\"")),
                Some(_) => false,
                None => *name == "preflight" || code.contains(&format!("fn {name}(")),
            };
            assert!(exists, "{name}");
        }
        // What nobody knows has a mark and is asked; what has a mark is what nobody knows.
        let unknown = sure == "nobody knows";
        assert!(unknown || sure == "documented" || sure == "recorded", "{mark} {source}: {sure}");
        assert_eq!(unknown, !mark.is_empty(), "{mark} {source}");
        assert!(unknown == names.contains(&format!("first-run {mark}").as_str()), "{mark}: no probe");
        assert!(unknown || source.contains("](https://"), "{mark} {held}: where is it from?");
    }
}

#[test]
fn every_question_of_the_first_run_is_an_assumption() {
    let questions = code("infra/cli/src/first_run/questions.rs");
    let is_mark = |it: &&str| it.strip_prefix('U').is_some_and(|it| it.parse::<u32>().is_ok());
    let asked: BTreeSet<_> = questions.split('"').filter(is_mark).map(str::to_owned).collect();
    let rows: Vec<_> = assumptions().into_iter().map(|[mark, ..]| mark).filter(|it| !it.is_empty()).collect();
    assert_eq!(rows.len(), rows.iter().collect::<BTreeSet<_>>().len(), "each once");
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), asked);
    assert!(asked.len() > 15, "{asked:?}");
}

/// What bash 3.2, which is what macOS has, does not know.
#[test]
fn the_scripts_hold_nothing_that_is_newer_than_bash_3_2() {
    let mut found = Vec::new();
    for script in ["infra/deploy.sh", "infra/destroy.sh", "infra/lib.sh"] {
        let text = read(script);
        let lines = text.lines().filter(|it| !it.trim_start().starts_with('#'));
        for (number, line) in lines.enumerate() {
            let words =
                ["mapfile", "readarray", "coproc", "local -n", "declare -n", "declare -A", "local -A", "wait -n"];
            let signs = ["|&", "&>>", ";;&", ";&", "[[ -v ", "globstar", "lastpipe", "EPOCHSECONDS", "BASHPID", "%("];
            let newer = words.into_iter().chain(signs).filter(|it| line.contains(it)).map(str::to_owned);
            found.extend(
                newer.chain(newer_expansions(line)).map(|it| format!("{script}: `{it}` in line {number}: {line}")),
            );
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

/// `${x,,}`, `${x^}`, `${x@Q}`, `${x: -1}` of an array and its element -1; an array that may be empty without `+`.
fn newer_expansions(line: &str) -> Vec<String> {
    let inside = line.match_indices("${").filter_map(|(at, _)| Some((at, line[at + 2..].split('}').next()?)));
    let newer = |at: usize, it: &str| {
        let operator = it.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let whole_array = operator == "[@]" || operator == "[*]";
        // `${given[@]+"${given[@]}"}`, or one that is never empty.
        let guarded =
            line[..at].ends_with('"') && line[..at].contains(&format!("{}+", it)) || NEVER_EMPTY.contains(&it);
        operator.starts_with([',', '^', '@']) || operator.starts_with("[-") || (whole_array && !guarded)
    };
    inside.filter(|(at, it)| newer(*at, it)).map(|(_, it)| format!("${{{it}}}")).collect()
}

/// Arrays that begin with an element.
const NEVER_EMPTY: [&str; 4] = ["functions[@]", "given[@]", "packages[@]", "settings[@]"];

/// What stands between two marks, each time.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |it| Some(it.split_once(after)?.0))
}

#[test]
fn dashboard_and_readme_have_every_control_in_its_order() {
    let all = Control::ALL.map(Control::id);
    let template = read("infra/wiring.yaml");
    let dashboard: Vec<_> = between(&template, r#"["S3Guardrail", "Drift", "Control", ""#, "\"]").collect();
    assert_eq!(dashboard, all, "infra/wiring.yaml");
    let readme = read("README.md");
    let table = readme.split_once("| control | baseline | on |").unwrap().1.split_once("\n\n").unwrap().0;
    let rows: Vec<_> = between(table, "\n| `", "` |").collect();
    assert_eq!(rows, all, "README.md");
}

#[test]
fn one_version_of_rust_is_named_everywhere() {
    let toolchain = read("rust-toolchain.toml");
    let version = between(&toolchain, "channel = \"", "\"").next().unwrap();
    let minor = version.rsplit_once('.').unwrap().0;
    for workflow in ["ci", "deploy"] {
        let workflow = read(format!(".github/workflows/{workflow}.yml"));
        let named: Vec<_> =
            workflow.split_whitespace().filter(|it| it.split('.').count() == 3 && it.starts_with("1.")).collect();
        assert!(!named.is_empty() && named.iter().all(|it| *it == version), "{named:?}");
    }
    assert!(read("Cargo.toml").contains(&format!("rust-version = \"{minor}\"")));
    assert!(read("README.md").contains(&format!("With Rust {minor} ")));
}
