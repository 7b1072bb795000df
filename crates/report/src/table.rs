//! Tables: one content, written as aligned text for a terminal, as Markdown or as HTML.

use crate::text::{columns, escape};

/// Text of more columns than this is broken into lines on a page.
const LONG: usize = 36;

/// A column's heading and alignment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    /// Heading over a group of neighbouring columns; empty for none.
    pub group: String,
    /// Its own heading.
    pub name: String,
    /// Whether it is aligned to the right, as numbers are.
    pub right: bool,
}

/// Rows of text under headings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No columns and no rows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column of text.
    pub fn text_column(mut self, name: &str) -> Self {
        self.columns.push(Column { name: name.to_owned(), ..Column::default() });
        self
    }

    /// Adds a column of numbers, under a group's heading if `group` is not empty.
    pub fn number_column(mut self, group: &str, name: &str) -> Self {
        self.columns.push(Column { group: group.to_owned(), name: name.to_owned(), right: true });
        self
    }

    /// Adds a row. Missing cells are empty, surplus ones are dropped.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The rows, each as long as there are columns.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Neighbouring columns of one group: heading, first column, number of columns.
    fn groups(&self) -> Vec<(&str, usize, usize)> {
        let mut groups: Vec<(&str, usize, usize)> = Vec::new();
        for (i, column) in self.columns.iter().enumerate() {
            match groups.last_mut() {
                Some((name, _, n)) if *name == column.group && !name.is_empty() => *n += 1,
                _ => groups.push((&column.group, i, 1)),
            }
        }
        groups
    }

    fn has_groups(&self) -> bool {
        self.columns.iter().any(|c| !c.group.is_empty())
    }

    /// Aligned columns with a line under the headings, for a terminal. Ends with a line break.
    pub fn to_text(&self) -> String {
        const GAP: usize = 2;
        let mut widths: Vec<usize> = self.columns.iter().map(|c| columns(&c.name)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = columns(cell).max(*width);
            }
        }
        // A long group heading widens its last column.
        for (name, first, n) in self.groups() {
            let span = widths[first..first + n].iter().sum::<usize>() + GAP * (n - 1);
            widths[first + n - 1] += columns(name).saturating_sub(span);
        }
        let mut out = String::new();
        if self.has_groups() {
            let mut line = String::new();
            for (name, first, n) in self.groups() {
                let span = widths[first..first + n].iter().sum::<usize>() + GAP * (n - 1);
                let room = span - columns(name);
                line += &format!("{}{name}{}{}", " ".repeat(room / 2), " ".repeat(room - room / 2), " ".repeat(GAP));
            }
            out += line.trim_end();
            out.push('\n');
        }
        let mut line_of = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((cell, width), column) in cells.zip(&widths).zip(&self.columns) {
                let room = " ".repeat(width - columns(cell));
                line += &if column.right { format!("{room}{cell}") } else { format!("{cell}{room}") };
                line += &" ".repeat(GAP);
            }
            out += line.trim_end();
            out.push('\n');
        };
        line_of(&mut self.columns.iter().map(|c| c.name.as_str()));
        let rules: Vec<String> = widths.iter().map(|w| "─".repeat(*w)).collect();
        line_of(&mut rules.iter().map(String::as_str));
        for row in &self.rows {
            line_of(&mut row.iter().map(String::as_str));
        }
        out
    }

    /// A Markdown table. Ends with a line break.
    pub fn to_markdown(&self) -> String {
        let safe = |cell: &str| cell.replace('|', "\\|").replace('\n', " ");
        let mut out = String::from("|");
        for c in &self.columns {
            out += &format!(" {} |", safe(format!("{} {}", c.group, c.name).trim()));
        }
        out += "\n|";
        for c in &self.columns {
            out += if c.right { "---:|" } else { "---|" };
        }
        out.push('\n');
        for row in &self.rows {
            out += "|";
            row.iter().for_each(|cell| out += &format!(" {} |", safe(cell)));
            out.push('\n');
        }
        out
    }

    /// An HTML table. Rows whose first cell differs from the one above begin a block.
    pub fn to_html(&self) -> String {
        let texts = self.columns.iter().filter(|column| !column.right).count();
        // On a narrow screen a row of several texts becomes a block of lines, each with the name of its column.
        let stacked = texts > 2 && !self.has_groups();
        let kind = match () {
            _ if stacked => " class=\"stack\"",
            _ if self.columns.len() > 8 => " class=\"dense\"",
            _ => "",
        };
        let mut out = format!("<div class=\"wide\"><table{kind}><thead>");
        let groups = self.groups();
        let starts = |i: usize| groups.iter().any(|(name, first, _)| *first == i && !name.is_empty());
        if self.has_groups() {
            out += "<tr>";
            for (name, _, n) in &groups {
                if name.is_empty() {
                    out += "<th></th>"
                } else {
                    out +=
                        &format!("<th class=\"group first\" colspan=\"{n}\" scope=\"colgroup\">{}</th>", escape(name))
                }
            }
            out += "</tr>";
        }
        let class = |i: usize, c: &Column| {
            let names =
                [(c.right, "right"), (starts(i), "first")].iter().filter(|x| x.0).map(|x| x.1).collect::<Vec<_>>();
            if names.is_empty() { String::new() } else { format!(" class=\"{}\"", names.join(" ")) }
        };
        out += "<tr>";
        for (i, c) in self.columns.iter().enumerate() {
            out += &format!("<th scope=\"col\"{}>{}</th>", class(i, c), escape(&c.name));
        }
        out += "</tr></thead><tbody>";
        for (n, row) in self.rows.iter().enumerate() {
            let new = n > 0 && self.rows[n - 1].first() != row.first();
            out += if new { "<tr class=\"new\">" } else { "<tr>" };
            for ((i, c), cell) in self.columns.iter().enumerate().zip(row) {
                // The first column names the block.
                let cell = if i == 0 && n > 0 && !new { "" } else { cell };
                let cell = if c.right { cell.replace('-', "−") } else { cell.to_owned() };
                let class = if !c.right && columns(&cell) > LONG { " class=\"long\"".to_owned() } else { class(i, c) };
                let name = if stacked { format!(" data-name=\"{}\"", escape(&c.name)) } else { String::new() };
                out += &format!("<td{class}{name}>{}</td>", escape(&cell));
            }
            out += "</tr>";
        }
        out + "</tbody></table></div>"
    }
}
