//! Which file of a crate imports from which other one, read from the text of its `use` items and paths.
//!
//! A name that a module file passes on (`pub use`) is followed to the file that defines it. A file that only declares
//! and passes on is nobody's goal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type ModulePath = Vec<String>;

/// A file of a crate.
struct Module {
    file: PathBuf,
    code: String,
    /// Its `use` items, one entry for each name: the name here, and the path written. `*` for a glob.
    uses: Vec<(String, Vec<String>)>,
    only_passes_on: bool,
}

/// Whether what an inner module takes from the modules around it counts: they use it, and it may use their words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    Counts,
    DoesNotCount,
}

/// The modules of one crate, by their paths.
pub(super) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads a crate from its `lib.rs` or `main.rs`.
    pub(super) fn read(root: &Path) -> Self {
        let mut found = Self { modules: BTreeMap::new() };
        found.add(Vec::new(), root.to_owned());
        found
    }

    fn add(&mut self, path: ModulePath, file: PathBuf) {
        let code = without_comments_and_tests(&fs::read_to_string(&file).unwrap());
        let name = file.file_stem().unwrap().to_str().unwrap();
        let folder = match name {
            "lib" | "main" | "mod" => file.parent().unwrap().to_owned(),
            _ => file.with_extension(""),
        };
        let (mut uses, mut children, mut rest) = (Vec::new(), Vec::new(), false);
        for item in items(&code) {
            let item = item.trim_start_matches("pub ").trim();
            let item = match item.strip_prefix("pub(") {
                Some(inner) => inner.split_once(')').unwrap().1.trim(),
                None => item,
            };
            if let Some(tree) = item.strip_prefix("use ") {
                expand(tree.trim_end_matches(';'), &[], &mut uses);
            } else if let Some(child) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                children.push(child.trim().to_owned());
            } else {
                rest = true;
            }
        }
        for child in children {
            let inner = [path.clone(), vec![child.clone()]].concat();
            let places = [folder.join(format!("{child}.rs")), folder.join(&child).join("mod.rs")];
            let file = places.into_iter().find(|place| place.exists());
            self.add(inner, file.unwrap_or_else(|| panic!("{} has no file for {child}", file_name(&folder))));
        }
        self.modules.insert(path, Module { file, code, uses, only_passes_on: !rest });
    }

    /// Every file with those that it imports from. `around` says whether the modules that a file
    /// is inside of are among them.
    pub(super) fn imports(&self, around: Around) -> BTreeMap<String, BTreeSet<String>> {
        let mut all = BTreeMap::new();
        for (path, module) in &self.modules {
            if module.only_passes_on {
                continue;
            }
            let mut paths: Vec<Vec<String>> =
                module.uses.iter().map(|(_, written)| written.clone()).collect();
            paths.extend(self.written_out(path, module));
            let counts = |(place, goal): &(ModulePath, &Module)| {
                let is_around = place.len() < path.len() && path.starts_with(place);
                !goal.only_passes_on && goal.file != module.file && (around == Around::Counts || !is_around)
            };
            let goals: BTreeSet<String> = paths
                .iter()
                .filter_map(|written| self.goal(path, written, 0))
                .filter(counts)
                .map(|(_, goal)| file_name(&goal.file))
                .collect();
            all.insert(file_name(&module.file), goals);
        }
        all
    }

    /// Paths in the code itself: `crate::a::b`, and those that begin with a module that is known here.
    fn written_out(&self, path: &[String], module: &Module) -> Vec<Vec<String>> {
        let is_known = |first: &str| {
            let child = [path, &[first.to_owned()]].concat();
            matches!(first, "crate" | "super" | "self")
                || self.modules.contains_key(&child)
                || module.uses.iter().any(|(name, _)| name == first)
        };
        let mut found = Vec::new();
        let mut rest = module.code.as_str();
        while let Some(at) = rest.find("::") {
            let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
            let start = rest[..at].rfind(|letter: char| !is_word(letter)).map_or(0, |before| before + 1);
            let first = &rest[start..at];
            let end = rest[at..]
                .find(|letter: char| !is_word(letter) && letter != ':')
                .map_or(rest.len(), |end| at + end);
            let is_inner = rest[..start].ends_with("::");
            if !first.is_empty() && !is_inner && is_known(first) {
                let whole = rest[start..end].trim_end_matches(':');
                let path: Vec<String> = whole.split("::").map(str::to_owned).collect();
                // The begin of a list in braces says nothing yet.
                if !path.iter().all(|part| matches!(part.as_str(), "crate" | "super" | "self")) {
                    found.push(path);
                }
            }
            rest = &rest[end.max(at + 2)..];
        }
        found
    }

    /// The file that defines what a path means that is written in the module `from`.
    fn goal(&self, from: &[String], written: &[String], hops: usize) -> Option<(ModulePath, &Module)> {
        if hops > 16 {
            return None;
        }
        let mut at = from.to_vec();
        let mut rest = written;
        let first = rest.first()?.as_str();
        match first {
            "crate" => (at, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            _ => {
                let child = [from, &rest[..1]].concat();
                if !self.modules.contains_key(&child) {
                    // A name that was imported here, or another crate.
                    let (_, path) = self
                        .modules
                        .get(from)?
                        .uses
                        .iter()
                        .find(|(name, path)| name == first && path.first() != Some(name))?;
                    return self.goal(from, &[path, &rest[1..]].concat(), hops + 1);
                }
            }
        }
        while let Some(segment) = rest.first() {
            let child = [&at[..], std::slice::from_ref(segment)].concat();
            if !self.modules.contains_key(&child) {
                break;
            }
            (at, rest) = (child, &rest[1..]);
        }
        let module = self.modules.get(&at)?;
        let Some(name) = rest.first() else { return Some((at, module)) };
        let passed_on = module.uses.iter().find(|(known, path)| known == name && path != written);
        if let Some((_, path)) = passed_on {
            return self.goal(&at, &[path, &rest[1..]].concat(), hops + 1);
        }
        let by_glob = module.uses.iter().filter(|(known, _)| known == "*").find_map(|(_, path)| {
            let found = self.goal(&at, &[path, rest].concat(), hops + 1);
            found.filter(|(_, found)| defines(found, name))
        });
        by_glob.or(Some((at, module)))
    }
}

fn defines(module: &Module, name: &str) -> bool {
    ["fn", "struct", "enum", "trait", "type", "const", "static"]
        .iter()
        .any(|kind| module.code.contains(&format!("{kind} {name}")))
}

fn file_name(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn without_comments_and_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") {
            // Up to the end of the item.
            lines.by_ref().find(|line| *line == "}" || (!line.starts_with(' ') && line.ends_with(';')));
        } else if !line.trim_start().starts_with("//") {
            code += line.split(" // ").next().unwrap();
            code.push('\n');
        }
    }
    code
}

/// The items of a file's first level; those that are not `use` or `mod` line by line.
fn items(code: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut open: Option<String> = None;
    let mut attribute = false;
    for line in code.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(item) = &mut open {
            item.push_str(line.trim());
        } else if attribute || line.starts_with("#[") || line.starts_with("#![") {
            attribute = !line.ends_with(']');
            continue;
        } else {
            open = Some(line.to_owned());
        }
        let item = open.take().unwrap();
        let is_import = ["use ", "pub use "].iter().any(|word| item.starts_with(word))
            || (item.starts_with("pub(") && item.contains(") use "));
        if is_import && !item.ends_with(';') {
            open = Some(item + " ");
        } else {
            items.push(item);
        }
    }
    items
}

/// `a::{b, c as d}` as names with whole paths.
fn expand(tree: &str, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let tree = tree.trim();
    if let Some((head, list)) = tree.split_once('{') {
        let mut path = before.to_vec();
        path.extend(head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
        let list = list.strip_suffix('}').unwrap();
        let (mut depth, mut from) = (0, 0);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&list[from..at], &path, found);
                    from = at + 1;
                }
                _ => {}
            }
        }
        expand(&list[from..], &path, found);
        return;
    }
    if tree.is_empty() {
        return;
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let mut whole = before.to_vec();
    whole.extend(path.split("::").map(|part| part.trim().to_owned()));
    if whole.last().is_some_and(|last| last == "self") && whole.len() > 1 {
        whole.pop();
    }
    let name = name.unwrap_or_else(|| whole.last().unwrap()).to_owned();
    if name == "*" {
        whole.pop();
    }
    found.push((name, whole));
}

/// Groups of files that import each other, in a circle.
pub(super) fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = imports
        .keys()
        .map(|file| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![file]);
            while let Some(goals) = open.pop().and_then(|next| imports.get(next)) {
                for goal in goals {
                    if seen.insert(goal) {
                        open.push(goal);
                    }
                }
            }
            (file, seen)
        })
        .collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for file in imports.keys().filter(|file| reached[file].contains(file)) {
        if circles.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let with =
            reached[file].iter().filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)));
        circles.push(with.map(|other| (*other).clone()).collect());
    }
    circles
}

/// The test of the crates is worth as much as what it sees: names passed on, lists in braces, paths in code.
#[test]
fn circles_are_found_and_trees_are_not_taken_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("c")).unwrap();
    write("lib.rs", "mod a;\nmod b;\nmod c;\npub use b::{B, other as renamed};\n");
    write("a.rs", "use crate::renamed;\npub struct A;\n");
    write("c/mod.rs", "mod inner;\npub struct C;\nfn make() { inner::run() }\n");
    write("c/inner.rs", "use super::C;\npub fn run() {}\n");
    let found = |b: &str, around: Around| -> Vec<Vec<String>> {
        write("b.rs", &format!("{b}pub struct B;\n"));
        let imports = Crate::read(&folder.path().join("lib.rs")).imports(around);
        let name = |file: &String| {
            let inner = Path::new(file).strip_prefix(folder.path()).unwrap();
            inner.to_str().unwrap().to_owned()
        };
        circles(&imports).iter().map(|circle| circle.iter().map(name).collect()).collect()
    };
    let none: [[&str; 2]; 0] = [];
    for b in ["", "// crate::a::A\n", "#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}\n"] {
        assert_eq!(found(b, Around::DoesNotCount), none, "{b}");
    }
    for b in [
        "use super::a::{self, A};\n",
        "use crate::{\n    a::A,\n};\n",
        "fn f() -> crate::a::A { todo() }\n",
        "use super::a;\nfn f() { a::A }\n",
    ] {
        assert_eq!(found(b, Around::DoesNotCount), [["a.rs", "b.rs"]], "{b}");
    }
    assert_eq!(found("", Around::Counts), [["c/inner.rs", "c/mod.rs"]]);
}
