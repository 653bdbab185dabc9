//! SARIF 2.1.0, the form in which code hosts take findings of scanners.

use super::finding::Finding;
use serde_json::{Value, json};

const RULE: &str = "anykey-api-key";

pub fn write(findings: &[Finding]) -> String {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "anykey",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [{
                    "id": RULE,
                    "name": "AnykeyApiKey",
                    "shortDescription": {"text": "An anykey API key"},
                    "help": {"text": "Rotate the key with `anykey key rotate ID --leaked`, then remove it."},
                    "defaultConfiguration": {"level": "error"},
                    "properties": {"tags": ["security", "secret"], "security-severity": "9.0"},
                }],
            }},
            "columnKind": "utf16CodeUnits",
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
    .to_string()
}

fn result(finding: &Finding) -> Value {
    let mut result = json!({
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": format!("The API key {} stands here in the clear.", finding.key)},
        // The same key in the same file stays one finding when lines move.
        "partialFingerprints": {"anykeyKey/v1": format!("{}-{}-{}", finding.brand, finding.kind, finding.public_id)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&finding.path)},
            "region": {"startLine": finding.line, "startColumn": finding.column},
        }}],
    });
    if let Some(commit) = &finding.commit {
        result["properties"] = json!({"commit": commit});
    }
    result
}

/// A relative reference: what a URI does not take is escaped, slashes stay.
fn uri(path: &str) -> String {
    path.split('/').map(crate::cli::client::segment).collect::<Vec<_>>().join("/")
}
