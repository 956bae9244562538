//! Whether sums of coarse rows are the sums of the fine ones: texts that do nothing with some columns
//! but add them up.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select, SelectItem, SetExpr,
    Statement, Visit, Visitor,
};
use sqlparser::dialect::BigQueryDialect;
use sqlparser::parser::Parser;

/// Functions of one row that may stand round sums, dimensions and times.
const SCALARS: [&str; 15] = [
    "coalesce",
    "concat",
    "date",
    "div",
    "ifnull",
    "lower",
    "nullif",
    "round",
    "safe_divide",
    "timestamp",
    "timestamp_millis",
    "timestamp_seconds",
    "unix_millis",
    "unix_seconds",
    "upper",
];

/// The columns that are different in coarse rows.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// Those of which a coarse row has the sum.
    pub additive: &'a [String],
    /// Those that may not be named at all.
    pub unlike: &'a [&'a str],
    /// Whether the text is known to use no function that looks at several rows, besides those of its outputs.
    pub is_analysed: bool,
}

/// Whether a text without macros answers the same over sums of rows as over the rows: one SELECT from
/// one relation that groups, and has nothing of `columns` but sums.
pub fn adds_up(sql: &str, columns: Columns<'_>) -> bool {
    let Ok(statements) = Parser::parse_sql(&BigQueryDialect {}, sql) else { return false };
    let [Statement::Query(query)] = &*statements else { return false };
    let Some(select) = only_select(query) else { return false };
    let groups = match &select.group_by {
        GroupByExpr::Expressions(groups, with) => with.is_empty().then_some(groups.len()),
        GroupByExpr::All(_) => None,
    };
    let Some(groups) = groups else { return false };
    let mut sums = Sums { columns, summed: 0, mentions: 0, is_odd: false };
    let _: ControlFlow<()> = query.visit(&mut sums);
    let is_grouped = groups > 0 || sums.summed > 0;
    // What is summed is mentioned inside of its sum, and nowhere else.
    is_grouped && !sums.is_odd && sums.mentions == sums.summed
}

fn only_select(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let is_plain = query.with.is_none() && select.distinct.is_none() && select.qualify.is_none();
    let names_columns = select
        .projection
        .iter()
        .all(|item| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
    let [from] = &*select.from else { return None };
    (is_plain && names_columns && from.joins.is_empty()).then_some(select)
}

struct Sums<'a> {
    columns: Columns<'a>,
    summed: usize,
    mentions: usize,
    is_odd: bool,
}

impl Sums<'_> {
    fn is_additive(&self, name: &str) -> bool {
        self.columns.additive.iter().any(|column| column.eq_ignore_ascii_case(name))
    }

    fn name(&mut self, name: &str) {
        self.mentions += usize::from(self.is_additive(name));
        self.is_odd |= self.columns.unlike.iter().any(|column| column.eq_ignore_ascii_case(name));
    }

    fn function(&mut self, function: &Function) {
        let name = function.name.to_string().to_lowercase();
        if name == "sum" {
            let is_sum = function.over.is_none() && function.filter.is_none() && self.is_of_one(&function.args);
            self.summed += usize::from(is_sum);
            self.is_odd |= !is_sum;
        } else {
            self.is_odd |= function.over.is_some() || !self.columns.is_analysed && !SCALARS.contains(&&*name);
        }
    }

    /// Whether arguments are one additive column.
    fn is_of_one(&self, arguments: &FunctionArguments) -> bool {
        let FunctionArguments::List(list) = arguments else { return false };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = &*list.args else { return false };
        let name = match argument {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(path) => match path.last() {
                Some(name) => name,
                None => return false,
            },
            _ => return false,
        };
        list.duplicate_treatment.is_none() && list.clauses.is_empty() && self.is_additive(&name.value)
    }
}

impl Visitor for Sums<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // The outermost one has been looked at; an alias in ORDER BY may be called as a column is.
        self.is_odd |= only_select(query).is_none();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.name(&name.value),
            Expr::CompoundIdentifier(path) => path.iter().for_each(|name| self.name(&name.value)),
            Expr::Function(function) => self.function(function),
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => self.is_odd = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grouped_sums_add_up() {
        let additive = ["value".to_owned()];
        let check = |sql: &str, buckets: bool, expected: bool| {
            let unlike: &[&str] = if buckets { &[] } else { &["time"] };
            let columns = Columns { additive: &additive, unlike, is_analysed: buckets };
            assert_eq!(adds_up(sql, columns), expected, "{sql}");
        };
        for sql in [
            "SELECT SUM(value) FROM v",
            "SELECT experiment, branch, SUM(value) AS total FROM v WHERE branch IS NOT NULL GROUP BY 1, 2 ORDER BY 3",
            "SELECT SAFE_DIVIDE(SUM(v.value), 2) FROM p.d.v AS v",
            "SELECT branch FROM v GROUP BY branch",
        ] {
            check(sql, false, true);
        }
        for sql in [
            "SELECT value FROM v",
            "SELECT MAX(value) FROM v",
            "SELECT COUNT(*) FROM v",
            "SELECT SUM(value + 1) FROM v",
            "SELECT SUM(DISTINCT value) FROM v",
            "SELECT SUM(value) FROM v WHERE value > 3",
            "SELECT SUM(value) FROM v WHERE time > '2024-01-01'",
            "SELECT SUM(value) FROM v GROUP BY value",
            "SELECT DISTINCT branch FROM v",
            "SELECT * FROM v",
            "SELECT branch FROM v",
            "SELECT SUM(value) FROM v JOIN w USING (branch)",
            "SELECT SUM(SUM(value)) OVER () FROM v GROUP BY branch",
            "WITH w AS (SELECT 1) SELECT SUM(value) FROM v",
            "SELECT SUM(value) FROM (SELECT value FROM v)",
            "SELECT SUM(value) FROM v WHERE branch IN (SELECT branch FROM w)",
            "SELECT SUM(value) FROM v UNION ALL SELECT 1",
            "WITH w AS (SELECT branch FROM v) SELECT SUM(value) FROM v",
            "SELECT DISTINCT branch, SUM(value) FROM v GROUP BY branch, experiment",
            "SELECT branch, SUM(value) FROM v GROUP BY branch QUALIFY TRUE",
            "SELECT SUM(value), COUNT(*) FROM v",
            "SELECT SUM(value), LOWER(branch) OVER () FROM v GROUP BY branch",
            "not sql",
        ] {
            check(sql, false, false);
        }
        let bucket = "TIMESTAMP_SECONDS(DIV(UNIX_SECONDS(time), 3600) * 3600)";
        check(
            &format!("SELECT {bucket} AS time, SUM(value) AS value FROM v WHERE time >= '2024' GROUP BY 1"),
            true,
            true,
        );
        check(&format!("SELECT {bucket} AS time, MAX(value) FROM v GROUP BY 1"), true, false);
        check("SELECT branch, SUM(value), RANK() OVER (ORDER BY branch) FROM v GROUP BY branch", true, false);
        check("SELECT branch, SUM(value), FORMAT_TIMESTAMP('%F', time) FROM v GROUP BY 1, 3", true, true);
        check(&format!("SELECT {bucket} AS time, SUM(value) FROM v GROUP BY 1"), false, false);
    }
}
