//! One SELECT's FROM: the one source it reads, what is joined to it, and what its names stand for.

use sqlparser::ast::{
    CastKind, DataType, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Select, TableAlias, TableFactor,
    TimezoneInfo,
};

use super::mask::{FILTER, GROUP};
use super::read::Reader;
use super::reason;
use super::walk::{Census, bare, call, conjuncts};
use super::{Reason, TimeRef};
use crate::descriptor::{History, SourceDescriptor};
use crate::query::TableId;

/// What a name of the source's rows stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A column of the source, in lower case.
    Column(String),
    /// The bucket of an inner SELECT.
    Bucket,
    /// An expression of one row.
    Derived,
}

/// The columns that a table or inner SELECT shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// Named ones, in lower case.
    pub(super) named: Vec<(String, Origin)>,
    /// Those of `*`, without the ones in `left_out`.
    pub(super) rest: Option<Rest>,
    /// Left out of `rest`.
    pub(super) left_out: Vec<String>,
}

/// What `*` stands for.
#[derive(Clone, Debug)]
pub(super) enum Rest {
    /// The columns of the source itself.
    Source,
    /// Those of an inner SELECT.
    Inner(Box<Columns>),
}

impl Columns {
    /// What a name stands for; `None` where that is unknown or ambiguous.
    pub(super) fn lookup(&self, name: &str) -> Option<Origin> {
        let mut named = self.named.iter().filter(|(other, _)| other == name);
        match (named.next(), named.next()) {
            (Some((_, origin)), None) => Some(origin.clone()),
            (Some(_), Some(_)) => None,
            (None, _) if self.left_out.iter().any(|other| other == name) => None,
            (None, _) => match self.rest.as_ref()? {
                Rest::Source => Some(Origin::Column(name.to_owned())),
                Rest::Inner(inner) => inner.lookup(name),
            },
        }
    }

    /// The names that stand for a column of the source.
    pub(super) fn names_of(&self, column: &Origin) -> Vec<String> {
        let named = self.named.iter().filter(|(_, origin)| origin == column).map(|(name, _)| name.clone());
        let rest = match (&self.rest, column) {
            (Some(Rest::Source), Origin::Column(name)) => vec![name.clone()],
            (Some(Rest::Inner(inner)), _) => inner.names_of(column),
            _ => Vec::new(),
        };
        named.chain(rest).collect()
    }
}

/// A bucket: of which column, and by which step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucketing {
    pub(super) time: TimeRef,
    pub(super) step: usize,
}

/// The one source that a SELECT reads, perhaps through inner ones.
#[derive(Clone)]
pub(super) struct Fact<'a> {
    pub(super) descriptor: &'a SourceDescriptor,
    pub(super) columns: Columns,
    /// The time filter of an inner SELECT.
    pub(super) filter: Option<TimeRef>,
    /// The bucket of an inner SELECT.
    pub(super) bucket: Option<Bucketing>,
}

/// A SELECT's FROM.
pub(super) struct Level<'a> {
    pub(super) fact: Fact<'a>,
    pub(super) statics: Vec<TableId>,
    /// How many relations are joined.
    pub(super) relations: usize,
    alias: Option<String>,
}

/// What a relation of FROM is.
pub(super) enum Relation<'a> {
    Fact(Fact<'a>),
    /// A table without a time column and not static.
    Dimension,
    Static(TableId),
    Unknown,
    Unnest,
}

/// Which rows without a partner a join keeps.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    None,
    Left,
    Right,
    Both,
}

impl<'a> Level<'a> {
    /// Reads the FROM of a SELECT.
    pub(super) fn read<'q>(select: &'q Select, reader: &mut Reader<'a, 'q>) -> Result<Self, Reason> {
        let mut fact: Option<(Fact<'a>, Option<String>)> = None;
        let (mut statics, mut unknown, mut dimension) = (Vec::new(), false, false);
        let (mut aliases, mut merged, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        let mut relations = 0;
        // A comma binds as weakly as a join to its left, so the chain is read from left to right.
        let chain = select.from.iter().flat_map(|from| {
            let joins = from.joins.iter().map(|join| (&join.relation, Some(join)));
            std::iter::once((&from.relation, None)).chain(joins)
        });
        for (factor, join) in chain {
            let keeps = match join {
                None => Keeps::None,
                Some(join) if join.global => return Err(reason::ODD_SYNTAX),
                Some(join) => keeps(&join.join_operator, &mut merged)?,
            };
            relations += 1;
            let (alias, path) = names(factor, &mut aliases);
            paths.extend(path);
            let relation = reader.relation(factor)?;
            let is_fact = matches!(relation, Relation::Fact(_));
            let makes_rows = match keeps {
                Keeps::None => false,
                Keeps::Left => is_fact,
                Keeps::Right => fact.is_some(),
                Keeps::Both => true,
            };
            match relation {
                Relation::Fact(_) if fact.is_some() => return Err(reason::TWO_SOURCES),
                Relation::Fact(read) => fact = Some((read, alias)),
                Relation::Dimension => dimension = true,
                Relation::Static(table) => statics.push(table),
                Relation::Unknown => unknown = true,
                Relation::Unnest => {}
            }
            if makes_rows {
                return Err(reason::OUTER_JOIN);
            }
        }
        let (fact, alias) = match (fact, unknown, dimension) {
            (Some(_), true, _) | (Some(_), _, true) => return Err(reason::JOIN_NOT_STATIC),
            (Some(fact), ..) => fact,
            (None, true, _) => return Err(reason::UNKNOWN_SOURCE),
            (None, _, true) => return Err(reason::NO_TIME_COLUMN),
            (None, ..) => return Err(reason::NO_SOURCE),
        };
        match fact.descriptor.history {
            History::Local => {}
            History::Prefix => return Err(reason::PREFIX_HISTORY),
            History::Opaque => return Err(reason::OPAQUE_HISTORY),
        }
        // `FROM t AS a, a.b` unnests a column, and `time` may be a table's alias.
        let hides = |name: &String| match fact.columns.lookup(name) {
            Some(Origin::Column(column)) => fact.descriptor.time(&column).is_some(),
            Some(Origin::Bucket) => true,
            Some(Origin::Derived) | None => false,
        };
        if paths.iter().any(|path| aliases.contains(path)) || aliases.iter().chain(&merged).any(hides) {
            return Err(reason::SHADOWED_TIME);
        }
        Ok(Self { fact, statics, relations, alias })
    }

    /// Whether the source's columns can be qualified with `name`.
    pub(super) fn is_alias(&self, name: &ObjectName) -> bool {
        name.0.len() == 1 && self.alias.is_some() && self.alias == last_part(name)
    }

    /// What an expression of a bare column stands for.
    pub(super) fn origin(&self, expr: &Expr) -> Option<Origin> {
        match bare(expr) {
            Expr::Identifier(column) if !column.value.starts_with('@') => self.fact.columns.lookup(&column.value),
            Expr::CompoundIdentifier(path) => match &path[..] {
                [alias, column] if self.alias.as_ref() == Some(&alias.value) => self.fact.columns.lookup(&column.value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The time column that an expression is, perhaps made a TIMESTAMP.
    fn time(&self, expr: &Expr) -> Option<TimeRef> {
        let expr = bare(expr);
        let inner = match expr {
            Expr::Cast {
                kind: CastKind::Cast,
                expr,
                data_type: DataType::Timestamp(None, TimezoneInfo::None),
                array: false,
                format: None,
            } => Some(&**expr),
            _ => call(expr, "TIMESTAMP").map(|[expr]| expr),
        };
        let Some(Origin::Column(column)) = self.origin(inner.unwrap_or(expr)) else { return None };
        let (time_type, truncated) = self.fact.descriptor.time(&column)?;
        Some(TimeRef { text: expr.to_string(), column, time_type, truncated, cast: inner.is_some() })
    }

    /// The bucket that an expression is: a marker, or the bucket column of an inner SELECT.
    pub(super) fn bucketing(&self, expr: &Expr) -> Result<Option<Bucketing>, Reason> {
        if self.origin(expr) == Some(Origin::Bucket) {
            return Ok(self.fact.bucket.clone());
        }
        let Some([column, step]) = call(bare(expr), GROUP) else { return Ok(None) };
        let step = step.to_string().parse().map_err(|_| reason::BUCKET_COLUMN)?;
        let time = self.time(column).ok_or(reason::BUCKET_COLUMN)?;
        Ok(Some(Bucketing { time, step }))
    }

    /// The time filter among the top conjuncts of WHERE, or that of an inner SELECT.
    pub(super) fn filter(&self, select: &Select) -> Result<Option<TimeRef>, Reason> {
        let conjuncts = select.selection.as_ref().map(conjuncts).unwrap_or_default();
        let mut filter = self.fact.filter.clone();
        for part in conjuncts {
            if let Some([column]) = call(part, FILTER) {
                if filter.is_some() {
                    return Err(reason::TWO_FILTERS);
                }
                filter = Some(self.time(column).ok_or(reason::FILTER_COLUMN)?);
            }
        }
        Ok(filter)
    }
}

fn keeps(operator: &JoinOperator, merged: &mut Vec<String>) -> Result<Keeps, Reason> {
    let (keeps, constraint) = match operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (Keeps::None, on),
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (Keeps::Left, on),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (Keeps::Right, on),
        JoinOperator::FullOuter(on) => (Keeps::Both, on),
        _ => return Err(reason::JOIN_KIND),
    };
    match constraint {
        JoinConstraint::Natural => return Err(reason::NATURAL_JOIN),
        JoinConstraint::Using(columns) => merged.extend(columns.iter().filter_map(last_part)),
        JoinConstraint::On(condition) if Census::of(condition).filters > 0 => return Err(reason::FILTER_IN_JOIN),
        JoinConstraint::On(_) | JoinConstraint::None => {}
    }
    Ok(keeps)
}

/// The names that a relation brings into scope go to `aliases`. Gives the one its columns can be
/// qualified with, and the first part of a table's name of several.
fn names(factor: &TableFactor, aliases: &mut Vec<String>) -> (Option<String>, Option<String>) {
    let lower = |ident: &Ident| ident.value.to_ascii_lowercase();
    let of = |alias: &Option<TableAlias>| alias.as_ref().map(|alias| lower(&alias.name));
    let (alias, path) = match factor {
        TableFactor::Table { name, alias, .. } => {
            let path = name.0.first().filter(|_| name.0.len() > 1).and_then(|part| part.as_ident()).map(lower);
            (of(alias).or_else(|| last_part(name)), path)
        }
        TableFactor::Derived { alias, .. } => (of(alias), None),
        TableFactor::UNNEST { alias, with_offset, with_offset_alias, .. } => {
            if *with_offset {
                aliases.push(with_offset_alias.as_ref().map_or_else(|| "offset".to_owned(), lower));
            }
            (of(alias), None)
        }
        _ => (None, None),
    };
    aliases.extend(alias.clone());
    (alias, path)
}

fn last_part(name: &ObjectName) -> Option<String> {
    Some(name.0.last()?.as_ident()?.value.to_ascii_lowercase())
}
