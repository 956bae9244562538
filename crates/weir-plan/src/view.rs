//! A view that is read by its tables: its text with bounds on their pruning columns, which the view
//! itself may hide, and without the tables of the side of the flip that a range has no rows of.
//!
//! What the descriptor says of the view is believed: that a row depends on rows of its own time
//! alone, and how time, pruning columns and sides belong together. The text is looked at as far as its
//! tables must be found in it, the flip must be the descriptor's, and nothing may run over several rows
//! of a table; what is otherwise makes no view.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use sqlparser::ast::{Query, SetExpr, SetOperator, SetQuantifier, Statement, visit_relations};
use sqlparser::dialect::BigQueryDialect;
use sqlparser::parser::Parser;

use crate::analysis::{Reason, reason};
use crate::descriptor::{Branch, Comparison, Flip, History, Side, Sides, SourceDescriptor, TimeType};
use crate::extent::{Extent, Timestamp};
use crate::query::TableId;
use crate::sql::{self, Path, paths};

/// The most views inside one another.
const DEEPEST: usize = 8;

/// A view's text, ready to be read by its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    branches: Vec<Branch>,
    text: Vec<Piece>,
}

/// A part of a view's text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A table, by its place among the branches.
    Branch(usize),
    /// The date of the day.
    Today,
    /// What UNION ALL joins.
    Union(Vec<Vec<Piece>>),
}

impl View {
    /// Reads the view of a descriptor; `texts` gives those of views.
    ///
    /// # Errors
    /// [`reason::VIEW_UNKNOWN`] where its text does not read exactly the descriptor's branches by
    /// their full names, reads the time of day, has another cut than the descriptor's flip, or window
    /// functions where rows are said to depend on their own time alone.
    pub fn new<'t>(descriptor: &SourceDescriptor, texts: impl Fn(&TableId) -> Option<&'t str>) -> Result<Self, Reason> {
        let branches = descriptor.branches.clone();
        let reader = Reader { branches: &branches, texts: &texts };
        let text = reader.view(&descriptor.table, DEEPEST).ok_or(reason::VIEW_UNKNOWN)?;
        let mut read = BTreeSet::new();
        branches_of(&text, &mut read);
        let cuts = descriptor.flip.is_none_or(|flip| cuts(&text, flip).is_some_and(|cuts| cuts > 0));
        let is_local = descriptor.history != History::Local || !has_windows(&text);
        if read.len() != branches.len() || !cuts || !is_local {
            return Err(reason::VIEW_UNKNOWN);
        }
        Ok(Self { branches, text })
    }

    /// Reads a table with bounds on a pruning column that is not its time; `None` where there is none.
    pub fn of_table(descriptor: &SourceDescriptor) -> Option<Self> {
        let same = |column: &str| descriptor.time_column.as_ref().is_some_and(|time| time.eq_ignore_ascii_case(column));
        let pruning = descriptor.pruning.clone().filter(|pruning| !same(&pruning.column))?;
        let branch = Branch { table: descriptor.table.clone(), side: Side::Both, pruning: Some(pruning) };
        let alias = Piece::Text(format!(" AS `{}`", descriptor.table.table));
        let text = vec![Piece::Text("SELECT * FROM ".to_owned()), Piece::Branch(0), alias];
        Some(Self { branches: vec![branch], text })
    }

    /// The text for rows with a time in `extent` as of `now`, whose date stands in it for `CURRENT_DATE`;
    /// the tables in `empty` are left out.
    pub fn text(&self, extent: Extent, sides: Sides, now: Timestamp, empty: &BTreeSet<TableId>) -> String {
        let reading = Reading { branches: &self.branches, extent, sides, now, empty };
        let mut text = String::new();
        reading.write(&self.text, &mut text);
        text
    }

    /// The tables that are read for `extent`, each with a text whose dry run says whether the partitions
    /// that are read have any rows. Of tables that rows stream into it is asked for the day before too:
    /// what is in a streaming buffer, as all that came since midnight may be, a dry run does not see.
    pub fn probes(&self, extent: Extent, sides: Sides) -> Vec<(TableId, String)> {
        let none = BTreeSet::new();
        let day = Duration::from_hours(24);
        let earlier = |extent: Extent| Extent::new(extent.start().minus(day), extent.end()).ok();
        let sides = Sides { live: sides.live.and_then(earlier), ..sides };
        let now = extent.start();
        let extent = earlier(extent).unwrap_or(extent);
        let reading = Reading { branches: &self.branches, extent, sides, now, empty: &none };
        let probe = |(place, branch): (usize, &Branch)| {
            let column = &branch.pruning.as_ref()?.column;
            reading.times(place)?;
            let mut text = format!("SELECT `{column}` FROM ");
            reading.write_branch(place, &mut text);
            Some((branch.table.clone(), text))
        };
        self.branches.iter().enumerate().filter_map(probe).collect()
    }
}

fn branches_of(pieces: &[Piece], found: &mut BTreeSet<usize>) {
    for piece in pieces {
        match piece {
            Piece::Branch(branch) => drop(found.insert(*branch)),
            Piece::Union(arms) => arms.iter().for_each(|arm| branches_of(arm, found)),
            Piece::Text(_) | Piece::Today => {}
        }
    }
}

/// How often a text compares with the cut of a flip; `None` where it has the date of the day in any
/// other way.
fn cuts(pieces: &[Piece], flip: Flip) -> Option<usize> {
    let text = |place: Option<usize>| match place.and_then(|place| pieces.get(place)) {
        Some(Piece::Text(text)) => text.split_whitespace().collect::<String>().to_uppercase(),
        _ => String::new(),
    };
    let mut count = 0;
    for (place, piece) in pieces.iter().enumerate() {
        count += match piece {
            Piece::Text(_) | Piece::Branch(_) => 0,
            Piece::Union(arms) => arms.iter().map(|arm| cuts(arm, flip)).sum::<Option<usize>>()?,
            Piece::Today if is_cut(&text(place.checked_sub(1)), &text(Some(place + 1)), flip) => 1,
            Piece::Today => return None,
        };
    }
    Some(count)
}

/// Whether what stands round a date of the day makes it the cut of a flip, with live rows after it.
fn is_cut(before: &str, after: &str, flip: Flip) -> bool {
    let (open, close) = match flip.comparison {
        Comparison::AfterInstant => ("TIMESTAMP(DATE_SUB(", "DAY))"),
        Comparison::ByDate => ("DATE_SUB(", "DAY)"),
    };
    let compared = before.strip_suffix(open).and_then(|before| before.strip_suffix("<=").or(before.strip_suffix('>')));
    compared.is_some_and(|before| !before.ends_with(['<', '>', '!']))
        && after.starts_with(&format!(",INTERVAL{}{close}", flip.days))
}

/// Whether a text has window functions.
fn has_windows(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Text(text) => sql::has_word(text, "OVER"),
        Piece::Union(arms) => arms.iter().any(|arm| has_windows(arm)),
        Piece::Branch(_) | Piece::Today => false,
    })
}

struct Reading<'a> {
    branches: &'a [Branch],
    extent: Extent,
    sides: Sides,
    now: Timestamp,
    empty: &'a BTreeSet<TableId>,
}

impl Reading<'_> {
    /// The times of which a branch is read.
    fn times(&self, branch: usize) -> Option<Extent> {
        let Branch { side, table, .. } = &self.branches[branch];
        match side {
            _ if self.empty.contains(table) => None,
            Side::Both => Some(self.extent),
            Side::Live => self.sides.live,
            Side::Daily => self.sides.daily,
        }
    }

    /// Whether a text reads tables, none of which has rows here.
    fn is_empty(&self, pieces: &[Piece]) -> bool {
        let mut read = BTreeSet::new();
        branches_of(pieces, &mut read);
        !read.is_empty() && read.into_iter().all(|branch| self.times(branch).is_none())
    }

    fn write(&self, pieces: &[Piece], text: &mut String) {
        for piece in pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Today => text.extend([" DATE '", &self.now.date().to_string(), "' "]),
                Piece::Branch(branch) => self.write_branch(*branch, text),
                Piece::Union(arms) => self.write_union(arms, text),
            }
        }
    }

    fn write_union(&self, arms: &[Vec<Piece>], text: &mut String) {
        let mut read: Vec<_> = arms.iter().filter(|arm| !self.is_empty(arm)).collect();
        read.extend(arms.first().filter(|_| read.is_empty()));
        for (number, arm) in read.into_iter().enumerate() {
            if number > 0 {
                text.push_str("\nUNION ALL\n");
            }
            self.write(arm, text);
        }
    }

    fn write_branch(&self, branch: usize, text: &mut String) {
        let Branch { table, pruning, .. } = &self.branches[branch];
        text.extend(["(SELECT * FROM `", &table.to_string(), "`"]);
        match (self.times(branch), pruning) {
            (None, _) => text.push_str(" WHERE FALSE"),
            (Some(_), None) => {}
            (Some(times), Some(pruning)) => {
                let bounds = pruning.bounds(times);
                let (column, kind): (_, TimeType) = (&pruning.column, pruning.time_type);
                let (start, end) = (kind.start(bounds), kind.end(bounds));
                text.extend([" WHERE `", column, "` >= ", &start, " AND `", column, "` < ", &end]);
            }
        }
        text.push(')');
    }
}

struct Reader<'a, F> {
    branches: &'a [Branch],
    texts: &'a F,
}

impl<'t, F: Fn(&TableId) -> Option<&'t str>> Reader<'_, F> {
    fn view(&self, view: &TableId, depth: usize) -> Option<Vec<Piece>> {
        let text = (self.texts)(view)?.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let query = query(text)?;
        let arms = arms(&query, text)?;
        let arms: Option<Vec<_>> = arms.into_iter().map(|arm| self.arm(arm, depth)).collect();
        let (arms, counts): (Vec<_>, Vec<_>) = arms?.into_iter().unzip();
        // Every table that the parser sees was found, and nothing that it does not take for one.
        if relations(&query)?.len() != counts.into_iter().sum::<usize>() {
            return None;
        }
        Some(match <[Vec<Piece>; 1]>::try_from(arms) {
            Ok([only]) => only,
            Err(arms) => vec![Piece::Union(arms)],
        })
    }

    /// The pieces of a text, and how many tables it names.
    fn arm(&self, text: &str, depth: usize) -> Option<(Vec<Piece>, usize)> {
        let (mut pieces, mut end, mut count) = (vec![], 0, 0);
        for Path { parts, place } in paths(text) {
            let after = &text[place.end..];
            if is_one_of(&parts, &["CURRENT_DATE"]) {
                let after = after.trim_start();
                let called = after.starts_with('(');
                let rest = if called { after[1..].trim_start().strip_prefix(')')? } else { &text[place.end..] };
                pieces.extend([Piece::Text(text[end..place.start].to_owned()), Piece::Today]);
                end = text.len() - rest.len();
            } else if sql::volatile_function(&parts.join(".")).is_some() || self.is_column(&parts) {
                return None;
            } else if let Some(table) = self.table(&parts) {
                pieces.push(Piece::Text(text[end..place.start].to_owned()));
                pieces.extend(self.read(&table, depth)?);
                pieces.extend(alias(&parts, after).map(Piece::Text));
                (end, count) = (place.end, count + 1);
            }
        }
        pieces.push(Piece::Text(text[end..].to_owned()));
        Some((pieces, count))
    }

    /// Whether a name is that of a column by the full name of its table.
    fn is_column(&self, parts: &[String]) -> bool {
        (3..parts.len()).any(|length| self.table(&parts[..length]).is_some())
    }

    /// The table or view that a name is of.
    fn table(&self, parts: &[String]) -> Option<TableId> {
        let id = parts.join(".").parse().ok()?;
        (self.branch(&id).is_some() || (self.texts)(&id).is_some()).then_some(id)
    }

    fn branch(&self, id: &TableId) -> Option<usize> {
        self.branches.iter().position(|branch| branch.table == *id)
    }

    /// What stands in the place of a table's name; `None` for a view that cannot be read.
    fn read(&self, id: &TableId, depth: usize) -> Option<Vec<Piece>> {
        if let Some(branch) = self.branch(id) {
            return Some(vec![Piece::Branch(branch)]);
        }
        let mut pieces = vec![Piece::Text("(\n".to_owned())];
        pieces.extend(self.view(id, depth.checked_sub(1)?)?);
        pieces.push(Piece::Text("\n)".to_owned()));
        Some(pieces)
    }
}

fn is_one_of(parts: &[String], words: &[&str]) -> bool {
    matches!(parts, [only] if words.iter().any(|word| word.eq_ignore_ascii_case(only)))
}

fn query(text: &str) -> Option<Box<Query>> {
    let statements = Parser::parse_sql(&BigQueryDialect {}, text).ok()?;
    match <[Statement; 1]>::try_from(statements) {
        Ok([Statement::Query(query)]) => Some(query),
        _ => None,
    }
}

/// The full names of the tables that a query reads, as often as it does.
fn relations(query: &Query) -> Option<Vec<TableId>> {
    let with = query.with.iter().flat_map(|with| &with.cte_tables);
    let named: BTreeSet<String> = with.map(|table| table.alias.name.value.to_lowercase()).collect();
    let mut found = Some(vec![]);
    let _: ControlFlow<()> = visit_relations(query, |name| {
        let parts: Vec<&str> = name.0.iter().filter_map(|part| Some(part.as_ident()?.value.as_str())).collect();
        let is_named = matches!(&*parts, [only] if named.contains(&only.to_lowercase()));
        if !is_named {
            let id = parts.join(".").parse().ok();
            found = found.take().zip(id).map(|(mut all, id)| {
                all.push(id);
                all
            });
        }
        ControlFlow::Continue(())
    });
    found
}

/// The texts that UNION ALL joins, if that is all that a query does; else its whole text.
fn arms<'t>(query: &Query, text: &'t str) -> Option<Vec<&'t str>> {
    let is_bare = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    let Some(count) = leaves(&query.body).filter(|count| is_bare && *count > 1) else { return Some(vec![text]) };
    let arms = divided(text);
    (arms.len() == count).then_some(arms)
}

fn leaves(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) => Some(1),
        SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right } => {
            Some(leaves(left)? + leaves(right)?)
        }
        _ => None,
    }
}

/// A text divided at each UNION ALL that no bracket is round.
fn divided(text: &str) -> Vec<&str> {
    let (mut arms, mut start) = (vec![], 0);
    let all = paths(text);
    for pair in all.windows(2) {
        let [union, quantifier] = pair else { continue };
        let arm = start..union.place.start;
        if union.is("UNION") && quantifier.is("ALL") && depth(&text[arm.clone()]) == 0 {
            arms.push(&text[arm]);
            start = quantifier.place.end;
        }
    }
    arms.push(&text[start..]);
    arms
}

/// How many brackets of a text are still open at its end.
fn depth(text: &str) -> i64 {
    let code = sql::lexemes(text).filter(|(lexeme, _)| *lexeme == sql::Lexeme::Code);
    let bracket = |c: char| match c {
        '(' => 1,
        ')' => -1,
        _ => 0,
    };
    code.flat_map(|(_, code)| code.chars()).map(bracket).sum()
}

/// The tables and views that a text without macros reads, by their full names; `None` where it cannot
/// be parsed, or names one in another way.
pub fn tables(text: &str) -> Option<Vec<TableId>> {
    relations(&*query(text)?)
}

/// A text with the view in place of its name; `None` unless it is named exactly once, by one of
/// `names`, and its columns are not called by its full name.
pub fn substituted(text: &str, names: &[Vec<String>], view: &str) -> Option<String> {
    let is_name = |path: &Path, name: &Vec<String>| {
        path.parts == *name || name.len() > 1 && path.parts.len() > name.len() && path.parts.starts_with(name)
    };
    let mut found = paths(text).into_iter().filter(|path| names.iter().any(|name| is_name(path, name)));
    let (Some(Path { parts, place }), None) = (found.next(), found.next()) else { return None };
    if !names.contains(&parts) {
        return None;
    }
    let after = &text[place.end..];
    let alias = alias(&parts, after).unwrap_or_default();
    Some(format!("{}(\n{view}\n){alias}{after}", &text[..place.start]))
}

/// What may follow a table besides its alias.
const AFTER_A_TABLE: [&str; 22] = [
    "CROSS",
    "EXCEPT",
    "FOR",
    "FULL",
    "GROUP",
    "HAVING",
    "INNER",
    "INTERSECT",
    "JOIN",
    "LEFT",
    "LIMIT",
    "ON",
    "ORDER",
    "PIVOT",
    "QUALIFY",
    "RIGHT",
    "TABLESAMPLE",
    "UNION",
    "UNPIVOT",
    "USING",
    "WHERE",
    "WINDOW",
];

/// The alias that a table of this name has by itself, where none follows.
fn alias(parts: &[String], after: &str) -> Option<String> {
    let code = sql::lexemes(after).find(|(lexeme, text)| {
        *lexeme != sql::Lexeme::Comment && (*lexeme != sql::Lexeme::Code || !text.trim().is_empty())
    });
    let follows = match code {
        Some((sql::Lexeme::Name, _)) => true,
        Some((sql::Lexeme::Code, text)) => {
            let word: String =
                text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            !word.is_empty() && !AFTER_A_TABLE.iter().any(|keyword| keyword.eq_ignore_ascii_case(&word))
        }
        _ => false,
    };
    if follows { None } else { Some(format!(" AS `{}`", parts.last()?)) }
}

#[cfg(test)]
mod tests;
