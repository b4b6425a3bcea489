//! `docs/config.md` lists exactly the keys of the schema, and its example uses every one of them.

use super::*;
use serde_json::Value;

const BEGIN: &str = "<!-- keys: written by the test `the_documentation_lists_every_key`, see CONTRIBUTING.md -->\n";
const END: &str = "<!-- end of keys -->\n";

struct Key {
    path: String,
    default: String,
    description: String,
    /// Whether it is one of several ways to write a value.
    choice: bool,
}

/// Every key below a schema, in its order.
fn keys(root: &Value, schema: &Value, prefix: &str, found: &mut Vec<Key>) {
    // The subjects of policies, which have a page of their own.
    if prefix.ends_with(".accept[]") {
        return;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        keys(
            root,
            root.pointer(reference.trim_start_matches('#')).unwrap(),
            prefix,
            found,
        );
    }
    for choices in ["anyOf", "oneOf"] {
        for choice in schema[choices].as_array().into_iter().flatten() {
            // What one way to write a value needs, another does not.
            let mut choice = choice.clone();
            choice.as_object_mut().unwrap().remove("required");
            keys(root, &choice, prefix, found);
        }
    }
    if schema["items"].is_object() {
        keys(root, &schema["items"], &format!("{prefix}[]"), found);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let choice = property["description"].is_null();
        let required = schema["required"]
            .as_array()
            .is_some_and(|required| required.iter().any(|key| key == name));
        let default = match &property["default"] {
            _ if choice => "none".to_owned(),
            _ if required => "required".to_owned(),
            Value::Null => "none".to_owned(),
            // Its keys have their own defaults.
            Value::Object(_) => String::new(),
            Value::String(text) => format!("`{text}`"),
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(|value| value.as_str().unwrap()).collect();
                format!("`[{}]`", values.join(", "))
            }
            value => format!("`{value}`"),
        };
        let described = if choice { schema } else { property };
        let description = described["description"].as_str().unwrap_or("").replace('\n', " ");
        found.push(Key {
            path: path.clone(),
            default,
            description,
            choice,
        });
        keys(root, property, &path, found);
    }
}

fn all_keys() -> Vec<Key> {
    let schema = schema().to_value();
    let mut found = Vec::new();
    keys(&schema, &schema, "", &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn documentation() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md")
}

fn example(page: &str) -> &str {
    page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap()
}

#[test]
fn the_documentation_lists_every_key() {
    let mut table = String::from("\n| key | default | meaning |\n|---|---|---|\n");
    for Key {
        path,
        default,
        description,
        ..
    } in all_keys()
    {
        assert!(!description.is_empty(), "{path} has no description");
        writeln!(table, "| `{path}` | {default} | {description} |").unwrap();
    }
    table.push('\n');
    let page = std::fs::read_to_string(documentation()).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(documentation(), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(listed, table, "run the tests with UPDATE=1 to write the table anew");
    }
}

#[test]
fn the_example_of_the_documentation_loads_and_shows_every_key() {
    let page = std::fs::read_to_string(documentation()).unwrap();
    let example = example(&page);
    let (config, warnings) = parse(example).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.listeners.len(), 4);
    assert_eq!(config.issuers.len(), 4);
    for Key { path, .. } in all_keys().into_iter().filter(|key| !key.choice) {
        let key = path.rsplit('.').next().unwrap();
        let used = example
            .lines()
            .any(|line| line.trim_start_matches([' ', '-']).starts_with(&format!("{key}:")));
        assert!(used, "`{path}` is not in the example");
    }
}

#[test]
fn the_example_of_the_documentation_satisfies_the_schema() {
    let page = std::fs::read_to_string(documentation()).unwrap();
    let document: Value = crate::document::parse(Path::new("config.yaml"), example(&page)).unwrap();
    let validator = jsonschema::validator_for(&schema().to_value()).unwrap();
    let faults: Vec<_> = validator
        .iter_errors(&document)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(faults, [""; 0]);
    let smallest: Value = crate::document::parse(Path::new("config.yaml"), SMALLEST).unwrap();
    assert!(validator.is_valid(&smallest));
    assert!(!validator.is_valid(&serde_json::json!({"version": 1, "unknown": true})));
}
