//! What was measured: gathered, reduced to medians, compared, printed.

use std::fmt::Write as _;

/// One thing that is measured, on one system, in every round.
#[derive(Clone, Debug)]
struct Series {
    measure: String,
    system: String,
    unit: &'static str,
    values: Vec<f64>,
}

/// A median, and how it compares with another system's.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What was measured.
    pub measure: String,
    /// Of whom.
    pub system: String,
    /// The median.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// With whom it is compared.
    pub vs: Option<String>,
    /// The value divided by the other's.
    pub ratio: Option<f64>,
}

/// All figures of a run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    series: Vec<Series>,
}

impl Figures {
    /// Adds one value.
    pub fn note(&mut self, measure: &str, system: &str, unit: &'static str, value: f64) {
        let known = self.series.iter_mut().find(|series| series.measure == measure && series.system == system);
        match known {
            Some(series) => series.values.push(value),
            None => {
                self.series.push(Series { measure: measure.into(), system: system.into(), unit, values: vec![value] })
            }
        }
    }

    /// Returns the median of a series.
    pub fn median(&self, measure: &str, system: &str) -> Option<f64> {
        let series = self.series.iter().find(|series| series.measure == measure && series.system == system)?;
        let mut values = series.values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Returns the unit of a measure.
    pub fn unit(&self, measure: &str) -> &'static str {
        self.series.iter().find(|series| series.measure == measure).map_or("", |series| series.unit)
    }

    /// Returns the measures in the order in which they were first noted.
    pub fn measures(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for series in &self.series {
            if !names.contains(&series.measure.as_str()) {
                names.push(&series.measure);
            }
        }
        names
    }

    /// Returns each measure of each system beside each of those whom `rivals` names for that system.
    pub fn lines(&self, rivals: &dyn Fn(&str) -> Vec<&'static str>) -> Vec<Line> {
        let mut lines = Vec::new();
        for measure in self.measures() {
            for series in self.series.iter().filter(|series| series.measure == measure) {
                let Some(value) = self.median(measure, &series.system) else { continue };
                let plain = Line {
                    measure: measure.into(),
                    system: series.system.clone(),
                    value,
                    unit: series.unit,
                    vs: None,
                    ratio: None,
                };
                let before = lines.len();
                for rival in rivals(&series.system) {
                    let Some(other) = self.median(measure, rival).filter(|other| *other != 0.0) else { continue };
                    lines.push(Line { vs: Some(rival.into()), ratio: Some(value / other), ..plain.clone() });
                }
                if lines.len() == before {
                    lines.push(plain);
                }
            }
        }
        lines
    }
}

/// Prints the lines as a table, one row a system, its ratios behind it.
pub fn table(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut last = ("", "");
    for line in lines {
        if last.0 != line.measure {
            let _ = write!(text, "{}{}", if text.is_empty() { "" } else { "\n\n" }, line.measure);
        }
        if last != (line.measure.as_str(), line.system.as_str()) {
            let _ = write!(text, "\n  {:<34} {:>10} {:<10}", line.system, rounded(line.value), line.unit);
        }
        if let (Some(vs), Some(ratio)) = (&line.vs, line.ratio) {
            let _ = write!(text, "  {} x {vs}", rounded(ratio));
        }
        last = (&line.measure, &line.system);
    }
    text
}

/// Prints a line as JSON.
pub fn json(line: &Line) -> String {
    let Line { measure, system, value, unit, vs, ratio } = line;
    serde_json::json!({"measure": measure, "system": system, "value": value, "unit": unit, "vs": vs, "ratio": ratio})
        .to_string()
}

/// Three digits that count.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::default();
        for (ours, bare) in [(4.5, 5.0), (9.0, 6.0), (3.0, 4.0)] {
            figures.note("TCP", "ours", "Gbit/s", ours);
            figures.note("TCP", "bare", "Gbit/s", bare);
        }
        figures.note("alone", "ours", "ms", 7.0);
        figures
    }

    #[test]
    fn ratios_are_of_medians_and_only_where_both_were_measured() {
        let lines = figures().lines(&|system| if system == "ours" { vec!["bare", "nobody"] } else { vec![] });
        let seen: Vec<_> =
            lines.iter().map(|line| (line.system.as_str(), line.value, line.vs.as_deref(), line.ratio)).collect();
        assert_eq!(
            seen,
            [("ours", 4.5, Some("bare"), Some(0.9)), ("bare", 5.0, None, None), ("ours", 7.0, None, None)]
        );
        assert_eq!(
            json(&lines[0]),
            r#"{"measure":"TCP","ratio":0.9,"system":"ours","unit":"Gbit/s","value":4.5,"vs":"bare"}"#
        );
    }

    #[test]
    fn the_table_names_each_measure_once() {
        let text = table(&figures().lines(&|system| if system == "ours" { vec!["bare"] } else { vec![] }));
        assert_eq!(text.matches("TCP").count(), 1);
        assert!(text.contains("4.50 Gbit/s") && text.contains("0.90 x bare"), "{text}");
    }
}
