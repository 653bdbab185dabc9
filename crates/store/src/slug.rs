//! Slugs: the short names of organisations and projects that people type.

/// 1 to 40 of lower-case letters, digits and hyphens, beginning and ending in none of the last.
pub(crate) fn is_slug(text: &str) -> bool {
    (1..=MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

const MAX: usize = 40;

/// A slug like a name: `Search & Co` becomes `search-co`. What has no letter that a slug may have is called `project`.
pub(crate) fn of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        if slug.len() == MAX {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "project".to_owned() } else { slug.to_owned() }
}

/// The slug itself, or the first of `slug-2`, `slug-3` and so on that is not taken.
pub(crate) fn free(slug: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(slug) {
        return slug.to_owned();
    }
    // Room for a number as long as there are things to name.
    let stem = slug[..slug.len().min(MAX - 8)].trim_end_matches('-');
    (2u64..).map(|n| format!("{stem}-{n}")).find(|candidate| !taken(candidate)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_slugs() {
        for (name, slug) in [
            ("Search & Co", "search-co"),
            ("shop", "shop"),
            ("  --A  ", "a"),
            ("日本", "project"),
            ("Überall 2", "berall-2"),
        ] {
            assert_eq!(of(name), slug, "{name}");
            assert!(is_slug(&of(name)));
        }
        assert!(is_slug(&of(&"x".repeat(99))) && is_slug(&of(&"x ".repeat(99))));
        for bad in ["", "-a", "a-", "A", "a b", "é", &"x".repeat(41)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }

    #[test]
    fn a_taken_slug_gets_a_number() {
        assert_eq!(free("a", |_| false), "a");
        assert_eq!(free("a", |slug| ["a", "a-2"].contains(&slug)), "a-3");
        let long = "x".repeat(40);
        assert!(is_slug(&free(&long, |slug| slug == long)));
    }
}
