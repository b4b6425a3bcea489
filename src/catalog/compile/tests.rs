//! The built-in catalogue compiles; broken documents are refused at the line that is wrong.
use crate::catalog::Catalog;

#[test]
fn the_built_in_catalogue_compiles() {
    let catalog = Catalog::builtin().unwrap_or_else(|problems| {
        for problem in problems {
            eprintln!("{problem}");
        }
        panic!("the built-in catalogue has faults")
    });
    assert_eq!(catalog.routes.len(), 66);
}
