//! What a SELECT reads: tables, and queries (of WITH, or in brackets) whose plain output columns are
//! followed to the tables that they come from. It knows no macros.

use std::collections::BTreeSet;
use std::rc::Rc;

use sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableAlias, TableFactor, WildcardAdditionalOptions,
};

use crate::query::TableId;

/// Where a column may be: a table, and the path of its name there.
pub(super) type Candidate = (TableId, Vec<String>);

/// A relation of a SELECT.
#[derive(Clone)]
pub(super) struct Relation {
    /// How columns name it, in lower case; empty where they cannot.
    alias: String,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Table(TableId),
    Query(Rc<Outputs>),
    /// Anything else.
    Unknown,
}

/// What a query gives out: that of each SELECT between its UNIONs.
type Outputs = Vec<Branch>;

struct Branch {
    items: Vec<Item>,
    relations: Vec<Relation>,
}

/// An item of a SELECT's list, names in lower case.
enum Item {
    /// A column, and what it is where it is a plain one.
    Column { name: String, path: Option<Vec<String>> },
    /// `*`, or `alias.*`, without some columns.
    All { of: Option<String>, without: Vec<String> },
}

/// The names round a place in a text.
pub(super) struct Names<'a> {
    default_dataset: Option<&'a str>,
    project: &'a str,
    /// The names that WITH gives to queries anywhere in the text: where one is not in sight, it is no
    /// table's either.
    anywhere: BTreeSet<String>,
    /// The queries of WITH in sight, the nearest last.
    queries: Vec<(String, Source)>,
}

impl<'a> Names<'a> {
    /// No names yet; `default_dataset` and `project` complete those of tables.
    pub(super) fn new(default_dataset: Option<&'a str>, project: &'a str, anywhere: BTreeSet<String>) -> Self {
        Self { default_dataset, project, anywhere, queries: Vec::new() }
    }

    /// Brings the queries of a WITH in sight, and tells how many were before.
    pub(super) fn enter(&mut self, query: &Query) -> usize {
        let before = self.queries.len();
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let source = self.source(&table.query, Some(&table.alias));
            self.queries.push((table.alias.name.value.to_lowercase(), source));
        }
        before
    }

    /// Forgets all but the first `before` queries.
    pub(super) fn leave(&mut self, before: usize) {
        self.queries.truncate(before);
    }

    /// The relations of a SELECT.
    pub(super) fn relations(&mut self, select: &Select) -> Vec<Relation> {
        let tables = select.from.iter();
        let factors = tables
            .flat_map(|tables| std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation)));
        factors.map(|factor| self.relation(factor)).collect()
    }

    fn relation(&mut self, factor: &TableFactor) -> Relation {
        let (alias, source) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let written = parts(name);
                let own = written.last().map(|name| name.to_lowercase());
                return Relation {
                    alias: named(alias.as_ref()).or(own).unwrap_or_default(),
                    source: self.named(&written),
                };
            }
            TableFactor::Derived { subquery, alias, .. } => (alias, self.source(subquery, alias.as_ref())),
            TableFactor::UNNEST { alias, .. } => (alias, Source::Unknown),
            _ => (&None, Source::Unknown),
        };
        Relation { alias: named(alias.as_ref()).unwrap_or_default(), source }
    }

    fn named(&self, written: &[String]) -> Source {
        if let [only] = written {
            let name = only.to_lowercase();
            if let Some((_, source)) = self.queries.iter().rev().find(|(found, _)| *found == name) {
                return source.clone();
            }
            if self.anywhere.contains(&name) {
                return Source::Unknown;
            }
        }
        table_id(written, self.default_dataset, self.project).map_or(Source::Unknown, Source::Table)
    }

    /// A query as a relation; one whose alias names its columns too is not followed.
    fn source(&mut self, query: &Query, alias: Option<&TableAlias>) -> Source {
        if alias.is_some_and(|alias| !alias.columns.is_empty()) {
            return Source::Unknown;
        }
        let before = self.enter(query);
        let mut branches = Vec::new();
        let is_known = self.branches(&query.body, &mut branches);
        self.leave(before);
        if is_known { Source::Query(Rc::new(branches)) } else { Source::Unknown }
    }

    /// Collects the SELECTs of a query's body, and tells whether that is all there is.
    fn branches(&mut self, body: &SetExpr, branches: &mut Outputs) -> bool {
        match body {
            SetExpr::Select(select) => {
                let relations = self.relations(select);
                branches.push(Branch { items: select.projection.iter().map(item).collect(), relations });
                true
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.branches(left, branches) && self.branches(right, branches)
            }
            SetExpr::Query(query) => {
                let before = self.enter(query);
                let is_known = self.branches(&query.body, branches);
                self.leave(before);
                is_known
            }
            _ => false,
        }
    }
}

/// Where a column of a SELECT may be.
pub(super) fn candidates(relations: &[Relation], path: &[String]) -> Vec<Candidate> {
    if let [alias, rest @ ..] = path
        && !rest.is_empty()
        && let Some(relation) = relations.iter().find(|relation| relation.alias == *alias)
    {
        return relation.candidates(rest);
    }
    relations.iter().flat_map(|relation| relation.candidates(path)).collect()
}

impl Relation {
    fn candidates(&self, path: &[String]) -> Vec<Candidate> {
        match &self.source {
            Source::Table(table) => vec![(table.clone(), path.to_vec())],
            Source::Query(branches) => of_query(branches, path),
            Source::Unknown => vec![],
        }
    }
}

/// Where an output column of a query may be: in a UNION at the place of that name in its first SELECT.
fn of_query(branches: &Outputs, path: &[String]) -> Vec<Candidate> {
    let [name, rest @ ..] = path else { return vec![] };
    let place = branches.first().and_then(|first| first.place(name));
    let of_branch = |branch: &Branch| match place.and_then(|place| branch.at(place)) {
        Some(path) => branch.of_column(path.as_deref(), rest),
        None => branch.of_name(name, rest),
    };
    branches.iter().flat_map(of_branch).collect()
}

impl Branch {
    /// Which column has a name, where that can be counted.
    fn place(&self, name: &str) -> Option<usize> {
        let place = self.items.iter().position(|item| item.is_named(name))?;
        self.at(place).map(|_| place)
    }

    /// What the column at a place is, where no `*` stands before it.
    fn at(&self, place: usize) -> Option<&Option<Vec<String>>> {
        let mut last = None;
        for item in self.items.get(..=place)? {
            let Item::Column { path, .. } = item else { return None };
            last = Some(path);
        }
        last
    }

    fn of_column(&self, path: Option<&[String]>, rest: &[String]) -> Vec<Candidate> {
        path.map(|path| candidates(&self.relations, &[path, rest].concat())).unwrap_or_default()
    }

    /// A column of that name, else one that comes with a `*`.
    fn of_name(&self, name: &str, rest: &[String]) -> Vec<Candidate> {
        if let Some(Item::Column { path, .. }) = self.items.iter().find(|item| item.is_named(name)) {
            return self.of_column(path.as_deref(), rest);
        }
        let path = [&[name.to_owned()], rest].concat();
        let of_item = |item: &Item| match item {
            Item::All { of, without } if !without.iter().any(|out| out == name) => {
                let is_meant = |relation: &&Relation| of.as_ref().is_none_or(|of| *of == relation.alias);
                self.relations.iter().filter(is_meant).flat_map(|relation| relation.candidates(&path)).collect()
            }
            _ => vec![],
        };
        self.items.iter().flat_map(of_item).collect()
    }
}

impl Item {
    fn is_named(&self, sought: &str) -> bool {
        matches!(self, Self::Column { name, .. } if name == sought)
    }
}

fn item(item: &SelectItem) -> Item {
    let column = |name: Option<String>, path| Item::Column { name: name.unwrap_or_default(), path };
    match item {
        SelectItem::UnnamedExpr(expr) => {
            let path = plain(expr);
            column(path.as_ref().and_then(|path| path.last().cloned()), path)
        }
        SelectItem::ExprWithAlias { expr, alias } => column(Some(alias.value.to_lowercase()), plain(expr)),
        SelectItem::Wildcard(options) => Item::All { of: None, without: without(options) },
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
            Item::All { of: Some(parts(name).join(".").to_lowercase()), without: without(options) }
        }
        _ => column(None, None),
    }
}

/// The columns that `* EXCEPT (…)` leaves out and `* REPLACE (…)` computes.
fn without(options: &WildcardAdditionalOptions) -> Vec<String> {
    let mut names: Vec<&Ident> = Vec::new();
    if let Some(ExceptSelectItem { first_element, additional_elements }) = &options.opt_except {
        names.extend(std::iter::once(first_element).chain(additional_elements));
    }
    let replaced = options.opt_replace.iter().flat_map(|replace| &replace.items);
    names.extend(replaced.map(|item| &item.column_name));
    names.iter().map(|name| name.value.to_lowercase()).collect()
}

/// The parts of a plain column's name in lower case.
pub(super) fn plain(expr: &Expr) -> Option<Vec<String>> {
    let lower = |name: &Ident| name.value.to_lowercase();
    match expr {
        Expr::Identifier(name) => Some(vec![lower(name)]),
        Expr::CompoundIdentifier(names) => Some(names.iter().map(lower).collect()),
        _ => None,
    }
}

fn named(alias: Option<&TableAlias>) -> Option<String> {
    alias.map(|alias| alias.name.value.to_lowercase())
}

/// The parts of a table's name, however much of it is in one pair of backticks.
fn parts(name: &ObjectName) -> Vec<String> {
    let idents = name.0.iter().filter_map(|part| part.as_ident());
    idents.flat_map(|ident| ident.value.split('.')).map(str::to_owned).collect()
}

/// The full name of a table; `None` for a wildcard, a view of the system, and a name without dataset.
fn table_id(parts: &[String], default_dataset: Option<&str>, project: &str) -> Option<TableId> {
    if parts.iter().any(|part| part.contains('*') || part.eq_ignore_ascii_case("INFORMATION_SCHEMA")) {
        return None;
    }
    match parts {
        [] => None,
        [table] => {
            let dataset = default_dataset?;
            match dataset.rsplit_once('.') {
                Some((project, dataset)) => Some(TableId::new(project, dataset, table)),
                None => Some(TableId::new(project, dataset, table)),
            }
        }
        [dataset, table] => Some(TableId::new(project, dataset, table)),
        more => more.join(".").parse().ok(),
    }
}
