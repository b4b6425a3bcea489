//! Every answer that can name a project or domain is filtered, or passes for a stated reason; and what a filter reads is
//! as published.

use super::identity::bearers;
use super::{field_at, message_in, path_of, served};
use crate::descriptors::pool;
use flyte_authz_proxy::catalog::answer::{Answer, ItemShape, ItemStep, Show};
use flyte_authz_proxy::catalog::document::FLYTE1;
use flyte_authz_proxy::catalog::{Access, Catalog};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use std::collections::BTreeSet;

/// RPCs whose answer can name a project, domain, organization or URL and of which the catalogue does not say what it shows.
fn unsaid(pool: &DescriptorPool, catalog: &Catalog) -> Vec<String> {
    let bearers = bearers(pool);
    served(pool)
        .iter()
        .filter(|method| bearers.contains(method.output().full_name()))
        .map(path_of)
        .filter(|path| catalog.lookup_rpc(path).unwrap().answer.is_none())
        .collect()
}

#[test]
fn t_resp_01_every_answer_that_names_a_project_is_filtered_or_passes_for_a_reason() {
    let catalog = Catalog::builtin().unwrap();
    assert_eq!(unsaid(pool(), &catalog), [""; 0]);
    for route in &catalog.routes {
        match &route.answer {
            // What belongs to no scope that was judged cannot be that scope's.
            Some(Answer::OwnScope) => assert_eq!(route.access, Access::Scoped, "{}", route.rpc),
            Some(Answer::Unfiltered(why)) => assert!(!why.is_empty(), "{}", route.rpc),
            Some(Answer::Items(_)) | None => {}
        }
    }
}

#[test]
fn t_resp_01_an_rpc_that_does_not_say_what_it_shows_is_noticed() {
    let (before, entry) = FLYTE1.1.split_once("AdminService/GetTask\n").unwrap();
    let entry = entry.replacen("    answer: own_scope\n", "", 1);
    let text = format!("{before}AdminService/GetTask\n{entry}");
    let catalog = Catalog::load(&[("without.yaml".into(), text)]).unwrap();
    assert_eq!(unsaid(pool(), &catalog), ["/flyteidl.service.AdminService/GetTask"]);
}

/// Checks the shape against the published message, and counts the fields read.
fn check(shape: &ItemShape, message: &MessageDescriptor) -> usize {
    let mut count = 0;
    for field in &shape.fields {
        let published = message.get_field(field.label.number).unwrap();
        let names = (published.name(), published.json_name());
        assert_eq!(
            (&*field.label.name, &*field.label.json),
            names,
            "{}",
            message.full_name()
        );
        assert!(!published.is_list() && !published.is_map(), "{}", published.full_name());
        match (&field.step, published.kind()) {
            (ItemStep::Descend(deeper), Kind::Message(inner)) => count += check(deeper, &inner),
            (ItemStep::Keep(_), Kind::String) => count += 1,
            (ItemStep::Kind(shape), Kind::Enum(other)) => {
                assert_eq!(&*shape.name, other.full_name());
                count += 1;
            }
            (step, kind) => panic!("{}: {step:?} of {kind:?}", published.full_name()),
        }
    }
    count
}

#[test]
fn what_a_filter_reads_is_as_published() {
    let pool = pool();
    let catalog = Catalog::builtin().unwrap();
    let mut filtered = BTreeSet::new();
    for method in served(pool) {
        let route = catalog.lookup_rpc(&path_of(&method)).unwrap();
        let Some(items) = route.items() else { continue };
        assert_eq!(&*items.response, method.output().full_name());
        let list = method.output().get_field(items.list.number).unwrap();
        assert!(list.is_list());
        assert_eq!((&*items.list.name, &*items.list.json), (list.name(), list.json_name()));
        let fields = check(&items.shape, &message_in(&list).unwrap());
        assert!(fields > usize::from(items.show != Show::Viewable), "{}", route.rpc);
        if let Some(narrow) = &items.narrow {
            let field = field_at(&method.input(), &narrow.key);
            assert_eq!(
                (field.number(), field.kind()),
                (narrow.number, Kind::String),
                "{}",
                route.rpc
            );
            // FlyteAdmin does not read the filters of lists of identifiers, and pages named entities before it filters.
            assert!(!method.name().ends_with("Ids") && !method.name().contains("Entities"));
        }
        filtered.insert(method.name().to_owned());
    }
    let lists = served(pool).into_iter().map(|method| method.name().to_owned());
    let lists: BTreeSet<String> = lists.filter(|name| name.starts_with("List")).collect();
    let whole: Vec<&String> = lists.difference(&filtered).collect();
    // Nodes and attempts of one execution, and its signals: they run what the execution runs.
    let expected = [
        "ListNodeExecutions",
        "ListNodeExecutionsForTask",
        "ListSignals",
        "ListTaskExecutions",
    ];
    assert_eq!(whole, expected);
    assert!(filtered.is_subset(&lists));
}
