//! Where data comes from: files, globs, folders, addresses, and files that steps name by path.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::project::Project;

/// A web server of one page, which it gives away as long as the test lives.
struct Server {
    address: String,
    page: Arc<Mutex<(u16, String)>>,
}

impl Server {
    fn start(page: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let page = Arc::new(Mutex::new((200, page.to_owned())));
        let shown = Arc::clone(&page);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                    line.clear();
                }
                let (status, body) = shown.lock().unwrap().clone();
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                // A client that has gone is no concern of the server.
                let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { address, page }
    }

    fn show(&self, status: u16, body: &str) {
        *self.page.lock().unwrap() = (status, body.to_owned());
    }
}

#[test]
fn an_address_is_looked_at_each_time_and_ends_there_when_nothing_changed() {
    let server = Server::start("a,b\n1,2\n");
    let project = Project::new(&format!(
        "
pipeline: web
steps:
  page: {{kind: ingest, from: 'http://{}/data/table.csv?token=s3cret'}}
  size: {{in: {{p: page}}, run: 'echo \"$(basename $IN_P) $(wc -c < $IN_P)\" > $OUT_SIZE'}}
",
        server.address
    ));
    project.run(&[]);
    assert_eq!(project.content("web/size"), "table.csv 8\n");
    assert_eq!(project.run(&[]).executed(), [""; 0]);
    server.show(200, "a,b\n1,2\n3,4\n");
    assert_eq!(project.run(&[]).executed(), ["page", "size"]);
    assert_eq!(project.content("web/page@v1"), "a,b\n1,2\n");
    server.show(404, "nothing here");
    let failed = project.run_with_code(&[], 1);
    assert_eq!(failed.failed(), ["page"]);
    assert!(failed.err.contains("404") && !failed.err.contains("s3cret"), "{failed:?}");
}

#[test]
fn a_glob_is_a_folder_of_what_it_matches() {
    let project = Project::new(
        "
pipeline: globs
steps:
  files: {kind: ingest, from: './data/**/*.csv'}
  list: {in: {f: files}, run: '(cd $IN_F; find . -type f -o -type l | sort) > $OUT_LIST'}
",
    );
    for name in ["a.csv", "deep/b.csv", "deep/c.txt", ".hidden/d.csv"] {
        project.write(&format!("data/{name}"), name);
    }
    project.run(&[]);
    assert_eq!(project.content("globs/list"), "./a.csv\n./deep/b.csv\n");
    project.write("data/deep/c.txt", "changed");
    assert_eq!(project.run(&[]).executed(), [""; 0], "it is not matched");
    project.write("data/deep/e.csv", "new");
    assert_eq!(project.run(&[]).executed(), ["files", "list"]);
    std::fs::remove_dir_all(project.path("data")).unwrap();
    let failed = project.run_with_code(&[], 1);
    assert!(failed.err.contains("project/data"), "a source that is not there is an error: {failed:?}");
}

#[test]
fn a_folder_is_taken_as_it_is() {
    let project = Project::new(
        "
pipeline: folders
steps:
  tree: {kind: ingest, from: ./data}
  sum: {in: {t: tree}, run: 'cat $IN_T/a $IN_T/sub/b > $OUT_SUM'}
",
    );
    project.write("data/a", "1\n");
    project.write("data/sub/b", "2\n");
    project.run(&[]);
    assert_eq!(project.content("folders/sum"), "1\n2\n");
    project.write("data/sub/b", "3\n");
    assert_eq!(project.run(&[]).executed(), ["sum", "tree"]);
}

#[test]
fn an_ingest_with_a_command_always_looks() {
    let project = Project::new(
        "
pipeline: pull
steps:
  pull: {kind: ingest, run: 'echo x >> count; cat source > $OUT_PULL'}
  use: {in: {p: pull}, run: 'cat $IN_P > $OUT_USE'}
",
    );
    project.write("source", "1\n");
    project.run(&[]);
    let again = project.run(&[]);
    assert_eq!((again.executed(), again.reused()), (vec!["pull".to_owned()], vec!["use".to_owned()]));
    assert_eq!(project.lines("count"), 2);
    project.write("source", "2\n");
    assert_eq!(project.run(&[]).executed(), ["pull", "use"]);
}

#[test]
fn a_file_that_a_step_names_by_path_is_an_input_with_an_origin() {
    let project = Project::new(
        "
pipeline: paths
steps:
  use: {in: {rules: ./rules.csv}, run: 'cat $IN_RULES > $OUT_USE'}
",
    );
    project.write("rules.csv", "1\n");
    project.run(&[]);
    project.write("rules.csv", "2\n");
    assert_eq!(project.run(&[]).executed().last().unwrap(), "use");
    let lineage = project.json(&["lineage", "paths/use"]);
    let names: Vec<&str> =
        lineage["versions"].as_array().unwrap().iter().map(|version| version["dataset"].as_str().unwrap()).collect();
    assert!(names.contains(&"./rules.csv"), "{names:?}");
    std::fs::remove_file(project.path("rules.csv")).unwrap();
    let failed = project.run_with_code(&[], 1);
    assert!(failed.err.contains("rules.csv"), "{failed:?}");
}
