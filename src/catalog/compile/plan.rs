//! From paths to a plan: the subset construction that lets one walk over a message follow every path at once.

use super::shape::{Segment, Shapes, segments};
use crate::catalog::{Field, Part, Plan, ScalarKind, Slot, SlotRole, State, Step};
use crate::model::setting::Setting;
use std::collections::{BTreeMap, BTreeSet};

/// A path and what is to be done at its end.
struct Pattern<'a> {
    steps: Vec<PatternStep<'a>>,
    end: End,
}

enum PatternStep<'a> {
    /// Into the field of that name.
    Field(&'a str),
    /// Any number of times along one of these paths, each back to the same message type.
    Nested(Vec<Vec<&'a str>>),
}

enum End {
    Open(usize),
    Keep(usize, Part),
    Search(usize),
}

/// How far a pattern has come: before `step`, and within a nested step after `done` fields of one of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    pattern: usize,
    step: usize,
    nested: Option<(usize, usize)>,
}

/// Makes the plan that fills the slots, whose paths have been checked against the shapes.
///
/// # Errors
/// A message type that has no shape, or a slot whose message can lie in itself.
pub(super) fn build(shapes: &Shapes, request: &str, slots: Vec<Slot>) -> Result<Plan, String> {
    let states = {
        let patterns = patterns(shapes, request, &slots)?;
        let mut construction = Construction {
            shapes,
            patterns: &patterns,
            known: BTreeMap::new(),
            pending: Vec::new(),
        };
        construction.run(request)?
    };
    for (index, slot) in slots.iter().enumerate() {
        if opens_within_itself(&states, index) {
            return Err(format!(
                "the message at `{}` can lie in itself: give the path to the field that is meant",
                slot.at
            ));
        }
    }
    Ok(Plan::new(states, slots))
}

fn patterns<'a>(shapes: &'a Shapes, request: &'a str, slots: &'a [Slot]) -> Result<Vec<Pattern<'a>>, String> {
    let mut patterns = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let opens = match slot.role {
            SlotRole::KeyedSetting | SlotRole::Setting(Setting::ClusterResource | Setting::QueueTag) => {
                (&*slot.at, End::Search(index))
            }
            _ => (&*slot.at, End::Open(index)),
        };
        let keeps = slot.parts.iter().map(|(path, part)| (&**path, End::Keep(index, *part)));
        for (path, end) in std::iter::once(opens).chain(keeps) {
            let steps = pattern_steps(shapes, request, path)?;
            patterns.push(Pattern { steps, end });
        }
    }
    Ok(patterns)
}

fn pattern_steps<'a>(shapes: &'a Shapes, request: &'a str, path: &'a str) -> Result<Vec<PatternStep<'a>>, String> {
    let mut message = Some(request);
    let mut steps = Vec::new();
    for segment in segments(path) {
        let Some(current) = message else {
            return Err(format!("`{path}` leads nowhere"));
        };
        match segment {
            Segment::Field(name, _) => {
                message = shapes.field(current, name)?.message.as_deref();
                steps.push(PatternStep::Field(name));
            }
            Segment::Nested => {
                let names = |path: &'a str| segments(path).filter_map(Segment::name).collect();
                steps.push(PatternStep::Nested(
                    shapes.recursion(current).iter().map(|path| names(path)).collect(),
                ));
            }
        }
    }
    Ok(steps)
}

impl<'a> Segment<'a> {
    fn name(self) -> Option<&'a str> {
        match self {
            Self::Field(name, _) => Some(name),
            Self::Nested => None,
        }
    }
}

type Key<'a> = (&'a str, BTreeSet<Position>);

struct Construction<'a> {
    shapes: &'a Shapes,
    patterns: &'a [Pattern<'a>],
    /// States by message type and the positions of the patterns that are still alive in them.
    known: BTreeMap<Key<'a>, usize>,
    /// States that have a number and no content yet, in the order of their numbers.
    pending: Vec<Key<'a>>,
}

impl<'a> Construction<'a> {
    fn run(&mut self, request: &'a str) -> Result<Vec<State>, String> {
        let start = (0..self.patterns.len())
            .map(|pattern| Position {
                pattern,
                step: 0,
                nested: None,
            })
            .collect();
        self.number(request, start);
        let mut states = Vec::new();
        while let Some((message, positions)) = self.pending.get(states.len()).cloned() {
            states.push(self.state(message, &positions)?);
        }
        Ok(states)
    }

    fn number(&mut self, message: &'a str, positions: BTreeSet<Position>) -> usize {
        let key = (message, self.close(positions));
        let next = self.pending.len();
        let number = *self.known.entry(key.clone()).or_insert(next);
        if number == next {
            self.pending.push(key);
        }
        number
    }

    /// Adds the positions after nested steps, which may be passed over.
    fn close(&self, positions: BTreeSet<Position>) -> BTreeSet<Position> {
        let mut closed = positions;
        let mut fresh: Vec<Position> = closed.iter().copied().collect();
        while let Some(position) = fresh.pop() {
            if position.nested.is_none() && matches!(self.step(position), Some(PatternStep::Nested(_))) {
                let next = position.after();
                if closed.insert(next) {
                    fresh.push(next);
                }
            }
        }
        closed
    }

    fn state(&mut self, message: &'a str, positions: &BTreeSet<Position>) -> Result<State, String> {
        let shapes = self.shapes;
        let mut fields = Vec::new();
        for field in shapes.fields(message)? {
            let reached: BTreeSet<Position> = positions
                .iter()
                .flat_map(|position| self.advance(*position, &field.name))
                .collect();
            let searched = self.ends(&reached).find_map(End::searched);
            let step = match (&field.message, searched) {
                _ if reached.is_empty() => Step::Skip,
                (_, Some(_)) if reached.len() > 1 => {
                    return Err(format!("`{}` is searched and read besides", field.name));
                }
                (_, Some(slot)) => Step::Search(slot),
                (Some(message), None) => Step::Descend(self.number(message, reached)),
                (None, None) => Step::Keep(self.ends(&reached).filter_map(End::kept).collect()),
            };
            fields.push(Field {
                number: field.number,
                name: field.name.clone(),
                json: field.json.clone(),
                kind: field.kind.clone(),
                cardinality: field.cardinality,
                oneof: field.oneof,
                step,
            });
        }
        debug_assert!(
            fields
                .iter()
                .all(|field| !matches!(field.step, Step::Descend(_)) || field.kind == ScalarKind::Message)
        );
        Ok(State {
            message: message.into(),
            fields,
            opens: self.ends(positions).filter_map(End::opened).collect(),
        })
    }

    /// The ends of patterns that are complete.
    fn ends(&self, positions: &BTreeSet<Position>) -> impl Iterator<Item = &End> {
        positions.iter().filter_map(|position| {
            let pattern = self.patterns.get(position.pattern)?;
            (position.step == pattern.steps.len()).then_some(&pattern.end)
        })
    }

    fn step(&self, position: Position) -> Option<&'a PatternStep<'a>> {
        self.patterns.get(position.pattern)?.steps.get(position.step)
    }

    /// Where a pattern stands after a field was entered; nowhere if it does not go that way.
    fn advance(&self, position: Position, field: &str) -> Vec<Position> {
        match (self.step(position), position.nested) {
            (Some(PatternStep::Field(name)), _) if *name == field => vec![position.after()],
            (Some(PatternStep::Nested(paths)), nested) => paths
                .iter()
                .enumerate()
                .filter_map(|(index, path)| {
                    let done = match nested {
                        None => 0,
                        Some((path, done)) if path == index => done,
                        Some(_) => return None,
                    };
                    (path.get(done) == Some(&field)).then(|| Position {
                        nested: (done + 1 < path.len()).then_some((index, done + 1)),
                        ..position
                    })
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl Position {
    fn after(self) -> Self {
        Self {
            step: self.step + 1,
            nested: None,
            ..self
        }
    }
}

impl End {
    fn kept(&self) -> Option<(usize, Part)> {
        match self {
            Self::Keep(slot, part) => Some((*slot, *part)),
            Self::Open(_) | Self::Search(_) => None,
        }
    }

    fn opened(&self) -> Option<usize> {
        match self {
            Self::Open(slot) => Some(*slot),
            Self::Keep(..) | Self::Search(_) => None,
        }
    }

    fn searched(&self) -> Option<usize> {
        match self {
            Self::Search(slot) => Some(*slot),
            Self::Open(_) | Self::Keep(..) => None,
        }
    }
}

/// Whether an occurrence of the slot can begin inside another.
fn opens_within_itself(states: &[State], slot: usize) -> bool {
    let opening = |index: &usize| states.get(*index).is_some_and(|state| state.opens.contains(&slot));
    let mut seen = BTreeSet::new();
    let mut pending: Vec<usize> = (0..states.len())
        .filter(opening)
        .flat_map(|index| below(states, index))
        .collect();
    while let Some(index) = pending.pop() {
        if opening(&index) {
            return true;
        }
        if seen.insert(index) {
            pending.extend(below(states, index));
        }
    }
    false
}

fn below(states: &[State], index: usize) -> Vec<usize> {
    let fields = states.get(index).map_or(&[][..], |state| &state.fields);
    fields
        .iter()
        .filter_map(|field| match field.step {
            Step::Descend(next) => Some(next),
            Step::Skip | Step::Keep(_) | Step::Search(_) => None,
        })
        .collect()
}
