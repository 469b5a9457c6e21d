//! Transcripts: sections that start with "--- NAME".

/// Name and lines of each section.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("--- "), sections.last_mut()) {
            (Some(name), _) => sections.push((name.to_string(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.trim_end().to_string()),
            (None, None) => {}
        }
    }
    sections
}

/// Panics with the sections that differ, if there are any.
pub fn compare(oracle: &str, ours: &str) {
    let (oracle, ours) = (sections(oracle), sections(ours));
    assert!(!oracle.is_empty(), "the list printed nothing");
    let mut differences = String::new();
    for (name, expected) in &oracle {
        let found = ours
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, lines)| lines);
        if found != Some(expected) {
            let shown = found.map_or_else(|| "(nothing)".to_string(), |lines| lines.join("\n  "));
            differences += &format!(
                "\n{name}\n runc:\n  {}\n tegmen:\n  {shown}\n",
                expected.join("\n  ")
            );
        }
    }
    assert!(differences.is_empty(), "{differences}");
    eprintln!("{} sections are the same", oracle.len());
}

#[test]
fn sections_are_told_apart() {
    let found = sections("noise\n--- a\n1\n2\n--- b\n");
    assert_eq!(
        found,
        [("a".into(), vec!["1".into(), "2".into()]), ("b".into(), vec![])]
    );
    assert!(std::panic::catch_unwind(|| compare("--- a\n1\n", "--- a\n2\n")).is_err());
}
