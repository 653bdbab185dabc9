//! Which requests have a cost that their body does not bound.

use anykey_core::Endpoint::{self, *};
use anykey_dialect::head::scan;

fn unbounded(endpoint: Endpoint, body: &str) -> bool {
    scan(endpoint, body.as_bytes()).expect(body).unbounded
}

#[test]
fn what_reaches_outside_of_the_body() {
    for (endpoint, body) in [
        (ChatCompletions, r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x/a.png"}}]}]}"#),
        (ChatCompletions, r#"{"messages":[{"content":[{"type":"image_url","image_url":"https://x/a.png"}]}]}"#),
        (ChatCompletions, r#"{"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#),
        (ChatCompletions, r#"{"messages":[{"content":[{"type":"file","file":{"file_data":"https://x/a.pdf"}}]}]}"#),
        (ChatCompletions, r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#),
        (ChatCompletions, r#"{"messages":[{"cont\u0065nt":[{"image_url":{"\u0075rl":"https://x"}}]}]}"#),
        (ChatCompletions, r#"{"web_search_options":{}}"#),
        (ChatCompletions, r#"{"tools":[{"type":"function"},{"type":"web_search"}]}"#),
        (ChatCompletions, r#"{"models":["costly/one"]}"#),
        (ChatCompletions, r#"{"plugins":[{"id":"web"}]}"#),
        (Responses, r#"{"previous_response_id":"resp_1"}"#),
        (Responses, r#"{"conversation":"conv_1"}"#),
        (Responses, r#"{"conversation":{"id":"conv_1"}}"#),
        (Responses, r#"{"prompt":{"id":"pmpt_1"}}"#),
        (Responses, r#"{"input":[{"type":"item_reference","id":"rs_1"}]}"#),
        (Responses, r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x"}]}]}"#),
        (Responses, r#"{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}"#),
        (Responses, r#"{"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://x"}]}]}"#),
        (Responses, r#"{"input":[{"type":"computer_call_output","output":{"file_id":"file-1"}}]}"#),
        (Responses, r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#),
        (Messages, r#"{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://x"}}]}]}"#),
        (Messages, r#"{"messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}"#),
        (Messages, r#"{"messages":[{"content":[{"type":"tool_result","content":[{"source":{"url":"https://x"}}]}]}]}"#),
        (Messages, r#"{"messages":[{"content":[{"type":"container_upload","file_id":"f"}]}]}"#),
        (Messages, r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#),
        (Messages, r#"{"tools":[{"type":"code_execution_20250522","name":"x"}]}"#),
        (Messages, r#"{"mcp_servers":[{"type":"url","url":"https://x"}]}"#),
        (Messages, r#"{"container":"container_1"}"#),
        (GenerateContent, r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://x"}}]}]}"#),
        (GenerateContent, r#"{"contents":[{"parts":[{"file_data":{"file_uri":"gs://x"}}]}]}"#),
        (GenerateContent, r#"{"contents":{"parts":{"fileData":{"fileUri":"https://x"}}}}"#),
        (GenerateContent, r#"{"tools":[{"functionDeclarations":[]},{"googleSearch":{}}]}"#),
        (GenerateContent, r#"{"tools":[{"code_execution":{}}]}"#),
        (StreamGenerateContent, r#"{"cachedContent":"cachedContents/1"}"#),
        (StreamGenerateContent, r#"{"cached_content":"cachedContents/1"}"#),
        (EmbedContent, r#"{"content":{"parts":[{"fileData":{"fileUri":"gs://x"}}]}}"#),
        (BatchEmbedContents, r#"{"requests":[{"content":{"parts":[{"fileData":{"fileUri":"gs://x"}}]}}]}"#),
    ] {
        assert!(unbounded(endpoint, body), "{body}");
    }
}

#[test]
fn what_does_not() {
    for (endpoint, body) in [
        (ChatCompletions, r#"{"messages":[{"content":"see https://x/a.png, file_id, image_url"}]}"#),
        (
            ChatCompletions,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"DATA:image/png;base64,AA"}}]}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"messages":[{"content":[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}]}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"messages":[{"content":[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AA"}}]}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"messages":[{"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"file_id\":\"x\"}"}}]}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"tools":[{"type":"function","function":{"parameters":{"properties":{"type":{"type":"string"},"file_id":{"type":"string"}}}}}]}"#,
        ),
        (ChatCompletions, r#"{"web_search_options":null,"plugins":[],"tools":null}"#),
        (Responses, r#"{"previous_response_id":null,"conversation":null,"input":"https://x"}"#),
        (
            Responses,
            r#"{"tools":[{"type":"function","name":"f"},{"type":"custom","name":"g"},{"type":"local_shell"}]}"#,
        ),
        (Responses, r#"{"input":[{"type":"function_call_output","call_id":"c","output":"{\"file_id\":1}"}]}"#),
        (
            Messages,
            r#"{"messages":[{"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}}]}]}"#,
        ),
        (
            Messages,
            r#"{"messages":[{"content":[{"type":"tool_use","id":"t","name":"n","input":{"url":"https://x","file_id":"f","source":{"url":"u"}}}]}]}"#,
        ),
        (
            Messages,
            r#"{"tools":[{"name":"f","input_schema":{}},{"type":"custom","name":"g"},{"type":"bash_20250124","name":"bash"}]}"#,
        ),
        (Messages, r#"{"mcp_servers":[]}"#),
        (GenerateContent, r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA"}}]}]}"#),
        (GenerateContent, r#"{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"fileData":{}}}}]}]}"#),
        (GenerateContent, r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{"fileData":{}}}}]}]}"#),
        (GenerateContent, r#"{"tools":[{"functionDeclarations":[],"googleSearch":null}]}"#),
    ] {
        assert!(!unbounded(endpoint, body), "{body}");
    }
}
