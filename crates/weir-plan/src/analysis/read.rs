//! Follows a query from its outermost SELECT down to the source, through common table expressions
//! and inner SELECTs that only filter and project.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias,
    TableFactor, WildcardAdditionalOptions, With,
};

use super::level::{Bucketing, Columns, Fact, Level, Origin, Relation, Rest};
use super::reason;
use super::walk::{Census, bare};
use super::{Catalog, Reason};

/// Reads inner queries; counts those it has followed.
pub(super) struct Reader<'a, 'q> {
    catalog: &'a Catalog<'a>,
    /// Common table expressions that can be read here, latest last.
    ctes: Vec<(String, &'q Query)>,
    /// Queries of the tree that were followed.
    pub(super) followed: usize,
}

/// The SELECT of a query, through brackets, if nothing but ORDER BY is round it. `query` is the
/// query that the SELECT's ORDER BY is in.
pub(super) struct Body<'q> {
    pub(super) query: &'q Query,
    pub(super) select: &'q Select,
}

impl<'a, 'q> Reader<'a, 'q> {
    /// Prepares to read the tables of one tree.
    pub(super) fn new(catalog: &'a Catalog<'a>) -> Self {
        Self { catalog, ctes: Vec::new(), followed: 0 }
    }

    /// The outermost SELECT. Its common table expressions are known from now on.
    pub(super) fn outermost(&mut self, query: &'q Query) -> Result<Body<'q>, Reason> {
        if let Some(with) = &query.with {
            let short_names = Census::of(query).short_names;
            self.with(with, &short_names)?;
        }
        self.body(query)
    }

    fn with(&mut self, with: &'q With, short_names: &[String]) -> Result<(), Reason> {
        if with.recursive {
            return Err(reason::RECURSIVE);
        }
        for cte in &with.cte_tables {
            if !cte.alias.columns.is_empty() || cte.from.is_some() || cte.materialized.is_some() {
                return Err(reason::ODD_SYNTAX);
            }
            let name = cte.alias.name.value.to_ascii_lowercase();
            match short_names.iter().filter(|other| **other == name).count() {
                1 if self.ctes.iter().all(|(other, _)| *other != name) => self.ctes.push((name, &cte.query)),
                0 => return Err(reason::CTE_UNUSED),
                _ => return Err(reason::CTE_REUSED),
            }
        }
        Ok(())
    }

    fn body(&mut self, mut query: &'q Query) -> Result<Body<'q>, Reason> {
        loop {
            self.followed += 1;
            plain_query(query)?;
            query = match &*query.body {
                SetExpr::Select(select) => {
                    plain_select(select)?;
                    return Ok(Body { query, select });
                }
                SetExpr::Query(inner) if query.order_by.is_none() => {
                    if inner.with.is_some() {
                        return Err(reason::NESTED_WITH);
                    }
                    inner
                }
                SetExpr::SetOperation { .. } | SetExpr::Values(_) | SetExpr::Query(_) => {
                    return Err(reason::SET_OPERATION);
                }
                _ => return Err(reason::ODD_SYNTAX),
            }
        }
    }

    /// What an inner query reads, if it only filters and projects one source.
    fn inner(&mut self, query: &'q Query) -> Result<Fact<'a>, Reason> {
        if query.with.is_some() {
            return Err(reason::NESTED_WITH);
        }
        let Body { query, select } = self.body(query)?;
        let census = Census::of(select);
        let groups = !matches!(&select.group_by, GroupByExpr::Expressions(by, modifiers) if by.is_empty() && modifiers.is_empty());
        if groups || select.having.is_some() || census.aggregates || select.distinct.is_some() {
            return Err(reason::INNER_AGGREGATE);
        }
        if !census.windows.is_empty() || select.qualify.is_some() {
            return Err(reason::WINDOW);
        }
        if query.order_by.is_some() {
            return Err(reason::INNER_ORDER);
        }
        let level = Level::read(select, self)?;
        if level.relations > 1 {
            return Err(reason::INNER_JOIN);
        }
        let filter = level.filter(select)?;
        let (columns, bucket) = project(select, &level)?;
        Ok(Fact { descriptor: level.fact.descriptor, columns, filter, bucket })
    }

    /// What a relation of FROM is.
    pub(super) fn relation(&mut self, factor: &'q TableFactor) -> Result<Relation<'a>, Reason> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                plain_alias(alias.as_ref())?;
                if args.is_some() {
                    return Err(reason::TABLE_FUNCTION);
                }
                if version.is_some() {
                    return Err(reason::SYSTEM_TIME);
                }
                if sample.is_some() {
                    return Err(reason::TABLESAMPLE);
                }
                let odd = *with_ordinality || json_path.is_some() || !with_hints.is_empty();
                if odd || !partitions.is_empty() || !index_hints.is_empty() {
                    return Err(reason::ODD_SYNTAX);
                }
                self.table(name)
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                plain_alias(alias.as_ref())?;
                self.inner(subquery).map(Relation::Fact)
            }
            TableFactor::UNNEST { alias, with_ordinality: false, .. } => {
                plain_alias(alias.as_ref())?;
                Ok(Relation::Unnest)
            }
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => Err(reason::TABLE_FUNCTION),
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } | TableFactor::MatchRecognize { .. } => {
                Err(reason::PIVOT)
            }
            TableFactor::NestedJoin { .. } => Err(reason::NESTED_JOIN),
            _ => Err(reason::ODD_SYNTAX),
        }
    }

    fn table(&mut self, name: &ObjectName) -> Result<Relation<'a>, Reason> {
        let parts: Option<Vec<_>> = name.0.iter().map(|part| Some(part.as_ident()?.value.as_str())).collect();
        let parts = parts.ok_or(reason::ODD_SYNTAX)?;
        if parts.iter().any(|part| part.contains('*')) {
            return Err(reason::WILDCARD_TABLE);
        }
        if let [short] = parts[..] {
            let known = self.ctes.iter().rposition(|(name, _)| name.eq_ignore_ascii_case(short));
            if let Some(position) = known {
                // A common table expression reads those before it.
                let later = self.ctes.split_off(position);
                let fact = self.inner(later[0].1);
                self.ctes.extend(later);
                return fact.map(Relation::Fact);
            }
        }
        let Some(descriptor) = self.catalog.resolve(&parts) else { return Ok(Relation::Unknown) };
        Ok(if descriptor.is_static {
            Relation::Static(descriptor.table.clone())
        } else if descriptor.time_column.is_none() {
            Relation::Dimension
        } else {
            let columns = Columns { rest: Some(Rest::Source), ..Columns::default() };
            Relation::Fact(Fact { descriptor, columns, filter: None, bucket: None })
        })
    }
}

fn plain_alias(alias: Option<&TableAlias>) -> Result<(), Reason> {
    match alias {
        Some(alias) if !alias.columns.is_empty() || alias.at.is_some() => Err(reason::ODD_SYNTAX),
        _ => Ok(()),
    }
}

fn plain_query(query: &Query) -> Result<(), Reason> {
    if !query.pipe_operators.is_empty() {
        return Err(reason::PIPE_SYNTAX);
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return Err(reason::LIMIT);
    }
    let odd = query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some();
    if odd || !query.locks.is_empty() { Err(reason::ODD_SYNTAX) } else { Ok(()) }
}

fn plain_select(select: &Select) -> Result<(), Reason> {
    if select.flavor != SelectFlavor::Standard {
        return Err(reason::PIPE_SYNTAX);
    }
    if select.value_table_mode.is_some() {
        return Err(reason::VALUE_TABLE);
    }
    let odd = select.top.is_some()
        || select.into.is_some()
        || select.exclude.is_some()
        || select.prewhere.is_some()
        || select.select_modifiers.is_some()
        || matches!(select.distinct, Some(Distinct::On(_)))
        || !select.optimizer_hints.is_empty()
        || !select.lateral_views.is_empty()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty();
    if odd { Err(reason::ODD_SYNTAX) } else { Ok(()) }
}

/// The name of an output without alias, in lower case.
pub(super) fn implied_name(expr: &Expr) -> Option<&Ident> {
    match bare(expr) {
        Expr::Identifier(column) => Some(column),
        Expr::CompoundIdentifier(path) => path.last(),
        _ => None,
    }
}

/// The columns of `*`, with EXCEPT and REPLACE.
pub(super) fn star(options: &WildcardAdditionalOptions, level: &Level<'_>) -> Result<Columns, Reason> {
    let odd = options.opt_ilike.is_some() || options.opt_exclude.is_some() || options.opt_rename.is_some();
    if odd || options.opt_alias.is_some() {
        return Err(reason::ODD_SYNTAX);
    }
    let lower = |ident: &Ident| ident.value.to_ascii_lowercase();
    let mut left_out = Vec::new();
    if let Some(except) = &options.opt_except {
        left_out.extend(std::iter::once(&except.first_element).chain(&except.additional_elements).map(lower));
    }
    let replaced = options.opt_replace.iter().flat_map(|replace| &replace.items);
    let named: Vec<_> = replaced.map(|item| (lower(&item.column_name), Origin::Derived)).collect();
    Ok(Columns { named, rest: Some(Rest::Inner(Box::new(level.fact.columns.clone()))), left_out })
}

/// What the outputs of an inner SELECT stand for, and its bucket.
fn project(select: &Select, level: &Level<'_>) -> Result<(Columns, Option<Bucketing>), Reason> {
    let (mut columns, mut bucket) = (Columns::default(), level.fact.bucket.clone());
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, implied_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
            SelectItem::Wildcard(options) => {
                if columns.rest.is_some() {
                    return Err(reason::ODD_SYNTAX);
                }
                let star = star(options, level)?;
                columns.named.extend(star.named);
                columns.rest = star.rest;
                columns.left_out = star.left_out;
                continue;
            }
            SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => return Err(reason::ODD_SYNTAX),
        };
        let origin = match level.bucketing(expr)? {
            Some(found) => {
                if bucket.as_ref().is_some_and(|other| *other != found) {
                    return Err(reason::TWO_BUCKETS);
                }
                bucket = Some(found);
                Origin::Bucket
            }
            None => level.origin(expr).unwrap_or(Origin::Derived),
        };
        columns.named.extend(alias.map(|alias| (alias.value.to_ascii_lowercase(), origin)));
    }
    Ok((columns, bucket))
}
