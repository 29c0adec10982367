//! Tables in Markdown.

/// A table whose first row are the headings, its columns as wide as their widest cells. All rows
/// have as many cells as the first; of no rows, nothing.
#[must_use]
pub fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(&format!("| {} |\n", padded.join(" | ")));
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push_str(&format!("|-{}-|\n", rule.join("-|-")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cells() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = markdown(&[row(["a", "größe"]), row(["bcd", ""])]);
        assert_eq!(table, "| a   | größe |\n|-----|-------|\n| bcd |       |\n");
        assert_eq!(markdown(&[]), "");
    }
}
