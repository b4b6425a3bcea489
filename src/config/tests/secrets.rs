//! Keys of sessions: found where the configuration says, and never shown.

use super::super::secrets::{NamedSecret, SecretSource, cookie_keys};
use super::*;
use crate::demo::session::SessionKeys;

const SESSION: &str = "\
credentials:
  session:
    hash_key: {file: hash_key}
    block_key: {file: block_key}
    previous:
      - hash_key: {file: /srv/hash_key}
        block_key: {env: PREVIOUS_BLOCK_KEY}
";

fn credentials(directory: &Path, text: &str) -> Credentials {
    let file = directory.join("config.yaml");
    let (config, warnings) = Config::parse(&file, &format!("{SMALLEST}{text}")).unwrap();
    assert_eq!(warnings, []);
    config.credentials
}

/// The messages of the problems, with line and column.
fn problems(directory: &Path, text: &str) -> Vec<String> {
    let problems = cookie_keys(&credentials(directory, text).cookie_keys).unwrap_err();
    let shown = problems.iter().map(|problem| {
        assert_eq!(problem.file, directory.join("config.yaml"));
        assert_eq!(problem.snippet, "");
        format!("{}:{}: {}", problem.line, problem.column, problem.message)
    });
    shown.collect()
}

#[test]
fn sessions_are_accepted_only_when_keys_are_named_and_those_in_force_come_first() {
    let directory = Path::new("/etc/flyte-authz");
    assert_eq!(credentials(directory, "").cookie_keys, []);
    let keys = credentials(directory, SESSION).cookie_keys;
    let sources: Vec<_> = keys
        .iter()
        .flat_map(|pair| [&pair.hash_key, &pair.block_key])
        .map(|NamedSecret { source, place, .. }| (source.clone(), *place))
        .collect();
    let file = |path: &str| SecretSource::File(PathBuf::from(path));
    let expected = [
        (file("/etc/flyte-authz/hash_key"), (10, 15)),
        (file("/etc/flyte-authz/block_key"), (11, 16)),
        (file("/srv/hash_key"), (13, 19)),
        (SecretSource::Variable("PREVIOUS_BLOCK_KEY".into()), (14, 20)),
    ];
    assert_eq!(sources, expected);
}

#[test]
fn good_keys_are_read_and_every_bad_one_is_told_at_its_place_in_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let keys = SessionKeys::generate().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    write("hash_key", &keys.hash_key());
    write("block_key", &format!("{}\n", keys.block_key()));
    let current = SESSION.split("    previous").next().unwrap();
    let read = cookie_keys(&credentials(directory, current).cookie_keys).unwrap();
    assert_eq!(read.len(), 1);
    let cookie = keys.cookie("flyte_idt", "token", 1).unwrap();
    assert_eq!(read[0].open("flyte_idt", &cookie, 1).unwrap().expose(), "token");

    write("hash_key", "k3y-that-is-no-base64!");
    write("block_key", &keys.hash_key());
    let text = SESSION.replace("/srv/hash_key", "absent");
    let told = problems(directory, &text);
    let expected = [
        "10:15: the file that is named here is not base64 without `=` at the end; write it as FlyteAdmin's own secret has it",
        "11:16: the file that is named here has 64 bytes, but needs 32; write it as FlyteAdmin's own secret has it",
        "13:19: the file that is named here cannot be read: No such file or directory (os error 2)",
        "14:20: the environment variable that is named here is not set",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_key_that_is_written_where_its_place_should_be_is_not_shown() {
    let key = SessionKeys::generate().unwrap().hash_key();
    for written in [
        key.clone(),
        format!("[{key}]"),
        format!("{{{key}: x}}"),
        format!("{{value: {key}}}"),
        format!("{{file: x, value: {key}}}"),
        format!("{{env: {key}=}}"),
        format!("{{env: {key}}}"),
        format!("{{file: {key}}}"),
    ] {
        let text = format!("{SMALLEST}credentials:\n  session:\n    hash_key: {written}\n    block_key: {{file: x}}\n");
        let problems = match parse(&text) {
            Ok((config, _)) => cookie_keys(&config.credentials.cookie_keys).unwrap_err(),
            Err(problems) => problems,
        };
        for problem in &problems {
            assert!(!problem.to_string().contains(&key), "{problem}");
        }
        assert_eq!((problems[0].line, problems[0].column), (10, 15), "{written}");
    }
}
