//! The commands on the examples' pages work as they stand there, one after the other.

use std::process::Command;

use crate::project::Project;

/// The lines of all shell blocks of a page.
fn commands(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.trim().is_empty() {
            commands.push(line.to_owned());
        }
    }
    commands
}

fn commands_work(example: &str, folder: &str) {
    let project = Project::examples();
    let program = project.command(&[]);
    let bin = std::path::Path::new(program.get_program()).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let commands = commands(&project.read(&format!("pipelines/{example}/README.md")));
    assert!(commands.iter().filter(|line| line.starts_with("runstone ")).count() >= 2, "{commands:?}");
    // The copy that the page asks for has been made.
    for line in commands.iter().filter(|line| !line.starts_with("cp -r") && !line.starts_with("cd ")) {
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).current_dir(project.path(folder)).env_clear();
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", &path);
        let expected = i32::from(line.contains("says no"));
        let ran = project.start_command(shell).wait();
        assert_eq!(ran.code, expected, "{line}\n{ran:?}");
    }
}

#[test]
fn of_the_quickstart() {
    commands_work("quickstart", "");
}

#[test]
fn of_the_speech_table() {
    commands_work("speech", "");
}

#[test]
fn of_the_corrections() {
    commands_work("corrections", "pipelines/corrections");
}

#[test]
fn of_the_starter() {
    let project = Project::empty();
    project.runstone(&["init"]).ok();
    project.runstone(&["validate", "pipeline.yaml"]).ok();
    assert!(!project.run(&[]).executed().is_empty());
    assert_eq!(project.run(&[]).executed(), [""; 0]);
    project.runstone(&["show"]).ok();
    project.runstone(&["doctor"]).ok();
}
