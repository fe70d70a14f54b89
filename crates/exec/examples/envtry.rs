//! Scratch.
use std::sync::{Arc, atomic::AtomicBool};
use std::path::PathBuf;
use runstone_core::spec::model::{Python, Requirements};
use runstone_exec::python::{Environments, Installer, Settings};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[1] == "fetch" {
        let r = runstone_exec::fetch::fetch(&args[2], &PathBuf::from(&args[3]), None, &Default::default(), &mut |_| std::ops::ControlFlow::Continue(()));
        match r { Ok(f) => println!("{f:?}"), Err(e) => println!("ERR {e}") }
        return;
    }
    let project = PathBuf::from(&args[2]).canonicalize().unwrap();
    let installer = match args[1].as_str() { "uv" => Installer::Uv, "pip" => Installer::Pip, _ => Installer::Auto };
    let e = Environments::new(Settings { envs: project.join("state/envs"), locks: project.join("state/locks"), installer, variables: std::env::vars_os().collect(), stop: Arc::new(AtomicBool::new(false)) });
    let python = Python { requirements: Requirements::File(args[3].clone()), version: args.get(4).cloned() };
    let t = std::time::Instant::now();
    let mut p = |l: &str| println!("[{:6.2}] {l}", t.elapsed().as_secs_f64());
    match e.lock(&project, &python, false, &mut p).and_then(|l| { println!("lock {} {:?}\n{}", l.interpreter, t.elapsed(), l.lock_text.lines().filter(|l| !l.starts_with(' ')).collect::<Vec<_>>().join("\n")); e.ensure(&project, &l, &mut p) }) {
        Ok(v) => println!("ok {} {:?}", v.path().display(), t.elapsed()),
        Err(err) => return println!("ERR {err}"),
    }
    let t = std::time::Instant::now();
    for _ in 0..1000 { if let Ok(l) = e.lock(&project, &python, false, &mut |_| {}) { e.ensure(&project, &l, &mut |_| {}).ok(); } }
    println!("fast path {:?}", t.elapsed() / 1000);
}
