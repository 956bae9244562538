//! UNNEST in FROM as `unnest` in a select list, which the engine runs for columns of tables too.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins, Visit, Visitor, WildcardAdditionalOptions,
};
use weir_plan::{Error, Result, TableId};

use super::tree::{call, derived, ident};
use super::{Rewriter, unsupported};

impl Rewriter<'_> {
    /// Turns each `UNNEST(array) AS x` in FROM into a derived table, around the relation that the
    /// array comes from.
    pub(super) fn unnest(&mut self, select: &mut Select) -> Result<()> {
        let mut conditions = Vec::new();
        let mut hosts = Hosts::default();
        let mut from = Vec::new();
        for TableWithJoins { relation, joins } in std::mem::take(&mut select.from) {
            let mut kept: Option<TableWithJoins> = None;
            let first = Join { relation, global: false, join_operator: JoinOperator::CrossJoin(JoinConstraint::None) };
            for join in std::iter::once(first).chain(joins) {
                let Join { relation, global, join_operator } = join;
                let relation = match relation {
                    TableFactor::UNNEST { .. } => {
                        let Some(relation) = self.unnest_one(relation, &join_operator, &mut hosts, &mut conditions)?
                        else {
                            continue;
                        };
                        relation
                    }
                    other => other,
                };
                hosts.add(&relation, &mut *self.columns);
                match &mut kept {
                    None => kept = Some(TableWithJoins { relation, joins: vec![] }),
                    Some(kept) => kept.joins.push(Join { relation, global, join_operator }),
                }
            }
            from.extend(kept);
        }
        hosts.wrap(&mut from);
        select.from = from;
        select.selection = conditions.into_iter().chain(select.selection.take()).reduce(|a, b| Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(a))),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(b))),
        });
        Ok(())
    }

    /// Notes an UNNEST at its host; without one it becomes a relation of its own.
    fn unnest_one(
        &mut self,
        factor: TableFactor,
        operator: &JoinOperator,
        hosts: &mut Hosts,
        conditions: &mut Vec<Expr>,
    ) -> Result<Option<TableFactor>> {
        let TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, .. } = factor else {
            return Ok(None);
        };
        let Ok([array]) = <[Expr; 1]>::try_from(array_exprs) else {
            return Err(unsupported("UNNEST of several arrays"));
        };
        let name = alias.map_or_else(|| self.fresh_name(), |alias| alias.name);
        let host = hosts.host_of(&array)?;
        let (outer, condition) = join_kind(operator)?;
        let function = if outer { "unnest_outer" } else { "unnest" };
        let item = |expr, alias| SelectItem::ExprWithAlias { expr, alias };
        let mut items = vec![item(call(function, [array.clone()]), name.clone())];
        if with_offset {
            let offset = with_offset_alias.unwrap_or_else(|| ident("offset"));
            items.push(item(call(function, [call("$offsets", [array])]), offset));
        }
        conditions.extend(condition);
        match host {
            Some(host) => {
                hosts.unnest(host, &name, items);
                Ok(None)
            }
            None if outer => Err(unsupported("LEFT JOIN UNNEST of a constant array")),
            None => Ok(Some(derived(items, None, name))),
        }
    }
}

/// Whether rows without elements stay, and the condition that moves to WHERE.
fn join_kind(operator: &JoinOperator) -> Result<(bool, Option<Expr>)> {
    use JoinOperator as J;
    let (outer, constraint) = match operator {
        J::CrossJoin(constraint) | J::Join(constraint) | J::Inner(constraint) => (false, constraint),
        J::Left(constraint) | J::LeftOuter(constraint) => (true, constraint),
        other => return Err(unsupported(&format!("UNNEST in {other:?}"))),
    };
    match constraint {
        JoinConstraint::None => Ok((outer, None)),
        JoinConstraint::On(condition) if !outer => Ok((outer, Some(condition.clone()))),
        JoinConstraint::On(condition) if condition.to_string().eq_ignore_ascii_case("true") => Ok((outer, None)),
        _ => Err(unsupported("LEFT JOIN UNNEST with a condition")),
    }
}

/// Relations of a FROM clause that arrays may come from.
#[derive(Default)]
struct Hosts {
    names: Vec<String>,
    columns: HashMap<usize, BTreeSet<String>>,
    elements: HashMap<String, usize>,
    unnests: Vec<(usize, Vec<SelectItem>)>,
}

impl Hosts {
    fn add(&mut self, factor: &TableFactor, columns: &mut dyn FnMut(&TableId) -> Result<Vec<String>>) {
        let Some(name) = alias_of(factor) else { return };
        if let TableFactor::Table { name: table, .. } = factor {
            let id = table.0.first().and_then(|part| part.as_ident()).and_then(|ident| ident.value.parse().ok());
            if let Some(Ok(known)) = id.map(|id: TableId| columns(&id)) {
                self.columns.insert(self.names.len(), known.into_iter().collect());
            }
        }
        self.names.push(name.value.clone());
    }

    /// The relation that an array expression reads; `None` for a constant.
    fn host_of(&self, array: &Expr) -> Result<Option<usize>> {
        let mut roots = Roots::default();
        let _ = array.visit(&mut roots);
        let mut host = None;
        for (root, is_path) in roots.0 {
            let by_name = self.names.iter().position(|name| *name == root).filter(|_| is_path);
            let by_column = || self.columns.iter().find(|(_, columns)| columns.contains(&root)).map(|(i, _)| *i);
            let of_root = by_name
                .or_else(|| self.elements.get(&root).copied())
                .or_else(by_column)
                .or_else(|| (self.names.len() == 1).then_some(0));
            match (of_root, host) {
                (None, _) if self.names.is_empty() => {
                    return Err(unsupported(&format!("a subquery's UNNEST({array}) of an outer query's array")));
                }
                (None, _) => {
                    return Err(Error::invalid(format!("UNNEST({array}): put the name of its table before {root}")));
                }
                (Some(i), Some(j)) if i != j => return Err(unsupported("UNNEST of an array made of several tables")),
                (of_root, _) => host = of_root,
            }
        }
        Ok(host)
    }

    fn unnest(&mut self, host: usize, element: &Ident, items: Vec<SelectItem>) {
        self.elements.insert(element.value.clone(), host);
        self.unnests.push((host, items));
    }

    /// Wraps hosts: `t` becomes `(SELECT t.*, unnest(t.array) AS x FROM t) AS t`.
    fn wrap(self, from: &mut [TableWithJoins]) {
        for (host, items) in self.unnests {
            let name = &self.names[host];
            let factors = from.iter_mut().flat_map(|table| {
                std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|join| &mut join.relation))
            });
            for factor in factors {
                let Some(alias) = alias_of(factor).filter(|alias| alias.value == *name).cloned() else { continue };
                let all = SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(alias.clone())),
                    WildcardAdditionalOptions::default(),
                );
                let projection = std::iter::once(all).chain(items).collect();
                let inner = std::mem::replace(factor, derived(vec![], None, alias.clone()));
                *factor = derived(projection, Some(inner), alias);
                break;
            }
        }
    }
}

fn alias_of(factor: &TableFactor) -> Option<&Ident> {
    match factor {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => {
            alias.as_ref().map(|alias| &alias.name)
        }
        _ => None,
    }
}

/// First identifiers of an expression's paths, and whether more follow.
#[derive(Default)]
struct Roots(Vec<(String, bool)>);

impl Visitor for Roots {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.0.push((name.value.clone(), false)),
            Expr::CompoundIdentifier(path) => self.0.extend(path.first().map(|name| (name.value.clone(), true))),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
