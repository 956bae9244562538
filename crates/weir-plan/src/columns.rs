//! Whose the columns in time macros are: the text is parsed, and each column is looked for among the
//! tables of its own SELECT, through WITH and inner SELECTs that hand it on. It knows no schema; its
//! caller looks the candidates up.

mod relations;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query as SqlQuery, Select, Statement, Visit, Visitor,
};
use sqlparser::dialect::BigQueryDialect;
use sqlparser::parser::Parser;

use crate::macros;
use crate::query::TableId;
use crate::target::{Target, TimeType};
use relations::{Names, Relation, candidates, plain};

/// The column of a time macro, and where it may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    /// Its [`plain_name`](crate::target::plain_name).
    pub name: String,
    /// The tables that may have it, and the path of its name there: its own, and those of the STRUCTs
    /// round it.
    pub candidates: Vec<(TableId, Vec<String>)>,
}

/// The plain columns in the time macros of a text, each as often as it occurs; empty for a text that
/// cannot be parsed. `default_dataset` and `project` complete the names of tables.
pub fn time_columns(sql: &str, target: &Target, default_dataset: Option<&str>, project: &str) -> Vec<TimeColumn> {
    let Some(probe) = macros::probe(sql, target) else { return vec![] };
    let Ok(statements) = Parser::parse_sql(&BigQueryDialect {}, &probe) else { return vec![] };
    let names = Names::new(default_dataset, project, named(&statements));
    let mut search = Search { names, before: vec![], scopes: vec![], found: vec![] };
    let _: ControlFlow<()> = statements.visit(&mut search);
    search.found
}

/// The types of columns, by name, where every occurrence has the same. `type_of` gives that of a path
/// in a table.
pub fn column_types(
    columns: &[TimeColumn],
    type_of: impl Fn(&TableId, &[String]) -> Option<TimeType>,
) -> BTreeMap<String, TimeType> {
    let mut types: BTreeMap<String, Option<TimeType>> = BTreeMap::new();
    for column in columns {
        let mut found = column.candidates.iter().filter_map(|(table, path)| type_of(table, path));
        let first = found.next();
        let found = first.filter(|first| found.all(|other| other == *first));
        let known = types.entry(column.name.clone()).or_insert(found);
        *known = known.filter(|known| Some(*known) == found);
    }
    types.into_iter().filter_map(|(name, found)| Some((name, found?))).collect()
}

/// The names that WITH gives to queries, in lower case.
fn named(statements: &[Statement]) -> BTreeSet<String> {
    struct Named(BTreeSet<String>);
    impl Visitor for Named {
        type Break = ();

        fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0.extend(tables.map(|table| table.alias.name.value.to_lowercase()));
            ControlFlow::Continue(())
        }
    }
    let mut named = Named(BTreeSet::new());
    let _: ControlFlow<()> = statements.to_vec().visit(&mut named);
    named.0
}

struct Search<'a> {
    names: Names<'a>,
    /// How many names were in sight before each query round the present place.
    before: Vec<usize>,
    /// The relations of each SELECT round the present place; a query's own clauses, such as ORDER BY,
    /// are of no one SELECT.
    scopes: Vec<Option<Vec<Relation>>>,
    found: Vec<TimeColumn>,
}

impl Visitor for Search<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &SqlQuery) -> ControlFlow<()> {
        let before = self.names.enter(query);
        self.before.push(before);
        self.scopes.push(None);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &SqlQuery) -> ControlFlow<()> {
        self.scopes.pop();
        self.names.leave(self.before.pop().unwrap_or_default());
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let relations = self.names.relations(select);
        self.scopes.push(Some(relations));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let (Some(path), Some(Some(relations))) = (probed(expr), self.scopes.last()) {
            let name = path.join(".");
            let candidates = candidates(relations, &path);
            self.found.push(TimeColumn { name, candidates });
        }
        ControlFlow::Continue(())
    }
}

/// The column in a call of the probe, in lower case.
fn probed(expr: &Expr) -> Option<Vec<String>> {
    let Expr::Function(function) = expr else { return None };
    if function.name.to_string() != macros::PROBE {
        return None;
    }
    let FunctionArguments::List(arguments) = &function.args else { return None };
    match &*arguments.args {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] => plain(column),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Dialect;

    fn found(sql: &str) -> Vec<String> {
        let show = |column: TimeColumn| {
            let candidates = column.candidates.iter().map(|(table, path)| format!("{table}/{}", path.join("/")));
            format!("{}: {}", column.name, candidates.collect::<Vec<_>>().join(" "))
        };
        time_columns(sql, &Target::default(), Some("q.d"), "p").into_iter().map(show).collect()
    }

    #[test]
    fn a_column_is_looked_for_in_the_tables_of_its_own_select() {
        let check = |sql: &str, expected: &[&str]| assert_eq!(found(sql), expected, "{sql}");
        check("SELECT 1 FROM t WHERE $__timeFilter(Day)", &["day: q.d.t/day"]);
        check("SELECT 1 FROM e.t WHERE $__timeFilter(day)", &["day: p.e.t/day"]);
        check("SELECT $__timeGroup(`day`, 1h) FROM `a-b.c.d`", &["day: a-b.c.d/day"]);
        check("SELECT $__timeGroupAlias(x.day, 1h) FROM a.b.c AS x, t", &["x.day: a.b.c/day"]);
        check("SELECT 1 FROM a.b.c WHERE c.day > 1 AND $__timeFrom(c.day)", &["c.day: a.b.c/day"]);
        check("SELECT 1 FROM t JOIN u USING (id) WHERE $__timeTo(r.day)", &["r.day: q.d.t/r/day q.d.u/r/day"]);
        check("SELECT 1 FROM t, UNNEST(t.xs) AS x WHERE $__timeFilter(x.day)", &["x.day: "]);
        check("SELECT 1 FROM t WHERE x IN (SELECT y FROM u WHERE $__timeFilter(a))", &["a: q.d.u/a"]);
        check("SELECT 1 FROM t UNION ALL SELECT 2 FROM u WHERE $__timeFilter(a)", &["a: q.d.u/a"]);
        check("SELECT $__timeGroup(a, 1d) FROM t ORDER BY $__timeGroup(a, 1d)", &["a: q.d.t/a"]);
        check("SELECT 1 FROM `p.d.events_*` WHERE $__timeFilter(a)", &["a: "]);
        check("SELECT 1 FROM d.INFORMATION_SCHEMA.JOBS WHERE $__timeFilter(a)", &["a: "]);
    }

    #[test]
    fn a_column_is_followed_through_queries_that_hand_it_on() {
        let check = |sql: &str, expected: &str| {
            let sql = format!("{sql} WHERE $__timeFilter(a)");
            assert_eq!(found(&sql), [format!("a: {expected}")], "{sql}");
        };
        check("SELECT 1 FROM (SELECT * FROM u)", "q.d.u/a");
        check("SELECT 1 FROM (SELECT a FROM u)", "q.d.u/a");
        check("SELECT 1 FROM (SELECT u.Day AS A FROM u)", "q.d.u/day");
        check("SELECT 1 FROM (SELECT r.a FROM u)", "q.d.u/r/a");
        check("SELECT 1 FROM (SELECT x.* FROM u AS x, v)", "q.d.u/a");
        check("SELECT 1 FROM (SELECT * FROM u, v)", "q.d.u/a q.d.v/a");
        check("SELECT 1 FROM (SELECT b FROM u)", "");
        check("SELECT 1 FROM (SELECT DATE(t) AS a, * FROM u)", "");
        check("SELECT 1 FROM (SELECT * EXCEPT (A, b) FROM u)", "");
        check("SELECT 1 FROM (SELECT * REPLACE (DATE(t) AS a) FROM u)", "");
        check("SELECT 1 FROM (SELECT a FROM (SELECT b AS a FROM u))", "q.d.u/b");
        check("SELECT 1 FROM (SELECT b AS a, 1 FROM u UNION ALL SELECT c, 2 FROM v)", "q.d.u/b q.d.v/c");
        check("SELECT 1 FROM (SELECT * FROM u UNION ALL SELECT * FROM v)", "q.d.u/a q.d.v/a");
        check("SELECT 1 FROM ((SELECT b AS a FROM u) UNION ALL (SELECT c FROM v))", "q.d.u/b q.d.v/c");
        check("SELECT 1 FROM (SELECT a FROM u) JOIN v ON TRUE", "q.d.u/a q.d.v/a");
        check("WITH t AS (SELECT * FROM u) SELECT 1 FROM t", "q.d.u/a");
        check("WITH t AS (SELECT day AS a FROM u), w AS (SELECT a FROM t) SELECT 1 FROM w", "q.d.u/day");
        check("WITH t AS (SELECT a FROM t) SELECT 1 FROM t", "");
        check("WITH t AS (SELECT a FROM e.t) SELECT 1 FROM t", "p.e.t/a");
        check("SELECT 1 FROM (WITH t AS (SELECT b AS a FROM u) SELECT a FROM t)", "q.d.u/b");
        check(
            "WITH t AS (SELECT b AS a FROM u) SELECT 1 FROM (WITH t AS (SELECT c AS a FROM v) SELECT a FROM t)",
            "q.d.v/c",
        );
    }

    #[test]
    fn a_query_in_an_inner_query_is_out_of_sight_outside() {
        let sql = "SELECT 1 FROM (WITH t AS (SELECT a FROM u) SELECT 1 FROM t WHERE $__timeFilter(a)), t \
            WHERE $__timeFilter(t.a)";
        assert_eq!(found(sql), ["a: q.d.u/a", "t.a: "]);
        let sql = "SELECT 1 FROM (SELECT * FROM u WHERE $__timeFilter(a)) AS x WHERE $__timeFilter(x.a)";
        assert_eq!(found(sql), ["a: q.d.u/a", "x.a: q.d.u/a"]);
    }

    #[test]
    fn texts_without_a_plain_column_or_a_parse_have_none() {
        for sql in [
            "SELECT 1",
            "SELECT $__timeFrom() FROM t",
            "SELECT 1 FROM t WHERE $__timeFilter(DATE(ts))",
            "SELECT '$__timeFilter(a)' FROM t",
            "SELECT 1 FROM t WHERE $__timeFilter(a",
            "SELEC FROM $__timeFilter(a)",
            "",
        ] {
            assert_eq!(found(sql), Vec::<String>::new(), "{sql}");
        }
    }

    #[test]
    fn a_doitintl_target_is_asked_for_its_own_column() {
        let target = Target { dialect: Dialect::Doitintl, time_column: Some("Created".into()), ..Target::default() };
        let columns = time_columns("SELECT 1 FROM `p.d.t` WHERE $__timeFilter(x)", &target, None, "p");
        let expected = TimeColumn {
            name: "created".into(),
            candidates: vec![(TableId::new("p", "d", "t"), vec!["created".into()])],
        };
        assert_eq!(columns, [expected]);
    }

    #[test]
    fn a_type_counts_only_where_all_occurrences_have_it() {
        let check = |sql: &str, expected: &[(&str, TimeType)]| {
            let columns = time_columns(sql, &Target::default(), Some("d"), "p");
            let types = column_types(&columns, |table, path| match (&*table.table, &*path.concat()) {
                ("days", "day") => Some(TimeType::Date),
                ("times", "day") => Some(TimeType::Timestamp),
                _ => None,
            });
            let types: Vec<_> = types.iter().map(|(name, found)| (name.as_str(), *found)).collect();
            assert_eq!(types, expected, "{sql}");
        };
        check("SELECT 1 FROM days WHERE $__timeFilter(day)", &[("day", TimeType::Date)]);
        check("SELECT 1 FROM days, other WHERE $__timeFilter(day)", &[("day", TimeType::Date)]);
        check("SELECT 1 FROM days, times WHERE $__timeFilter(day)", &[]);
        check("SELECT 1 FROM days WHERE $__timeFilter(nope)", &[]);
        check("SELECT 1 FROM days WHERE $__timeFilter(day) AND x IN (SELECT 1 FROM times WHERE $__timeFrom(day))", &[]);
        check(
            "SELECT 1 FROM days a WHERE $__timeFilter(a.day) AND x IN (SELECT 1 FROM times b WHERE $__timeFrom(b.day))",
            &[("a.day", TimeType::Date), ("b.day", TimeType::Timestamp)],
        );
    }
}
