//! Keeps the guides whole: every refusal code, command, setting and kind of provider has its place there, and no link
//! leads nowhere.

use anykey_core::{Code, provider};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The headings of a level, without their marks. What is in a code block is no heading.
fn headings(text: &str, level: usize) -> Vec<(usize, String)> {
    let mark = format!("{} ", "#".repeat(level));
    let mut in_code = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        in_code ^= line.starts_with("```");
        if let Some(title) = line.strip_prefix(&mark).filter(|_| !in_code) {
            found.push((number, title.trim().to_owned()));
        }
    }
    found
}

#[test]
fn every_refusal_code_has_a_section_under_its_status() {
    let text = read("docs/guides/errors.md");
    let statuses = headings(&text, 2);
    let sections = headings(&text, 3);
    let mut expected = BTreeSet::new();
    for code in Code::ALL {
        expected.insert(code.name().to_owned());
        let (line, _) = sections
            .iter()
            .find(|(_, title)| title == code.name())
            .unwrap_or_else(|| panic!("errors.md has no section {}", code.name()));
        let status = statuses.iter().rev().find(|(at, _)| at < line).map(|(_, title)| title.as_str());
        assert_eq!(status, Some(code.status().to_string().as_str()), "{} stands under another status", code.name());
    }
    let written: BTreeSet<String> = sections.into_iter().map(|(_, title)| title).collect();
    assert_eq!(written, expected, "errors.md has sections of codes that do not exist");
}

/// The commands of a help text, by the program's own word.
fn subcommands(path: &[String]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_anykey")).arg("help").args(path).output().expect("anykey runs");
    assert!(output.status.success(), "anykey help {}", path.join(" "));
    let text = String::from_utf8(output.stdout).expect("help is text");
    let listed = text.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = listed.lines().take_while(|line| line.starts_with("  "));
    // A description that goes on in the next line is indented further than a name.
    let names = lines.filter(|line| !line[2..].starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Commands that do something: those without commands of their own.
fn leaves(path: Vec<String>, found: &mut BTreeSet<String>) {
    let below = if path == ["help"] { Vec::new() } else { subcommands(&path) };
    if below.is_empty() {
        found.insert(format!("anykey {}", path.join(" ")));
    }
    for name in below {
        leaves(path.iter().cloned().chain([name]).collect(), found);
    }
}

#[test]
fn every_command_has_a_section() {
    let mut commands = BTreeSet::new();
    leaves(Vec::new(), &mut commands);
    assert!(commands.contains("anykey key create"), "{commands:?}");
    let sections = headings(&read("docs/guides/cli.md"), 3).into_iter().map(|(_, title)| title);
    let written: BTreeSet<String> = sections.collect();
    assert_eq!(written, commands);
}

#[test]
fn every_flag_of_serve_is_explained() {
    let output = Command::new(env!("CARGO_BIN_EXE_anykey")).args(["help", "serve"]).output().expect("anykey runs");
    let help = String::from_utf8(output.stdout).expect("help is text");
    let page = read("docs/guides/operating.md");
    let own = help.split("Global options:").next().unwrap_or_default();
    // A flag that another's text names may have a comma behind it.
    let flags = own.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let flags = flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()));
    let flags: BTreeSet<&str> = flags.filter(|flag| *flag != "help").collect();
    assert!(flags.contains("listen"), "{flags:?}");
    for flag in flags {
        assert!(page.contains(&format!("`--{flag}`")), "operating.md says nothing of --{flag}");
    }
}

#[test]
fn every_kind_of_provider_is_in_the_table_with_its_address() {
    let page = read("docs/guides/providers.md");
    for kind in provider::kinds() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", kind.name)));
        let row = row.unwrap_or_else(|| panic!("providers.md has no row for {}", kind.name));
        if let Some(url) = kind.base_url {
            assert!(row.contains(&format!("`{url}`")), "{row}");
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs"), root().join("docs/guides")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder of pages"));
    let pages = entries.map(|entry| entry.expect("an entry").path());
    pages.filter(|path| path.extension().is_some_and(|e| e == "md")).collect()
}

/// The anchor that a heading gets on the usual hosts.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page is text");
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            if target.contains("://") {
                continue;
            }
            let (file, section) =
                target.split_once('#').map_or((target, None), |(file, section)| (file, Some(section)));
            let folder = page.parent().expect("a page is in a folder");
            let path = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(path.exists(), "{}: {target} leads nowhere", page.display());
            if let Some(section) = section {
                let text = std::fs::read_to_string(&path).expect("a page is text");
                let found =
                    (1..=4).flat_map(|level| headings(&text, level)).any(|(_, title)| anchor(&title) == section);
                assert!(found, "{}: {target} names no heading", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} links were found");
}
