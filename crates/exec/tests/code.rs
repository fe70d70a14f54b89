//! Which files count as the code of a step.

#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::path::Path;

use runstone_core::code::CodeRule;
use runstone_core::hash::ContentHash;
use runstone_core::spec::model::Command;
use runstone_exec::code::{Code, CodeError, CodeScan, MAX_BYTES, MAX_FILES};
use runstone_exec::objects::{Batch, ObjectError, ObjectStore};
use runstone_exec::scan::Scanner;
use tempfile::TempDir;

struct Project {
    dir: TempDir,
    scanner: Scanner,
}

impl Project {
    /// A project whose files each hold their own path; pipelines are in its folder `p`.
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("p")).unwrap();
        let scanner = Scanner::new(dir.path(), &dir.path().join(".runstone")).unwrap();
        let project = Self { dir, scanner };
        for file in files {
            project.write(file, file.as_bytes());
        }
        project
    }

    fn write(&self, file: &str, content: &[u8]) {
        let path = self.folder().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("p")
    }

    fn code(&self, command: &str, declared: Option<&[&str]>) -> Result<Code, CodeError> {
        let declared: Option<Vec<String>> = declared.map(|globs| globs.iter().copied().map(str::to_owned).collect());
        let command = Command::Shell(command.to_owned());
        CodeScan::new(&self.folder(), &self.scanner).code(&command, declared.as_deref())
    }

    fn default(&self, command: &str) -> Vec<String> {
        let code = self.code(command, None).unwrap();
        assert_eq!(code.rule, CodeRule::Default);
        code.files.into_keys().collect()
    }

    fn declared(&self, globs: &[&str]) -> Vec<String> {
        let code = self.code("./x.py", Some(globs)).unwrap();
        assert_eq!(code.rule, CodeRule::Declared);
        code.files.into_keys().collect()
    }
}

#[test]
fn a_named_script_counts_with_its_neighbours_of_the_same_ending() {
    let project = Project::new(&["a.py", "b.py", "c.sh", ".hidden.py", "sub/d.py", "data.csv", "other.csv", "tool"]);
    assert_eq!(project.default("python3 ./a.py"), ["a.py", "b.py"]);
    assert_eq!(project.default("sh c.sh ./absent.sh"), ["c.sh"]);
    assert_eq!(project.default("./tool < data.csv"), ["data.csv", "tool"]);
    assert_eq!(project.default("cat \"$IN_SRC\""), Vec::<String>::new());
    let hash = project.code("./a.py", None).unwrap().contents()["b.py"];
    assert_eq!(hash, ContentHash::of(b"b.py"));
}

#[test]
fn a_module_counts_with_its_package() {
    let project =
        Project::new(&["src/__init__.py", "src/train.py", "src/model.py", "src/__pycache__/train.py", "x.py"]);
    assert_eq!(project.default("python3 -m src.train"), ["src/__init__.py", "src/model.py", "src/train.py"]);
    let package = Project::new(&["src/train/__main__.py", "src/train/net.py"]);
    assert_eq!(package.default("python3 -m src.train"), ["src/train/__main__.py", "src/train/net.py"]);
}

#[test]
fn code_may_be_shared_from_outside_the_folder_and_through_links() {
    let project = Project::new(&["../shared/x.py", "../shared/y.py", "a.py"]);
    assert_eq!(project.default("python3 ../shared/x.py"), ["../shared/x.py", "../shared/y.py"]);
    assert_eq!(project.declared(&["../shared/**/*.py"]), ["../shared/x.py", "../shared/y.py"]);
    std::os::unix::fs::symlink("../shared/x.py", project.folder().join("link.py")).unwrap();
    std::os::unix::fs::symlink("../shared", project.folder().join("folder")).unwrap();
    let code = project.code("./a.py", None).unwrap();
    assert_eq!(code.contents()["link.py"], ContentHash::of(b"../shared/x.py"));
    assert_eq!(project.declared(&["**/*.py"]), ["a.py", "link.py"]);
}

#[test]
fn declared_globs_replace_the_default() {
    let files = ["a.py", "src/b.py", "src/deep/c.py", "src/.venv/d.py", "src/__pycache__/e.py", "uv.lock"];
    let project = Project::new(&files);
    assert_eq!(project.declared(&["src/**/*.py", "./uv.lock"]), ["src/b.py", "src/deep/c.py", "uv.lock"]);
    assert_eq!(project.declared(&["src/*.py", "src/b.py"]), ["src/b.py"]);
    assert!(project.declared(&[]).is_empty());
}

#[test]
fn a_glob_that_cannot_be_meant_is_refused_by_name() {
    let project = Project::new(&["src/b.py"]);
    for (glob, expected) in [
        ("lib/**/*.py", "code: \"lib/**/*.py\" matches no file in"),
        ("./missing.py", "matches no file in"),
        ("/etc/*.conf", "relative to the pipeline's folder"),
        ("src/../../*.py", "only allowed at the start"),
        ("src/[", "code: \"src/[\""),
        ("src", "is a folder; for all files in it write \"src/**\""),
    ] {
        let error = project.code("./x.py", Some(&[glob])).unwrap_err().to_string();
        assert!(error.contains(expected), "{glob}: {error}");
    }
}

#[test]
fn a_change_of_one_file_shows_in_a_new_plan_and_not_in_the_same_one() {
    let project = Project::new(&["a.py", "b.py"]);
    let command = Command::Shell("./a.py".into());
    let mut scan = CodeScan::new(&project.folder(), &project.scanner);
    let before = scan.code(&command, None).unwrap();
    project.write("b.py", b"changed");
    assert_eq!(scan.code(&command, None).unwrap(), before);
    let after = project.code("./a.py", None).unwrap();
    assert_eq!(after.files["a.py"].hash, before.files["a.py"].hash);
    assert_eq!(after.files["b.py"].hash, ContentHash::of(b"changed"));
}

#[test]
fn too_much_code_is_refused_with_advice() {
    let project = Project::new(&["a.py", "many/x.py"]);
    std::fs::File::create(project.folder().join("big.bin")).unwrap().set_len(MAX_BYTES + 1).unwrap();
    let error = project.code("./a.py ./big.bin", None).unwrap_err().to_string();
    assert!(error.contains("big.bin") && error.contains("`in:`"), "{error}");
    for i in 0..=MAX_FILES {
        std::os::unix::fs::symlink("x.py", project.folder().join(format!("many/{i}.py"))).unwrap();
    }
    let error = project.code("", Some(&["many/*.py"])).unwrap_err();
    assert!(matches!(error, CodeError::TooMany), "{error}");
}

#[test]
fn a_name_that_no_record_can_hold_is_an_error() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new(&["a.py"]);
    let name = std::ffi::OsStr::from_bytes(b"b\xff.py");
    std::fs::write(project.folder().join(name), "").unwrap();
    assert!(matches!(project.code("./a.py", None).unwrap_err(), CodeError::NotUtf8 { .. }));
}

#[test]
fn a_snapshot_holds_what_was_hashed_or_fails() {
    let project = Project::new(&["a.py", "b.py"]);
    let store = ObjectStore::open(&project.dir.path().join("objects")).unwrap();
    let code = project.code("./a.py", None).unwrap();
    let mut batch = Batch::default();
    code.snapshot_into(&project.folder(), &store, &mut batch).unwrap();
    store.sync(batch).unwrap();
    assert_eq!(store.read_verified(code.files["b.py"].hash, 100).unwrap(), b"b.py");

    project.write("b.py", b"first");
    let code = project.code("./a.py", None).unwrap();
    std::fs::remove_file(project.folder().join("b.py")).unwrap();
    project.write("b.py", b"later");
    let error = code.snapshot_into(Path::new(&project.folder()), &store, &mut Batch::default()).unwrap_err();
    assert!(matches!(error, ObjectError::Changed { .. }), "{error}");
}
