//! The filters of list requests, as `FlyteAdmin` reads them: `FUNCTION(COLUMN,VALUE;VALUE)`, joined by `+`.

use super::status::Status;

/// What a request asks for: everything that passes all of these.
#[derive(Debug)]
pub(super) struct Filters<'request>(Vec<Filter<'request>>);

#[derive(Debug)]
struct Filter<'request> {
    function: &'request str,
    column: &'request str,
    values: Vec<&'request str>,
}

impl<'request> Filters<'request> {
    /// Reads filters on these columns; `entity` is the prefix a column may have.
    pub(super) fn read(text: &'request str, entity: &str, columns: &[&str]) -> Result<Self, Status> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let filters = text.split('+').map(|filter| {
            let filter = Filter::read(filter, entity).ok_or_else(|| Status::invalid("invalid value for filters"))?;
            if columns.contains(&filter.column) {
                Ok(filter)
            } else {
                Err(Status::invalid(format!(
                    "'{entity}.{}' is invalid filter",
                    filter.column
                )))
            }
        });
        filters.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something with these columns passes.
    pub(super) fn pass<'row>(&self, column: impl Fn(&str) -> &'row str) -> bool {
        self.0.iter().all(|filter| filter.passes(column(filter.column)))
    }
}

impl<'request> Filter<'request> {
    /// The last parenthesis and the last comma separate, whatever lies before them; what follows the end is ignored.
    fn read(text: &'request str, entity: &str) -> Option<Self> {
        let (inner, _) = text.rsplit_once(')')?;
        let (function, inner) = inner.rsplit_once('(')?;
        let (column, values) = inner.rsplit_once(',')?;
        let values = values.strip_prefix(' ').unwrap_or(values);
        let column = column
            .strip_prefix(entity)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(column);
        let known = ["contains", "eq", "ne", "value_in", "value_not_in"].contains(&function);
        (known && !column.is_empty() && !values.is_empty()).then(|| Self {
            function,
            column,
            values: values.split(';').collect(),
        })
    }

    fn passes(&self, column: &str) -> bool {
        let any = |matches: &dyn Fn(&str) -> bool| self.values.iter().any(|value| matches(value));
        match self.function {
            "contains" => any(&|value| column.contains(value)),
            "ne" | "value_not_in" => !any(&|value| column == value),
            _ => any(&|value| column == value),
        }
    }
}
