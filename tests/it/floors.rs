//! The house: arrows run downward only, and no two files import each other in a loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use guardrail_tests::local_aws::workspace;
use syn::{
    Attribute, ItemMod, UseTree,
    visit::{self, Visit},
};

/// Each crate's floors, the lowest first. A file beside the folders is a floor of its own.
const FLOORS: [(&str, &[&str]); 2] = [
    ("shared/core", &["value", "control", "outcome", "edge", "decide", "tell"]),
    (
        "shared/aws",
        &[
            "api",
            "intercept",
            "clients",
            "clock",
            "control",
            "observe",
            "usage",
            "apply",
            "topic",
            "store",
            "input",
            "work",
            "lambda",
        ],
    ),
];

/// By file, without its ending: the paths within its crate that its code names; not those of its tests.
fn imports(package: &str) -> BTreeMap<String, BTreeSet<Vec<String>>> {
    let root = workspace().join(package).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().with_extension("").to_str().unwrap().to_owned();
                found.insert(name.clone(), named(&path, &name));
            }
        }
    }
    found.remove("lib");
    found
}

fn named(file: &Path, name: &str) -> BTreeSet<Vec<String>> {
    let module = name.split('/').map(str::to_owned).collect();
    let mut paths = OfOwnCrate { module, children: BTreeSet::new(), found: BTreeSet::new() };
    paths.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
    paths.found
}

/// The paths that lead into the crate, from its root.
struct OfOwnCrate {
    module: Vec<String>,
    /// The module's own.
    children: BTreeSet<String>,
    found: BTreeSet<Vec<String>>,
}

impl OfOwnCrate {
    fn add(&mut self, path: Vec<String>) {
        let [root, rest @ ..] = path.as_slice() else { return };
        let before: &[String] = match root.as_str() {
            "crate" => &[],
            "self" => &self.module,
            "super" => &self.module[..self.module.len() - 1],
            child if self.children.contains(child) => {
                self.found.insert([self.module.as_slice(), &path].concat());
                return;
            }
            _ => return,
        };
        self.found.insert([before, rest].concat());
    }

    fn add_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.add(with(&name.ident)),
            UseTree::Rename(name) => self.add(with(&name.ident)),
            UseTree::Glob(_) => self.add(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|it| self.add_tree(it, before)),
        }
    }
}

impl<'ast> Visit<'ast> for OfOwnCrate {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(path.segments.iter().map(|it| it.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// `pub(super)` says who may use it, not what it uses.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let is_test =
            |it: &Attribute| it.path().is_ident("cfg") && it.parse_args::<syn::Ident>().is_ok_and(|it| it == "test");
        if !item.attrs.iter().any(is_test) {
            // Its parent may only say that it is there.
            self.children.insert(item.ident.to_string());
            visit::visit_item_mod(self, item);
        }
    }
}

/// The file that a path leads into: the longest that there is.
fn file_of<'a>(path: &[String], files: &'a BTreeMap<String, BTreeSet<Vec<String>>>) -> Option<&'a String> {
    (1..=path.len()).rev().find_map(|length| Some(files.get_key_value(&path[..length].join("/"))?.0))
}

#[test]
fn arrows_run_downward_only() {
    for (package, floors) in FLOORS {
        let floor = |name: &str| floors.iter().position(|it| *it == name.split('/').next().unwrap());
        for (file, paths) in imports(package) {
            let own = floor(&file).unwrap_or_else(|| panic!("{package}: {file} is on no floor"));
            for path in paths {
                // What stands in the root is everybody's.
                let Some(other) = path.first().and_then(|it| floor(it)) else { continue };
                assert!(other <= own, "{package}: {file} names crate::{}, which is on a higher floor", path.join("::"));
            }
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_loop() {
    for (package, _) in FLOORS {
        let files = imports(package);
        let arrows = |file: &String| -> BTreeSet<&String> {
            files[file].iter().filter_map(|it| file_of(it, &files)).filter(|it| *it != file).collect()
        };
        let mut left: BTreeMap<_, _> = files.keys().map(|it| (it, arrows(it))).collect();
        // Takes away whatever uses none of what is left, until only loops are.
        while let Some(lowest) = left.iter().find(|it| it.1.is_empty()).map(|it| *it.0) {
            left.remove(lowest);
            left.values_mut().for_each(|it| {
                it.remove(lowest);
            });
        }
        assert!(left.is_empty(), "{package}: in a loop, or above one: {left:#?}");
    }
}

#[test]
fn each_folder_says_what_lives_there_and_what_never_does() {
    for (package, floors) in FLOORS {
        let source = workspace().join(package).join("src");
        for folder in floors.iter().filter(|it| source.join(it).is_dir()) {
            let text = fs::read_to_string(source.join(folder).with_extension("rs")).unwrap();
            let said: String = text.lines().take_while(|it| it.starts_with("//!")).collect();
            assert!(said.contains("Never "), "{package}/{folder}: {said}");
        }
    }
}
