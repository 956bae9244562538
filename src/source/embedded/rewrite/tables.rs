//! FROM: full names of tables, and aliases for all relations.

use sqlparser::ast::{
    ExceptSelectItem, Ident, ObjectName, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor,
};
use weir_plan::{Error, Result, TableId};

use super::tree::{ident, table_alias};
use super::{Rewriter, unsupported};
use crate::source::embedded::{information, wildcard};

impl Rewriter<'_> {
    /// Resolves a relation's name and gives it an alias.
    pub(super) fn relation(&mut self, factor: &mut TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table { name, alias, args, version, sample, with_hints, .. } => {
                if args.is_some() {
                    return Err(unsupported(&format!("TABLE FUNCTION {}", written(name))));
                }
                if sample.is_some() {
                    return Err(unsupported("TABLESAMPLE"));
                }
                if version.is_some() {
                    return Err(unsupported("FOR SYSTEM_TIME AS OF"));
                }
                if !with_hints.is_empty() {
                    return Err(unsupported("table hints"));
                }
                let parts = self.parts(name);
                let last = ident(parts.last().map_or_else(String::new, |part| part.to_lowercase()));
                if let [only] = &*parts {
                    let folded = only.to_lowercase();
                    if self.scopes.iter().any(|scope| scope.has(&folded)) {
                        *name = ObjectName::from(ident(folded));
                        alias.get_or_insert_with(|| table_alias(last));
                        return Ok(());
                    }
                }
                let id = self.table_id(&parts)?;
                (self.columns)(&id)?;
                *name = ObjectName::from(ident(id.to_string()));
                alias.get_or_insert_with(|| table_alias(last));
                self.tables.insert(id);
                Ok(())
            }
            TableFactor::Derived { alias, sample, .. } => {
                if sample.is_some() {
                    return Err(unsupported("TABLESAMPLE"));
                }
                if alias.is_none() {
                    *alias = Some(table_alias(self.fresh_name()));
                }
                Ok(())
            }
            TableFactor::UNNEST { .. } | TableFactor::NestedJoin { .. } => Ok(()),
            TableFactor::Pivot { .. } => Err(unsupported("PIVOT")),
            TableFactor::Unpivot { .. } => Err(unsupported("UNPIVOT")),
            TableFactor::MatchRecognize { .. } => Err(unsupported("MATCH_RECOGNIZE")),
            other => Err(unsupported(&format!("the relation {other}"))),
        }
    }

    /// A name that no query has.
    pub(super) fn fresh_name(&mut self) -> Ident {
        self.unnamed += 1;
        ident(format!("$relation_{}", self.unnamed))
    }

    /// The parts of a name as they were written.
    fn parts(&self, name: &ObjectName) -> Vec<String> {
        let idents: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let mut parts = Vec::new();
        for group in idents.chunk_by(|a, b| a.span == b.span) {
            let text = if group[0].value.contains('-') && group[0].quote_style.is_none() {
                &group[0].value
            } else {
                self.words.written(group[0])
            };
            if group.len() == 1 && !text.contains('.') {
                parts.push(text.to_owned());
                continue;
            }
            let split: Vec<_> = text.split('.').map(str::to_owned).collect();
            if split.len() == group.len() {
                parts.extend(split);
            } else {
                parts.extend(group.iter().map(|ident| ident.value.clone()));
            }
        }
        parts
    }

    fn table_id(&self, parts: &[String]) -> Result<TableId> {
        let of_a_dataset = match information::view(parts) {
            Some(([dataset], view)) => Some(TableId::new(self.project, dataset, view)),
            Some(([project, dataset], view)) => Some(TableId::new(project, dataset, view)),
            _ => None,
        };
        if let Some(id) = of_a_dataset {
            return Ok(id);
        }
        match parts {
            [table] => {
                let Some((project, dataset)) = self.default_dataset else {
                    let place = self.words.place_of(&table.to_lowercase());
                    return Err(Error::invalid(format!(
                        "Table \"{table}\" must be qualified with a dataset (e.g. dataset.table){place}"
                    )));
                };
                Ok(TableId::new(project, dataset, table))
            }
            [dataset, table] => Ok(TableId::new(self.project, dataset, table)),
            [project, dataset, table] => Ok(TableId::new(project, dataset, table)),
            _ => Err(unsupported(&format!("the table name {}", parts.join(".")))),
        }
    }
}

/// Takes the endings of tables out of what `*` stands for, in a SELECT whose relations are resolved.
pub(super) fn hide_suffixes(select: &mut Select) {
    let factors = select
        .from
        .iter()
        .flat_map(|tables| std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation)));
    let is_wildcard = |factor: &TableFactor| {
        let TableFactor::Table { name, alias: Some(alias), .. } = factor else { return None };
        let last = name.0.last()?.as_ident()?;
        last.value.ends_with('*').then(|| alias.name.value.clone())
    };
    let aliases: Vec<String> = factors.filter_map(is_wildcard).collect();
    if aliases.is_empty() {
        return;
    }
    for item in &mut select.projection {
        let options = match item {
            SelectItem::Wildcard(options) => options,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if aliases.contains(&name.to_string().replace('"', "")) =>
            {
                options
            }
            _ => continue,
        };
        let suffix = ident(wildcard::SUFFIX.to_lowercase());
        match &mut options.opt_except {
            Some(except) => except.additional_elements.push(suffix),
            none => *none = Some(ExceptSelectItem { first_element: suffix, additional_elements: vec![] }),
        }
    }
}

fn written(name: &ObjectName) -> String {
    name.to_string().replace('`', "").to_uppercase()
}
